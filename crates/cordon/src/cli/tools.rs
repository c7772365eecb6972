//! `cordon tools`.

use super::{Ended, Failure, Global};

/// What `cordon tools` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ToolsArgs {}

/// Runs `cordon tools`.
pub(crate) fn run(_args: ToolsArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}
