//! Bounds on how often and how many at once: rate per session and tool, calls in flight per tool.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cordon_core::{ActionName, CallLimits, SessionId, Timestamp};

/// Counts calls against the limits of their manifests.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Counters>);

#[derive(Debug, Default)]
struct Counters {
    /// Tokens left for a session's calls of a tool, and when they were counted.
    rates: HashMap<(SessionId, ActionName), Bucket>,
    /// Calls in flight of a tool.
    flying: HashMap<ActionName, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Tokens times one minute in microseconds, so that refilling is exact.
    level: u64,
    at: Timestamp,
}

/// Most buckets that are kept; full buckets are forgotten first, since forgetting them changes nothing.
const BUCKETS_MAX: usize = 65_536;
const MINUTE_MICROS: u64 = 60_000_000;

/// Which limit a call ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// Calls a minute by one session.
    Rate(u32),
    /// Calls in flight.
    Concurrency(u32),
    /// So many sessions call so many tools that their rates cannot be counted.
    Buckets,
}

/// One call in flight; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Slot {
    throttle: Arc<Throttle>,
    tool: ActionName,
}

impl Throttle {
    /// Counts one call, or says which limit it would exceed.
    pub(crate) fn enter(
        self: &Arc<Self>,
        session: SessionId,
        tool: &ActionName,
        limits: &CallLimits,
        now: Timestamp,
    ) -> Result<Slot, Exceeded> {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let flying = counters.flying.get(tool).copied().unwrap_or(0);
        if flying >= limits.concurrency {
            return Err(Exceeded::Concurrency(limits.concurrency));
        }
        counters.take(session, tool, limits.rate_per_min, now)?;
        counters.flying.insert(tool.clone(), flying.saturating_add(1));
        Ok(Slot { throttle: Arc::clone(self), tool: tool.clone() })
    }

    /// Forgets a session that ended.
    pub(crate) fn forget(&self, session: SessionId) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters.rates.retain(|(have, _), _| *have != session);
    }
}

impl Counters {
    fn take(
        &mut self,
        session: SessionId,
        tool: &ActionName,
        rate: u32,
        now: Timestamp,
    ) -> Result<(), Exceeded> {
        let full = u64::from(rate).saturating_mul(MINUTE_MICROS);
        if self.rates.len() >= BUCKETS_MAX {
            self.rates.retain(|_, bucket| now.since(bucket.at).as_micros() < MINUTE_MICROS);
        }
        let key = (session, tool.clone());
        if self.rates.len() >= BUCKETS_MAX && !self.rates.contains_key(&key) {
            return Err(Exceeded::Buckets);
        }
        let bucket = self.rates.entry(key).or_insert(Bucket { level: full, at: now });
        let gained = now.since(bucket.at).as_micros().saturating_mul(u64::from(rate));
        bucket.level = bucket.level.saturating_add(gained).min(full);
        bucket.at = bucket.at.max(now);
        match bucket.level.checked_sub(MINUTE_MICROS) {
            Some(level) => {
                bucket.level = level;
                Ok(())
            }
            None => Err(Exceeded::Rate(rate)),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counters = self.throttle.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counters.flying.get(&self.tool).copied() {
            Some(flying) if flying > 1 => {
                counters.flying.insert(self.tool.clone(), flying.saturating_sub(1));
            }
            _ => {
                counters.flying.remove(&self.tool);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool() -> ActionName {
        "mail/send".parse().unwrap()
    }

    const LIMITS: CallLimits = CallLimits { rate_per_min: 2, concurrency: 2, ..CallLimits::DEFAULT };

    #[test]
    fn a_rate_refills_with_time_and_is_counted_for_each_session() {
        let throttle = Arc::new(Throttle::default());
        let (a, b) = (SessionId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
        let at = Timestamp::from_micros;
        let enter = |session, now| throttle.enter(session, &tool(), &LIMITS, now).map(drop);
        assert_eq!(enter(a, at(0)), Ok(()));
        assert_eq!(enter(a, at(0)), Ok(()));
        assert_eq!(enter(a, at(29_999_999)), Err(Exceeded::Rate(2)));
        assert_eq!(enter(b, at(29_999_999)), Ok(()));
        assert_eq!(enter(a, at(30_000_000)), Ok(()));
        assert_eq!(enter(a, at(30_000_000)), Err(Exceeded::Rate(2)));
    }

    #[test]
    fn a_clock_that_jumps_back_gives_nothing() {
        let throttle = Arc::new(Throttle::default());
        let session = SessionId::from_bytes([1; 16]);
        let enter = |now| throttle.enter(session, &tool(), &LIMITS, Timestamp::from_micros(now)).map(drop);
        assert_eq!(enter(90_000_000), Ok(()));
        assert_eq!(enter(90_000_000), Ok(()));
        assert_eq!(enter(0), Err(Exceeded::Rate(2)));
        assert_eq!(enter(90_000_001), Err(Exceeded::Rate(2)));
    }

    #[test]
    fn room_is_made_when_a_call_ends() {
        let throttle = Arc::new(Throttle::default());
        let limits = CallLimits { rate_per_min: 100, ..LIMITS };
        let enter = || throttle.enter(SessionId::from_bytes([1; 16]), &tool(), &limits, Timestamp::default());
        let first = enter().unwrap();
        let _second = enter().unwrap();
        assert_eq!(enter().map(drop), Err(Exceeded::Concurrency(2)));
        drop(first);
        assert!(enter().is_ok());
    }
}
