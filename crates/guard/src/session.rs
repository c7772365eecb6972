//! One agent's stretch of work: who it is, for whom it acts, and what it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cordon_core::{ActionName, Assurance, Capability, Chain, Record, SessionId, Timestamp};

/// What a session is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Owner, agent and user; sessions need an owner and an agent.
    pub chain: Chain,
    /// The tenant.
    pub tenant: Box<str>,
    /// What the work is for.
    pub purpose: Option<Box<str>>,
    /// The project it belongs to.
    pub project: Option<Box<str>>,
    /// The workflow it belongs to.
    pub workflow: Option<Box<str>>,
    /// The task it belongs to.
    pub task: Option<Box<str>>,
    /// The model: `provider`, `name`, `version`.
    pub model: Record,
    /// The tools that may be named in it; none when it is not limited to any.
    pub tools: Option<BTreeSet<ActionName>>,
    /// The manifests of tools that its caller declared, as JSON text; what the bundle describes counts
    /// as the bundle describes it.
    pub declared: BTreeMap<ActionName, Box<str>>,
    /// The obligations that the enforcement point can carry out.
    pub supported: BTreeSet<&'static str>,
    /// A name under which the same session is found again, such as agent and server entry.
    pub key: Option<Box<str>>,
    /// How surely it is known who they are.
    pub assurance: Assurance,
    /// The capability token that the caller shows, where it shows one.
    pub capability: Option<Arc<Capability>>,
    /// When it ends by itself.
    pub expires: Timestamp,
}

/// A session that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its identifier.
    pub id: SessionId,
    /// What it was opened with.
    pub opening: Opening,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it was closed, if it was.
    pub closed: Option<Timestamp>,
}

impl Session {
    /// Whether calls may still be made in it.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.closed.is_none() && now < self.opening.expires
    }
}
