//! What an appender waits on: a plain future, or a blocking wait.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use cordon_core::RecordId;
use cordon_ledger::{DraftError, ENTRY_BYTES_MAX, Level, Receipt};

/// A record was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The draft cannot become an entry.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Record and openings do not fit into one frame.
    #[error("record and openings have {bytes} bytes, expected at most {max}")]
    TooLarge {
        /// Their size.
        bytes: u64,
        /// The most that fits.
        max: u64,
    },
    /// This log cannot reach the level.
    #[error("the level `{0}` was asked for, and this log has no witnesses or mirrors")]
    Unreachable(Level),
    /// More is waiting to be written than may wait.
    #[error("the log's queue is full ({waiting} records wait)")]
    Full {
        /// How many records wait.
        waiting: usize,
    },
    /// The disk is full; nothing is written until the log is opened again.
    #[error("the log's disk is full; free space and start again ({0})")]
    DiskFull(Arc<str>),
    /// A write failed; nothing is written until the log is opened again.
    #[error("the log stopped after a failed write: {0}")]
    Failed(Arc<str>),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl AppendError {
    /// The error that a failed write leaves behind.
    pub(super) fn of_write(doing: &str, error: &std::io::Error) -> Self {
        let text = format!("{doing}: {error}");
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::DiskFull(text.into())
            }
            _ => Self::Failed(text.into()),
        }
    }
}

const _: () = assert!(ENTRY_BYTES_MAX == 65_535);

/// Ends when a record has reached the level that was asked for. Dropping it changes nothing: the
/// record's place in the order is already fixed.
#[must_use = "whether the record was taken is known only to who awaits this"]
pub struct Append(State);

enum State {
    Settled(Option<Result<Receipt, AppendError>>),
    Waiting { id: RecordId, slot: Arc<Slot> },
}

impl Append {
    pub(super) const fn settled(outcome: Result<Receipt, AppendError>) -> Self {
        Self(State::Settled(Some(outcome)))
    }

    pub(super) const fn waiting(id: RecordId, slot: Arc<Slot>) -> Self {
        Self(State::Waiting { id, slot })
    }

    /// Blocks until the record has reached its level.
    pub fn wait(mut self) -> Result<Receipt, AppendError> {
        THIS_THREAD.with(|waker| {
            let mut context = Context::from_waker(waker);
            loop {
                match Pin::new(&mut self).poll(&mut context) {
                    Poll::Ready(outcome) => return outcome,
                    Poll::Pending => std::thread::park(),
                }
            }
        })
    }
}

thread_local! {
    /// Wakes this thread.
    static THIS_THREAD: Waker = Waker::from(Arc::new(Unpark(std::thread::current())));
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Future for Append {
    type Output = Result<Receipt, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Settled(outcome) => Poll::Ready(outcome.take().unwrap_or(Err(AppendError::Closed))),
            State::Waiting { id, slot } => slot.poll(context).map(|outcome| {
                outcome.map(|index| Receipt { id: *id, level: Level::Durable, index: Some(index) })
            }),
        }
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Append")
    }
}

/// Where the committer leaves an outcome for one appender.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<SlotState>);

#[derive(Debug, Default)]
struct SlotState {
    outcome: Option<Result<u64, AppendError>>,
    waker: Option<Waker>,
}

impl Slot {
    /// Leaves the outcome and wakes the appender.
    pub(super) fn settle(&self, outcome: Result<u64, AppendError>) {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.outcome = Some(outcome);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Result<u64, AppendError>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.outcome {
            Some(outcome) => Poll::Ready(outcome.clone()),
            None => {
                match &mut state.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    none => *none = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}
