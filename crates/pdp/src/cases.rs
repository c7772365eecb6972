//! A bundle's own tests (`tests/*.toml`, `spec/bundle.md`).

mod read;
mod run;

pub(crate) use read::read;
pub(crate) use run::Case;
pub use run::{TestOutcome, TestReport};
