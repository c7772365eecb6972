//! `cordon completions`.

use super::{Ended, Failure, Global};

/// What `cordon completions` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {}

/// Runs `cordon completions`.
pub(crate) fn run(_args: CompletionsArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}
