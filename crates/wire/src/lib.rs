//! Protocol codecs: exact bytes to requests, verdicts to replies.
//!
//! This crate never does I/O, never re-serialises a message that is forwarded unchanged, and never
//! decides anything: it says what a message is and writes what a door answers.
//! Its three most important types are [`mcp::Message`] (one message and its exact bytes),
//! [`mcp::Operation`] (what the message would do) and [`mcp::Refusal`] (why it cannot be understood).

pub mod mcp;
