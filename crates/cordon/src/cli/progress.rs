//! How far a long command is, for people who watch.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often progress is shown.
const BEAT: Duration = Duration::from_millis(200);

/// One line on standard error that counts, on a terminal and only when it takes a while.
pub(super) struct Progress {
    what: &'static str,
    next: Instant,
    shown: bool,
    watched: bool,
}

impl Progress {
    /// Counts `what`, such as `entries checked`.
    pub(super) fn new(what: &'static str) -> Self {
        let next = Instant::now().checked_add(BEAT).unwrap_or_else(Instant::now);
        Self { what, next, shown: false, watched: std::io::stderr().is_terminal() }
    }

    /// Says how far it is, if the last time is long enough ago.
    pub(super) fn show(&mut self, count: u64) {
        let now = Instant::now();
        if self.watched && now >= self.next {
            self.next = now.checked_add(BEAT).unwrap_or(now);
            self.shown = true;
            let _ = write!(std::io::stderr(), "\r{count} {}", self.what);
        }
    }

    /// Takes the line away again.
    pub(super) fn clear(&mut self) {
        if self.shown {
            self.shown = false;
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
