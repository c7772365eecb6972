//! What schemas and manifest checks must do, seen from outside.
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

mod agree;
mod compile;
mod hostile;
mod typed;
mod validate;
mod validators;

use cordon_core::Limits;
use cordon_core::json::{self, Node};
use cordon_inspect::{Schema, SchemaLimits};

fn node(text: &str) -> Node {
    json::parse(text.as_bytes(), &Limits::DEFAULT).unwrap()
}

fn schema(text: &str) -> Schema {
    Schema::compile(text.as_bytes(), &SchemaLimits::default())
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// `ok`, or the violations as people see them, joined by `; `.
fn check(schema_text: &str, value: &str, want: &str) {
    let got = match schema(schema_text).validate(&node(value)) {
        Ok(()) => "ok".to_owned(),
        Err(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    assert_eq!(got, want, "{schema_text} {value}");
}
