//! Segment files: finding them, and reading frames out of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use cordon_ledger::{Frame, Header, HeaderError, SECTOR_BYTES};

/// Bytes that are read ahead.
const AHEAD_BYTES: u64 = 1 << 18;

/// A segment file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// The index of its first entry.
    pub(super) first: u64,
    /// Where it is.
    pub(super) path: PathBuf,
}

impl Segment {
    /// The segment of a log that begins at this index.
    pub(super) fn at(dir: &Path, first: u64) -> Self {
        Self { first, path: segments_dir(dir).join(format!("{first:020}.seg")) }
    }
}

/// Where segments lie.
pub(super) fn segments_dir(dir: &Path) -> PathBuf {
    dir.join("seg")
}

/// The segments of a log, the oldest first; none if there is no log.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let entries = match std::fs::read_dir(segments_dir(dir)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let segment = path.extension().is_some_and(|extension| extension == "seg");
        let first = stem.filter(|stem| segment && stem.len() == 20).and_then(|stem| stem.parse().ok());
        segments.extend(first.map(|first| Segment { first, path }));
    }
    segments.sort();
    Ok(segments)
}

/// Reads frames from a segment in order, a bounded piece at a time.
#[derive(Debug)]
pub(super) struct FrameReader {
    file: File,
    bytes: u64,
    at: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// What a reader found.
#[derive(Debug)]
pub(super) enum Read<'r> {
    /// A frame, and where it is.
    Frame(u64, Frame<'r>),
    /// No frame, where, and why.
    End(u64, HeaderError),
}

impl FrameReader {
    /// Reads from `offset`, a multiple of 512.
    pub(super) fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes, at: offset, window: Vec::new(), window_at: 0 })
    }

    /// The next frame; the reader then stands behind it.
    pub(super) fn next(&mut self) -> io::Result<Read<'_>> {
        let offset = self.at;
        self.fill(SECTOR_BYTES as u64)?;
        let header = match Header::decode(self.rest()) {
            Ok(header) => header,
            Err(error) => return Ok(Read::End(offset, error)),
        };
        let extent = header.extent();
        self.fill(extent)?;
        self.at = offset.saturating_add(extent);
        let start = usize::try_from(offset.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        let rest = self.window.get(start..).unwrap_or_default();
        if (rest.len() as u64) < extent {
            self.at = offset;
            return Ok(Read::End(offset, HeaderError::Short));
        }
        match Frame::split(header, rest) {
            Some(frame) => Ok(Read::Frame(offset, frame)),
            None => Ok(Read::End(offset, HeaderError::Short)),
        }
    }

    /// The next frame's header; the reader then stands behind its frame.
    pub(super) fn skip(&mut self) -> io::Result<Option<(u64, Header)>> {
        let offset = self.at;
        self.fill(SECTOR_BYTES as u64)?;
        let Ok(header) = Header::decode(self.rest()) else { return Ok(None) };
        self.at = offset.saturating_add(header.extent());
        Ok((self.at <= self.bytes).then_some((offset, header)))
    }

    /// Forgets what was read ahead, since more may have been written since.
    pub(super) fn refresh(&mut self) {
        self.window.clear();
    }

    /// Reads again from `offset`.
    pub(super) fn back_to(&mut self, offset: u64) {
        self.at = offset;
        self.window.clear();
    }

    /// Where the reader stands.
    pub(super) const fn offset(&self) -> u64 {
        self.at
    }

    /// Whether there are only zeros from `offset` to the end of the file.
    pub(super) fn blank_from(&self, offset: u64) -> io::Result<bool> {
        let mut piece = vec![0; 1 << 18];
        let mut at = offset;
        while at < self.bytes {
            let left = usize::try_from(self.bytes.saturating_sub(at)).unwrap_or(usize::MAX);
            let length = left.min(piece.len());
            let Some(part) = piece.get_mut(..length) else { break };
            self.file.read_exact_at(part, at)?;
            if part.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at = at.saturating_add(length as u64);
        }
        Ok(true)
    }

    /// Everything from `offset` to the end of the file.
    pub(super) fn tail(&self, offset: u64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn rest(&self) -> &[u8] {
        let start = usize::try_from(self.at.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        self.window.get(start..).unwrap_or_default()
    }

    /// Has at least `want` bytes from where the reader stands in the window, if the file has them.
    fn fill(&mut self, want: u64) -> io::Result<()> {
        if self.at < self.window_at || (self.rest().len() as u64) < want {
            let have = self.bytes.saturating_sub(self.at);
            let length = usize::try_from(want.max(AHEAD_BYTES).min(have)).unwrap_or(usize::MAX);
            self.window.resize(length, 0);
            self.window_at = self.at;
            self.file.read_exact_at(&mut self.window, self.at)?;
        }
        Ok(())
    }
}
