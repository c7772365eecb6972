//! The `rate` obligation: at most so many calls of one action in one session and window.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use cordon_core::{Duration, SessionId, Timestamp};

/// Counts calls against the rates that policies oblige to.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<Key, VecDeque<Timestamp>>>);

/// A session and an action.
type Key = (SessionId, Box<str>);

/// Most calls that are counted exactly; a higher limit counts as this one.
const CALLS_MAX: usize = 4_096;
/// Most sessions and actions that are counted.
const KEYS_MAX: usize = 16_384;

impl Rates {
    /// Counts one call of `action`; false if it would be one too many within `window_s` seconds.
    pub(crate) fn admit(
        &self,
        session: SessionId,
        action: &str,
        limit: u64,
        window_s: u64,
        now: Timestamp,
    ) -> bool {
        let most = usize::try_from(limit).unwrap_or(CALLS_MAX).min(CALLS_MAX);
        let window = Duration::from_secs(window_s);
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() >= KEYS_MAX {
            calls.retain(|_, calls| calls.back().is_some_and(|last| now.since(*last) < window));
        }
        let key = (session, action.into());
        if calls.len() >= KEYS_MAX && !calls.contains_key(&key) {
            return false;
        }
        let calls = calls.entry(key).or_default();
        while calls.front().is_some_and(|first| now.since(*first) >= window) {
            calls.pop_front();
        }
        if calls.len() >= most {
            return false;
        }
        calls.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides_and_a_clock_that_jumps_back_gives_nothing() {
        let rates = Rates::default();
        let session = SessionId::from_bytes([1; 16]);
        let admit = |s: u64| rates.admit(session, "mail/send", 2, 10, Timestamp::from_micros(s * 1_000_000));
        assert!(admit(100) && admit(105));
        assert!(!admit(109) && !admit(50));
        assert!(admit(110));
        assert!(rates.admit(SessionId::from_bytes([2; 16]), "mail/send", 2, 10, Timestamp::default()));
    }
}
