//! `cordon approve`.

use super::{Ended, Failure, Global};

/// What `cordon approve` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ApproveArgs {}

/// Runs `cordon approve`.
pub(crate) fn run(_args: ApproveArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}
