//! The numbering of entries within their sessions: without gaps, each naming the one before.

use std::collections::{HashMap, VecDeque};

use cordon_core::{Digest, SessionId};

use crate::Link;

/// Open sessions that are surely remembered; up to twice as many are.
const OPEN_MAX: usize = 65_536;
/// Closed sessions that are remembered, for records that arrive late.
const CLOSED_MAX: usize = 4_096;

/// The next place in each session that is remembered.
///
/// Memory is bounded: of closed sessions the newest 4,096 are remembered, of open ones at least the
/// 65,536 used last. A session that was forgotten begins again at its first place, and a verifier
/// reports that.
// INVARIANT: a session is in at most one of `young` and `old`.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    young: HashMap<SessionId, Link>,
    old: HashMap<SessionId, Link>,
    closed: VecDeque<SessionId>,
}

impl Sessions {
    /// The place that the session's next entry takes.
    pub fn next(&self, session: SessionId) -> Link {
        let link = self.young.get(&session).or_else(|| self.old.get(&session));
        link.copied().unwrap_or(Link::FIRST)
    }

    /// The session has an entry at `link` with this leaf hash.
    pub fn advance(&mut self, session: SessionId, link: Link, leaf: Digest) {
        if !self.old.is_empty() {
            self.old.remove(&session);
        }
        self.young.insert(session, link.next(leaf));
        if self.young.len() > OPEN_MAX {
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// The session is closed and will be forgotten once enough others were closed after it.
    pub fn close(&mut self, session: SessionId) {
        self.closed.push_back(session);
        if self.closed.len() > CLOSED_MAX
            && let Some(session) = self.closed.pop_front()
        {
            self.young.remove(&session);
            self.old.remove(&session);
        }
    }

    /// How many sessions are remembered.
    pub fn len(&self) -> usize {
        self.young.len().saturating_add(self.old.len())
    }

    /// Whether no session is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The remembered sessions with their next places, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, Link)> {
        self.young.iter().chain(&self.old).map(|(session, link)| (*session, *link))
    }

    /// The closed sessions that are still remembered, the oldest first.
    pub fn closed(&self) -> impl Iterator<Item = SessionId> {
        self.closed.iter().copied()
    }

    /// Remembers what an earlier process remembered.
    pub fn restore(
        open: impl IntoIterator<Item = (SessionId, Link)>,
        closed: impl IntoIterator<Item = SessionId>,
    ) -> Self {
        Self { young: open.into_iter().collect(), old: HashMap::new(), closed: closed.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(n: u64) -> SessionId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        SessionId::from_bytes(bytes)
    }

    #[test]
    fn memory_stays_bounded_over_a_million_sessions_closed_or_not() {
        for closing in [true, false] {
            let mut sessions = Sessions::default();
            for n in 0..1_000_000 {
                sessions.advance(session(n), Link::FIRST, Digest::of(b"leaf"));
                if closing {
                    sessions.close(session(n));
                }
            }
            let most = if closing { CLOSED_MAX } else { 2 * OPEN_MAX + 1 };
            assert!(sessions.len() <= most, "{}", sessions.len());
            assert_eq!(sessions.next(session(999_999)).counter, 1);
            assert_eq!(sessions.next(session(0)), Link::FIRST);
        }
    }

    #[test]
    fn a_late_record_of_a_closed_session_still_takes_the_next_place() {
        let mut sessions = Sessions::default();
        sessions.advance(session(1), Link::FIRST, Digest::of(b"a"));
        sessions.close(session(1));
        assert_eq!(sessions.next(session(1)), Link { counter: 1, previous: Digest::of(b"a") });
    }
}
