//! Network enforcement points, one module a protocol.
//!
//! This crate never decides: every message that crosses it is judged by the guard first, and the only
//! function that writes to an upstream takes a spent permit. It never passes a caller's credential on.
//! Its three most important types are [`mcp::Door`] (one governed connection to one MCP server),
//! [`mcp::http::Service`] (MCP over HTTP) and [`auth::Authenticator`] (who calls).

pub mod auth;
pub mod authzen;
pub mod mcp;
pub mod session;

mod answer;
mod caller;

pub use answer::Answer;
pub use caller::{Caller, CallerRole, Mismatch, SUPPORTED};
