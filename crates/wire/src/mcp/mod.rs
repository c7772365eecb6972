//! The Model Context Protocol, both eras: 2024-11-05 to 2025-11-25 (legacy, with a handshake) and
//! 2026-07-28 (modern, every request carries its version).
//!
//! [`Message::parse`] takes exact bytes; [`Operation::of`] says what a message would do;
//! [`Outcome::of`] what a result asks for; [`observe`] gives every text in it; [`reply`] writes answers.

pub mod header;
pub mod http;
pub mod observe;
pub mod reply;
pub mod sse;
pub mod stdio;

mod canonical;
mod era;
mod list;
mod method;
mod outcome;
mod parse;
mod pin;
mod refusal;
mod request;
mod splice;

pub use era::{Era, Version};
pub use list::{Edit, Item, ListKind, Listing};
pub use method::{Method, Sender, Shape};
pub use outcome::{Embedded, Outcome, TaskStatus};
pub use parse::{Kind, Message, RequestId, Retry};
pub use pin::pin;
pub use refusal::{Problem, Refusal};
pub use request::{Operation, RESERVED_SERVER, Target};
pub use splice::Splice;
