//! The thread behind the log: tiles, bundles, the published checkpoint, snapshots, and the next segment.
//!
//! It reads back what was committed, at its own pace and in bounded memory; nothing that it writes is
//! ever waited for, and all of it can be written again from the segments.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use cordon_core::Digest;
use cordon_ledger::{
    Bundle, LogKey, TILE_WIDTH, Tile, TileBuilder, TileNodes, TileSource, bundle_entries, bundle_entry,
    leaf_hash, root_of, tile_hashes,
};

use super::commit::Committer;
use super::disk::{Lasting, replace};
use super::engine::Shared;
use super::segment::{FrameReader, Read, Segment};
use super::snapshot::Snapshot;

/// Derives what is served.
pub(super) struct Deriver {
    shared: Arc<Shared>,
    state: Derived,
    /// Frames since the last snapshot.
    frames: u64,
    published: u64,
    /// The head record, which is made durable from here.
    head: File,
}

/// What was derived, and where the frames behind it begin.
struct Derived {
    snapshot: Snapshot,
    tiles: TileBuilder,
    /// The unfinished entry bundle.
    bundle: Vec<u8>,
    reader: Option<FrameReader>,
}

impl Deriver {
    /// Continues from a snapshot, or from the beginning if its tiles are not whole.
    pub(super) fn new(shared: Arc<Shared>, snapshot: Snapshot, head: File) -> Self {
        let state = Derived::resume(&shared.options.dir, snapshot);
        // What was published is never taken back, even while everything is derived anew.
        let size = shared.lock_committed().size;
        let published = published_size(&shared.options.dir).filter(|published| *published <= size);
        let published = published.unwrap_or(0);
        Self { shared, state, frames: 0, published, head }
    }

    /// Derives until the log is closed.
    pub(super) fn run(mut self) {
        // What is derived gives way to what is waited for.
        let _ = rustix::process::nice(10);
        let pause = Duration::from_millis(self.shared.options.publish_ms);
        let _ = std::fs::remove_file(Committer::spare_path(&self.shared));
        loop {
            let closing = self.wait_for_more();
            let began = Instant::now();
            let outcome = self.pass(closing);
            self.shared.lock_committed().derive_error = outcome.err().map(|error| error.to_string());
            if closing {
                return;
            }
            self.rest(pause.saturating_sub(began.elapsed()));
        }
    }

    /// Returns when there is more to derive; true when the log closes.
    fn wait_for_more(&self) -> bool {
        let mut committed = self.shared.lock_committed();
        while committed.size == self.state.snapshot.replay.size() && !committed.closing {
            committed.deriver_idle = true;
            committed = self.shared.advanced.wait(committed).unwrap_or_else(PoisonError::into_inner);
        }
        committed.closing
    }

    /// Waits out the time between two checkpoints, unless the log closes.
    fn rest(&self, pause: Duration) {
        let committed = self.shared.lock_committed();
        let still = |committed: &mut super::engine::Committed| !committed.closing;
        drop(self.shared.advanced.wait_timeout_while(committed, pause, still));
    }

    fn pass(&mut self, closing: bool) -> io::Result<()> {
        let (size, key) = {
            let committed = self.shared.lock_committed();
            (committed.size, committed.key.clone())
        };
        let dir = self.shared.options.dir.clone();
        while self.state.snapshot.replay.size() < size {
            let frames = self.state.advance(&dir, size)?;
            self.frames = self.frames.saturating_add(frames);
            if self.frames >= self.shared.options.snapshot_frames {
                self.publish(&dir)?;
                self.snapshot(&dir, &key)?;
            }
            self.make_spare()?;
        }
        self.publish(&dir)?;
        if closing && self.frames > 0 {
            self.snapshot(&dir, &key)?;
        }
        Ok(())
    }

    /// Writes the unfinished tiles and the checkpoint over them.
    fn publish(&mut self, dir: &Path) -> io::Result<()> {
        let replay = &self.state.snapshot.replay;
        let (Some(signed), size) = (replay.signed(), replay.size()) else { return Ok(()) };
        if size <= self.published {
            return Ok(());
        }
        for (tile, hashes) in self.state.tiles.partial() {
            write_derived(dir, &tile.path(), &flat(hashes))?;
        }
        if let Some(bundle) = size.checked_sub(1).and_then(|last| Bundle::holding(last, size))
            && bundle.width < TILE_WIDTH
        {
            write_derived(dir, &bundle.path(), &self.state.bundle)?;
        }
        // A frame that hands over is signed by the key before, which the key's term tells.
        let terms = replay.keys().iter().rev();
        let key = terms.map(|term| &term.key).find(|key| signed.verify(key).is_ok());
        if let Some(key) = key {
            replace(&dir.join("checkpoint"), signed.note(key).as_bytes(), Lasting::No)?;
            self.published = size;
        }
        self.head.sync_data()
    }

    /// Saves the state, once everything it rests on is on stable storage.
    fn snapshot(&mut self, dir: &Path, key: &LogKey) -> io::Result<()> {
        let directory = File::open(dir)?;
        rustix::fs::syncfs(&directory)?;
        // A handover in the last frames makes the snapshot the new key's.
        let current = self.state.snapshot.replay.keys().last().map(|term| term.key.clone());
        if current.as_ref() == Some(key.public()) {
            self.state.snapshot.write(dir, key)?;
        }
        self.frames = 0;
        Ok(())
    }

    /// Makes the next segment ahead once this one is half full.
    fn make_spare(&self) -> io::Result<()> {
        let options = &self.shared.options;
        let bytes = {
            let committed = self.shared.lock_committed();
            let (room, bytes) = committed.room;
            if committed.spare.is_some() || bytes == 0 || room > bytes / 2 {
                return Ok(());
            }
            bytes.saturating_mul(2).min(options.segment_bytes_max).max(bytes)
        };
        let path: PathBuf = Committer::spare_path(&self.shared);
        drop(options.disk.create(&path, bytes)?);
        self.shared.lock_committed().spare = Some((path, bytes));
        Ok(())
    }
}

impl Derived {
    fn resume(dir: &Path, snapshot: Snapshot) -> Self {
        match resume_tiles(dir, &snapshot) {
            Some((tiles, bundle)) => Self { snapshot, tiles, bundle, reader: None },
            None => Self {
                snapshot: Snapshot::empty(),
                tiles: TileBuilder::default(),
                bundle: Vec::new(),
                reader: None,
            },
        }
    }

    /// Takes in the frames of one segment, up to `size` entries, and returns how many there were.
    fn advance(&mut self, dir: &Path, size: u64) -> io::Result<u64> {
        let Snapshot { segment, offset, .. } = self.snapshot;
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => FrameReader::open(&Segment::at(dir, segment).path, offset)?,
        };
        reader.refresh();
        let mut frames = 0u64;
        while self.snapshot.replay.size() < size {
            let mut written = Ok(());
            match reader.next()? {
                Read::Frame(_, frame) => {
                    let (tiles, bundle) = (&mut self.tiles, &mut self.bundle);
                    self.snapshot.replay.absorb(&frame, |seen| {
                        if written.is_ok() {
                            written = take_in(dir, tiles, bundle, seen.bytes, seen.leaf);
                        }
                    });
                    frames = frames.saturating_add(1);
                }
                Read::End(..) => {
                    let next = Segment::at(dir, self.snapshot.replay.size());
                    if next.first == segment {
                        return Err(io::Error::other("a committed frame cannot be read back"));
                    }
                    reader = FrameReader::open(&next.path, 0)?;
                    (self.snapshot.segment, self.snapshot.offset) = (next.first, 0);
                    self.reader = Some(reader);
                    return Ok(frames);
                }
            }
            written?;
            self.snapshot.offset = reader.offset();
        }
        self.reader = Some(reader);
        Ok(frames)
    }
}

/// The size under the published checkpoint.
fn published_size(dir: &Path) -> Option<u64> {
    std::fs::read_to_string(dir.join("checkpoint")).ok()?.lines().nth(1)?.parse().ok()
}

/// Adds one entry to its bundle and its hash to the tiles, writing what becomes full.
fn take_in(
    dir: &Path,
    tiles: &mut TileBuilder,
    bundle: &mut Vec<u8>,
    entry: &[u8],
    leaf: Digest,
) -> io::Result<()> {
    bundle_entry(bundle, entry);
    let mut full = Vec::new();
    tiles.push(leaf, |tile, hashes| full.push((tile, flat(hashes))));
    if !full.is_empty() {
        let last = tiles.size().saturating_sub(1);
        if let Some(whole) = Bundle::holding(last, tiles.size()) {
            write_derived(dir, &whole.path(), bundle)?;
            remove_partial(dir, &whole.path());
        }
        bundle.clear();
    }
    for (tile, bytes) in full {
        write_derived(dir, &tile.path(), &bytes)?;
        remove_partial(dir, &tile.path());
    }
    Ok(())
}

/// The unfinished tiles and bundle of a snapshot, if what lies on the disk leads to its root.
fn resume_tiles(dir: &Path, snapshot: &Snapshot) -> Option<(TileBuilder, Vec<u8>)> {
    let size = snapshot.replay.size();
    let begun = size.checked_rem(u64::from(TILE_WIDTH))?;
    let read = |tile: Tile| std::fs::read(dir.join(tile.path())).ok();
    let mut tiles = TileBuilder::resume(size.checked_sub(begun)?, read)?;
    let mut bundle = Vec::new();
    if begun > 0 {
        let last = size.checked_sub(1)?;
        bundle = std::fs::read(dir.join(Bundle::holding(last, size)?.path())).ok()?;
        let stored = read(Tile::holding(0, last, size)?)?;
        let mut entries = bundle_entries(&bundle);
        for leaf in tile_hashes(&stored) {
            let entry = entries.next().flatten()?;
            (leaf_hash(entry) == leaf).then(|| tiles.push(leaf, |_, _| {}))?;
        }
        if entries.next().is_some() {
            return None;
        }
    }
    let root = root_of(&mut TileNodes::new(TileFiles { dir }, size), size).ok()?;
    (tiles.size() == size && root == snapshot.replay.frontier().root()).then_some((tiles, bundle))
}

/// Tiles as files below a log's directory.
pub(super) struct TileFiles<'d> {
    pub(super) dir: &'d Path,
}

impl TileSource for TileFiles<'_> {
    type Error = io::Error;

    fn tile(&mut self, tile: Tile) -> io::Result<Vec<u8>> {
        match std::fs::read(self.dir.join(tile.path())) {
            // A partial tile gives way to the full one.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tile.width < TILE_WIDTH => {
                std::fs::read(self.dir.join(Tile { width: TILE_WIDTH, ..tile }.path()))
            }
            read => read,
        }
    }
}

fn write_derived(dir: &Path, path: &str, bytes: &[u8]) -> io::Result<()> {
    let path = dir.join(path);
    match replace(&path, bytes, Lasting::No) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            replace(&path, bytes, Lasting::No)
        }
        outcome => outcome,
    }
}

/// Removes the partial tiles that a full one replaces.
fn remove_partial(dir: &Path, path: &str) {
    let _ = std::fs::remove_dir_all(dir.join(format!("{path}.p")));
}

fn flat(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}
