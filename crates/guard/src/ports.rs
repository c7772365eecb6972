//! What the guard needs from the world, as traits that the edge implements.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use cordon_core::{ActionName, ApprovalId, Digest, Entropy, SessionId, Timestamp};
use cordon_ledger::{Draft, Level, Receipt};
use cordon_workflow::{Approval, Event};

use crate::{Kill, Session, Standing};

/// A future that a port returns.
pub type PortFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Tells the time; the only clock there is.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// Gives randomness; the only source there is.
pub trait Random: Send + Sync {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// Lets a shared source of randomness be used where one caller's is asked for.
pub struct Draw<'r>(pub &'r dyn Random);

impl Entropy for Draw<'_> {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

/// The record could not be written, so nothing may run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ledger cannot be written: {0}")]
pub struct LedgerDown(pub String);

/// Takes records and makes them durable.
pub trait Ledger: Send + Sync {
    /// Appends a record; the future ends when `level` is reached. The record's place in the order
    /// is fixed when this returns, whether or not the future is awaited.
    fn append(&self, draft: Draft, level: Level) -> PortFuture<Result<Receipt, LedgerDown>>;
}

/// State could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the state store failed: {0}")]
pub struct StoreDown(pub String);

/// Keeps what was taken away: kill switches and the postures of sessions. Every write is durable when
/// the call returns, and each is in force before it is handed over.
pub trait Restraints: Send + Sync {
    /// The kill switches that were kept last, all of them.
    fn kills(&self) -> Result<Vec<Kill>, StoreDown>;
    /// Keeps these kill switches in place of those before, in one step.
    fn keep_kills(&self, kills: &[Kill]) -> Result<(), StoreDown>;
    /// How a session stands, if anything was ever taken from it.
    fn standing(&self, session: SessionId) -> Result<Option<Standing>, StoreDown>;
    /// How that session stands which changed last of all that were found under this name.
    fn standing_by_key(&self, key: &str) -> Result<Option<Standing>, StoreDown>;
    /// The sessions from which something was taken and not given back; the last change first.
    fn standings(&self, most: u32) -> Result<Vec<Standing>, StoreDown>;
    /// Keeps how a session stands, as the last change of all.
    fn keep_standing(&self, standing: &Standing) -> Result<(), StoreDown>;
    /// Remembers that the ledger has a session's change of this revision.
    fn standing_recorded(&self, session: SessionId, revision: u64) -> Result<(), StoreDown>;
    /// The changes that the ledger is not known to have.
    fn unrecorded(&self) -> Result<Vec<Standing>, StoreDown>;
}

/// Keeps what was observed of agents and sessions, by names that the guard chooses.
pub trait Observations: Send + Sync {
    /// What was kept last under a name.
    fn observation(&self, name: &str) -> Result<Option<Vec<u8>>, StoreDown>;
    /// Keeps this in place of what was there; durable when the call returns.
    fn keep_observation(&self, name: &str, observed: &[u8]) -> Result<(), StoreDown>;
}

/// Keeps sessions, approvals and tool pins; every write is durable when the call returns.
pub trait Store: Restraints + Observations {
    /// Stores a new session.
    fn insert_session(&self, session: &Session) -> Result<(), StoreDown>;
    /// The session with this identifier.
    fn session(&self, id: SessionId) -> Result<Option<Session>, StoreDown>;
    /// The open session that was stored under this stable key.
    fn session_by_key(&self, key: &str) -> Result<Option<Session>, StoreDown>;
    /// The newest sessions, open ones first.
    fn sessions(&self, most: u32) -> Result<Vec<Session>, StoreDown>;
    /// Marks a session as closed.
    fn close_session(&self, id: SessionId, at: Timestamp) -> Result<(), StoreDown>;

    /// Stores a new approval with what is shown to approvers.
    fn insert_approval(&self, approval: &Approval, shown: &Shown) -> Result<(), StoreDown>;
    /// The approval with this identifier.
    fn approval(&self, id: ApprovalId) -> Result<Option<(Approval, Shown)>, StoreDown>;
    /// The newest unsettled approval for this binding.
    fn approval_for(&self, binding: Digest, now: Timestamp) -> Result<Option<Approval>, StoreDown>;
    /// How many approvals of a session wait for an answer.
    fn approvals_waiting(&self, session: SessionId, now: Timestamp) -> Result<u32, StoreDown>;
    /// The newest approvals, unsettled ones first.
    fn approvals(&self, most: u32) -> Result<Vec<(Approval, Shown)>, StoreDown>;
    /// Applies an event in one transaction and returns the approval before and after it.
    fn apply(
        &self,
        id: ApprovalId,
        event: Event,
        now: Timestamp,
    ) -> Result<Option<(Approval, Approval)>, StoreDown>;

    /// The pin that was accepted for a tool.
    fn pin(&self, tool: &ActionName) -> Result<Option<Digest>, StoreDown>;
    /// Accepts a pin for a tool.
    fn accept_pin(&self, tool: &ActionName, pin: Digest) -> Result<(), StoreDown>;

    /// The epoch and digest of the last bundle that was accepted for a role.
    fn last_epoch(&self, role: &str) -> Result<Option<(u64, Digest)>, StoreDown>;
    /// Remembers an accepted bundle; an older epoch is never written over a newer one.
    fn accept_epoch(&self, role: &str, epoch: u64, digest: Digest) -> Result<(), StoreDown>;
}

/// What an approver is shown: the concrete call, in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The action.
    pub action: Box<str>,
    /// The resource.
    pub resource: Box<str>,
    /// The principals, as `role kind:id`.
    pub principals: Vec<Box<str>>,
    /// The exact arguments, as JSON text.
    pub arguments: Box<str>,
    /// Why a person is asked.
    pub reasons: Vec<Box<str>>,
    /// The bundle that asked.
    pub bundle: Digest,
}

impl fmt::Debug for Draw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Draw")
    }
}
