//! Fakes, fixtures and check helpers for Cordon's tests and its demo.
//!
//! This crate never takes part in a decision that is enforced. Its three most important types are
//! [`TestPorts`] (the guard's ports in memory), [`HandClock`] and [`MemoryLedger`].

pub mod fuzz;
pub mod mcp_fixture;

mod ports;

pub use ports::{HandClock, MemoryLedger, MemoryStore, SeededRandom, TestPorts};
