//! The door against real child processes, hostile servers and hostile clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on has failed"
)]

mod access;
mod aggregate;
mod auth;
mod authzen;
mod child;
mod claims;
mod declared;
mod held;
mod hostile_client;
mod hostile_server;
mod http;
mod lines;
mod listing;
mod obligations;
mod preconditions;
mod session;
mod support;
mod workloads;
