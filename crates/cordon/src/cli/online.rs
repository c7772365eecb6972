//! What the commands that talk to the owner share.

use std::future::Future;
use std::process::ExitCode;

use cordon_control::{Client, ClientError};
use serde::Serialize;

use super::failure::{DENIED, NO_ANSWER};
use super::{Ended, Failure, Format, Global};
use crate::runtime::start;
use crate::term;

/// Runs `ask` with a client of the data directory's owner, starting one if there is none.
pub(super) fn with_owner<T, F>(global: &Global, ask: impl FnOnce(Client) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let owner = start::owner(global)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(owner.client())).map_err(refused)
}

/// A refusal of the owner is an answer (1); everything else is none (2).
pub(super) fn refused(error: ClientError) -> Failure {
    let exit = match &error {
        ClientError::Refused { status: 400..=499, .. } => DENIED,
        _ => NO_ANSWER,
    };
    Failure::from(error).exit(exit)
}

/// Prints data as JSON, or as `text` says.
pub(super) fn print<T: Serialize>(
    global: &Global,
    data: &T,
    text: impl FnOnce() -> Result<(), std::io::Error>,
) -> Ended {
    match global.format {
        Format::Json => term::say(serde_json::to_string_pretty(data)?)?,
        Format::Text => text()?,
    }
    Ok(ExitCode::SUCCESS)
}
