//! What came of a permitted call: checked, recorded, and only then released.

use std::fmt;
use std::sync::Arc;

use cordon_core::json::Node;
use cordon_core::{ActionName, CallId, CallLimits, Digest, PostureState, RecordId, Timestamp};
use cordon_inspect::Sign;
use cordon_ledger::Receipt;

use crate::Trace;
use crate::gate::Departure;
use crate::guard::{Live, Shared};
use crate::ports::StoreDown;
use crate::record::{self, Outcome};
use crate::risk::Finding;
use crate::throttle::Slot;
use crate::tools::Tool;

/// A call that was permitted, from spending its permit to what came of it.
///
/// Dropping it without [`Pending::observe`] or [`Pending::failed`] records that nobody knows what
/// came of the call.
#[must_use = "what came of a call is part of its record"]
pub struct Pending {
    inner: Option<Box<Inner>>,
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) live: Arc<Live>,
    pub(crate) call: CallId,
    pub(crate) trace: Trace,
    pub(crate) action: ActionName,
    /// What it asks that other calls may rest on, and when it was decided.
    pub(crate) asks: Option<(Digest, Timestamp)>,
    pub(crate) receipt: Receipt,
    pub(crate) terms: ResultTerms,
    pub(crate) slot: Option<Slot>,
    pub(crate) sent: bool,
    /// Held from spending the permit until the call is handed over.
    pub(crate) leaving: Option<Departure>,
}

/// What a call's result must satisfy before it is shown, whichever message brings it.
#[derive(Debug, Clone)]
pub struct ResultTerms {
    pub(crate) tool: Option<Arc<Tool>>,
    pub(crate) limits: CallLimits,
}

/// Why a call has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It took longer than its manifest allows.
    TimedOut,
    /// The caller gave up first.
    Cancelled,
    /// The server went away.
    Gone,
    /// The server's answer was not a well-formed message.
    Malformed,
    /// It was never sent.
    NotSent,
    /// Something it needs was taken away before it was sent.
    Withdrawn,
    /// Nobody said what came of it.
    Abandoned,
}

impl Failure {
    /// The failure as written in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Gone => "gone",
            Self::Malformed => "malformed",
            Self::NotSent => "not_sent",
            Self::Withdrawn => "withdrawn",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A result as the server gave it.
#[derive(Debug, Clone, Copy)]
pub struct ResultSeen<'r> {
    /// The exact bytes.
    pub bytes: &'r [u8],
    /// The structured part, which a tool's output schema describes.
    pub structured: Option<&'r Node>,
    /// What kind of answer it is.
    pub kind: ResultKind,
}

/// What kind of answer a server gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultKind {
    /// The result itself.
    Complete,
    /// It says that the call failed.
    Error,
    /// Not the result: more input is asked for, or a task goes on. No output schema describes it.
    Interim,
}

impl ResultKind {
    /// A result that says whether the call failed.
    pub const fn of(is_error: bool) -> Self {
        if is_error { Self::Error } else { Self::Complete }
    }

    /// The kind as written in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "result",
            Self::Error => "error",
            Self::Interim => "interim",
        }
    }
}

/// Whether a result may be shown to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// It may.
    Pass,
    /// It may not.
    Withhold {
        /// Why, in one clause.
        why: Box<str>,
    },
}

/// What came of settling a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Whether the result may be shown.
    pub release: Release,
    /// The result's record.
    pub record: Option<RecordId>,
    /// The strongest sign of instructions in it.
    pub sign: Option<Sign>,
}

impl Pending {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Some(Box::new(inner)) }
    }

    /// Checks and records a result. The record joins a later frame and never delays the answer.
    pub fn observe(self, seen: ResultSeen<'_>) -> Release {
        self.settle(seen).release
    }

    /// The same, with the name of the result's record and with what was found in it.
    pub fn settle(mut self, seen: ResultSeen<'_>) -> Settled {
        let Some(inner) = self.inner.take() else {
            let release = Release::Withhold { why: "the call was already settled".into() };
            return Settled { release, record: None, sign: None };
        };
        let (mut release, schema_held) = inner.terms.check(&seen);
        let state = inner.live.state();
        if state >= PostureState::Quarantined && release == Release::Pass {
            let why = format!("the session is {state} and may be told nothing");
            release = Release::Withhold { why: why.into() };
        }
        let sign = inner.shared.signs.strongest(seen.bytes);
        if release == Release::Pass
            && let Err(down) = inner.expose(sign)
        {
            // What nobody will remember having been read is not read.
            release = Release::Withhold { why: down.to_string().into() };
        }
        if release == Release::Pass
            && seen.kind == ResultKind::Complete
            && let (Some((asked, at)), Some(result)) = (inner.asks, seen.structured)
        {
            inner.live.readings.add(asked, at, result, seen.bytes.len());
        }
        let trouble = release != Release::Pass;
        inner.shared.count_outcome(&inner.live, inner.action.as_str(), trouble);
        let record = inner.record(Outcome::Result {
            digest: Digest::of(seen.bytes),
            bytes: seen.bytes.len() as u64,
            kind: seen.kind,
            schema_held,
            sign,
            withheld: match &release {
                Release::Pass => None,
                Release::Withhold { why } => Some(why.clone()),
            },
        });
        Settled { release, record: Some(record), sign }
    }

    /// Records that there is no result.
    pub fn failed(mut self, failure: Failure) {
        if let Some(inner) = self.inner.take() {
            let trouble = matches!(failure, Failure::TimedOut | Failure::Gone | Failure::Malformed);
            if trouble {
                inner.shared.count_outcome(&inner.live, inner.action.as_str(), trouble);
            }
            inner.record(Outcome::Failed(failure));
        }
    }

    /// The call was handed over to whoever carries it out. A kill switch that is turned waits for this
    /// before it says that nothing leaves any more.
    pub fn departed(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.leaving = None;
        }
    }

    pub(crate) fn sent(mut self, leaving: Option<Departure>) -> Self {
        if let Some(inner) = &mut self.inner {
            inner.sent = true;
            inner.leaving = leaving;
        }
        self
    }

    pub(crate) fn inner(&self) -> Option<&Inner> {
        self.inner.as_deref()
    }

    pub(crate) fn id(&self) -> CallId {
        self.inner.as_ref().map_or(CallId::from_bytes([0; 16]), |inner| inner.call)
    }

    /// The receipt of the decision's record.
    pub fn receipt(&self) -> &Receipt {
        static NONE: Receipt = Receipt {
            id: cordon_core::Id::from_bytes([0; 16]),
            level: cordon_ledger::Level::Accepted,
            index: None,
        };
        self.inner.as_ref().map_or(&NONE, |inner| &inner.receipt)
    }

    /// What its result must satisfy.
    pub fn terms(&self) -> Option<ResultTerms> {
        self.inner.as_ref().map(|inner| inner.terms.clone())
    }

    /// Holds its result to the terms of an earlier call, whose result it brings.
    pub fn adopt(&mut self, terms: &ResultTerms) {
        if let Some(inner) = &mut self.inner {
            inner.terms = terms.clone();
        }
    }

    pub(crate) fn limits(&self) -> CallLimits {
        self.inner.as_ref().map_or(CallLimits::DEFAULT, |inner| inner.terms.limits)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            let failure = if inner.sent { Failure::Abandoned } else { Failure::NotSent };
            inner.record(Outcome::Failed(failure));
        }
    }
}

impl ResultTerms {
    /// Whether a result may be shown. Nothing is recorded.
    pub fn examine(&self, seen: &ResultSeen<'_>) -> Release {
        self.check(seen).0
    }

    /// Whether the result may be shown, and whether its schema held (`None`: there is none to hold).
    fn check(&self, seen: &ResultSeen<'_>) -> (Release, Option<bool>) {
        if seen.bytes.len() > self.limits.result_bytes_max as usize {
            let why = format!("the result is larger than {} bytes", self.limits.result_bytes_max);
            return (Release::Withhold { why: why.into() }, None);
        }
        let schema = self.tool.as_ref().and_then(|tool| tool.output.as_ref());
        let Some(schema) = schema.filter(|_| seen.kind == ResultKind::Complete) else {
            return (Release::Pass, None);
        };
        let violations = match seen.structured {
            Some(node) => schema.validate(node).err().unwrap_or_default(),
            None => {
                let why = "the tool declares an output schema and sent no structured content";
                return (Release::Withhold { why: why.into() }, Some(false));
            }
        };
        match violations.first() {
            None => (Release::Pass, Some(true)),
            Some(first) => {
                let why = format!("the result breaks the tool's output schema: {first}");
                (Release::Withhold { why: why.into() }, Some(false))
            }
        }
    }
}

impl Inner {
    /// Adds what the result brings to what the session was exposed to.
    fn expose(&self, sign: Option<Sign>) -> Result<(), StoreDown> {
        let policies = self.shared.policies.load();
        // A task's result is that of its call, whichever message brings it.
        let of = self.terms.tool.as_ref().map_or(&self.action, |tool| &tool.action);
        let manifest = policies.set.manifest(of).or_else(|| self.live.declared.manifest(of));
        let labels = manifest.into_iter().flat_map(|manifest| manifest.outputs.values());
        let source = of.as_str();
        let finding = sign.map(|sign| Finding {
            score: sign.score,
            source: format!("{} in {source}", sign.kind.as_str()).into(),
            at: self.shared.clock.now(),
        });
        self.shared.expose(&self.live, source, labels.flat_map(|label| &label.markings), finding)
    }

    fn record(self, outcome: Outcome) -> RecordId {
        let Self { shared, live, call, trace, receipt, slot, .. } = self;
        drop(slot);
        let draft = record::result(&shared, &live.session, call, trace, &receipt, &outcome);
        let record = draft.id();
        // Its place in the order is fixed; nobody waits for it, and a dead ledger already stops permits.
        drop(shared.ledger.append(draft, cordon_ledger::Level::Accepted));
        record
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("call", &self.id()).finish_non_exhaustive()
    }
}
