//! `cordon doctor`.

use super::{Ended, Failure, Global};

/// What `cordon doctor` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {}

/// Runs `cordon doctor`.
pub(crate) fn run(_args: DoctorArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}
