//! `cordon policy verify`: who signed a bundle, which epoch it has, until when it holds.

use std::path::PathBuf;
use std::process::ExitCode;

use cordon_core::ed25519::VerifyingKey;
use cordon_guard::policy::{Bundle, BundleRole, RoleTrust, Trust, VerifiedBundle};
use cordon_guard::ports::Clock;
use cordon_store::system::SystemClock;
use serde_json::json;

use super::{DENIED, Ended, Failure, Format, Global, Tone, configured, count, source_path, term};
use crate::bundle_files;

/// What `cordon policy verify` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon policy verify                         the configured bundle, by the configured keys
  cordon policy verify bundle.tar
  cordon policy verify bundle.tar --key ed25519:… --key ed25519:… --threshold 2

Checks signatures, exact file set and validity, then compiles the bundle and runs its tests, as
loading does. Order against rollback is checked by the data directory's owner, which remembers the
last epoch. Exit status: 0 it would be loaded, 1 refused, 2 it cannot be read.")]
pub(super) struct VerifyArgs {
    /// A bundle: a tar or a directory [default: the configured one]
    bundle: Option<PathBuf>,
    /// Trust this public key instead of the configured ones
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<VerifyingKey>,
    /// How many of the keys must have signed
    #[arg(long, value_name = "K", requires = "keys", default_value_t = 1)]
    threshold: u32,
}

pub(super) fn run(args: &VerifyArgs, global: &Global) -> Ended {
    let path = source_path(args.bundle.as_deref(), global)?;
    let trust = trust(args, global)?;
    let files = bundle_files::read(&path)?;
    let verified = match Bundle::verify(files, &trust, BundleRole::Policy, None, SystemClock.now()) {
        Ok(verified) => verified,
        Err(error) => return refused(&error.to_string(), global),
    };
    if let Err(error) = verified.activate() {
        return refused(&error.to_string(), global);
    }
    report(&path.to_string_lossy(), &verified, global)?;
    Ok(ExitCode::SUCCESS)
}

fn refused(why: &str, global: &Global) -> Ended {
    match global.format {
        Format::Json => term::say(json!({"ok": false, "error": why, "code": "BUNDLE-001"}))?,
        Format::Text => {
            term::say(format_args!("{}: {}", Tone::Bad.paint("refused"), term::safe(why)))?;
            term::note("  see docs/errors/BUNDLE-001.md");
        }
    }
    Ok(ExitCode::from(DENIED))
}

fn report(path: &str, verified: &VerifiedBundle, global: &Global) -> Result<(), Failure> {
    let statement = verified.statement();
    let terms = &statement.terms;
    let signers: Vec<(String, String)> = verified
        .signers()
        .iter()
        .map(|key| (key.to_string(), own_name(key).unwrap_or_else(|| key.id())))
        .collect();
    match global.format {
        Format::Json => term::say(json!({
            "ok": true,
            "bundle": path,
            "role": terms.role.as_str(),
            "name": terms.name,
            "tenant": terms.tenant,
            "epoch": terms.epoch,
            "not_before": terms.not_before.to_string(),
            "expires": terms.expires.to_string(),
            "digest": verified.digest().to_string(),
            "policies": verified.source().digest().to_string(),
            "files": statement.files.iter()
                .map(|(path, digest)| json!({"path": path, "digest": digest.to_string()}))
                .collect::<Vec<_>>(),
            "signers": signers.iter().map(|(key, name)| json!({"key": key, "name": name})).collect::<Vec<_>>(),
        }))?,
        Format::Text => {
            term::say(format_args!(
                "{}: {} `{}` for tenant `{}`, {}",
                Tone::Good.paint("ok"),
                terms.role,
                term::safe(&terms.name),
                term::safe(&terms.tenant),
                count(statement.files.len(), "file"),
            ))?;
            term::say(format_args!("  epoch    {}", terms.epoch))?;
            term::say(format_args!("  holds    {} to {}", terms.not_before, terms.expires))?;
            term::say(format_args!("  digest   {}", verified.digest()))?;
            for (key, name) in signers {
                term::say(format_args!("  signed   {} ({})", key, term::safe(&name)))?;
            }
        }
    }
    Ok(())
}

/// The name under which this user keeps the private half, if it does.
fn own_name(key: &VerifyingKey) -> Option<String> {
    let entries = crate::config::key_ring().ok()?.list().ok()?;
    entries.into_iter().find(|entry| entry.public == Some(*key)).map(|entry| entry.name.into())
}

fn trust(args: &VerifyArgs, global: &Global) -> Result<Trust, Failure> {
    if !args.keys.is_empty() {
        let role = RoleTrust::new(args.threshold, args.keys.iter().copied())?;
        return Ok(Trust::new().with(BundleRole::Policy, role));
    }
    match configured(global)? {
        Some(config) => Ok(config.trust),
        None => Err(Failure::new(
            "no keys are trusted: name them with --key ed25519:…, or run this beside a cordon.toml",
        )),
    }
}
