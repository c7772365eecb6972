//! Checks on content: bytes and values in, findings out.
//!
//! This crate never does I/O, never fetches what a schema refers to, and never decides: it says what
//! is wrong, and the guard refuses. Its three most important types are [`Schema`] (a JSON Schema that
//! cannot hang or reach out), [`Violation`] (one thing wrong with a value) and [`SchemaError`] (why a
//! schema cannot be used).

mod schema;
mod signs;
mod validators;
mod violation;

pub use schema::{Schema, SchemaError, SchemaLimits};
pub use signs::{Sign, SignFinder, SignKind};
pub use validators::check_validators;
pub use violation::Violation;
