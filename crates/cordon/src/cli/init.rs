//! `cordon init`.

use super::{Ended, Failure, Global};

/// What `cordon init` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {}

/// Runs `cordon init`.
pub(crate) fn run(_args: InitArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}
