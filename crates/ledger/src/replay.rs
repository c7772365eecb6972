//! The check of a whole log, frame by frame: what the engine does when it starts and a verifier at any
//! time.

use cordon_core::cbor::Cbor;
use cordon_core::ed25519::Signature;
use cordon_core::{Digest, SessionId};

use crate::fault::{Fault, FaultKind};
use crate::frame::Frame;
use crate::note::{NoteKey, Origin, SignedCheckpoint};
use crate::sessions::Sessions;
use crate::tree::{Frontier, leaf_hash};
use crate::{Entry, FieldId, Kind, Link, Outline, locate};

/// A log's key and the index of the first entry that it may vouch for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTerm {
    /// The key.
    pub key: NoteKey,
    /// The index of the first entry in a frame that it signs.
    pub from: u64,
}

/// The state of a log after the frames that were taken in.
#[derive(Debug, Clone)]
pub struct Replay {
    frontier: Frontier,
    epoch: u64,
    /// The history of keys, the oldest first; empty before the genesis entry.
    keys: Vec<KeyTerm>,
    sessions: Sessions,
    signed: Option<SignedCheckpoint>,
    restarts: u64,
}

/// One entry of a frame, as far as it could be read.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'b> {
    /// Its index in the log.
    pub index: u64,
    /// Its bytes.
    pub bytes: &'b [u8],
    /// Its leaf hash.
    pub leaf: Digest,
    /// Its parts; none if its form is wrong or was not checked.
    pub outline: Option<Outline>,
}

impl Replay {
    /// The state of a log without entries.
    pub fn new() -> Self {
        Self {
            frontier: Frontier::default(),
            epoch: 0,
            keys: Vec::new(),
            sessions: Sessions::default(),
            signed: None,
            restarts: 0,
        }
    }

    /// A state that was saved; its frontier must have the root that is signed.
    pub fn resume(
        frontier: Frontier,
        epoch: u64,
        keys: Vec<KeyTerm>,
        sessions: Sessions,
        signed: SignedCheckpoint,
    ) -> Option<Self> {
        let key = &keys.last()?.key;
        let fits = frontier.size() == signed.checkpoint.size && frontier.root() == signed.checkpoint.root;
        // The frame that hands over to a key is itself signed by the key before.
        let before = keys.iter().rev().nth(1).map(|term| &term.key);
        let held = signed.verify(key).is_ok() || before.is_some_and(|key| signed.verify(key).is_ok());
        (fits && held).then_some(Self { frontier, epoch, keys, sessions, signed: Some(signed), restarts: 0 })
    }

    /// Takes a frame in and returns what is wrong with it. Where a change could be placed, the state
    /// is that of the log before the change; after a fault that is fatal it must not be used further.
    pub fn frame<'b>(&mut self, frame: &Frame<'b>, mut seen: impl FnMut(Seen<'b>)) -> Vec<Fault> {
        let first = frame.header.first;
        let mut faults = Faults { frame: first, found: Vec::new() };
        if first != self.frontier.size() {
            faults.add(None, None, FaultKind::Order { expected: self.frontier.size() });
            return faults.found;
        }
        if frame.header.epoch < self.epoch {
            faults.add(None, None, FaultKind::Epoch { before: self.epoch });
        }
        self.epoch = frame.header.epoch;
        self.leaves(frame, &mut faults);
        let key = self.keys.last().map(|term| term.key.clone());
        self.entries(frame, &mut faults, &mut seen);
        self.checkpoint(frame, key, &mut faults);
        if !frame.body_holds() && faults.found.is_empty() {
            faults.add(None, None, FaultKind::Body);
        }
        if !frame.padding_holds() {
            faults.add(None, None, FaultKind::Padding);
        }
        faults.found
    }

    /// Takes in a frame that this process itself has written and checked: nothing is verified again.
    pub fn absorb<'b>(&mut self, frame: &Frame<'b>, mut seen: impl FnMut(Seen<'b>)) {
        let mut ignored = Faults { frame: frame.header.first, found: Vec::new() };
        frame.leaves().for_each(|leaf| self.frontier.push(leaf));
        self.epoch = frame.header.epoch;
        for ((index, bytes), leaf) in (frame.header.first..).zip(frame.entries()).zip(frame.leaves()) {
            let Some(bytes) = bytes else { break };
            seen(Seen { index, bytes, leaf, outline: None });
            let Some((kind, session)) = Outline::peek(bytes) else { continue };
            if let Some((session, link)) = session {
                self.link(index, session, link, leaf, kind, &mut ignored);
            }
            match kind {
                Kind::Genesis => self.genesis(index, bytes, &mut ignored),
                Kind::KeyRotation => self.rotation(index, bytes, frame.header.end(), &mut ignored),
                _ => {}
            }
        }
        self.signed = Some(SignedCheckpoint {
            checkpoint: frame.header.checkpoint(),
            signature: frame.header.signature,
        });
    }

    /// Compares entries with the stored leaf hashes, and says which of the two was changed.
    fn leaves(&mut self, frame: &Frame<'_>, faults: &mut Faults) {
        let before = self.frontier.clone();
        frame.leaves().for_each(|leaf| self.frontier.push(leaf));
        let stored_fit = self.frontier.root() == frame.header.root;
        let mut entries = frame.entries();
        let mut changed = Vec::new();
        for (index, stored) in (frame.header.first..).zip(frame.leaves()) {
            match entries.next() {
                Some(Some(entry)) if leaf_hash(entry) == stored => {}
                Some(Some(entry)) => changed.push((index, Some(entry))),
                _ => changed.push((index, None)),
            }
        }
        if entries.next().is_some() {
            faults.add(None, None, FaultKind::Surplus);
        }
        if changed.is_empty() {
            return;
        }
        if !stored_fit {
            let mut other = before;
            let hashes = frame.entries().zip(frame.leaves());
            hashes.for_each(|(entry, stored)| other.push(entry.map_or(stored, leaf_hash)));
            if other.root() == frame.header.root {
                self.frontier = other;
                changed.iter().for_each(|(index, _)| faults.add(Some(*index), None, FaultKind::StoredHash));
                return;
            }
        }
        for (index, entry) in changed {
            faults.add(Some(index), entry.and_then(locate), FaultKind::Entry);
        }
    }

    /// Checks each entry's form, its place in its session, and what it says about keys.
    fn entries<'b>(&mut self, frame: &Frame<'b>, faults: &mut Faults, seen: &mut impl FnMut(Seen<'b>)) {
        let first = frame.header.first;
        for ((index, entry), leaf) in (first..).zip(frame.entries()).zip(frame.leaves()) {
            let Some(bytes) = entry else { return };
            let known = faults.found.iter().any(|fault| fault.entry == Some(index));
            let outline = match Outline::read(bytes) {
                Ok(outline) => Some(outline),
                Err(_) if known => None,
                Err(fault) => {
                    faults.add(Some(index), fault.field, FaultKind::Form { expected: fault.expected });
                    None
                }
            };
            seen(Seen { index, bytes, leaf, outline });
            let Some(outline) = outline.filter(|_| !known) else { continue };
            if let Some((session, link)) = outline.session {
                self.link(index, session, link, leaf, outline.kind, faults);
            }
            match outline.kind {
                Kind::Genesis => self.genesis(index, bytes, faults),
                Kind::KeyRotation => self.rotation(index, bytes, frame.header.end(), faults),
                _ if index == 0 => faults.add(Some(0), Some(FieldId::Kind), FaultKind::Genesis),
                _ => {}
            }
        }
    }

    fn link(
        &mut self,
        index: u64,
        session: SessionId,
        link: Link,
        leaf: Digest,
        kind: Kind,
        faults: &mut Faults,
    ) {
        let expected = self.sessions.next(session);
        if link == Link::FIRST && expected != Link::FIRST {
            self.restarts = self.restarts.saturating_add(1);
        } else if link != expected {
            let kind = FaultKind::Session { session, expected: expected.counter, got: link.counter };
            faults.add(Some(index), Some(FieldId::Link), kind);
        }
        self.sessions.advance(session, link, leaf);
        if kind == Kind::Session(crate::SessionStep::Closed) {
            self.sessions.close(session);
        }
    }

    fn genesis(&mut self, index: u64, bytes: &[u8], faults: &mut Faults) {
        let key = Entry::decode(bytes).ok().and_then(|entry| {
            let key: NoteKey = entry.clear(FieldId::LogKey)?.as_text()?.parse().ok()?;
            let origin: Origin = entry.clear(FieldId::Origin)?.as_text()?.parse().ok()?;
            (*key.origin() == origin).then_some(key)
        });
        match key {
            Some(key) if index == 0 && self.keys.is_empty() => self.keys.push(KeyTerm { key, from: 0 }),
            _ => faults.add(Some(index), Some(FieldId::LogKey), FaultKind::Genesis),
        }
    }

    fn rotation(&mut self, index: u64, bytes: &[u8], from: u64, faults: &mut Faults) {
        let current = self.keys.last().map(|term| term.key.clone());
        let handed = Entry::decode(bytes).ok().and_then(|entry| {
            let current = current?;
            let new: NoteKey = entry.clear(FieldId::LogKey)?.as_text()?.parse().ok()?;
            let previous: NoteKey = entry.clear(FieldId::PreviousKey)?.as_text()?.parse().ok()?;
            let signature: [u8; 64] = entry.clear(FieldId::KeySignature)?.as_bytes()?.try_into().ok()?;
            let signed = handover(&previous, &new);
            let held = current.key().verify(&signed, &Signature::from_bytes(signature)).is_ok();
            (previous == current && new.origin() == current.origin() && held).then_some(new)
        });
        match handed {
            Some(key) => self.keys.push(KeyTerm { key, from }),
            None => faults.add(Some(index), Some(FieldId::KeySignature), FaultKind::Handover),
        }
    }

    /// Checks the root and the signature over it.
    fn checkpoint(&mut self, frame: &Frame<'_>, key: Option<NoteKey>, faults: &mut Faults) {
        let signed =
            SignedCheckpoint { checkpoint: frame.header.checkpoint(), signature: frame.header.signature };
        // The first frame is signed by the key that its own genesis entry names.
        let Some(key) = key.or_else(|| self.keys.first().map(|term| term.key.clone())) else {
            if faults.found.is_empty() {
                faults.add(Some(0), None, FaultKind::Genesis);
            }
            return;
        };
        let held = signed.verify(&key).is_ok();
        let root = self.frontier.root();
        if root != signed.checkpoint.root {
            let mut ours = signed;
            ours.checkpoint.root = root;
            let only_root = !held && ours.verify(&key).is_ok();
            faults.add(None, None, if only_root { FaultKind::StoredRoot } else { FaultKind::Root });
        } else if !held {
            faults.add(None, None, FaultKind::Signature { key: key.to_string() });
        }
        self.signed = Some(signed);
    }

    /// The right edge of the tree.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// How many entries there are.
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// How many times the log had been opened when the last frame was written.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The history of the log's keys, the oldest first.
    pub fn keys(&self) -> &[KeyTerm] {
        &self.keys
    }

    /// The sessions' next places.
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The last frame's signed checkpoint.
    pub const fn signed(&self) -> Option<&SignedCheckpoint> {
        self.signed.as_ref()
    }

    /// How often a session began again at its first place.
    pub const fn restarts(&self) -> u64 {
        self.restarts
    }
}

impl Default for Replay {
    fn default() -> Self {
        Self::new()
    }
}

/// The bytes that an old key signs to hand a log over to a new one: deterministic CBOR of
/// `["cordon/rotate/v1", old verifier key, new verifier key]`.
pub fn handover(old: &NoteKey, new: &NoteKey) -> Vec<u8> {
    let text = |key: &NoteKey| Cbor::Text(key.to_string().into());
    Cbor::Array(vec!["cordon/rotate/v1".into(), text(old), text(new)]).encode()
}

struct Faults {
    frame: u64,
    found: Vec<Fault>,
}

impl Faults {
    fn add(&mut self, entry: Option<u64>, field: Option<FieldId>, kind: FaultKind) {
        self.found.push(Fault { frame: self.frame, entry, field, kind });
    }
}
