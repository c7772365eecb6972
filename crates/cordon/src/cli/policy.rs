//! `cordon policy`.

use super::{Ended, Failure, Global};

/// What `cordon policy` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct PolicyArgs {}

/// Runs `cordon policy`.
pub(crate) fn run(_args: PolicyArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}
