//! The decision point as its users see it: text in, judgements out.

mod bundles;
mod findings;
mod law;
mod semantics;
mod shipped;
mod support;
