//! What travels with a value: how far it may be trusted, and who may read it.

use std::fmt;
use std::str::FromStr;

use crate::InvalidName;

/// How far a value may be trusted, most trusted first; joining takes the least trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Integrity {
    /// Written by the operator or by Cordon.
    System,
    /// Said by a principal whom the bundle trusts to instruct.
    User,
    /// Made within the session from trusted parts.
    Session,
    /// Vouched for by the tool's signed manifest.
    Attested,
    /// Chosen from a directory of known members.
    Member,
    /// An opaque handle issued by Cordon.
    Handle,
    /// Anything else.
    Untrusted,
}

impl Integrity {
    /// Every level, most trusted first.
    pub const ALL: &'static [Self] = &[
        Self::System,
        Self::User,
        Self::Session,
        Self::Attested,
        Self::Member,
        Self::Handle,
        Self::Untrusted,
    ];

    /// The level as written in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Session => "session",
            Self::Attested => "attested",
            Self::Member => "member",
            Self::Handle => "handle",
            Self::Untrusted => "untrusted",
        }
    }

    /// The level as policies see it: 6 for `system` down to 0 for `untrusted`.
    pub const fn as_long(self) -> i64 {
        match self {
            Self::System => 6,
            Self::User => 5,
            Self::Session => 4,
            Self::Attested => 3,
            Self::Member => 2,
            Self::Handle => 1,
            Self::Untrusted => 0,
        }
    }

    /// The trust of a value made from both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        self.max(other)
    }
}

impl FromStr for Integrity {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::ALL
            .iter()
            .copied()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| InvalidName::new("an integrity level (`system` … `untrusted`)", text))
    }
}

/// A mark that a value carries and never loses by being mixed, such as `pii`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marking(Box<str>);

impl Marking {
    /// The marking's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Marking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Marking {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let ok = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'));
        ok.then(|| Self(text.into()))
            .ok_or_else(|| InvalidName::new("a marking of letters, digits, `_-.:`", text))
    }
}
