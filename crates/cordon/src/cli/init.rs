//! `cordon init`: a configuration, a policy with tests, keys, and a signed bundle that loads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cordon_core::ed25519::{SigningKey, VerifyingKey};
use cordon_core::{Duration, Timestamp};
use cordon_guard::policy::{BundleRole, BundleTerms, ENVELOPE_FILE};
use cordon_guard::ports::Clock;
use cordon_store::keyfile::{KeyRing, KeyRole};
use cordon_store::system::{SystemClock, SystemRandom};
use serde_json::json;

use super::{Ended, Failure, Format, Global};
use crate::bundle_files::{self, Files};
use crate::config::{self, Config};
use crate::shipped;
use crate::signing::{self, Signer};
use crate::term::{self, Tone};

/// How long the first bundle holds.
const DAYS: u64 = 365;

/// What `cordon init` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon init                     in this directory
  cordon init ~/agents/billing    somewhere else

Nothing that exists is overwritten: a second run says what is there and changes nothing. Keys lie in
$XDG_CONFIG_HOME/cordon/keys (else ~/.config/cordon/keys), never in the project.")]
pub(crate) struct InitArgs {
    /// Where to write
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The name of the policy key to sign with; made if there is none [default: the login name]
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// The name of the approver's key; made if there is none [default: the login name]
    #[arg(long, value_name = "NAME")]
    approver: Option<String>,
}

/// What became of one part.
struct Part {
    what: &'static str,
    path: PathBuf,
    made: bool,
}

/// Runs `cordon init`.
pub(crate) fn run(args: InitArgs, global: &Global) -> Ended {
    let file = args.dir.join(config::FILE);
    if fs::symlink_metadata(&file).is_ok() {
        return present(&args.dir, &file, global);
    }
    fs::create_dir_all(&args.dir)?;
    let ring = config::key_ring()?;
    let login: String = Config::parse("", &file)?.identity.owner.into();
    let mut parts = Vec::new();
    let (signer, key) = key(&ring, KeyRole::Policy, args.key.as_deref(), &login, &mut parts)?;
    let (approver, answer) = key_of_approver(&ring, args.approver.as_deref(), &login, &mut parts)?;
    let policy = args.dir.join("policy");
    let fresh = fs::symlink_metadata(&policy).is_err();
    if fresh {
        write_policy(&policy)?;
    }
    parts.push(Part { what: "policy", path: policy.clone(), made: fresh });
    let trusted = key.verifying_key();
    sign(&ring, &policy, (signer, key))?;
    let text = configuration(&trusted, &approver, &answer);
    // The file that makes the directory a node comes last: a run that was cut short can be repeated.
    bundle_files::replace(&file, text.as_bytes())?;
    parts.push(Part { what: "configuration", path: file, made: true });
    report(&parts, &args.dir, global)?;
    Ok(ExitCode::SUCCESS)
}

/// Says what is there; nothing is changed.
fn present(dir: &Path, file: &Path, global: &Global) -> Ended {
    let mut parts = vec![Part { what: "configuration", path: file.to_path_buf(), made: false }];
    let policy = dir.join("policy");
    if policy.exists() {
        parts.push(Part { what: "policy", path: policy, made: false });
    }
    report(&parts, dir, global)?;
    Ok(ExitCode::SUCCESS)
}

/// The key of this name, made if there is none; without a name the only one there is.
fn key(
    ring: &KeyRing,
    role: KeyRole,
    named: Option<&str>,
    login: &str,
    parts: &mut Vec<Part>,
) -> Result<(String, SigningKey), Failure> {
    let have = ring.names(role)?;
    let name = match (named, have.as_slice()) {
        (Some(name), _) => name.to_owned(),
        (None, [only]) => only.to_string(),
        (None, _) => login.to_owned(),
    };
    let made = !have.iter().any(|have| **have == *name);
    let key = ring.signing_or_new(role, &name, &SystemRandom)?;
    let what = if role == KeyRole::Policy { "policy key" } else { "approver key" };
    let path = ring.dir().join(role.as_str()).join(format!("{name}.key"));
    parts.push(Part { what, path, made });
    Ok((name, key))
}

fn key_of_approver(
    ring: &KeyRing,
    named: Option<&str>,
    login: &str,
    parts: &mut Vec<Part>,
) -> Result<(String, VerifyingKey), Failure> {
    let (name, key) = key(ring, KeyRole::Approver, named, login, parts)?;
    Ok((name, key.verifying_key()))
}

fn write_policy(dir: &Path) -> Result<(), Failure> {
    for (path, text) in shipped::STARTER {
        let file = dir.join(path);
        fs::create_dir_all(file.parent().unwrap_or(dir))?;
        bundle_files::replace(&file, text.as_bytes())?;
    }
    Ok(())
}

/// Signs the policy in place, unless it carries a signature already.
fn sign(ring: &KeyRing, policy: &Path, signer: Signer) -> Result<(), Failure> {
    let files: Files = bundle_files::read_dir(policy)?;
    if files.contains_key(ENVELOPE_FILE) {
        return Ok(());
    }
    let signers = [signer];
    let now: Timestamp = signing::whole_second(SystemClock.now());
    let terms = BundleTerms {
        role: BundleRole::Policy,
        name: "policy".into(),
        tenant: "default".into(),
        epoch: signing::next_epoch(ring, &signers, &[])?,
        not_before: now,
        expires: now.plus(Duration::from_secs(DAYS.saturating_mul(86_400))),
    };
    let signed = signing::sign(files, terms, &signers)
        .map_err(|error| Failure::from(error).context("`cordon policy check` says more"))?;
    bundle_files::write_envelope(policy, &signed.envelope)?;
    Ok(signing::remember_epoch(ring, &signers, signed.epoch)?)
}

/// The configuration, every table explained.
fn configuration(policy: &VerifyingKey, approver: &str, answer: &VerifyingKey) -> String {
    shipped::CONFIGURATION
        .replace("{POLICY_KEY}", &policy.to_string())
        .replace("{APPROVER}", approver)
        .replace("{APPROVER_KEY}", &answer.to_string())
}

fn report(parts: &[Part], dir: &Path, global: &Global) -> Result<(), Failure> {
    if global.format == Format::Json {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| json!({"what": part.what, "path": part.path.to_string_lossy(), "made": part.made}))
            .collect();
        return Ok(term::say(json!({ "parts": parts }))?);
    }
    for part in parts {
        let word = if part.made { Tone::Good.paint("made ") } else { Tone::Caution.paint("there") };
        term::say(format_args!("{word}  {:<14} {}", part.what, term::safe(&part.path.to_string_lossy())))?;
    }
    if parts.iter().all(|part| !part.made) {
        return Ok(term::say("nothing was changed")?);
    }
    let enter = if dir == Path::new(".") {
        String::new()
    } else {
        format!("cd {} && ", term::safe(&dir.to_string_lossy()))
    };
    term::say(format_args!("\n{}", Tone::Strong.paint("next")))?;
    term::say(format_args!("  {enter}cordon policy test"))?;
    term::say(
        "  cordon mcp --name SERVER -- COMMAND…   instead of COMMAND… in an agent's MCP configuration",
    )?;
    term::say("  cordon approve ls                      what waits for an answer")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_that_is_written_is_one() {
        let key = SigningKey::from_seed(&[1; 32]).unwrap().verifying_key();
        let other = SigningKey::from_seed(&[2; 32]).unwrap().verifying_key();
        let text = configuration(&key, "alice", &other);
        let config = Config::parse(&text, Path::new("/tmp/cordon.toml")).unwrap();
        let trust = config.trust.role(BundleRole::Policy).unwrap();
        assert!(trust.keys().contains(&key) && trust.keys().len() == 1);
        assert_eq!(config.approvers.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["alice"]);
        // Every example that is commented out is understood, too.
        let examples: String =
            text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
        assert_ne!(examples, text);
        let config = Config::parse(&examples, Path::new("/tmp/cordon.toml"));
        assert!(config.is_ok(), "{}", config.unwrap_err());
    }
}
