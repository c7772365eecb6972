//! Replacing some bytes of a message and keeping all the others.

use std::ops::Range;

/// A set of replacements, applied from front to back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Splice {
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

impl Splice {
    /// Nothing to replace.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also replaces the bytes in `range` by `with`.
    #[must_use]
    pub fn replace(mut self, range: Range<usize>, with: impl Into<Vec<u8>>) -> Self {
        self.edits.push((range, with.into()));
        self
    }

    /// Whether there is nothing to replace.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The bytes with every replacement made. A replacement that lies outside of `bytes` or inside
    /// an earlier one is left out; the result is always read again before it is used.
    pub fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut edits: Vec<_> = self.edits.iter().collect();
        edits.sort_by_key(|(range, _)| range.start);
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        for (range, with) in edits {
            let Some(kept) = bytes.get(at..range.start) else { continue };
            if range.end < range.start || range.end > bytes.len() {
                continue;
            }
            out.extend_from_slice(kept);
            out.extend_from_slice(with);
            at = range.end;
        }
        out.extend_from_slice(bytes.get(at..).unwrap_or_default());
        out
    }
}
