//! The program as its users run it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on has failed"
)]

mod bundle;
mod capabilities;
mod contain;
mod corpus;
mod demo;
mod guide;
mod held;
mod life;
mod offline;
mod owner;
mod publish;
mod replay;
mod serve;
mod world;
