//! An entry's proof as a text that verifies offline: C2SP `tlog-proof`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cordon_core::Digest;

use crate::note::{NoteError, NoteKey, SignedCheckpoint, digest};
use crate::proof::{ProofRefused, verify_inclusion};
use crate::tree::leaf_hash;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// That an entry is in the log at an index, under a signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryProof {
    /// The entry's index.
    pub index: u64,
    /// The sibling hashes from the leaf upward.
    pub hashes: Vec<Digest>,
    /// The checkpoint, as a signed note.
    pub note: String,
}

/// A proof does not show what it claims.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The text is not a proof.
    #[error("line {line}: expected {expected}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// What was expected there.
        expected: &'static str,
    },
    /// The checkpoint does not hold.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The hashes do not lead to the checkpoint's root.
    #[error(transparent)]
    Proof(#[from] ProofRefused),
}

impl EntryProof {
    /// The proof's text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nindex {}\n", self.index);
        for hash in &self.hashes {
            text.push_str(&STANDARD.encode(hash.as_bytes()));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.note);
        text
    }

    /// Reads a proof's text.
    pub fn parse(text: &str) -> Result<Self, EvidenceError> {
        let bad = |line, expected| EvidenceError::Malformed { line, expected };
        let (head, note) = text.split_once("\n\n").ok_or(bad(1, "an empty line before the checkpoint"))?;
        let mut lines = (1usize..).zip(head.split('\n')).peekable();
        if lines.next().is_none_or(|(_, line)| line != FIRST_LINE) {
            return Err(bad(1, "`c2sp.org/tlog-proof@v1`"));
        }
        // Opaque data that nothing vouches for.
        let _ = lines.next_if(|(_, line)| line.starts_with("extra "));
        let number = |line: &str| {
            let digits = line.strip_prefix("index ")?;
            let plain =
                digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
            plain.then(|| digits.parse().ok()).flatten()
        };
        let index = lines.next().and_then(|(_, line)| number(line));
        let index = index.ok_or(bad(2, "`index` and a number without leading zeros"))?;
        let hash = |(at, line)| digest(line).ok_or(bad(at, "the base64 of a hash of 32 bytes"));
        let hashes = lines.take(65).map(hash).collect::<Result<_, _>>()?;
        Ok(Self { index, hashes, note: note.to_owned() })
    }

    /// Checks that this entry is in the log whose key this is.
    pub fn verify(&self, entry: &[u8], key: &NoteKey) -> Result<SignedCheckpoint, EvidenceError> {
        let signed = SignedCheckpoint::open(&self.note, key)?;
        let checkpoint = &signed.checkpoint;
        verify_inclusion(self.index, checkpoint.size, &leaf_hash(entry), &self.hashes, &checkpoint.root)?;
        Ok(signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Checkpoint, LogKey};
    use crate::proof::prove_inclusion;
    use crate::tree::MemoryTree;
    use cordon_core::ed25519::SigningKey;

    #[test]
    fn a_proof_verifies_from_its_text_and_for_its_entry_only() {
        let mut tree = MemoryTree::default();
        (0..11u8).for_each(|n| tree.push(leaf_hash(&[n])));
        let key = LogKey::new("example.com/log".parse().unwrap(), SigningKey::from_seed(&[3; 32]).unwrap());
        let checkpoint = Checkpoint { size: 11, root: tree.root_at(11).unwrap() };
        let signed = SignedCheckpoint { checkpoint, signature: key.sign(&checkpoint) };
        let hashes = prove_inclusion(&mut &tree, 4, 11).unwrap();
        let proof = EntryProof { index: 4, hashes, note: signed.note(key.public()) };
        let text = proof.to_text();
        let read = EntryProof::parse(&text).unwrap();
        assert_eq!(read, proof);
        assert_eq!(read.verify(&[4], key.public()), Ok(signed));
        assert!(read.verify(&[5], key.public()).is_err());
        let extra = text.replacen("index", "extra YWJj\nindex", 1);
        assert_eq!(EntryProof::parse(&extra).as_ref(), Ok(&proof));
        for (from, to) in [("index 4", "index 5"), ("index 4", "index 04"), ("@v1", "@v2"), ("\n\n", "\n")] {
            let changed = text.replacen(from, to, 1);
            let outcome = EntryProof::parse(&changed).and_then(|proof| proof.verify(&[4], key.public()));
            assert!(outcome.is_err(), "{from} to {to}");
        }
    }
}
