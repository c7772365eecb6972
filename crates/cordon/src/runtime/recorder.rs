//! The ledger behind the guard's port: appends, counts, and tells whoever listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use cordon_control::{DecisionEvent, Event, ReasonEvent};
use cordon_core::cbor::Cbor;
use cordon_guard::ports::{Ledger, LedgerDown, PortFuture};
use cordon_ledger::{AdminSubject, Draft, FieldId, Kind, Level, Receipt};
use tokio::sync::{Notify, broadcast};

/// Most records that a slow listener may lag behind.
const EVENTS_MAX: usize = 1_024;

/// A ledger that counts what it takes and announces it without content.
pub(crate) struct Recorder {
    inner: Arc<dyn Ledger>,
    events: broadcast::Sender<Event>,
    tools: Arc<Notify>,
    counts: Arc<Counts>,
}

/// What was recorded since the start.
#[derive(Debug)]
pub(crate) struct Counts {
    kinds: [AtomicU64; 64],
    failed: AtomicU64,
    durable: AtomicU64,
    durable_micros: AtomicU64,
    down: AtomicBool,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            kinds: std::array::from_fn(|_| AtomicU64::new(0)),
            failed: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            durable_micros: AtomicU64::new(0),
            down: AtomicBool::new(false),
        }
    }
}

impl Recorder {
    /// Records into `inner`.
    pub(crate) fn new(inner: Arc<dyn Ledger>) -> Self {
        let (events, _) = broadcast::channel(EVENTS_MAX);
        Self { inner, events, tools: Arc::default(), counts: Arc::default() }
    }

    /// What is recorded from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Told whenever a tool was accepted or quarantined.
    pub(crate) fn tools(&self) -> Arc<Notify> {
        Arc::clone(&self.tools)
    }

    /// What was recorded since the start.
    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

impl Ledger for Recorder {
    fn append(&self, draft: Draft, level: Level) -> PortFuture<Result<Receipt, LedgerDown>> {
        let kind = draft.kind();
        if let Some(count) = usize::try_from(kind.code()).ok().and_then(|code| self.counts.kinds.get(code)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Kind::Admin(AdminSubject::ToolApproved | AdminSubject::ToolQuarantined) = kind {
            self.tools.notify_one();
        }
        if self.events.receiver_count() > 0 {
            let _ = self.events.send(event(&draft));
        }
        let appending = self.inner.append(draft, level);
        let counts = Arc::clone(&self.counts);
        let begun = Instant::now();
        Box::pin(async move {
            let taken = appending.await;
            match &taken {
                Ok(_) if level >= Level::Durable => {
                    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                    counts.durable.fetch_add(1, Ordering::Relaxed);
                    counts.durable_micros.fetch_add(micros, Ordering::Relaxed);
                    counts.down.store(false, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(_) => {
                    counts.failed.fetch_add(1, Ordering::Relaxed);
                    counts.down.store(true, Ordering::Relaxed);
                }
            }
            taken
        })
    }
}

fn event(draft: &Draft) -> Event {
    Event {
        entry: draft.id().to_string(),
        kind: draft.kind().as_str(),
        at: draft.at().to_string(),
        session: draft.session().map(|session| session.to_string()),
        decision: (draft.kind() == Kind::Decision).then(|| decision(draft)),
    }
}

fn decision(draft: &Draft) -> DecisionEvent {
    let array = |field| draft.value(field).and_then(Cbor::as_array).unwrap_or_default();
    let enforced = draft.value(FieldId::EnforcementDecision);
    let messages = array(FieldId::Messages);
    let reason = |(at, reason): (usize, &Cbor)| ReasonEvent {
        rule: text(reason.get(2)),
        file: text(reason.get(3)),
        line: reason.get(4).and_then(Cbor::as_u64).unwrap_or_default(),
        message: text(messages.get(at)),
    };
    let principal = |who: &Cbor| {
        let part = |at: usize| text(who.as_array().and_then(|parts| parts.get(at)));
        format!("{} {}:{}", part(0), part(1), part(2))
    };
    DecisionEvent {
        action: text(draft.value(FieldId::Action)),
        verdict: text(enforced.and_then(|decision| decision.get(1))),
        enforced: text(enforced.and_then(|decision| decision.get(2))),
        principals: array(FieldId::Principals).iter().map(principal).collect(),
        reasons: array(FieldId::Reasons).iter().enumerate().map(reason).collect(),
    }
}

fn text(value: Option<&Cbor>) -> String {
    value.and_then(Cbor::as_text).unwrap_or_default().to_owned()
}

impl Counts {
    /// Whether the last record could not be written.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Adds the counts in the Prometheus text format (version 0.0.4).
    pub(crate) fn render(&self, out: &mut String) {
        use std::fmt::Write as _;
        out.push_str("# HELP cordon_records_total Records handed to the ledger, by kind.\n");
        out.push_str("# TYPE cordon_records_total counter\n");
        for kind in Kind::ALL {
            let count = usize::try_from(kind.code()).ok().and_then(|code| self.kinds.get(code));
            let count = count.map_or(0, |count| count.load(Ordering::Relaxed));
            let _ = writeln!(out, "cordon_records_total{{kind=\"{}\"}} {count}", kind.as_str());
        }
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let _ = writeln!(
            out,
            "# HELP cordon_record_seconds Time from handing a record over until it is durable and signed.\n\
             # TYPE cordon_record_seconds summary\n\
             cordon_record_seconds_sum {}.{:06}\n\
             cordon_record_seconds_count {}\n\
             # HELP cordon_record_failures_total Records that could not be written.\n\
             # TYPE cordon_record_failures_total counter\n\
             cordon_record_failures_total {}",
            load(&self.durable_micros) / 1_000_000,
            load(&self.durable_micros) % 1_000_000,
            load(&self.durable),
            load(&self.failed),
        );
    }
}
