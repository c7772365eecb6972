//! The process that owns a data directory: everything wired together, in the order of dependence.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cordon_core::{Digest, Hasher, Timestamp};
use cordon_gateway::mcp::Server;
use cordon_guard::policy::{BundleRole, Counts, PolicySet};
use cordon_guard::ports::{Clock as _, Store};
use cordon_guard::{ActivePolicies, AdminAct, Guard, GuardLimits, Ports};
use cordon_store::datadir::{DataDirError, Lock};
use cordon_store::keyfile::{KeyRing, KeyRole};
use cordon_store::ledger::{Engine, LedgerError, Options};
use cordon_store::state::State;
use cordon_store::system::{SystemClock, SystemRandom};
use cordon_store::tokens::Tokens;

use super::archive::Archive;
use super::attach::Attaching;
use super::bundle::{Loaded, Source};
use super::console::Console;
use super::definitions::Definitions;
use super::keys;
use super::known::Known;
use super::listen::Listening;
use super::recorder::Recorder;
use super::serve::Clients;
use super::shadow::ShadowState;
use crate::cli::Failure;
use crate::config::{self, Config};
use crate::term;

/// How often and how long the lock is tried: another command may be looking at it.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(30);

/// One running node.
pub(crate) struct Owner {
    /// What it was started with.
    pub(crate) config: Config,
    /// The guard.
    pub(crate) guard: Guard,
    /// The ledger's engine.
    pub(crate) engine: Arc<Engine>,
    /// The ledger as the guard uses it.
    pub(crate) recorder: Arc<Recorder>,
    /// Bearer tokens for this machine.
    pub(crate) tokens: Tokens,
    /// What accepted tools said about themselves.
    pub(crate) definitions: Definitions,
    /// Every bundle that was in force.
    pub(super) archive: Archive,
    /// Private keys.
    pub(crate) ring: KeyRing,
    /// The MCP servers by name, configured or attached.
    pub(crate) servers: Mutex<HashMap<Box<str>, Arc<Server>>>,
    /// The fronts that wait for their second connection.
    pub(crate) attaching: Attaching,
    /// Where it is reached over the network.
    listening: Listening,
    /// Who uses the console.
    pub(crate) console: Console,
    /// Who keeps it alive.
    pub(crate) clients: Clients,
    /// When it started.
    pub(crate) started: Timestamp,
    pub(super) store: Arc<dyn Store>,
    source: Source,
    in_force: Mutex<InForce>,
    pub(super) shadow: Mutex<ShadowState>,
    pub(super) known: Mutex<Known>,
    /// Held while the bundle or the log key changes.
    pub(super) changing: tokio::sync::Mutex<()>,
    lock: Lock,
}

/// What is known about the policies in force, beside the policies.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    /// Until when the bundle holds.
    pub(crate) expires: Timestamp,
    /// How much there is in it.
    pub(crate) counts: Counts,
    /// Why the last bundle that was offered is not in force.
    pub(crate) refused: Option<String>,
}

impl Owner {
    /// Takes the data directory, opens state and ledger, and puts the signed bundle in force.
    pub(crate) async fn open(config: Config) -> Result<Arc<Self>, Failure> {
        let data = &config.data;
        data.create()?;
        let lock = lock(&config).await?;
        let now = SystemClock.now();
        let id = data.id(&lock, now, &SystemRandom)?;
        let ring = config::key_ring()?;
        let state_key = || -> Result<_, Failure> { Ok(keys::state_or_new(&ring, id, &SystemRandom)??) };
        let store: Arc<dyn Store> =
            Arc::new(State::open(&data.state_file(), state_key()?, Arc::new(SystemRandom))?);
        let definitions = Definitions::open(data.definitions(), state_key()?)?;
        let archive = Archive::at(data.bundles(), state_key()?);
        let tokens = Tokens::open(&data.tokens(), &SystemRandom)?;

        let source = Source::new(&config);
        let loaded = source.load(&*store, now).map_err(|error| Failure::from(error).code("BUNDLE-001"))?;
        warn(&loaded);
        archive.keep(&loaded.files)?;
        let engine = Arc::new(open_ledger(&config, &ring, id, now)?);
        let recorder = Arc::new(Recorder::new(Arc::clone(&engine) as _));
        let ports = Ports {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            ledger: Arc::clone(&recorder) as _,
            store: Arc::clone(&store),
        };
        let limits = GuardLimits {
            approval_s: config.approval_s,
            sessions_max: config.limits.sessions_max,
            ..GuardLimits::default()
        };
        let Loaded { policies, accepted, expires, counts, .. } = loaded;
        let guard = Guard::new(ports, policies, config.approvers.clone(), limits);
        let owner = Arc::new(Self {
            in_force: Mutex::new(InForce { expires, counts, refused: None }),
            shadow: Mutex::default(),
            known: Mutex::new(Known::open(config.data.path())),
            servers: Mutex::default(),
            attaching: Attaching::default(),
            console: Console::default(),
            clients: Clients::default(),
            listening: Listening::new(),
            changing: tokio::sync::Mutex::default(),
            started: now,
            config,
            guard,
            engine,
            recorder,
            tokens,
            definitions,
            archive,
            ring,
            store,
            source,
            lock,
        });
        owner.record_changes().await?;
        owner.attest(&owner.config.login).await?;
        owner.load_shadow(&owner.config.login).await;
        owner.store.accept_epoch(BundleRole::Policy.as_str(), accepted.epoch, accepted.digest)?;
        Ok(owner)
    }

    /// What is known about the policies in force.
    pub(crate) fn in_force(&self) -> InForce {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the bundle comes from and who may sign it.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Loads the bundle again, and the one in its shadow. A bad one is refused, recorded and reported;
    /// the old one stays.
    pub(crate) async fn reload(&self, author: &str) -> Result<(), String> {
        let _one_at_a_time = self.changing.lock().await;
        let reloaded = self.reload_live(author).await;
        self.load_shadow(author).await;
        reloaded
    }

    async fn reload_live(&self, author: &str) -> Result<(), String> {
        let loaded = match self.source.load(&*self.store, self.guard.now()) {
            Ok(loaded) => loaded,
            Err(error) => return Err(self.refuse(author, &error.to_string()).await),
        };
        warn(&loaded);
        // What cannot be kept cannot be judged again, so it does not come into force.
        if let Err(error) = self.archive.keep(&loaded.files) {
            return Err(self.refuse(author, &error.to_string()).await);
        }
        let Loaded { policies, accepted, expires, counts, .. } = loaded;
        let (digest, now_in_force) = (policies.set.digest(), self.guard.policies());
        if digest != now_in_force.set.digest() || policies.epoch != now_in_force.epoch {
            self.guard.activate(policies, author).await.map_err(|error| error.to_string())?;
        }
        let remembered = self
            .store
            .accept_epoch(BundleRole::Policy.as_str(), accepted.epoch, accepted.digest)
            .map_err(|error| error.to_string());
        self.remember("bundle", digest);
        if digest != now_in_force.set.digest()
            && let Err(failure) = self.attest(author).await
        {
            term::note(format_args!("cordon: what enforces could not be put on record: {}", failure.text()));
        }
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) =
            InForce { expires, counts, refused: None };
        term::note(format_args!("cordon: bundle {digest} (epoch {}) is in force", accepted.epoch));
        remembered
    }

    /// Ends the policies' force when their bundle expires: from then on nothing is permitted.
    pub(crate) async fn expire(&self) {
        let _one_at_a_time = self.changing.lock().await;
        let InForce { expires, .. } = self.in_force();
        if self.guard.now() < expires || self.guard.policies().epoch.is_none() {
            return;
        }
        let why = format!("the bundle expired at {expires}; build it again with a later `--expires`");
        term::note(format_args!("cordon: {why}; nothing is permitted until then"));
        let nothing = ActivePolicies { set: PolicySet::deny_all(), epoch: None, signed: false };
        if let Err(error) = self.guard.activate(nothing, "cordon").await {
            // Without a ledger nothing is permitted either.
            term::note(format_args!("cordon: the end of the bundle could not be recorded: {error}"));
        }
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).refused = Some(why);
    }

    /// Puts a new key in the place of the log's; the old one signs the change.
    pub(crate) async fn rotate_log_key(&self) -> Result<String, Failure> {
        let _one_at_a_time = self.changing.lock().await;
        let id = self.config.data.id(&self.lock, self.guard.now(), &SystemRandom)?;
        let next = keys::next(id);
        let signing = self.ring.signing_or_new(KeyRole::Log, &next, &SystemRandom)?;
        let key = cordon_ledger::LogKey::new(keys::origin(id), signing);
        let public = key.public().to_string();
        self.engine.rotate(key, self.guard.now()).await?;
        finish_rotation(&self.ring, id)?;
        Ok(public)
    }

    /// Says where it is reached over the network, once.
    pub(super) fn listens_at(&self, address: Option<std::net::SocketAddr>) {
        let _ = self.listening.set(address);
    }

    /// Where it is reached over the network.
    pub(super) fn listening(&self) -> Option<std::net::SocketAddr> {
        self.listening.get().copied().flatten()
    }

    /// Writes everything that waits and stops taking records.
    pub(crate) fn close(&self) {
        self.engine.close();
    }

    async fn refuse(&self, author: &str, why: &str) -> String {
        term::note(format_args!("cordon: the bundle was not loaded, the old one stays: {why}"));
        let stays = self.guard.policies().set.digest();
        let act = AdminAct::BundleRefused { stays, why: why.chars().take(2_000).collect::<String>().into() };
        if let Err(error) = self.guard.administer(act, author).await {
            term::note(format_args!("cordon: the refusal could not be recorded: {error}"));
        }
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).refused = Some(why.to_owned());
        why.to_owned()
    }

    /// Records what is not as it was at the last start: configuration, trusted keys, bundle.
    async fn record_changes(&self) -> Result<(), Failure> {
        let author = &*self.config.login;
        let policies = self.guard.policies();
        let found =
            [("config", self.config.digest), ("keys", self.keys_digest()), ("bundle", policies.set.digest())];
        for (name, after) in found {
            let before = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name);
            if before == Some(after) {
                continue;
            }
            let act = match name {
                "config" => AdminAct::Config { before, after },
                "keys" => AdminAct::Keys { before, after: Some(after) },
                _ => AdminAct::Bundle { before, after, epoch: policies.epoch },
            };
            self.guard.administer(act, author).await?;
            self.remember(name, Some(after));
        }
        Ok(())
    }

    /// What the last start knew under a name.
    pub(super) fn known_digest(&self, name: &str) -> Option<Digest> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name)
    }

    pub(super) fn remember(&self, name: &str, digest: impl Into<Option<Digest>>) {
        let kept = self.known.lock().unwrap_or_else(PoisonError::into_inner).set(name, digest.into());
        if let Err(error) = kept {
            term::note(format_args!("cordon: cannot write what is known about the last start: {error}"));
        }
    }

    /// One digest over everybody whose signature counts.
    fn keys_digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(b"cordon/trust/v1\n");
        for role in BundleRole::ALL {
            let Some(trust) = self.source.trust().role(*role) else { continue };
            hasher.update(format!("{role} {}\n", trust.threshold()).as_bytes());
            for key in trust.keys() {
                hasher.update(format!("{key}\n").as_bytes());
            }
        }
        for (name, approver) in self.guard.approvers().iter() {
            let roles = approver.roles.iter().map(|role| format!("{role:?}")).collect::<Vec<_>>().join(" ");
            hasher.update(format!("approver {name:?} {} {roles}\n", approver.key).as_bytes());
        }
        hasher.finish()
    }
}

async fn lock(config: &Config) -> Result<Lock, Failure> {
    let mut attempt = 0u32;
    loop {
        attempt = attempt.saturating_add(1);
        match config.data.lock() {
            Err(DataDirError::Owned { .. }) if attempt < LOCK_ATTEMPTS => {
                tokio::time::sleep(LOCK_PAUSE).await
            }
            Err(error @ DataDirError::Owned { .. }) => return Err(Failure::from(error).code("OWNER-003")),
            other => return Ok(other?),
        }
    }
}

fn open_ledger(
    config: &Config,
    ring: &KeyRing,
    id: cordon_store::datadir::DataId,
    now: Timestamp,
) -> Result<Engine, Failure> {
    let openings = keys::openings_or_new(ring, id, &SystemRandom)?;
    let options = |key| {
        let mut options =
            Options::new(config.data.ledger(), config.data.ledger_head(), key, openings.clone());
        options.tenant = config.identity.tenant.clone();
        options
    };
    // A change of keys that a crash cut short is known to the log or it is not; the log decides.
    let opened = match Engine::open(options(keys::log_or_new(ring, id, &SystemRandom)?), now) {
        Err(error) => match keys::next_log(ring, id)? {
            Some(next) => {
                let opened = Engine::open(options(next), now).map_err(|_| error);
                if opened.is_ok() {
                    finish_rotation(ring, id)?;
                }
                opened
            }
            None => Err(error),
        },
        opened => opened,
    };
    let (engine, opened) = opened.map_err(|error: LedgerError| {
        Failure::from(error).code("LEDGER-001").context("the ledger was not opened")
    })?;
    if let Some(recovery) = &opened.recovery {
        term::note(format_args!(
            "cordon: the ledger was not closed in order ({}); {} unacknowledged bytes were dropped",
            recovery.cause, recovery.dropped_bytes
        ));
    }
    Ok(engine)
}

/// Gives the key that the log changed to the log key's name, and keeps the old one.
fn finish_rotation(ring: &KeyRing, id: cordon_store::datadir::DataId) -> Result<(), Failure> {
    let mut past = 1u32;
    let names = ring.names(KeyRole::Log)?;
    while names.iter().any(|name| **name == *keys::past(id, past)) {
        past = past.saturating_add(1);
    }
    ring.rename(KeyRole::Log, &id.to_string(), &keys::past(id, past))?;
    ring.rename(KeyRole::Log, &keys::next(id), &id.to_string())?;
    Ok(())
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        term::note(format_args!("cordon: {warning}"));
    }
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").field("data", &self.config.data).finish_non_exhaustive()
    }
}
