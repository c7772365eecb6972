//! What the codec must do, seen from outside: every pitfall that breaks a naive proxy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    reason = "a failed test panics"
)]
#![cfg(test)]

mod corpus;
mod era;
mod headers;
mod lists;
mod messages;
mod observe;
mod operations;
mod outcomes;
mod properties;
mod replies;
mod streams;
mod web;

use cordon_core::Limits;
use cordon_wire::mcp::{Message, Refusal};

fn parse(text: &str) -> Result<Message, Refusal> {
    Message::parse(text.as_bytes(), &Limits::DEFAULT)
}

fn message(text: &str) -> Message {
    parse(text).unwrap_or_else(|refusal| panic!("{refusal}: {text}"))
}

/// A request of `method` with these parameters, as JSON.
fn request(method: &str, params: &str) -> Message {
    message(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#))
}

/// A result with these members, as JSON.
fn result(result: &str) -> Message {
    message(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#))
}
