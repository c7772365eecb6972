//! Typed identifiers: no two kinds can be mixed up.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use crate::Timestamp;
use crate::digest::{hex, unhex};

/// Where randomness comes from; the edge passes it in.
pub trait Entropy {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// Names a kind of identifier by the prefix of its text.
pub trait IdKind {
    /// The text before the `_`.
    const PREFIX: &'static str;
}

/// A 128-bit identifier that sorts by creation time (UUID version 7 layout, RFC 9562 §5.7).
pub struct Id<K> {
    bytes: [u8; 16],
    kind: PhantomData<fn() -> K>,
}

impl<K> Id<K> {
    /// A new identifier made at `now`.
    pub fn new(now: Timestamp, entropy: &mut dyn Entropy) -> Self {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        let millis = (now.as_micros() / 1_000).to_be_bytes();
        for (to, from) in bytes.iter_mut().zip(millis.iter().skip(2)) {
            *to = *from;
        }
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
        *version = (*version & 0x0f) | 0x70;
        *variant = (*variant & 0x3f) | 0x80;
        Self::from_bytes(bytes)
    }

    /// Wraps 16 bytes that are already an identifier of this kind.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self { bytes, kind: PhantomData }
    }

    /// The raw 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.bytes
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes.cmp(&other.bytes)
    }
}
impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

/// `<prefix>_<32 hex digits>`.
impl<K: IdKind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", K::PREFIX, hex(&self.bytes))
    }
}

impl<K: IdKind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an identifier of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `{prefix}_` and 32 hex digits, got `{got}`")]
pub struct InvalidId {
    prefix: &'static str,
    got: String,
}

impl<K: IdKind> FromStr for Id<K> {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .and_then(unhex)
            .map(Self::from_bytes)
            .ok_or_else(|| InvalidId { prefix: K::PREFIX, got: text.chars().take(80).collect() })
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $kind:ident, $prefix:literal;)*) => {$(
        #[doc = concat!("Marks identifiers written `", $prefix, "_…`.")]
        #[derive(Debug)]
        pub enum $kind {}
        impl IdKind for $kind {
            const PREFIX: &'static str = $prefix;
        }
        $(#[$doc])*
        pub type $name = Id<$kind>;
    )*};
}

ids! {
    /// One agent session.
    SessionId, SessionKind, "ses";
    /// One attempted action.
    CallId, CallKind, "call";
    /// One approval, asked for and answered.
    ApprovalId, ApprovalKind, "apr";
    /// One ledger record, known before its index is.
    RecordId, RecordKind, "rec";
    /// One kill switch, from being turned until it is lifted.
    KillId, KillKind, "kill";
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(u8);
    impl Entropy for Counter {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
        }
    }

    #[test]
    fn ids_sort_by_time_and_kinds_do_not_parse_as_each_other() {
        let mut entropy = Counter(0);
        let early = SessionId::new(Timestamp::from_micros(1_000), &mut entropy);
        let late = SessionId::new(Timestamp::from_micros(9_000_000), &mut entropy);
        assert!(early < late);
        assert_eq!(early.to_string().parse(), Ok(early));
        assert!(early.to_string().parse::<CallId>().is_err());
    }
}
