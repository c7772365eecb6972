//! Tests of the ledger's mathematics from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    reason = "a failed test panics"
)]

mod entries;
mod hostile;
mod oracles;
mod vectors;
