//! `cordon session`.

use super::{Ended, Failure, Global};

/// What `cordon session` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct SessionArgs {}

/// Runs `cordon session`.
pub(crate) fn run(_args: SessionArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}
