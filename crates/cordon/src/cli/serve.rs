//! `cordon serve`: the gateways and the decision API.

use std::process::ExitCode;

use super::{Ended, Failure, Global};
use crate::config::{Config, ConfigError};
use crate::runtime::serve::{self, Scope};

/// What `cordon serve` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Serves /mcp/{server}, /mcp, /v1/…, /access/v1/evaluation(s), /metrics, /healthz and /readyz.
Bearer tokens are in the data directory under tokens/{operator,pep,agent}.

Examples:
  cordon serve
  cordon serve --listen 127.0.0.1:8080"
)]
pub(crate) struct ServeArgs {
    /// The address to listen on; otherwise `[serve] listen`, or 127.0.0.1:7070
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<std::net::SocketAddr>,
    /// Only own the data directory, and end after a while without clients
    #[arg(long, hide = true, conflicts_with = "listen")]
    owner_only: bool,
}

/// Runs `cordon serve` until a signal ends it.
pub(crate) fn run(args: ServeArgs, global: &Global) -> Ended {
    let mut config = load(global)?;
    if let Some(listen) = args.listen {
        config.serve.listen = listen;
    }
    let scope = if args.owner_only { Scope::Owner } else { Scope::Network };
    serve::run(config, scope)?;
    Ok(ExitCode::SUCCESS)
}

/// The configuration, or why there is none.
pub(super) fn load(global: &Global) -> Result<Config, Failure> {
    Config::load(global).map_err(|error| match error {
        ConfigError::Missing { .. } => Failure::from(error),
        error => Failure::from(error).code("CONFIG-001"),
    })
}
