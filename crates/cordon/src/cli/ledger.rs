//! `cordon ledger`.

use super::{Ended, Failure, Global};

/// What `cordon ledger` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct LedgerArgs {}

/// Runs `cordon ledger`.
pub(crate) fn run(_args: LedgerArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}
