//! Tests of the store from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    reason = "a failed test panics"
)]

mod ledger;
mod ledger_faults;
mod ledger_tamper;
mod tpm;
