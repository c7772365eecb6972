//! What the author of a record gets back.

use std::fmt;

use cordon_core::RecordId;

/// How firmly a record is kept, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Its place in the order is fixed; a crash may still lose it.
    Accepted,
    /// It is on stable storage under a signed checkpoint. What runs only with evidence waits for this.
    Durable,
    /// Independent witnesses have cosigned a checkpoint that covers it.
    Witnessed,
    /// An independent mirror holds its bytes.
    Mirrored,
}

impl Level {
    /// The level as written in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Durable => "durable+signed",
            Self::Witnessed => "witnessed",
            Self::Mirrored => "mirrored",
        }
    }
}

/// No evidence, no action: the default is a record that is durable and signed.
impl Default for Level {
    fn default() -> Self {
        Self::Durable
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The proof that a record was taken, and how firmly.
// INVARIANT: `index` is known exactly when `level` is durable or firmer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The record, by the identifier its author gave it.
    pub id: RecordId,
    /// How firmly it is kept.
    pub level: Level,
    /// Its index in the log, from 0, once it is durable.
    pub index: Option<u64>,
}
