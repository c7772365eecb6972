//! Where calls leave: so that a narrowing knows when no call is left that did not see it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// Counts narrowings, and the calls that are just leaving.
///
/// A call enters before it looks at the number of narrowings, and a narrowing counts itself before it
/// looks at who is leaving. So either the call sees the narrowing, or the narrowing sees the call.
/// New departures use one of two sides, so that the other empties however many there are.
// INVARIANT: all of these are sequentially consistent; the argument above needs one order of both.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    narrowings: AtomicU64,
    side: AtomicUsize,
    leaving: [AtomicU64; 2],
    awaited: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

/// One call that is leaving; it has left when this is dropped.
#[derive(Debug)]
pub(crate) struct Departure {
    gate: Arc<Gate>,
    side: usize,
}

impl Gate {
    /// How many narrowings there were.
    pub(crate) fn narrowings(&self) -> u64 {
        self.narrowings.load(Ordering::SeqCst)
    }

    /// Counts a narrowing that is in force already.
    pub(crate) fn narrowed(&self) {
        self.narrowings.fetch_add(1, Ordering::SeqCst);
    }

    /// Lets a call begin to leave; look at [`Gate::narrowings`] after this.
    pub(crate) fn enter(self: &Arc<Self>) -> Departure {
        let side = self.side.load(Ordering::SeqCst) & 1;
        self.count(side).fetch_add(1, Ordering::SeqCst);
        Departure { gate: Arc::clone(self), side }
    }

    /// Ends once every call has left that began to leave before this was called.
    pub(crate) async fn emptied(&self) {
        let new = self.side.load(Ordering::SeqCst) & 1;
        // Whoever lingers on the other side from before must leave, too.
        self.empty(new ^ 1).await;
        self.side.store(new ^ 1, Ordering::SeqCst);
        self.empty(new).await;
    }

    async fn empty(&self, side: usize) {
        poll_fn(|context| {
            if self.count(side).load(Ordering::SeqCst) == 0 {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(context.waker().clone());
            self.awaited.store(true, Ordering::SeqCst);
            drop(waiting);
            // The last one may have left between looking and asking to be woken.
            if self.count(side).load(Ordering::SeqCst) == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn count(&self, side: usize) -> &AtomicU64 {
        let [even, odd] = &self.leaving;
        if side == 0 { even } else { odd }
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        let before = self.gate.count(self.side).fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.gate.awaited.swap(false, Ordering::SeqCst) {
            let mut waiting = self.gate.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *waiting).into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;

    fn is_ready(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_narrowing_waits_for_those_who_were_leaving_and_for_nobody_who_came_after() {
        let gate = Arc::new(Gate::default());
        assert!(is_ready(pin!(gate.emptied())), "nobody leaves");
        let before = gate.enter();
        let mut emptied = pin!(gate.emptied());
        assert!(!is_ready(emptied.as_mut()));
        let _after = gate.enter();
        assert!(!is_ready(emptied.as_mut()));
        drop(before);
        assert!(is_ready(emptied.as_mut()), "whoever came after saw the narrowing");
    }

    #[test]
    fn one_who_lingers_from_before_an_earlier_narrowing_is_waited_for() {
        let gate = Arc::new(Gate::default());
        let lingering = gate.enter();
        {
            let mut first = pin!(gate.emptied());
            assert!(!is_ready(first.as_mut()), "and given up");
        }
        let mut second = pin!(gate.emptied());
        assert!(!is_ready(second.as_mut()));
        drop(lingering);
        assert!(is_ready(second.as_mut()));
    }
}
