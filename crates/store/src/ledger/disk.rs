//! The few things that the committer asks of a disk, so that tests can make each of them fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Zeros are written in pieces of this many bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Makes and finds files whose every write counts.
pub trait Disk: Send + Sync {
    /// Opens a file that exists, for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Makes a file of `bytes` zeros that are really on the disk, durable with its name when this returns.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, durably, and opens it for writing.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<Box<dyn DiskFile>>;
}

/// A file whose every write counts.
pub trait DiskFile: Send {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns once everything written is on stable storage.
    fn sync(&self) -> io::Result<()>;
}

/// The machine's disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        // Written under another name first: a file of this name is always whole.
        let making = path.with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&making)?;
        let zeros = vec![0; PIECE_BYTES];
        let mut at = 0u64;
        while at < bytes {
            let left = usize::try_from(bytes.saturating_sub(at)).unwrap_or(PIECE_BYTES);
            let piece = zeros.get(..left.min(PIECE_BYTES)).unwrap_or(&zeros);
            file.write_all_at(piece, at)?;
            // Piece by piece, so that an acknowledgement never waits behind the whole file.
            file.sync_data()?;
            at = at.saturating_add(piece.len() as u64);
        }
        file.sync_all()?;
        std::fs::rename(&making, path)?;
        sync_directory_of(path)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<Box<dyn DiskFile>> {
        std::fs::rename(from, to)?;
        sync_directory_of(to)?;
        self.open(to)
    }
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Makes the names in the file's directory durable.
pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Replaces a small file whole; durable only if `sync` says so.
pub(super) fn replace(path: &Path, bytes: &[u8], sync: Lasting) -> io::Result<()> {
    let making = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&making)?;
    io::Write::write_all(&mut file, bytes)?;
    if sync == Lasting::Yes {
        file.sync_all()?;
    }
    drop(file);
    std::fs::rename(&making, path)?;
    if sync == Lasting::Yes {
        sync_directory_of(path)?;
    }
    Ok(())
}

/// Whether a write must be durable when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasting {
    /// It must.
    Yes,
    /// It can be derived again.
    No,
}
