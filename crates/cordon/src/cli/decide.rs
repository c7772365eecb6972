//! `cordon decide`.

use super::{Ended, Failure, Global};

/// What `cordon decide` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct DecideArgs {}

/// Runs `cordon decide`.
pub(crate) fn run(_args: DecideArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}
