//! The whole check of a log's files, by anyone, without a server: what is wrong is found and named.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cordon_core::Digest;
use cordon_ledger::{
    Bundle, Entry, Fault, FaultKind, FieldId, Frame, HeaderError, Item, Kind, NoteKey, Outline, Replay,
    SignedCheckpoint, TILE_WIDTH, Tail, Tile, TileBuilder, bundle_entry, judge_tail,
};

use super::head::{Head, read_head};
use super::read::ReadError;
use super::seal::{OpeningKey, first_damaged};
use super::segment::{FrameReader, Read, list};

/// Problems that are listed; the rest is counted.
const PROBLEMS_MAX: usize = 100;

/// How much is checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions<'a> {
    /// The key that the verifier trusts; without one, the log's first key is only reported.
    pub trusted: Option<&'a NoteKey>,
    /// The head record, to find a log that was cut short or replaced by an older copy.
    pub head_file: Option<&'a Path>,
    /// Opens the sealed values, to compare each with its commitment.
    pub opening_key: Option<&'a OpeningKey>,
    /// Whether tiles and bundles are compared too.
    pub derived: bool,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The log's name.
    pub origin: Option<String>,
    /// How many entries were checked.
    pub size: u64,
    /// The newest checkpoint that was reached.
    pub signed: Option<SignedCheckpoint>,
    /// How many frames and segments there are.
    pub frames: u64,
    /// How many segments there are.
    pub segments: u64,
    /// Entries by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// The history of keys: the verifier key, and the index of the first entry it may vouch for.
    pub keys: Vec<(String, u64)>,
    /// Whether the trusted key vouches for the log; none if no key was given.
    pub trusted: Option<bool>,
    /// How often a session began again at its first place.
    pub restarts: u64,
    /// The entries that record a recovery.
    pub recoveries: Vec<u64>,
    /// Sealed values that were opened and compared.
    pub opened: u64,
    /// Committed values in all.
    pub committed: u64,
    /// Tiles and bundles that were compared.
    pub derived: u64,
    /// The size under the published checkpoint.
    pub published: Option<u64>,
    /// Bytes of a frame that is being written, or was cut off by a crash.
    pub unfinished_bytes: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Problems that are not listed.
    pub problems_left_out: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn holds(&self) -> bool {
        self.problems.is_empty() && self.trusted != Some(false)
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The byte at which its frame begins.
    pub offset: Option<u64>,
    /// The index of the frame's first entry.
    pub frame: Option<u64>,
    /// The entry.
    pub entry: Option<u64>,
    /// The field.
    pub field: Option<FieldId>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, ", byte {offset}")?;
        }
        if let Some(frame) = self.frame {
            write!(f, ", frame {frame}")?;
        }
        if let Some(entry) = self.entry {
            write!(f, ", entry {entry}")?;
        }
        if let Some(field) = self.field {
            write!(f, ", field `{field}`")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Checks everything that the log's files claim. `progress` is told how many entries were checked.
pub fn verify(
    dir: &Path,
    options: &VerifyOptions<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, ReadError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ReadError::Io { path: path.clone(), source }
    };
    let segments = list(dir).map_err(failed(dir))?;
    if segments.is_empty() {
        return Err(ReadError::Empty(dir.to_owned()));
    }
    let mut check = Check::new(dir, options);
    let count = segments.len();
    for (at, segment) in (1usize..).zip(&segments) {
        check.report.segments = check.report.segments.saturating_add(1);
        if segment.first != check.replay.size() {
            let what = format!("expected a segment that begins with entry {}", check.replay.size());
            check.problem(&segment.path, None, what);
            break;
        }
        let fatal = check.segment(&segment.path, at == count, progress).map_err(failed(&segment.path))?;
        if fatal {
            break;
        }
    }
    Ok(check.finish())
}

struct Check<'a> {
    dir: &'a Path,
    options: &'a VerifyOptions<'a>,
    replay: Replay,
    tiles: TileBuilder,
    bundle: Vec<u8>,
    head: Option<Head>,
    /// The published checkpoint's text.
    note: Option<String>,
    published_size: Option<u64>,
    roots: BTreeMap<u64, Digest>,
    trusted: bool,
    report: Report,
}

impl<'a> Check<'a> {
    fn new(dir: &'a Path, options: &'a VerifyOptions<'a>) -> Self {
        let mut report = Report::default();
        let mut head = None;
        if let Some(path) = options.head_file {
            match read_head(path) {
                Ok(found) => head = found,
                Err(error) => report.problems.push(Problem {
                    path: path.to_owned(),
                    offset: None,
                    frame: None,
                    entry: None,
                    field: None,
                    what: error.to_string(),
                }),
            }
        }
        let note = std::fs::read_to_string(dir.join("checkpoint")).ok();
        let published_size = note.as_deref().and_then(|note| note.lines().nth(1)?.parse().ok());
        Self {
            dir,
            options,
            replay: Replay::new(),
            tiles: TileBuilder::default(),
            bundle: Vec::new(),
            head,
            note,
            published_size,
            roots: BTreeMap::new(),
            trusted: false,
            report,
        }
    }

    /// Checks one segment; true if what follows cannot be checked.
    fn segment(&mut self, path: &Path, is_last: bool, progress: &mut dyn FnMut(u64)) -> io::Result<bool> {
        let mut reader = FrameReader::open(path, 0)?;
        let mut retries = 0u8;
        loop {
            let (offset, error) = match reader.next()? {
                Read::Frame(offset, frame) if frame.body_holds() && frame.sealed_holds() => {
                    retries = 0;
                    if self.frame(path, offset, &frame) {
                        return Ok(true);
                    }
                    progress(self.replay.size());
                    continue;
                }
                Read::Frame(offset, frame) => {
                    // Not the last frame, or written whole: whatever is wrong with it is named.
                    let behind = offset.saturating_add(frame.header.extent());
                    let extent = frame.header.extent();
                    let closed = self.head.is_some_and(|head| head.closed);
                    if !is_last || closed || !torn(&reader, offset, extent)? {
                        if is_last && retries < 3 && reader.blank_from(behind)? {
                            retries = retry(&mut reader, offset, retries);
                            continue;
                        }
                        match self.again(path, offset)? {
                            Some(fatal) if !fatal => {
                                reader = FrameReader::open(path, behind)?;
                                continue;
                            }
                            _ => return Ok(true),
                        }
                    }
                    (offset, None)
                }
                Read::End(offset, error) => (offset, Some(error)),
            };
            if reader.blank_from(offset)? {
                return Ok(false);
            }
            let tail = reader.tail(offset)?;
            let closed = self.head.is_some_and(|head| head.closed);
            if is_last && !closed && judge_tail(&tail) == Tail::Torn {
                let content = tail.iter().rposition(|byte| *byte != 0);
                self.report.unfinished_bytes = content.map_or(0, |at| (at as u64).saturating_add(1));
                return Ok(false);
            }
            if is_last && retries < 3 {
                retries = retry(&mut reader, offset, retries);
                continue;
            }
            let kind = match error {
                Some(HeaderError::Changed) => FaultKind::Frame(HeaderError::Changed),
                _ => FaultKind::Tail,
            };
            let frame = self.replay.size();
            self.fault(path, offset, &Fault { frame, entry: None, field: None, kind });
            return Ok(true);
        }
    }

    /// Reads a frame whose checks failed once more, by itself, and names what is wrong.
    fn again(&mut self, path: &Path, offset: u64) -> io::Result<Option<bool>> {
        let mut reader = FrameReader::open(path, offset)?;
        match reader.next()? {
            Read::Frame(_, frame) => Ok(Some(self.frame(path, offset, &frame))),
            Read::End(..) => Ok(None),
        }
    }

    /// Checks one frame; true if what follows cannot be checked.
    fn frame(&mut self, path: &Path, offset: u64, frame: &Frame<'_>) -> bool {
        self.report.frames = self.report.frames.saturating_add(1);
        let key_before = self.replay.keys().last().map(|term| term.key.clone());
        let mut derived = Vec::new();
        let check_derived = self.options.derived;
        let mut outlines = Vec::with_capacity(frame.header.count as usize);
        let (tiles, bundle) = (&mut self.tiles, &mut self.bundle);
        let faults = self.replay.frame(frame, |seen| {
            outlines.push((seen.index, seen.bytes, seen.outline));
            if check_derived {
                bundle_entry(bundle, seen.bytes);
                tiles.push(seen.leaf, |tile, hashes| {
                    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
                    if tile.level == 0 {
                        let whole = Bundle { index: tile.index, width: TILE_WIDTH };
                        derived.push((whole.path(), std::mem::take(bundle)));
                    }
                    derived.push((tile.path(), bytes));
                });
            }
        });
        let fatal = faults.iter().any(|fault| fault.kind.is_fatal());
        for fault in &faults {
            self.fault(path, offset, fault);
        }
        for (path, bytes) in derived {
            self.compare(&path, &bytes);
        }
        self.openings(path, offset, frame, &outlines);
        for (index, _, outline) in outlines {
            let Some(outline) = outline else { continue };
            let count = self.report.kinds.entry(outline.kind.as_str()).or_default();
            *count = count.saturating_add(1);
            if outline.kind == Kind::Recovery {
                self.report.recoveries.push(index);
            }
        }
        self.vouched(key_before, faults.is_empty());
        let size = self.replay.size();
        if self.published_size == Some(size) || self.head.is_some_and(|head| head.size == size) {
            self.roots.insert(size, self.replay.frontier().root());
            if self.published_size == Some(size) && check_derived {
                self.compare_partial(size);
            }
        }
        fatal
    }

    /// Remembers whether the trusted key has vouched: as the log's first key, or by signing a frame.
    fn vouched(&mut self, key_before: Option<NoteKey>, whole: bool) {
        let Some(trusted) = self.options.trusted else { return };
        let first = self.replay.keys().first().map(|term| &term.key);
        let signer = key_before.as_ref().or(first);
        self.trusted |= whole && signer == Some(trusted);
    }

    /// Checks the sealed values of a frame.
    fn openings(
        &mut self,
        path: &Path,
        offset: u64,
        frame: &Frame<'_>,
        outlines: &[(u64, &[u8], Option<Outline>)],
    ) {
        let sealed_holds = frame.sealed_holds();
        let mut named = false;
        let mut sealed = frame.sealed();
        for (index, bytes, outline) in outlines {
            let sealed = sealed.next().flatten().unwrap_or_default();
            let Some(outline) = outline.filter(|outline| outline.committed > 0) else { continue };
            self.report.committed = self.report.committed.saturating_add(u64::from(outline.committed));
            if sealed_holds && self.options.opening_key.is_none() && !sealed.is_empty() {
                continue;
            }
            let Ok(entry) = Entry::decode(bytes) else { continue };
            if let Some(field) = self.spoilt(&outline, &entry, sealed) {
                named = true;
                let fault = Fault {
                    frame: frame.header.first,
                    entry: Some(*index),
                    field: Some(field),
                    kind: FaultKind::Opening,
                };
                self.fault(path, offset, &fault);
            }
        }
        if !sealed_holds && !named {
            let fault =
                Fault { frame: frame.header.first, entry: None, field: None, kind: FaultKind::Sealed };
            self.fault(path, offset, &fault);
        }
    }

    /// The first committed field of an entry whose sealed value does not fit.
    fn spoilt(&mut self, outline: &Outline, entry: &Entry, sealed: &[u8]) -> Option<FieldId> {
        let committed: Vec<_> = entry
            .fields
            .iter()
            .filter_map(|(field, item)| match item {
                Item::Committed(commitment) => Some((*field, *commitment)),
                _ => None,
            })
            .collect();
        let due: Vec<FieldId> = committed.iter().map(|(field, _)| *field).collect();
        let damaged = first_damaged(sealed, &due);
        let Some(key) = self.options.opening_key.filter(|_| damaged.is_none()) else { return damaged };
        let Ok(openings) = key.open(outline.id, sealed) else {
            return key.first_spoilt(outline.id, sealed, &due).or(due.first().copied());
        };
        self.report.opened = self.report.opened.saturating_add(openings.len() as u64);
        let fits = |(field, commitment)| {
            openings.iter().any(|opening| opening.field == field && opening.commitment() == commitment)
        };
        committed.into_iter().find(|one| !fits(*one)).map(|(field, _)| field)
    }

    /// Compares a derived file with what it should hold; a missing one can be derived again.
    fn compare(&mut self, path: &str, expected: &[u8]) {
        let file = self.dir.join(path);
        if let Ok(bytes) = std::fs::read(&file) {
            self.report.derived = self.report.derived.saturating_add(1);
            if bytes != expected {
                self.problem(&file, None, "differs from the log's entries".to_owned());
            }
        }
    }

    fn compare_partial(&mut self, size: u64) {
        let partial: Vec<(Tile, Vec<u8>)> = self
            .tiles
            .partial()
            .map(|(tile, hashes)| (tile, hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()))
            .collect();
        for (tile, bytes) in partial {
            self.compare(&tile.path(), &bytes);
        }
        if let Some(bundle) = size.checked_sub(1).and_then(|last| Bundle::holding(last, size))
            && bundle.width < TILE_WIDTH
        {
            let bytes = self.bundle.clone();
            self.compare(&bundle.path(), &bytes);
        }
    }

    fn finish(mut self) -> Report {
        self.published();
        self.compare_head();
        let Self { replay, mut report, options, trusted, .. } = self;
        report.size = replay.size();
        report.signed = replay.signed().copied();
        report.origin = replay.keys().first().map(|term| term.key.origin().to_string());
        report.keys = replay.keys().iter().map(|term| (term.key.to_string(), term.from)).collect();
        report.restarts = replay.restarts();
        report.trusted = options.trusted.map(|_| trusted);
        report
    }

    /// Checks the published checkpoint against the entries.
    fn published(&mut self) {
        let Some(note) = self.note.take() else { return };
        let path = self.dir.join("checkpoint");
        let keys: Vec<NoteKey> = self.replay.keys().iter().map(|term| term.key.clone()).collect();
        let opened = keys.iter().rev().find_map(|key| SignedCheckpoint::open(&note, key).ok());
        let Some(signed) = opened else {
            self.problem(&path, None, "no key of the log signed this checkpoint".to_owned());
            return;
        };
        let size = signed.checkpoint.size;
        self.report.published = Some(size);
        match self.roots.get(&size) {
            Some(root) if *root == signed.checkpoint.root => {}
            Some(_) => self.problem(&path, None, format!("the log has another root at {size} entries")),
            None => {
                let what = format!("vouches for {size} entries, and the log does not show that state");
                self.problem(&path, None, what);
            }
        }
    }

    fn compare_head(&mut self) {
        let (Some(head), Some(path)) = (self.head, self.options.head_file) else { return };
        if head.size == 0 || self.roots.get(&head.size) == Some(&head.root) {
            return;
        }
        let size = self.replay.size();
        let what = if size < head.size {
            let missing = head.size.saturating_sub(1);
            format!("entries {size} to {missing} are missing: the log was cut short or is an older copy")
        } else {
            format!("the log has another history than was signed at {} entries", head.size)
        };
        self.problem(path, None, what);
    }

    fn fault(&mut self, path: &Path, offset: u64, fault: &Fault) {
        self.add(Problem {
            path: path.to_owned(),
            offset: Some(offset),
            frame: Some(fault.frame),
            entry: fault.entry,
            field: fault.field,
            what: fault.kind.to_string(),
        });
    }

    fn problem(&mut self, path: &Path, offset: Option<u64>, what: String) {
        self.add(Problem { path: path.to_owned(), offset, frame: None, entry: None, field: None, what });
    }

    fn add(&mut self, problem: Problem) {
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(problem);
        } else {
            self.report.problems_left_out = self.report.problems_left_out.saturating_add(1);
        }
    }
}

/// Whether what is at the end of the log was cut off while it was written.
fn torn(reader: &FrameReader, offset: u64, extent: u64) -> io::Result<bool> {
    if !reader.blank_from(offset.saturating_add(extent))? {
        return Ok(false);
    }
    Ok(judge_tail(&reader.tail(offset)?) == Tail::Torn)
}

/// The owner may be writing this very frame: looks again a little later.
fn retry(reader: &mut FrameReader, offset: u64, retries: u8) -> u8 {
    std::thread::sleep(Duration::from_millis(5));
    reader.back_to(offset);
    retries.saturating_add(1)
}
