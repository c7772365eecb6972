//! `cordon keys`.

use super::{Ended, Failure, Global};

/// What `cordon keys` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct KeysArgs {}

/// Runs `cordon keys`.
pub(crate) fn run(_args: KeysArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}
