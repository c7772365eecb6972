//! Signing a policy source: only what would load is signed, and epochs never go down.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cordon_core::ed25519::SigningKey;
use cordon_core::json::{self, Node};
use cordon_core::{Limits, Timestamp};
use cordon_guard::policy::{
    Bundle, BundleError, BundleTerms, Diagnostic, ENVELOPE_FILE, EPOCH_MAX, Invariant, Invariants, PolicySet,
    PolicySource, TestReport, build_statement,
};
use cordon_store::keyfile::{KeyRing, KeyRole};

use crate::bundle_files::{self, Files, FilesError};

/// How many requests are tried for each invariant before a bundle is signed.
pub(crate) const INVARIANT_TRIES: u64 = 20_000;

/// A key to sign with, and its name.
pub(crate) type Signer = (String, SigningKey);

/// A bundle that was just signed.
#[derive(Debug)]
pub(crate) struct Signed {
    /// Every file, the envelope included.
    pub(crate) files: Files,
    /// The text of the envelope.
    pub(crate) envelope: String,
    /// Its epoch.
    pub(crate) epoch: u64,
    /// The digest of the statement.
    pub(crate) digest: String,
    /// How many of its own tests passed.
    pub(crate) tests: usize,
}

/// Why a source is not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SigningError {
    /// It has errors.
    #[error("the policy source has {} finding(s) that refuse it", .0.len())]
    Invalid(Vec<Diagnostic>),
    /// Its own tests fail.
    #[error(
        "{} of its own tests fail, so the bundle would be refused; `cordon policy test` shows them; the first: {}",
        .0.failed(), .0.first_failure()
    )]
    Tests(TestReport),
    /// A request is let through that one of its invariants does not let through like that.
    #[error(
        "the invariant `{}` is broken; `cordon policy check` shows by which request", .0.name
    )]
    Invariant(Box<Invariant>),
    /// It cannot be described.
    #[error(transparent)]
    Statement(#[from] BundleError),
}

/// Signs `files` under `terms` with every key, once they compile, their own tests pass, and no request
/// is found that breaks an invariant.
pub(crate) fn sign(mut files: Files, terms: BundleTerms, signers: &[Signer]) -> Result<Signed, SigningError> {
    files.remove(ENVELOPE_FILE);
    let source = PolicySource::from(files.clone());
    let compiled = PolicySet::compile(&source).map_err(SigningError::Invalid)?;
    let report = compiled.policies.run_tests();
    if report.failed() > 0 {
        return Err(SigningError::Tests(report));
    }
    let invariants = Invariants::compile(&source).map_err(SigningError::Invalid)?;
    let searched = invariants.search(&compiled.policies, INVARIANT_TRIES);
    if let Some(broken) = searched.into_iter().find(|searched| searched.breach.is_some()) {
        return Err(SigningError::Invariant(Box::new(broken.invariant)));
    }
    let epoch = terms.epoch;
    let statement = build_statement(&files, terms)?;
    let keys: Vec<SigningKey> = signers.iter().map(|(_, key)| key.clone()).collect();
    let envelope = Bundle::sign(&statement, &keys);
    files.insert(ENVELOPE_FILE.into(), envelope.clone().into_bytes());
    Ok(Signed { files, envelope, epoch, digest: statement.digest().to_string(), tests: report.passed() })
}

/// The second that has begun, so that no clock a fraction behind refuses the bundle.
pub(crate) const fn whole_second(now: Timestamp) -> Timestamp {
    Timestamp::from_micros(now.as_secs().saturating_mul(1_000_000))
}

/// There is no next epoch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum EpochError {
    /// The last epoch was the last one possible.
    #[error("the epoch {0} is the last one possible")]
    Exhausted(u64),
    /// A key's memory is not a number.
    #[error("`{}` holds `{got}`, expected a number", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it holds.
        got: String,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// One more than the highest epoch that is known of: what envelopes claim, and what the signing keys
/// remember.
pub(crate) fn next_epoch(ring: &KeyRing, signers: &[Signer], envelopes: &[&[u8]]) -> Result<u64, EpochError> {
    let mut last = envelopes.iter().filter_map(|envelope| epoch_hint(envelope)).max().unwrap_or_default();
    for (name, _) in signers {
        last = last.max(remembered(&epoch_file(ring, name))?);
    }
    let next = last.saturating_add(1);
    if next > EPOCH_MAX { Err(EpochError::Exhausted(last)) } else { Ok(next) }
}

/// Lets each signing key remember the epoch, so that the next bundle goes on from it.
pub(crate) fn remember_epoch(ring: &KeyRing, signers: &[Signer], epoch: u64) -> Result<(), EpochError> {
    for (name, _) in signers {
        let file = epoch_file(ring, name);
        if remembered(&file)? < epoch {
            bundle_files::replace(&file, format!("{epoch}\n").as_bytes())?;
        }
    }
    Ok(())
}

/// The epoch that an envelope claims, unverified: good enough to count on from, never to trust.
fn epoch_hint(envelope: &[u8]) -> Option<u64> {
    let limits = Limits { message_bytes_max: 8 << 20, ..Limits::DEFAULT };
    let node = json::parse(envelope, &limits).ok()?;
    let payload = STANDARD.decode(node.get("payload").and_then(Node::as_text)?).ok()?;
    let statement = json::parse(&payload, &limits).ok()?;
    u64::try_from(statement.get("predicate")?.get("epoch")?.as_i64()?).ok()
}

fn epoch_file(ring: &KeyRing, name: &str) -> PathBuf {
    ring.dir().join(KeyRole::Policy.as_str()).join(format!("{name}.epoch"))
}

fn remembered(path: &Path) -> Result<u64, EpochError> {
    match std::fs::read_to_string(path) {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|_| EpochError::Malformed { path: path.into(), got: text.chars().take(40).collect() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(FilesError::Io { doing: "read", path: path.into(), source }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_guard::policy::BundleRole;

    fn terms(epoch: u64) -> BundleTerms {
        BundleTerms {
            role: BundleRole::Policy,
            name: "p".into(),
            tenant: "t".into(),
            epoch,
            not_before: Timestamp::from_micros(0),
            expires: Timestamp::from_micros(1_000_000),
        }
    }

    fn signer() -> Signer {
        ("alice".to_owned(), SigningKey::from_seed(&[7; 32]).unwrap())
    }

    fn source(files: &[(&str, &str)]) -> Files {
        files.iter().map(|(path, text)| ((*path).into(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_source_that_would_not_load_is_not_signed() {
        let broken = source(&[("permissions/a.cedar", "permit(principl, action, resource);")]);
        assert!(matches!(sign(broken, terms(1), &[signer()]), Err(SigningError::Invalid(_))));
        let test =
            "[[test]]\nname = \"x\"\nowner = \"o\"\nagent = \"a\"\naction = \"s/t\"\nexpect = \"allow\"\n";
        let failing = source(&[("tests/a.toml", test)]);
        assert!(matches!(sign(failing, terms(1), &[signer()]), Err(SigningError::Tests(_))));
        assert!(sign(source(&[]), terms(1), &[signer()]).is_ok(), "denying everything is a policy");
    }

    #[test]
    fn epochs_go_on_from_what_envelopes_claim_and_keys_remember() {
        let dir = tempfile::tempdir().unwrap();
        let ring = KeyRing::at(dir.path());
        std::fs::create_dir(dir.path().join("policy")).unwrap();
        let signers = [signer()];
        assert_eq!(next_epoch(&ring, &signers, &[]).unwrap(), 1);
        let signed = sign(Files::new(), terms(41), &signers).unwrap();
        assert_eq!(next_epoch(&ring, &signers, &[signed.envelope.as_bytes()]).unwrap(), 42);
        remember_epoch(&ring, &signers, 50).unwrap();
        remember_epoch(&ring, &signers, 3).unwrap();
        assert_eq!(next_epoch(&ring, &signers, &[signed.envelope.as_bytes()]).unwrap(), 51);
        let last = sign(Files::new(), terms(EPOCH_MAX), &signers).unwrap();
        let next = next_epoch(&ring, &signers, &[last.envelope.as_bytes()]);
        assert!(matches!(next, Err(EpochError::Exhausted(_))));
        for bytes in [&b""[..], b"{}", b"{\"payload\":\"!\"}", b"{\"payload\":\"e30=\"}"] {
            assert_eq!(epoch_hint(bytes), None);
        }
    }
}
