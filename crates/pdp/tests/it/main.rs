//! The decision point as its users see it: text in, judgements out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on has failed"
)]

mod bundles;
mod findings;
mod guards;
mod law;
mod principals;
mod restraint;
mod rows;
mod semantics;
mod shipped;
mod support;
