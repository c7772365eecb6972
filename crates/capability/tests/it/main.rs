//! Tokens as their users see them: minted, narrowed, stolen, bent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on has failed"
)]

mod attacks;
mod chains;
mod proofs;
mod support;
