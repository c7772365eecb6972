//! `cordon`: a security runtime for AI agents.
//!
//! This binary reads flags and configuration, wires the crates together and starts them. It never
//! decides anything itself: every decision is the guard's.

mod bundle_files;
mod cli;
mod config;
mod demo;
mod runtime;
mod shipped;
mod signing;
mod term;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
