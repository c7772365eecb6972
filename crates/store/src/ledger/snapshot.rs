//! Signed states of the log to start from, so that a start replays minutes and not years.
//!
//! A snapshot is derived: one that is missing, unreadable or not signed by the log's key is passed over,
//! and the log is replayed from an earlier one or from the beginning.

use std::io;
use std::path::{Path, PathBuf};

use cordon_core::cbor::Cbor;
use cordon_core::ed25519::Signature;
use cordon_core::{Digest, SessionId};
use cordon_ledger::{
    Checkpoint, Frontier, KeyTerm, Link, LogKey, NoteKey, Replay, Sessions, SignedCheckpoint,
};

use super::disk::{Lasting, replace};

/// How many snapshots are kept.
const KEPT: usize = 2;
/// Bytes of one remembered session: identifier, counter, leaf hash.
const SESSION_BYTES: usize = 56;

/// A state of the log and where the frames behind it begin.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// The state.
    pub(super) replay: Replay,
    /// The segment that the next frame is in, or would be in.
    pub(super) segment: u64,
    /// Where in it.
    pub(super) offset: u64,
}

impl Snapshot {
    /// The state before the first frame.
    pub(super) fn empty() -> Self {
        Self { replay: Replay::new(), segment: 0, offset: 0 }
    }

    /// The newest usable snapshot of at most `size_max` entries.
    pub(super) fn newest(dir: &Path, key: &NoteKey, size_max: u64) -> Self {
        let usable = |(size, path): &(u64, PathBuf)| {
            (*size <= size_max).then(|| std::fs::read(path).ok())?.and_then(|bytes| Self::decode(&bytes, key))
        };
        list(dir).iter().rev().find_map(usable).unwrap_or_else(Self::empty)
    }

    /// Writes the snapshot and removes those that are no longer needed.
    pub(super) fn write(&self, dir: &Path, key: &LogKey) -> io::Result<()> {
        let Some(bytes) = self.encode(key) else { return Ok(()) };
        std::fs::create_dir_all(snapshots_dir(dir))?;
        let path = snapshots_dir(dir).join(format!("{:020}.snap", self.replay.size()));
        replace(&path, &bytes, Lasting::Yes)?;
        let all = list(dir);
        let extra = all.len().saturating_sub(KEPT);
        for (_, path) in all.iter().take(extra) {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Signature, then deterministic CBOR.
    fn encode(&self, key: &LogKey) -> Option<Vec<u8>> {
        let replay = &self.replay;
        let signed = replay.signed()?;
        let peaks = replay.frontier().peaks().iter().map(|peak| Cbor::bytes(*peak.as_bytes())).collect();
        let term =
            |term: &KeyTerm| Cbor::Array(vec![Cbor::Text(term.key.to_string().into()), term.from.into()]);
        let mut sessions = Vec::with_capacity(replay.sessions().len().saturating_mul(SESSION_BYTES));
        for (session, link) in replay.sessions().iter() {
            sessions.extend_from_slice(session.as_bytes());
            sessions.extend_from_slice(&link.counter.to_be_bytes());
            sessions.extend_from_slice(link.previous.as_bytes());
        }
        let closed: Vec<u8> = replay.sessions().closed().flat_map(|session| *session.as_bytes()).collect();
        let body = Cbor::map([
            (1, replay.size().into()),
            (2, Cbor::bytes(*signed.checkpoint.root.as_bytes())),
            (3, Cbor::bytes(*signed.signature.as_bytes())),
            (4, Cbor::Array(peaks)),
            (5, replay.epoch().into()),
            (6, Cbor::Array(replay.keys().iter().map(term).collect())),
            (7, Cbor::Bytes(sessions)),
            (8, Cbor::Bytes(closed)),
            (9, self.segment.into()),
            (10, self.offset.into()),
        ])
        .encode();
        let mut bytes = key.sign_bytes(&signing_bytes(&body)).as_bytes().to_vec();
        bytes.extend_from_slice(&body);
        Some(bytes)
    }

    fn decode(bytes: &[u8], key: &NoteKey) -> Option<Self> {
        let (signature, body) = bytes.split_first_chunk::<64>()?;
        key.key().verify(&signing_bytes(body), &Signature::from_bytes(*signature)).ok()?;
        let cbor = Cbor::decode(body).ok()?;
        let number = |at: u64| cbor.get(at).and_then(Cbor::as_u64);
        let list = |at: u64| cbor.get(at).and_then(Cbor::as_array);
        let raw = |at: u64| cbor.get(at).and_then(Cbor::as_bytes);
        let digest = |cbor: &Cbor| cbor.as_bytes()?.try_into().ok().map(Digest::from_bytes);

        let size = number(1)?;
        let checkpoint = Checkpoint { size, root: digest(cbor.get(2)?)? };
        let signed =
            SignedCheckpoint { checkpoint, signature: Signature::from_bytes(raw(3)?.try_into().ok()?) };
        let peaks = list(4)?.iter().map(digest).collect::<Option<Vec<_>>>()?;
        let term = |cbor: &Cbor| match cbor.as_array()? {
            [key, from] => Some(KeyTerm { key: key.as_text()?.parse().ok()?, from: from.as_u64()? }),
            _ => None,
        };
        let keys = list(6)?.iter().map(term).collect::<Option<Vec<_>>>()?;
        let open = raw(7)?.as_chunks::<SESSION_BYTES>().0.iter().map(session);
        let open = open.collect::<Option<Vec<_>>>()?;
        let closed = raw(8)?.as_chunks::<16>().0.iter().map(|bytes| SessionId::from_bytes(*bytes));
        let frontier = Frontier::from_parts(size, peaks)?;
        let sessions = Sessions::restore(open, closed);
        let replay = Replay::resume(frontier, number(5)?, keys, sessions, signed)?;
        Some(Self { replay, segment: number(9)?, offset: number(10)? })
    }
}

fn session(bytes: &[u8; SESSION_BYTES]) -> Option<(SessionId, Link)> {
    let (session, rest) = bytes.split_first_chunk::<16>()?;
    let (counter, previous) = rest.split_first_chunk::<8>()?;
    let previous = Digest::from_bytes(previous.try_into().ok()?);
    Some((SessionId::from_bytes(*session), Link { counter: u64::from_be_bytes(*counter), previous }))
}

fn signing_bytes(body: &[u8]) -> Vec<u8> {
    Cbor::Array(vec!["cordon/snap/v1".into(), Cbor::bytes(*Digest::of(body).as_bytes())]).encode()
}

fn snapshots_dir(dir: &Path) -> PathBuf {
    dir.join("snap")
}

/// The snapshots by size, the oldest first.
fn list(dir: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(snapshots_dir(dir)) else { return Vec::new() };
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let named = path.extension().is_some_and(|extension| extension == "snap");
            let size = path.file_stem()?.to_str().filter(|_| named)?.parse().ok()?;
            Some((size, path))
        })
        .collect();
    found.sort();
    found
}
