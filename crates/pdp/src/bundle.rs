//! Signed bundles: who signed which files, in which order, until when (`spec/bundle.md`).

mod dsse;
mod kills;
mod statement;

use std::collections::{BTreeMap, BTreeSet};

use cordon_core::ed25519::{SigningKey, VerifyingKey};
use cordon_core::{Digest, KillOrder, Timestamp};

use crate::{Compiled, Diagnostic, ENVELOPE_FILE, PolicySource, TestReport};

pub use kills::{KILLS_FILE, parse_kills};
pub use statement::{BundleRole, BundleTerms, EPOCH_MAX, Statement, build_statement};

/// Whose signatures count for each role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust(BTreeMap<BundleRole, RoleTrust>);

/// How many of which keys must sign for one role.
// INVARIANT: 1 ≤ threshold ≤ number of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleTrust {
    threshold: u32,
    keys: BTreeSet<VerifyingKey>,
}

/// The threshold cannot be met, or asks for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the threshold is {threshold}, expected 1 to {keys}, the number of different keys")]
pub struct InvalidThreshold {
    threshold: u32,
    keys: usize,
}

impl RoleTrust {
    /// `threshold` of `keys` must sign; a key listed twice is one key.
    pub fn new(
        threshold: u32,
        keys: impl IntoIterator<Item = VerifyingKey>,
    ) -> Result<Self, InvalidThreshold> {
        let keys: BTreeSet<_> = keys.into_iter().collect();
        let reachable = usize::try_from(threshold).is_ok_and(|needed| (1..=keys.len()).contains(&needed));
        if reachable {
            Ok(Self { threshold, keys })
        } else {
            Err(InvalidThreshold { threshold, keys: keys.len() })
        }
    }

    /// How many different keys must sign.
    pub const fn threshold(&self) -> u32 {
        self.threshold
    }

    /// The keys that count.
    pub const fn keys(&self) -> &BTreeSet<VerifyingKey> {
        &self.keys
    }
}

impl Trust {
    /// Trusts nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the keys of `trust` sign bundles of `role`.
    #[must_use]
    pub fn with(mut self, role: BundleRole, trust: RoleTrust) -> Self {
        self.0.insert(role, trust);
        self
    }

    /// Whose signatures count for `role`.
    pub fn role(&self, role: BundleRole) -> Option<&RoleTrust> {
        self.0.get(&role)
    }
}

/// The bundle of a role that was accepted last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastAccepted {
    /// Its epoch.
    pub epoch: u64,
    /// The digest of its statement.
    pub digest: Digest,
}

/// Whether a verified bundle is the one that was accepted last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// A bundle of a higher epoch, or the first one.
    New,
    /// The very bundle that was accepted last, as after a restart.
    Unchanged,
}

/// Why a bundle is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// There is no envelope.
    #[error("`{ENVELOPE_FILE}` is missing; sign the source with `cordon policy build`")]
    Unsigned,
    /// The envelope cannot be read.
    #[error("`{ENVELOPE_FILE}` is not a signed envelope: {problem}; build the bundle again")]
    Envelope {
        /// What is wrong.
        problem: String,
    },
    /// The statement inside cannot be read.
    #[error("the statement in `{ENVELOPE_FILE}` is refused: {problem}; build the bundle again")]
    Statement {
        /// What is wrong.
        problem: String,
    },
    /// The bundle is for another role than the one asked for.
    #[error("the bundle has the role `{got}`, expected `{want}`")]
    Role {
        /// The role it has.
        got: BundleRole,
        /// The role that was asked for.
        want: BundleRole,
    },
    /// Nobody is trusted to sign for this role.
    #[error("no key is trusted for the role `{role}`; list its keys under `[trust.{role}]` in cordon.toml")]
    NoTrust {
        /// The role.
        role: BundleRole,
    },
    /// Too few of the trusted keys signed.
    #[error(
        "{got} of the {want} signatures that `[trust.{role}]` asks for are there; \
         sign with more of its keys, or build the bundle again if it was altered"
    )]
    Signatures {
        /// The role.
        role: BundleRole,
        /// Different trusted keys that signed.
        got: usize,
        /// How many are needed.
        want: u32,
    },
    /// It does not hold yet.
    #[error("the bundle holds from {not_before} on and it is {now}")]
    NotYet {
        /// From when on it holds.
        not_before: Timestamp,
        /// The time now.
        now: Timestamp,
    },
    /// It holds no longer.
    #[error("the bundle expired at {expires} and it is {now}; build it again with a later `--expires`")]
    Expired {
        /// Until when it held.
        expires: Timestamp,
        /// The time now.
        now: Timestamp,
    },
    /// An older bundle, or another one of the same epoch.
    #[error(
        "the bundle has the epoch {got} and {last} was accepted before; build it with `--epoch {next}` or later"
    )]
    Rollback {
        /// Its epoch.
        got: u64,
        /// The epoch that was accepted last.
        last: u64,
        /// The first epoch that would be accepted.
        next: u64,
    },
    /// A listed file is not there.
    #[error("the file `{0}` is listed in the statement and missing; restore it or build the bundle again")]
    Missing(Box<str>),
    /// A file is not listed.
    #[error("the file `{0}` is not listed in the statement; remove it or build the bundle again")]
    Extra(Box<str>),
    /// A file is not the one that was signed.
    #[error("the file `{0}` was altered after signing; restore it or build the bundle again")]
    Altered(Box<str>),
}

/// Why a verified bundle is not put to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActivationError {
    /// A bundle of this role is not put to use like that.
    #[error("a bundle of the role `{0}` is not put to use like this")]
    Role(BundleRole),
    /// A kill bundle holds something else than its one file.
    #[error("a kill bundle holds `{KILLS_FILE}` and nothing else, and this one `{0}`")]
    NotDenyOnly(Box<str>),
    /// The source has errors.
    #[error("the bundle has {} error(s); the first: {}", .0.len(), first(.0))]
    Invalid(Vec<Diagnostic>),
    /// The bundle's own tests fail.
    #[error("{} of the bundle's own tests fail; the first: {}", .0.failed(), .0.first_failure())]
    Tests(Box<TestReport>),
    /// An action that must be denied was not.
    #[error("the known-forbidden action was not denied; the engine cannot be trusted on this machine")]
    SelfCheck,
}

fn first(findings: &[Diagnostic]) -> String {
    findings.first().map(ToString::to_string).unwrap_or_default()
}

/// The ways to make and to check a bundle.
#[derive(Debug, Clone, Copy)]
pub enum Bundle {}

impl Bundle {
    /// The text of `cordon-bundle.json`: `statement` signed with every key.
    pub fn sign(statement: &Statement, keys: &[SigningKey]) -> String {
        dsse::Envelope::sign(statement.to_json().into_bytes(), keys)
    }

    /// What the statement in an envelope says, with nothing checked: to show it to a person, or to
    /// choose the next epoch when building. Never a reason to load anything.
    pub fn unverified_statement(envelope: &[u8]) -> Result<Statement, BundleError> {
        let envelope = dsse::Envelope::parse(envelope)?;
        Statement::parse(envelope.signers([]).0)
    }

    /// Checks signatures, role, validity, order and the exact set of files, in that order.
    ///
    /// `files` are all files of the bundle, envelope included. `last` is what was accepted last for
    /// this role; it must have been persisted. Nothing of an unverified statement is reported but
    /// why it is refused.
    pub fn verify(
        mut files: BTreeMap<Box<str>, Vec<u8>>,
        trust: &Trust,
        role: BundleRole,
        last: Option<LastAccepted>,
        now: Timestamp,
    ) -> Result<VerifiedBundle, BundleError> {
        let envelope = files.remove(ENVELOPE_FILE).ok_or(BundleError::Unsigned)?;
        let envelope = dsse::Envelope::parse(&envelope)?;
        let trusted = trust.role(role).ok_or(BundleError::NoTrust { role })?;
        let (payload, signers) = envelope.signers(&trusted.keys);
        if !usize::try_from(trusted.threshold).is_ok_and(|needed| signers.len() >= needed) {
            return Err(BundleError::Signatures { role, got: signers.len(), want: trusted.threshold });
        }
        let statement = Statement::parse(payload)?;
        let digest = Digest::of(payload);
        let terms = &statement.terms;
        if terms.role != role {
            return Err(BundleError::Role { got: terms.role, want: role });
        }
        if now < terms.not_before {
            return Err(BundleError::NotYet { not_before: terms.not_before, now });
        }
        if now >= terms.expires {
            return Err(BundleError::Expired { expires: terms.expires, now });
        }
        let freshness = freshness(terms.epoch, digest, last)?;
        exact_files(&statement, &files)?;
        Ok(VerifiedBundle { statement, digest, signers, freshness, source: files.into() })
    }
}

fn freshness(epoch: u64, digest: Digest, last: Option<LastAccepted>) -> Result<Freshness, BundleError> {
    match last {
        None => Ok(Freshness::New),
        Some(last) if epoch > last.epoch => Ok(Freshness::New),
        Some(last) if epoch == last.epoch && digest == last.digest => Ok(Freshness::Unchanged),
        Some(last) => {
            Err(BundleError::Rollback { got: epoch, last: last.epoch, next: last.epoch.saturating_add(1) })
        }
    }
}

fn exact_files(statement: &Statement, files: &BTreeMap<Box<str>, Vec<u8>>) -> Result<(), BundleError> {
    if let Some(extra) = files.keys().find(|path| !statement.files.contains_key(*path)) {
        return Err(BundleError::Extra(extra.clone()));
    }
    for (path, digest) in &statement.files {
        match files.get(path) {
            None => return Err(BundleError::Missing(path.clone())),
            Some(bytes) if Digest::of(bytes) != *digest => return Err(BundleError::Altered(path.clone())),
            Some(_) => {}
        }
    }
    Ok(())
}

/// A bundle whose signatures, validity, order and files were checked.
// INVARIANT: only made by `Bundle::verify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBundle {
    statement: Statement,
    digest: Digest,
    signers: BTreeSet<VerifyingKey>,
    freshness: Freshness,
    source: PolicySource,
}

impl VerifiedBundle {
    /// What the signers said.
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The digest of the statement as it was signed; remember it with the epoch.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What to remember once the bundle is in use.
    pub const fn accepted(&self) -> LastAccepted {
        LastAccepted { epoch: self.statement.terms.epoch, digest: self.digest }
    }

    /// The trusted keys that signed.
    pub const fn signers(&self) -> &BTreeSet<VerifyingKey> {
        &self.signers
    }

    /// Whether it is the bundle that was accepted last.
    pub const fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// The files that were signed.
    pub const fn source(&self) -> &PolicySource {
        &self.source
    }

    /// Validates and compiles the files, runs the bundle's own tests and tries an action that must
    /// be denied; only what passes all of it may be put to use.
    pub fn activate(&self) -> Result<Compiled, ActivationError> {
        let role = self.statement.terms.role;
        if role != BundleRole::Policy {
            return Err(ActivationError::Role(role));
        }
        activate(&self.source)
    }

    /// What a kill bundle switches off. Nothing else can be said in one: no file that could permit
    /// anything is taken.
    pub fn kills(&self) -> Result<BTreeSet<KillOrder>, ActivationError> {
        let role = self.statement.terms.role;
        if role != BundleRole::Kill {
            return Err(ActivationError::Role(role));
        }
        if let Some(other) = self.source.files().keys().find(|path| &***path != KILLS_FILE) {
            return Err(ActivationError::NotDenyOnly(other.clone()));
        }
        let bytes = self.source.files().get(KILLS_FILE);
        let bytes = bytes.ok_or_else(|| ActivationError::NotDenyOnly("nothing".into()))?;
        let invalid = |finding| ActivationError::Invalid(vec![finding]);
        let text = std::str::from_utf8(bytes)
            .map_err(|_| invalid(Diagnostic::error(KILLS_FILE, "the file is not valid UTF-8")))?;
        parse_kills(text).map_err(ActivationError::Invalid)
    }
}

/// Compiles `source`, runs its own tests and tries an action that must be denied.
pub(crate) fn activate(source: &PolicySource) -> Result<Compiled, ActivationError> {
    let compiled = crate::PolicySet::compile(source).map_err(ActivationError::Invalid)?;
    if !compiled.policies.denies_the_forbidden() {
        return Err(ActivationError::SelfCheck);
    }
    let report = compiled.policies.run_tests();
    if report.failed() > 0 {
        return Err(ActivationError::Tests(Box::new(report)));
    }
    Ok(compiled)
}
