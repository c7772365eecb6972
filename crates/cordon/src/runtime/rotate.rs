//! `cordon keys rotate`, through the owner: only it writes the ledger.

use std::process::ExitCode;

use cordon_control::view::RotatedView;

use super::start;
use crate::cli::{Ended, Failure, Format, Global};
use crate::term;

/// Asks the owner to put a new key in the place of the log's.
pub(crate) fn run(global: &Global) -> Ended {
    let owner = start::owner(global)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rotated: RotatedView = runtime.block_on(owner.client().rotate()).map_err(Failure::from)?;
    match global.format {
        Format::Json => term::say(serde_json::to_string_pretty(&rotated)?)?,
        Format::Text => term::say(term::safe(&rotated.log))?,
    }
    Ok(ExitCode::SUCCESS)
}
