//! The administration API under `/v1`, and the client that speaks it over the owner's socket.
//!
//! This crate never decides, never signs and never authenticates: the guard decides, an approver's
//! own key signs, and the listener says who calls. Its three most important types are [`Api`] (the
//! routes), [`Caller`] (who asks, and as what) and [`Client`] (the same routes, typed).

pub mod view;

mod api;
mod caller;
mod client;
mod node;

pub use api::{Api, OPENAPI, Refusal, Route, strict};
pub use caller::{Caller, CallerRole};
pub use client::{Client, ClientError};
pub use node::{Answered, DecisionEvent, Event, Node, NodeFuture, ReasonEvent};
