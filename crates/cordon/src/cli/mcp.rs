//! `cordon mcp`.

use super::{Ended, Failure, Global};

/// What `cordon mcp` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct McpArgs {}

/// What the hidden `cordon fixture-server` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct FixtureArgs {
    /// `office` or `echo`
    pub(crate) profile: String,
}

/// Runs `cordon mcp`.
pub(crate) fn run(_args: McpArgs, _global: &Global) -> Ended {
    Err(Failure::new("not in this build"))
}

/// Runs a built-in MCP server on standard input and output.
pub(crate) fn run_fixture(_args: &FixtureArgs) -> Ended {
    Err(Failure::new("not in this build"))
}
