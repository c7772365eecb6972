//! What is wrong with a log, and where: which frame, which entry, which field.

use std::fmt;

use cordon_core::SessionId;

use crate::FieldId;

/// Something in a log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The index of the frame's first entry.
    pub frame: u64,
    /// The entry, where one can be named.
    pub entry: Option<u64>,
    /// The field of the entry, where one can be named.
    pub field: Option<FieldId>,
    /// What is wrong.
    pub kind: FaultKind,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// An entry does not have the leaf hash that the signed root vouches for.
    #[error("the entry was changed after it was signed")]
    Entry,
    /// The leaf hash stored beside an entry is not the one the signed root vouches for.
    #[error("the stored leaf hash was changed")]
    StoredHash,
    /// The stored root is not the one that was signed.
    #[error("the stored root was changed")]
    StoredRoot,
    /// The entries do not lead to the root that was signed.
    #[error("the entries do not lead to the signed root")]
    Root,
    /// The signature does not hold.
    #[error("the checkpoint's signature is not by `{key}`")]
    Signature {
        /// The key that should have signed.
        key: String,
    },
    /// The check over leaf hashes and entries does not hold.
    #[error("the frame's checksum was changed")]
    Body,
    /// There is content between two frames.
    #[error("the frame's padding was changed")]
    Padding,
    /// The frame holds more entries than it says.
    #[error("the frame holds more entries than it says")]
    Surplus,
    /// The frame does not follow the one before.
    #[error("the frame does not follow: expected entry {expected}")]
    Order {
        /// The index that should have come.
        expected: u64,
    },
    /// The frame claims to be from before an earlier frame.
    #[error("the frame's epoch is before {before}")]
    Epoch {
        /// The epoch of the frame before.
        before: u64,
    },
    /// An entry is signed and yet not in the format.
    #[error("the entry is not in the format: expected {expected}")]
    Form {
        /// What was expected.
        expected: &'static str,
    },
    /// An entry is missing from a session, or is there twice.
    #[error("session `{session}` continues at {got}, expected {expected}")]
    Session {
        /// The session.
        session: SessionId,
        /// The place that should have come.
        expected: u64,
        /// The place that came.
        got: u64,
    },
    /// The log does not begin with one genesis entry that names its key.
    #[error("expected the one genesis entry, with the log's name and key, at index 0")]
    Genesis,
    /// A key was not handed over by the key before.
    #[error("the new key was not signed by the key before it")]
    Handover,
    /// A frame could not be read.
    #[error("{0}")]
    Frame(crate::frame::HeaderError),
    /// The log ends within a frame, or a frame at its end was altered.
    #[error("the last frame was altered after it was written")]
    Tail,
    /// Sealed openings were changed.
    #[error("the sealed openings were changed")]
    Sealed,
    /// A sealed value is not what the entry commits to.
    #[error("the sealed value was changed")]
    Opening,
}

impl FaultKind {
    /// Whether the rest of the log can no longer be checked.
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Root | Self::Order { .. } | Self::Genesis | Self::Frame(_) | Self::Tail)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {}", self.frame)?;
        if let Some(entry) = self.entry {
            write!(f, ", entry {entry}")?;
        }
        if let Some(field) = self.field {
            write!(f, ", field `{field}`")?;
        }
        write!(f, ": {}", self.kind)
    }
}
