//! Calls that enforcement points run: what takes their results, until they come or are overdue.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cordon_core::{CallId, Duration, SessionId, Timestamp};
use cordon_guard::{Failure, Pending};

/// Most calls that run at once; beyond it none is permitted.
const RUNNING_MAX: usize = 65_536;
/// How often overdue calls are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The calls that run.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    calls: HashMap<CallId, Run>,
    swept: Timestamp,
}

#[derive(Debug)]
struct Run {
    session: SessionId,
    pending: Pending,
    until: Timestamp,
}

impl Running {
    /// Whether one more call may run; those that are overdue are given up first.
    pub(super) fn has_room(&self, now: Timestamp) -> bool {
        let mut inner = self.lock();
        if now >= inner.swept.plus(SWEEP_EVERY) || inner.calls.len() >= RUNNING_MAX {
            inner.swept = now;
            let overdue = inner.calls.extract_if(|_, run| now >= run.until).map(|(_, run)| run.pending);
            overdue.for_each(|pending| pending.failed(Failure::TimedOut));
        }
        inner.calls.len() < RUNNING_MAX
    }

    /// Waits for the result of a call.
    pub(super) fn begin(&self, session: SessionId, call: CallId, pending: Pending, until: Timestamp) {
        self.lock().calls.insert(call, Run { session, pending, until });
    }

    /// What takes the result of a call of this session, once.
    pub(super) fn end(&self, session: SessionId, call: CallId) -> Option<Pending> {
        let mut inner = self.lock();
        if inner.calls.get(&call)?.session != session {
            return None;
        }
        inner.calls.remove(&call).map(|run| run.pending)
    }

    /// Gives up what a session that ended still runs.
    pub(super) fn forget(&self, session: SessionId) {
        let mut inner = self.lock();
        let ended = inner.calls.extract_if(|_, run| run.session == session).map(|(_, run)| run.pending);
        ended.for_each(|pending| pending.failed(Failure::Cancelled));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
