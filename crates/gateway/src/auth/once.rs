//! Tokens that may be used once: which were (RFC 7519 §4.1.7).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cordon_core::{Digest, Timestamp};

use super::AuthError;

/// The tokens that were used and have not expired. Holds its lock for one lookup.
#[derive(Debug, Default)]
pub(super) struct Once(Mutex<HashMap<Digest, Timestamp>>);

/// Most tokens that are remembered; beyond that none is accepted until some expire.
const REMEMBERED_MAX: usize = 100_000;

impl Once {
    /// Counts the use of the token `id`, which nobody accepts from `expires` on.
    pub(super) fn take(&self, id: &str, expires: Timestamp, now: Timestamp) -> Result<(), AuthError> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= REMEMBERED_MAX {
            used.retain(|_, expires| *expires > now);
        }
        if used.len() >= REMEMBERED_MAX {
            return Err(AuthError::Unavailable("too many tokens that may be used once are alive".into()));
        }
        match used.insert(Digest::of(id.as_bytes()), expires) {
            Some(until) if until > now => Err(AuthError::Invalid("it was used before")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_once_in_its_lifetime() {
        let at = Timestamp::from_micros;
        let once = Once::default();
        assert_eq!(once.take("a", at(10), at(1)), Ok(()));
        assert!(once.take("a", at(10), at(2)).is_err());
        assert!(once.take("a", at(30), at(9)).is_err(), "a later expiry does not free it");
        assert!(once.take("a", at(30), at(11)).is_err(), "and is the one that is remembered");
        assert_eq!(once.take("b", at(10), at(2)), Ok(()));
    }
}
