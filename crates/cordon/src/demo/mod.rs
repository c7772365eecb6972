//! `cordon demo`.

use crate::cli::{Ended, Failure, Global};

/// What `cordon demo` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {}

/// Runs `cordon demo`.
pub(crate) fn run(_args: DemoArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}
