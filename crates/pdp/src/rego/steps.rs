//! Steps of the Rego interpreter, counted.
//!
//! The interpreter knows one bound on its work, a limit on time, and asks a registered source for the
//! time at every step. Ours counts the questions, so the bound is a number of steps and the same on
//! every machine; there is no clock. The count starts anew with each evaluation and belongs to the
//! thread that evaluates, so nothing of it reaches an answer but whether the limit was passed.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use regorus::utils::limits::{ExecutionTimerConfig, TimeSource, monotonic_now, set_time_source};

thread_local! {
    /// The steps taken by the evaluation that runs on this thread.
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

#[derive(Debug)]
struct Counter;

static COUNTER: Counter = Counter;

impl TimeSource for Counter {
    /// One step more; a nanosecond stands for a step.
    fn now(&self) -> Option<Duration> {
        let steps = STEPS.get().saturating_add(1);
        STEPS.set(steps);
        Some(Duration::from_nanos(steps))
    }
}

/// Has the interpreter ask for steps instead of the time; whether it does.
pub(super) fn are_counted() -> bool {
    // Registered before, by us or by somebody else: which of them, the counter tells.
    let _ = set_time_source(&COUNTER);
    restart();
    let asked = monotonic_now();
    asked.is_some() && taken() == 1
}

/// A bound of `steps` on one evaluation.
pub(super) const fn limit(steps: u64) -> ExecutionTimerConfig {
    ExecutionTimerConfig { limit: Duration::from_nanos(steps), check_interval: NonZeroU32::MIN }
}

/// Starts to count from nothing.
pub(super) fn restart() {
    STEPS.set(0);
}

/// The steps since the last start on this thread.
pub(super) fn taken() -> u64 {
    STEPS.get()
}
