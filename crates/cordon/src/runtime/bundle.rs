//! The signed bundle: read, verified offline, tried, and only then in force.

use std::path::PathBuf;

use cordon_core::Timestamp;
use cordon_guard::policy::{
    ActivationError, Bundle, BundleError, BundleRole, Counts, Diagnostic, LastAccepted, Trust,
};
use cordon_guard::ports::{Store, StoreDown};
use cordon_guard::{ActivePolicies, ShadowPolicies};

use crate::bundle_files::{self, Files, FilesError};
use crate::config::{Config, ConfigError};

/// A bundle that may come into force.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The policies.
    pub(crate) policies: ActivePolicies,
    /// What to remember once it is in force.
    pub(crate) accepted: LastAccepted,
    /// Until when it holds.
    pub(crate) expires: Timestamp,
    /// How much there is in it.
    pub(crate) counts: Counts,
    /// What somebody should look at.
    pub(crate) warnings: Vec<Diagnostic>,
    /// The bundle's files, envelope included, to be kept before it comes into force.
    pub(crate) files: Files,
}

/// Why a bundle may not come into force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The configuration names none.
    #[error("`[policy] path` in `{}` names no bundle; `cordon init` writes one", config.display())]
    Unnamed {
        /// The configuration.
        config: PathBuf,
    },
    /// Its files cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// It is not what its signers signed, or they do not count.
    #[error("the bundle `{}` is refused: {error}", path.display())]
    Refused {
        /// The bundle.
        path: PathBuf,
        /// Why.
        error: BundleError,
    },
    /// It cannot be put to use.
    #[error("the bundle `{}` cannot be used: {error}{}", path.display(), details(error))]
    Unusable {
        /// The bundle.
        path: PathBuf,
        /// Why.
        error: Box<ActivationError>,
    },
    /// The last accepted epoch is not known.
    #[error(transparent)]
    Store(#[from] StoreDown),
}

fn details(error: &ActivationError) -> String {
    match error {
        ActivationError::Invalid(findings) => {
            findings.iter().map(|finding| format!("\n{}", finding.render())).collect()
        }
        _ => String::new(),
    }
}

/// What a load needs, copied from the configuration so that a reload needs nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    config: PathBuf,
    path: Option<PathBuf>,
    trust: Trust,
}

impl Source {
    /// Where the configuration says the bundle is, and who may sign it.
    pub(crate) fn new(config: &Config) -> Self {
        Self { config: config.file.clone(), path: config.policy.clone(), trust: config.trust.clone() }
    }

    /// Where the bundle is.
    pub(crate) fn path(&self) -> String {
        self.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// Where the configuration says, as it lies there, that the shadow bundle is. This alone takes
    /// effect at a reload: nothing that is enforced depends on it.
    pub(crate) fn shadow_path(&self) -> Result<Option<PathBuf>, ConfigError> {
        match std::fs::read_to_string(&self.config) {
            Ok(text) => Ok(Config::parse(&text, &self.config)?.shadow),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ConfigError::Unreadable { path: self.config.clone(), source }),
        }
    }

    /// Reads, verifies and compiles the shadow bundle at `path`, as one that comes into force but for its
    /// order: a shadow may be older or newer than what is in force, and is not remembered.
    pub(crate) fn load_shadow(
        &self,
        path: PathBuf,
        now: Timestamp,
    ) -> Result<(ShadowPolicies, Files), LoadError> {
        let files = bundle_files::read(&path)?;
        let bundle = Bundle::verify(files.clone(), &self.trust, BundleRole::Policy, None, now)
            .map_err(|error| LoadError::Refused { path: path.clone(), error })?;
        let compiled =
            bundle.activate().map_err(|error| LoadError::Unusable { path, error: Box::new(error) })?;
        let terms = &bundle.statement().terms;
        let (epoch, expires) = (Some(terms.epoch), terms.expires);
        Ok((ShadowPolicies { set: compiled.policies, epoch, expires }, files))
    }

    /// Who may sign.
    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Reads and verifies the bundle, runs its own tests and the known-forbidden action, and compiles
    /// it. Nothing is in force or remembered yet.
    pub(crate) fn load(&self, store: &dyn Store, now: Timestamp) -> Result<Loaded, LoadError> {
        let path = self.path.clone().ok_or_else(|| LoadError::Unnamed { config: self.config.clone() })?;
        let files = bundle_files::read(&path)?;
        let last = store
            .last_epoch(BundleRole::Policy.as_str())?
            .map(|(epoch, digest)| LastAccepted { epoch, digest });
        let bundle = Bundle::verify(files.clone(), &self.trust, BundleRole::Policy, last, now)
            .map_err(|error| LoadError::Refused { path: path.clone(), error })?;
        let compiled =
            bundle.activate().map_err(|error| LoadError::Unusable { path, error: Box::new(error) })?;
        let terms = &bundle.statement().terms;
        Ok(Loaded {
            accepted: bundle.accepted(),
            expires: terms.expires,
            counts: compiled.policies.counts(),
            warnings: compiled.warnings,
            files,
            policies: ActivePolicies { set: compiled.policies, epoch: Some(terms.epoch), signed: true },
        })
    }
}
