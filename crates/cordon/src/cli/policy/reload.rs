//! `cordon policy reload`: the running owner takes the bundle as it lies there.

use std::process::ExitCode;

use super::{Ended, Format, Global, Tone, term};
use crate::cli::online::with_owner;

/// What `cordon policy reload` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Asks the data directory's owner, which verifies the bundle as at its start: signatures, epoch,
validity, exact files, its own tests. A bundle that fails is refused with the reason, the refusal is
recorded, and the one in force stays. What `[policy] shadow` names in cordon.toml is read again too; a
shadow bundle that fails is reported, and not judged.
Exit status: 0 it is in force, 1 it is refused, 2 the owner did not answer."
)]
pub(super) struct ReloadArgs {}

pub(super) fn run(_: &ReloadArgs, global: &Global) -> Ended {
    let policy = with_owner(global, |client| async move { client.reload().await })?;
    match global.format {
        Format::Json => term::say(serde_json::to_string_pretty(&policy)?)?,
        Format::Text => {
            let epoch = policy.epoch.map(|epoch| format!(" (epoch {epoch})")).unwrap_or_default();
            let until =
                policy.expires.as_ref().map(|expires| format!(" until {expires}")).unwrap_or_default();
            let word = Tone::Good.paint("in force");
            term::say(format_args!("{word}: {}{epoch}{until}", term::safe(&policy.bundle)))?;
            if let Some(shadow) = &policy.shadow {
                let path = term::safe(&shadow.path);
                match (&shadow.bundle, &shadow.refused) {
                    (Some(bundle), None) => {
                        term::say(format_args!("in its shadow: {} from {path}", term::safe(bundle)))?;
                    }
                    (_, refused) => {
                        let why = term::safe_lines(refused.as_deref().unwrap_or("nothing was loaded"));
                        let word = Tone::Caution.paint("the shadow bundle is not judged");
                        term::say(format_args!("{word}: {why}"))?;
                    }
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
