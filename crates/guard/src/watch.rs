//! Tells waiting doors that an approval moved.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use cordon_core::ApprovalId;

/// Wakes whoever waits for an approval.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<HashMap<ApprovalId, Waiters>>);

#[derive(Debug, Default)]
struct Waiters {
    /// Grows with each change, so that a change between asking and waiting is not missed.
    changes: u64,
    wakers: Vec<Waker>,
}

impl Watch {
    /// The number of changes so far; pass it to [`Watch::changed`].
    pub(crate) fn mark(&self, id: ApprovalId) -> u64 {
        let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watch.entry(id).or_default().changes
    }

    /// Ends once the approval has changed since `mark`.
    pub(crate) async fn changed(&self, id: ApprovalId, mark: u64) {
        poll_fn(|context| {
            let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // An approval that nobody watches any more has settled.
            let Some(waiters) = watch.get_mut(&id).filter(|waiters| waiters.changes == mark) else {
                return Poll::Ready(());
            };
            if !waiters.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                waiters.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Reports that an approval changed; a settled one is not watched any more.
    pub(crate) fn report(&self, id: ApprovalId, settled: bool) {
        let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wakers = match watch.get_mut(&id) {
            Some(waiters) => {
                waiters.changes = waiters.changes.saturating_add(1);
                std::mem::take(&mut waiters.wakers)
            }
            None => return,
        };
        if settled {
            watch.remove(&id);
        }
        drop(watch);
        wakers.into_iter().for_each(Waker::wake);
    }
}
