//! `cordon serve`.

use super::{Ended, Failure, Global};

/// What `cordon serve` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {}

/// Runs `cordon serve`.
pub(crate) fn run(_args: ServeArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}
