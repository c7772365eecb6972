//! The path tried whole: real policies, ports in memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

mod capabilities;
mod containment;
mod held;
mod identity;
mod kills;
mod matrix;
mod path;
mod preconditions;
mod replay;
mod results;
mod risk;
mod shadow;
mod support;
