//! The door against real child processes, hostile servers and hostile clients.

mod aggregate;
mod auth;
mod child;
mod held;
mod hostile_client;
mod hostile_server;
mod http;
mod lines;
mod listing;
mod obligations;
mod support;
