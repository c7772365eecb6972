//! What Cordon itself knows when it judges; never set by the caller.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{Capability, Gathered, Integrity, KillSwitch, Marking, Posture, SessionId, Signals};

/// Why Cordon cannot be sure what a call would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ambiguity {
    /// No signed manifest describes the tool.
    NoManifest,
    /// Part of the message was not understood.
    Unparsed,
    /// An input is known to exist and not known.
    UnknownInput,
}

impl Ambiguity {
    /// The ambiguity as policies see it in `context.ambiguous`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoManifest => "no_manifest",
            Self::Unparsed => "unparsed",
            Self::UnknownInput => "unknown_input",
        }
    }
}

/// What is known about the session a call belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFacts {
    /// The session.
    pub id: SessionId,
    /// Calls decided before this one.
    pub calls: u64,
    /// The least trusted text in the session's context.
    pub integrity: Integrity,
    /// What it may still do.
    pub posture: Posture,
    /// Where the text in its context came from: the tools whose results it was given.
    pub lineage: Arc<BTreeSet<Box<str>>>,
    /// What it was given to read.
    pub markings: Arc<BTreeSet<Marking>>,
}

/// What Cordon itself knows when it judges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The session, where there is one.
    pub session: Option<SessionFacts>,
    /// Why it cannot be sure what the call would do; empty when it can.
    pub ambiguous: BTreeSet<Ambiguity>,
    /// The obligations that the enforcement point can carry out, by type.
    pub supported: BTreeSet<&'static str>,
    /// The kill switches that cover the request.
    pub kills: Vec<KillSwitch>,
    /// The region the node runs in.
    pub region: Option<Box<str>>,
    /// The capability token that the caller shows, where it shows one: it only narrows.
    pub capability: Option<Capability>,
    /// What says how risky it is.
    pub signals: Signals,
    /// What was read before the decision because a manifest wants it read.
    pub gathered: Gathered,
}
