//! Records of what took effect before it was on record: retried until the ledger has them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cordon_core::{KillId, SessionId};
use cordon_ledger::{Draft, Level, Receipt};

use crate::Guard;
use crate::ports::{Ledger, LedgerDown, PortFuture};

/// The records that are not known to be durable.
#[derive(Default)]
pub(crate) struct Backlog(Mutex<VecDeque<Late>>);

struct Late {
    draft: Draft,
    of: LateOf,
    taken: PortFuture<Result<Receipt, LedgerDown>>,
    failed: bool,
}

/// What a late record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LateOf {
    /// A kill switch.
    Kill(KillId),
    /// A session's posture of this revision.
    Posture(SessionId, u64),
    /// A change that was undone before it was recorded, or that nothing else keeps.
    Other,
}

impl Backlog {
    /// Hands a record to the ledger, which fixes its place in the order; nobody waits for it.
    pub(crate) fn add(&self, ledger: &dyn Ledger, draft: Draft, of: LateOf) -> Receipt {
        let receipt = Receipt { id: draft.id(), level: Level::Accepted, index: None };
        let taken = ledger.append(draft.clone(), Level::Durable);
        self.lock().push_back(Late { draft, of, taken, failed: false });
        receipt
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Late>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard {
    /// Sees to it that what took effect before it was on record gets there: to be called again and
    /// again, by one task. Gives how many records still wait.
    pub async fn catch_up(&self) -> usize {
        let shared = &self.shared;
        self.keep_again();
        let waiting = shared.backlog.lock().len();
        for _ in 0..waiting {
            let Some(late) = shared.backlog.lock().pop_front() else { break };
            let Late { draft, of, taken, .. } = late;
            match taken.await {
                Ok(_) => self.on_record(of),
                Err(_) => {
                    let taken = shared.ledger.append(draft.clone(), Level::Durable);
                    shared.backlog.lock().push_back(Late { draft, of, taken, failed: true });
                }
            }
        }
        shared.backlog.lock().len()
    }

    /// How many records of what is in force could not be written yet; more than none is an alarm.
    pub fn unrecorded(&self) -> usize {
        self.shared.backlog.lock().iter().filter(|late| late.failed).count()
    }
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Backlog").field(&self.lock().len()).finish()
    }
}
