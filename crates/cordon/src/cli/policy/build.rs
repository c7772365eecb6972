//! `cordon policy build`: a source becomes a signed bundle.

use std::path::PathBuf;
use std::process::ExitCode;

use cordon_core::{Duration, Timestamp};
use cordon_guard::policy::{BundleRole, BundleTerms, ENVELOPE_FILE, EPOCH_MAX};
use cordon_guard::ports::Clock;
use cordon_store::keyfile::{KeyRing, KeyRole};
use cordon_store::system::SystemClock;
use serde_json::json;

use super::{DENIED, Ended, Failure, Format, Global, Tone, count, refused_source, source_path, term};
use crate::bundle_files;
use crate::signing::{self, Signer, SigningError, whole_second};

/// How long a bundle holds when nothing is said.
pub(crate) const DAYS_DEFAULT: u64 = 365;

/// What `cordon policy build` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon policy build                          sign the configured source in place
  cordon policy build policy/ -o bundle.tar    write a signed tar
  cordon policy build --key alice --key bob    sign with two keys
  cordon policy build --expires 90d            hold for ninety days

The source must be free of errors, its own tests must pass and its invariants must hold. Keys are made with
`cordon keys new --role policy --name NAME` and never lie in the project directory.
Exit status: 0 built, 1 errors, failing tests or a broken invariant, 2 anything else.")]
pub(super) struct BuildArgs {
    /// The source directory [default: the configured one]
    source: Option<PathBuf>,
    /// Write a tar here instead of signing the directory in place
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A policy key to sign with, by name [default: the only one]
    #[arg(long = "key", value_name = "NAME")]
    keys: Vec<String>,
    /// The epoch [default: the last one plus one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=EPOCH_MAX))]
    epoch: Option<u64>,
    /// Until when it holds: a number of days (`90d`), a date or a time (RFC 3339, UTC) [default: 365d]
    #[arg(long, value_name = "D")]
    expires: Option<String>,
    /// The bundle's name
    #[arg(long, default_value = "policy")]
    name: String,
    /// The tenant it is for
    #[arg(long, default_value = "default")]
    tenant: String,
}

pub(super) fn run(args: &BuildArgs, global: &Global) -> Ended {
    let path = source_path(args.source.as_deref(), global)?;
    if args.output.is_none() && !path.is_dir() {
        return Err(Failure::new(format!(
            "`{}` is not a directory; name a tar to write with -o",
            path.display()
        )));
    }
    let ring = crate::config::key_ring()?;
    let now = SystemClock.now();
    let signers = signers(&ring, &args.keys)?;
    let expires = expiry(args.expires.as_deref(), now)?;
    let files = bundle_files::read(&path)?;
    let epoch = match args.epoch {
        Some(epoch) => epoch,
        None => {
            let before = match args.output.as_ref().filter(|tar| tar.exists()) {
                Some(tar) => bundle_files::read(tar)?,
                None => bundle_files::Files::new(),
            };
            let envelopes = [files.get(ENVELOPE_FILE), before.get(ENVELOPE_FILE)];
            let envelopes: Vec<&[u8]> = envelopes.into_iter().flatten().map(Vec::as_slice).collect();
            signing::next_epoch(&ring, &signers, &envelopes)?
        }
    };
    let terms = BundleTerms {
        role: BundleRole::Policy,
        name: args.name.as_str().into(),
        tenant: args.tenant.as_str().into(),
        epoch,
        not_before: whole_second(now),
        expires,
    };
    let signed = signing::sign(files, terms, &signers).map_err(|error| match error {
        SigningError::Invalid(findings) => refused_source(&findings, &path),
        error @ (SigningError::Tests(_) | SigningError::Invariant(_)) => Failure::from(error).exit(DENIED),
        error => Failure::from(error),
    })?;
    match &args.output {
        Some(tar) => bundle_files::write_tar(tar, &signed.files)?,
        None => bundle_files::write_envelope(&path, &signed.envelope)?,
    }
    signing::remember_epoch(&ring, &signers, signed.epoch)?;
    let bundle = args.output.as_deref().unwrap_or(&path);
    let keys: Vec<_> =
        signers.iter().map(|(name, key)| (name.as_str(), key.verifying_key().to_string())).collect();
    match global.format {
        Format::Json => term::say(json!({
            "bundle": bundle.to_string_lossy(),
            "epoch": signed.epoch,
            "expires": expires.to_string(),
            "digest": signed.digest,
            "tests": signed.tests,
            "signers": keys.iter().map(|(name, key)| json!({"name": name, "key": key})).collect::<Vec<_>>(),
        }))?,
        Format::Text => {
            term::say(format_args!(
                "{} {}: epoch {}, until {expires}, {} passed",
                Tone::Good.paint("signed"),
                term::safe(&bundle.to_string_lossy()),
                signed.epoch,
                count(signed.tests, "test"),
            ))?;
            for (name, key) in keys {
                term::say(format_args!("  by {name}  {key}"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The keys to sign with: those named, or the only policy key there is.
fn signers(ring: &KeyRing, named: &[String]) -> Result<Vec<Signer>, Failure> {
    let mut names: Vec<String> = named.to_vec();
    names.sort();
    names.dedup();
    if names.is_empty() {
        let have = ring.names(KeyRole::Policy)?;
        match have.as_slice() {
            [only] => names.push(only.to_string()),
            [] => {
                let text =
                    "there is no policy key; make one with `cordon keys new --role policy --name NAME`";
                return Err(Failure::new(text));
            }
            many => {
                return Err(Failure::new(format!(
                    "there are {} policy keys; choose with --key: {}",
                    many.len(),
                    many.join(", ")
                )));
            }
        }
    }
    names
        .into_iter()
        .map(|name| ring.signing(KeyRole::Policy, &name).map(|key| (name, key)).map_err(Failure::from))
        .collect()
}

/// The instant that `--expires` names.
fn expiry(text: Option<&str>, now: Timestamp) -> Result<Timestamp, Failure> {
    let days = |days: u64| whole_second(now).plus(Duration::from_secs(days.saturating_mul(86_400)));
    let Some(text) = text else { return Ok(days(DAYS_DEFAULT)) };
    let parsed = match text.strip_suffix('d') {
        Some(number) => number.parse::<u32>().ok().map(|number| days(number.into())),
        None => {
            Timestamp::parse_rfc3339(text).or_else(|| Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")))
        }
    };
    let expires = parsed.ok_or_else(|| {
        let text = term::safe(text);
        Failure::new(format!(
            "`{text}` is not a time; expected `90d`, `2027-01-31` or `2027-01-31T12:00:00Z`"
        ))
    })?;
    if expires <= now {
        return Err(Failure::new(format!("--expires {text} is not in the future; it is {now}")));
    }
    Ok(expires)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_days_a_date_or_a_time_and_lies_in_the_future() {
        let now = Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap();
        let check = |text: &str| expiry(Some(text), now).map(|time| time.to_string()).ok();
        assert_eq!(check("90d").as_deref(), Some("2026-04-01T00:00:00Z"));
        assert_eq!(check("2027-01-31").as_deref(), Some("2027-01-31T00:00:00Z"));
        assert_eq!(check("2026-01-01T00:00:01Z").as_deref(), Some("2026-01-01T00:00:01Z"));
        for text in ["", "d", "0d", "-1d", "2025-01-01", "soon", "99999999999d"] {
            assert_eq!(check(text), None, "{text}");
        }
    }
}
