//! Reading a log's files without owning it: entries, proofs, the checkpoint.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use cordon_core::cbor::Cbor;
use cordon_core::{CallId, Digest, RecordId, SessionId, Timestamp};
use cordon_ledger::{
    AbsentReason, Commitment, Entry, EntryProof, EvidenceError, FieldId, Item, Kind, Level, MemoryTree,
    NoteKey, Opening, Outline, Replay, SignedCheckpoint, TileNodes, leaf_hash, prove_inclusion,
};

use super::derive::TileFiles;
use super::seal::OpeningKey;
use super::segment::{FrameReader, Read, Segment, list};

/// A log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// An operation on a file failed.
    #[error("cannot read the log in `{}`", path.display())]
    Io {
        /// The file or directory.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no log.
    #[error("there is no log in `{}`", .0.display())]
    Empty(std::path::PathBuf),
    /// There is no such entry.
    #[error("the log has {size} entries, so there is no entry {index}")]
    NoEntry {
        /// The entry.
        index: u64,
        /// The log's size.
        size: u64,
    },
    /// The files do not form a log; `verify` says more.
    #[error("{0}; `cordon ledger verify` lists everything")]
    Broken(String),
    /// A proof that was made does not verify.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// Which entries are wanted; what is not named does not narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// From this index on.
    pub from: u64,
    /// Before this index.
    pub before: u64,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In this session.
    pub session: Option<SessionId>,
    /// About this call.
    pub call: Option<CallId>,
    /// The record itself.
    pub record: Option<RecordId>,
    /// At most so many.
    pub most: usize,
    /// Whether the last ones are wanted, where there are more; else the first.
    pub newest: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            from: 0,
            before: u64::MAX,
            kind: None,
            session: None,
            call: None,
            record: None,
            most: 100,
            newest: true,
        }
    }
}

/// One entry as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its index.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Digest,
    /// How firmly it is kept.
    pub level: Level,
    /// What it is about.
    pub kind: Kind,
    /// The record's identifier.
    pub id: RecordId,
    /// When it happened.
    pub at: Timestamp,
    /// The session it belongs to, and its number there.
    pub session: Option<(SessionId, u64)>,
    /// Its fields in the order of the registry.
    pub fields: Vec<(FieldId, ShownValue)>,
}

/// One field as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShownValue {
    /// Written in the clear.
    Clear(Cbor),
    /// Committed; the opening was not asked for.
    Sealed(Commitment),
    /// Committed, and the opening fits.
    Opened(Cbor),
    /// Committed, and the opening is missing, altered or sealed under another key.
    Unopened(Commitment),
    /// There is no value.
    Absent(AbsentReason),
}

impl ShownValue {
    /// The value, where there is one to show.
    pub const fn value(&self) -> Option<&Cbor> {
        match self {
            Self::Clear(value) | Self::Opened(value) => Some(value),
            Self::Sealed(_) | Self::Unopened(_) | Self::Absent(_) => None,
        }
    }
}

/// The entries that the filter wants, in order; sealed fields are opened if a key is given.
pub fn show(dir: &Path, filter: &Filter, key: Option<&OpeningKey>) -> Result<Vec<Shown>, ReadError> {
    let narrowed =
        filter.kind.is_some() || filter.session.is_some() || filter.call.is_some() || filter.record.is_some();
    let mut filter = *filter;
    if filter.newest && !narrowed {
        let end = size(dir)?.min(filter.before);
        filter.from = filter.from.max(end.saturating_sub(filter.most as u64));
    }
    let mut found = VecDeque::new();
    if filter.newest {
        visit(dir, &Filter { most: usize::MAX, ..filter }, key, |entry| {
            found.push_back(entry);
            if found.len() > filter.most {
                found.pop_front();
            }
            ControlFlow::Continue(())
        })?;
    } else {
        visit(dir, &filter, key, |entry| {
            found.push_back(entry);
            ControlFlow::Continue(())
        })?;
    }
    Ok(found.into())
}

/// Visits the entries that the filter wants one by one, from the first on, until `each` breaks or
/// `filter.most` were visited; holds one frame at a time. `filter.newest` counts nothing here.
pub fn visit(
    dir: &Path,
    filter: &Filter,
    key: Option<&OpeningKey>,
    mut each: impl FnMut(Shown) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let mut visited = 0usize;
    walk(dir, filter.from, |seen| {
        if seen.index >= filter.before || visited >= filter.most {
            return Ok(Walk::Stop);
        }
        if seen.index < filter.from {
            return Ok(Walk::On);
        }
        let outline = Outline::read(seen.entry).map_err(|fault| broken(seen.index, &fault))?;
        let wanted = filter.kind.is_none_or(|kind| kind == outline.kind)
            && filter.record.is_none_or(|record| record == outline.id)
            && filter
                .session
                .is_none_or(|session| outline.session.is_some_and(|(found, _)| found == session));
        if !wanted {
            return Ok(Walk::On);
        }
        let entry = Entry::decode(seen.entry).map_err(|fault| broken(seen.index, &fault))?;
        let call = || entry.clear(FieldId::Call).and_then(Cbor::as_bytes);
        if filter.call.is_some_and(|wanted| call() != Some(wanted.as_bytes())) {
            return Ok(Walk::On);
        }
        visited = visited.saturating_add(1);
        Ok(match each(shown(seen, &outline, entry, key)) {
            ControlFlow::Continue(()) => Walk::On,
            ControlFlow::Break(()) => Walk::Stop,
        })
    })
}

fn shown(seen: &Found<'_>, outline: &Outline, entry: Entry, key: Option<&OpeningKey>) -> Shown {
    let openings = key.map(|key| key.open(outline.id, seen.sealed).unwrap_or_default());
    let value = |(field, item)| {
        let value = match (item, &openings) {
            (Item::Clear(value), _) => ShownValue::Clear(value),
            (Item::Absent(reason), _) => ShownValue::Absent(reason),
            (Item::Committed(commitment), None) => ShownValue::Sealed(commitment),
            (Item::Committed(commitment), Some(openings)) => {
                let fits = |opening: &&Opening| opening.field == field && opening.commitment() == commitment;
                let opened = openings.iter().find(fits).and_then(Opening::value);
                opened.map_or(ShownValue::Unopened(commitment), ShownValue::Opened)
            }
        };
        (field, value)
    };
    Shown {
        index: seen.index,
        leaf: leaf_hash(seen.entry),
        level: Level::Durable,
        kind: outline.kind,
        id: outline.id,
        at: outline.at,
        session: outline.session.map(|(session, link)| (session, link.counter)),
        fields: entry.fields.into_iter().map(value).collect(),
    }
}

/// Proves that an entry is in the log, as a text that verifies offline, and returns the entry's bytes.
/// The proof was verified before it is returned.
pub fn prove(dir: &Path, index: u64) -> Result<(EntryProof, Vec<u8>), ReadError> {
    let mut entry = None;
    let mut end = 0;
    walk(dir, index, |seen| {
        end = seen.index.saturating_add(1);
        if seen.index == index {
            entry = Some(seen.entry.to_vec());
            return Ok(Walk::Stop);
        }
        Ok(Walk::On)
    })?;
    let entry = match entry {
        Some(entry) => entry,
        None => return Err(ReadError::NoEntry { index, size: end.max(size(dir)?) }),
    };
    let key = log_key(dir)?;
    let proof = match from_tiles(dir, index, &key) {
        Some(proof) => proof,
        None => from_segments(dir, index, &key)?,
    };
    proof.verify(&entry, &key)?;
    Ok((proof, entry))
}

/// A proof under the published checkpoint, if that covers the entry and the tiles are whole.
fn from_tiles(dir: &Path, index: u64, key: &NoteKey) -> Option<EntryProof> {
    let note = std::fs::read_to_string(dir.join("checkpoint")).ok()?;
    let size = SignedCheckpoint::open(&note, key).ok()?.checkpoint.size;
    let hashes = prove_inclusion(&mut TileNodes::new(TileFiles { dir }, size), index, size).ok()?;
    Some(EntryProof { index, hashes, note })
}

/// A proof under the newest frame's checkpoint.
fn from_segments(dir: &Path, index: u64, key: &NoteKey) -> Result<EntryProof, ReadError> {
    let mut tree = MemoryTree::default();
    walk(dir, 0, |seen| {
        tree.push(leaf_hash(seen.entry));
        Ok(Walk::On)
    })?;
    let signed = last_frame(dir)?.ok_or_else(|| ReadError::Empty(dir.to_owned()))?;
    let size = signed.checkpoint.size;
    let hashes = prove_inclusion(&mut &tree, index, size);
    let hashes = hashes.map_err(|_| ReadError::NoEntry { index, size })?;
    Ok(EntryProof { index, hashes, note: signed.note(key) })
}

/// The newest signed checkpoint, as a note.
pub fn checkpoint(dir: &Path) -> Result<String, ReadError> {
    let signed = last_frame(dir)?.ok_or_else(|| ReadError::Empty(dir.to_owned()))?;
    let key = log_key(dir)?;
    Ok(signed.note(&key))
}

/// The key that signed the newest checkpoint, by the log's own history of keys.
pub fn log_key(dir: &Path) -> Result<NoteKey, ReadError> {
    let signed = last_frame(dir)?.ok_or_else(|| ReadError::Empty(dir.to_owned()))?;
    let mut first = None;
    walk(dir, 0, |seen| {
        let entry = Entry::decode(seen.entry).map_err(|fault| broken(seen.index, &fault))?;
        first = entry.clear(FieldId::LogKey).and_then(Cbor::as_text).and_then(|key| key.parse().ok());
        Ok(Walk::Stop)
    })?;
    let genesis: Option<NoteKey> = first;
    if let Some(key) = genesis.filter(|key| signed.verify(key).is_ok()) {
        return Ok(key);
    }
    let mut replay = Replay::new();
    frames(dir, 0, |_, frame| {
        replay.absorb(frame, |_| {});
        Ok(Walk::On)
    })?;
    let keys = replay.keys().iter().rev().map(|term| &term.key);
    let found = keys.into_iter().find(|key| signed.verify(key).is_ok()).cloned();
    found.ok_or_else(|| ReadError::Broken("no key of the log signed its newest checkpoint".to_owned()))
}

/// How many entries there are.
fn size(dir: &Path) -> Result<u64, ReadError> {
    Ok(last_frame(dir)?.map_or(0, |signed| signed.checkpoint.size))
}

/// The checkpoint of the newest frame.
fn last_frame(dir: &Path) -> Result<Option<SignedCheckpoint>, ReadError> {
    for segment in segments(dir)?.iter().rev() {
        let failed = failed(&segment.path);
        let mut reader = FrameReader::open(&segment.path, 0).map_err(&failed)?;
        let mut last = None;
        while let Some((_, header)) = reader.skip().map_err(&failed)? {
            last = Some(SignedCheckpoint { checkpoint: header.checkpoint(), signature: header.signature });
        }
        if last.is_some() {
            return Ok(last);
        }
    }
    Ok(None)
}

/// Whether a walk goes on.
enum Walk {
    On,
    Stop,
}

/// One entry where it was found.
struct Found<'b> {
    index: u64,
    entry: &'b [u8],
    sealed: &'b [u8],
}

/// Visits entries in order, beginning with the frame that holds `from`.
fn walk(
    dir: &Path,
    from: u64,
    mut visit: impl FnMut(&Found<'_>) -> Result<Walk, ReadError>,
) -> Result<(), ReadError> {
    frames(dir, from, |path, frame| {
        let mut sealed = frame.sealed();
        for (index, entry) in (frame.header.first..).zip(frame.entries()) {
            let sealed = sealed.next().flatten().unwrap_or_default();
            let torn =
                || ReadError::Broken(format!("entry {index} in `{}` has a wrong length", path.display()));
            let entry = entry.ok_or_else(torn)?;
            if let Walk::Stop = visit(&Found { index, entry, sealed })? {
                return Ok(Walk::Stop);
            }
        }
        Ok(Walk::On)
    })
}

/// Visits frames in order, beginning with the one that holds entry `from`.
fn frames(
    dir: &Path,
    from: u64,
    mut visit: impl FnMut(&Path, &cordon_ledger::Frame<'_>) -> Result<Walk, ReadError>,
) -> Result<(), ReadError> {
    let segments = segments(dir)?;
    let begin = segments.iter().rposition(|segment| segment.first <= from).unwrap_or(0);
    for Segment { path, .. } in segments.iter().skip(begin) {
        let failed = failed(path);
        let mut offset = 0;
        let mut reader = FrameReader::open(path, 0).map_err(&failed)?;
        while let Some((at, header)) = reader.skip().map_err(&failed)? {
            offset = at;
            if header.end() > from {
                break;
            }
            offset = reader.offset();
        }
        let mut reader = FrameReader::open(path, offset).map_err(&failed)?;
        while let Read::Frame(_, frame) = reader.next().map_err(&failed)? {
            if let Walk::Stop = visit(path, &frame)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn segments(dir: &Path) -> Result<Vec<Segment>, ReadError> {
    list(dir).map_err(failed(dir))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ReadError + use<> {
    let path = path.to_owned();
    move |source| ReadError::Io { path: path.clone(), source }
}

fn broken(index: u64, fault: &cordon_ledger::EntryFault) -> ReadError {
    ReadError::Broken(format!("entry {index}: {fault}"))
}
