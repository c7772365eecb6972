//! Signed notes and checkpoints, as C2SP `signed-note` and `tlog-checkpoint` lay them out (Ed25519).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cordon_core::Digest;
use cordon_core::Hasher;
use cordon_core::ed25519::{Signature, SigningKey, VerifyingKey};

/// The signature type of plain Ed25519 notes.
const ED25519: u8 = 0x01;
/// Largest note that is read, in bytes.
const NOTE_BYTES_MAX: usize = 64 * 1024;

/// The unique name of a log, such as `example.com/acme/default`.
// INVARIANT: not empty, at most 255 bytes, no white space, no control character, no `+`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Box<str>);

/// The text is not a log's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a log name of 1 to 255 bytes without white space and `+`, got `{0}`")]
pub struct InvalidOrigin(String);

impl Origin {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        let ok = (1..=255).contains(&text.len()) && text.chars().all(plain);
        ok.then(|| Self(text.into())).ok_or_else(|| InvalidOrigin(text.chars().take(80).collect()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A log's public key under its name, written `<origin>+<key hash>+<base64 key>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NoteKey {
    origin: Origin,
    key: VerifyingKey,
}

/// The text is not a note verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `<origin>+<8 hex digits>+<base64 of an Ed25519 key>`, got `{0}`")]
pub struct InvalidNoteKey(String);

impl NoteKey {
    /// The key under a name.
    pub const fn new(origin: Origin, key: VerifyingKey) -> Self {
        Self { origin, key }
    }

    /// The log's name.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The key itself.
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The four bytes that name the key in a signature line:
    /// `SHA-256(name || 0x0A || 0x01 || key)[:4]`.
    pub fn hash(&self) -> [u8; 4] {
        let mut hasher = Hasher::new();
        hasher.update(self.origin.as_str().as_bytes()).update(&[b'\n', ED25519]).update(self.key.as_bytes());
        let digest = hasher.finish();
        digest.as_bytes().first_chunk::<4>().copied().unwrap_or_default()
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        let hash = u32::from_be_bytes(self.hash());
        write!(f, "{}+{hash:08x}+{}", self.origin, STANDARD.encode(bytes))
    }
}

impl FromStr for NoteKey {
    type Err = InvalidNoteKey;

    fn from_str(text: &str) -> Result<Self, InvalidNoteKey> {
        let parse = || {
            let (name, rest) = text.split_once('+')?;
            let (hash, body) = rest.split_once('+')?;
            let bytes = STANDARD.decode(body).ok()?;
            let (kind, key) = bytes.split_first()?;
            let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
            let key = Self { origin: name.parse().ok()?, key };
            let same =
                hash.len() == 8 && u32::from_str_radix(hash, 16).ok()? == u32::from_be_bytes(key.hash());
            (*kind == ED25519 && same).then_some(key)
        };
        parse().ok_or_else(|| InvalidNoteKey(text.chars().take(200).collect()))
    }
}

/// The private key with which a log signs its checkpoints.
#[derive(Debug, Clone)]
pub struct LogKey {
    public: NoteKey,
    signing: SigningKey,
}

impl LogKey {
    /// The key of the log with this name.
    pub const fn new(origin: Origin, signing: SigningKey) -> Self {
        Self { public: NoteKey::new(origin, signing.verifying_key()), signing }
    }

    /// The public half.
    pub const fn public(&self) -> &NoteKey {
        &self.public
    }

    /// Signs a checkpoint.
    // INVARIANT: the caller never signs two trees of which neither is the beginning of the other.
    pub fn sign(&self, checkpoint: &Checkpoint) -> Signature {
        self.signing.sign(checkpoint.text(self.public.origin()).as_bytes())
    }

    /// Signs other bytes of the log, such as the handover to another key.
    pub fn sign_bytes(&self, bytes: &[u8]) -> Signature {
        self.signing.sign(bytes)
    }
}

/// A log's state: its size and root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// How many entries there are.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Digest,
}

/// A checkpoint with a signature that may or may not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// The log's signature.
    pub signature: Signature,
}

/// A note is not a checkpoint that this key signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// It does not have the form of a signed checkpoint.
    #[error("line {line}: expected {expected}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// What was expected there.
        expected: &'static str,
    },
    /// It is another log's.
    #[error("origin `{got}` is not this log's origin `{want}`")]
    Origin {
        /// The note's.
        got: String,
        /// This log's.
        want: Origin,
    },
    /// The key's signature is missing or does not hold.
    #[error("no signature of `{0}` holds")]
    Signature(NoteKey),
}

impl Checkpoint {
    /// The text that is signed: origin, size and base64 root, a line each.
    pub fn text(&self, origin: &Origin) -> String {
        format!("{origin}\n{}\n{}\n", self.size, STANDARD.encode(self.root.as_bytes()))
    }
}

impl SignedCheckpoint {
    /// The whole note: text, empty line, signature line.
    pub fn note(&self, key: &NoteKey) -> String {
        let mut bytes = key.hash().to_vec();
        bytes.extend_from_slice(self.signature.as_bytes());
        let text = self.checkpoint.text(key.origin());
        format!("{text}\n\u{2014} {} {}\n", key.origin(), STANDARD.encode(bytes))
    }

    /// Reads a note and checks this key's signature; other signature lines are ignored.
    pub fn open(note: &str, key: &NoteKey) -> Result<Self, NoteError> {
        let bad = |line, expected| NoteError::Malformed { line, expected };
        if note.len() > NOTE_BYTES_MAX {
            return Err(bad(1, "a note of at most 64 KiB"));
        }
        let (text, signatures) =
            note.split_once("\n\n").ok_or(bad(4, "an empty line before the signatures"))?;
        let mut lines = text.split('\n');
        let origin = lines.next().unwrap_or_default();
        if origin != key.origin().as_str() {
            return Err(NoteError::Origin {
                got: origin.chars().take(255).collect(),
                want: key.origin().clone(),
            });
        }
        let size =
            lines.next().and_then(plain_number).ok_or(bad(2, "a size in decimal without leading zeros"))?;
        let root = lines.next().and_then(digest).ok_or(bad(3, "the base64 of a root of 32 bytes"))?;
        if lines.next().is_some() {
            return Err(bad(4, "no extension line"));
        }
        let checkpoint = Checkpoint { size, root };
        let signed = checkpoint.text(key.origin());
        let ours = signatures.lines().filter_map(|line| signature_of(line, key));
        let held = ours.into_iter().find(|signature| key.key().verify(signed.as_bytes(), signature).is_ok());
        let signature = held.ok_or_else(|| NoteError::Signature(key.clone()))?;
        Ok(Self { checkpoint, signature })
    }

    /// Checks the signature.
    pub fn verify(&self, key: &NoteKey) -> Result<(), NoteError> {
        let text = self.checkpoint.text(key.origin());
        key.key().verify(text.as_bytes(), &self.signature).map_err(|_| NoteError::Signature(key.clone()))
    }
}

fn plain_number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

pub(crate) fn digest(text: &str) -> Option<Digest> {
    STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).map(Digest::from_bytes)
}

/// The signature in a line, if the line is this key's.
fn signature_of(line: &str, key: &NoteKey) -> Option<Signature> {
    let (name, body) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = STANDARD.decode(body).ok()?;
    let (hash, signature) = bytes.split_first_chunk::<4>()?;
    let ours = name == key.origin().as_str() && *hash == key.hash();
    ours.then(|| signature.try_into().ok().map(Signature::from_bytes)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> LogKey {
        let signing = SigningKey::from_seed(&[seed; 32]).unwrap();
        LogKey::new("example.com/log".parse().unwrap(), signing)
    }

    fn signed(key: &LogKey) -> SignedCheckpoint {
        let checkpoint = Checkpoint { size: 42, root: Digest::of(b"root") };
        SignedCheckpoint { checkpoint, signature: key.sign(&checkpoint) }
    }

    #[test]
    fn a_note_opens_with_its_key_and_with_no_other() {
        let (ours, theirs) = (key(1), key(2));
        let note = signed(&ours).note(ours.public());
        assert_eq!(SignedCheckpoint::open(&note, ours.public()), Ok(signed(&ours)));
        assert!(SignedCheckpoint::open(&note, theirs.public()).is_err());
        let cosigned = format!("{note}\u{2014} witness.example AAAAAAAA\n");
        assert_eq!(SignedCheckpoint::open(&cosigned, ours.public()), Ok(signed(&ours)));
    }

    #[test]
    fn a_changed_note_is_refused() {
        let ours = key(1);
        let note = signed(&ours).note(ours.public());
        for (from, to) in [("42", "43"), ("42", "042"), ("log\n", "lob\n"), ("\n\n", "\nextension\n\n")] {
            let changed = note.replacen(from, to, 1);
            assert_ne!(changed, note);
            assert!(SignedCheckpoint::open(&changed, ours.public()).is_err(), "{from} to {to}");
        }
    }

    #[test]
    fn verifier_keys_round_trip_and_their_hash_binds() {
        let text = key(1).public().to_string();
        assert_eq!(text.parse::<NoteKey>().as_ref(), Ok(key(1).public()));
        let other = text.replacen("example", "exemple", 1);
        assert!(other.parse::<NoteKey>().is_err());
        assert!("a b".parse::<Origin>().is_err());
        assert!("".parse::<Origin>().is_err());
    }
}
