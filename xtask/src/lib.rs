//! The repository's own tasks: `tidy` (rules about the sources) and `test` (everything that must pass).
//!
//! This crate never ships and never changes a source file; it reads the tree, installs test
//! counterparts under the target directory, and runs the tools that a person would run by hand.
//! Its three most important types are [`tidy::Tree`] (what is checked), [`tidy::Finding`] (what is
//! wrong, where, and what to do) and [`Options`] (what to run).

use std::path::{Path, PathBuf};

pub mod tidy;

mod command;
mod install;
mod process;
mod report;
mod steps;

pub use command::{Command, Options, USAGE};
pub use report::Count;
pub use steps::{STEPS, Step, run_tests};

/// The directory that holds the workspace's `Cargo.toml`.
#[must_use]
pub fn repository_root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}
