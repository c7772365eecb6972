//! The head record: the last size and root that the log signed, kept outside the log's directory.
//!
//! A directory that was restored from an older copy, or cut short, is behind its head record and is
//! refused before anything is signed, so that no second history can come to be. The file has two slots
//! of one sector each, written in turn, so that a write that was cut off leaves the other one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cordon_core::Digest;
use rustix::fs::FlockOperation;

use super::disk::sync_directory_of;

const SLOT_BYTES: usize = 512;
/// How often the lock is tried, 10 ms apart.
const LOCK_TRIES: u8 = 20;

/// What the log last signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Counts the writes; the greater of two slots is the newer.
    pub sequence: u64,
    /// How many times the log has been opened.
    pub epoch: u64,
    /// How many entries there are.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// Whether the log was closed in order.
    pub closed: bool,
}

/// The head record cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// An operation failed.
    #[error("cannot use the head record `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has the log open.
    #[error("another process has the log of `{}` open", .0.display())]
    Busy(PathBuf),
    /// Neither slot is readable.
    #[error("the head record `{}` was altered: no slot of it is readable", .0.display())]
    Altered(PathBuf),
}

/// The open head record; while it is open no other process can open the log.
#[derive(Debug)]
pub(super) struct HeadFile {
    file: File,
    path: PathBuf,
    sequence: u64,
}

impl HeadFile {
    /// Opens the record, making it if there is none.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Head>), HeadError> {
        let failed = |source| HeadError::Io { path: path.to_owned(), source };
        let made = !path.exists();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(path).map_err(failed)?;
        let mut tries = 0u8;
        while rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            // A child that this process is just starting holds every lock until it runs its program.
            if tries == LOCK_TRIES {
                return Err(HeadError::Busy(path.to_owned()));
            }
            tries = tries.saturating_add(1);
            std::thread::sleep(Duration::from_millis(10));
        }
        if made {
            sync_directory_of(path).map_err(failed)?;
        }
        let head = read_slots(&file, path)?;
        let sequence = head.map_or(0, |head| head.sequence);
        Ok((Self { file, path: path.to_owned(), sequence }, head))
    }

    /// Writes the record into the older slot. It outlives this process at once, the machine after
    /// [`HeadFile::sync`].
    pub(super) fn write(&mut self, head: Head) -> Result<(), HeadError> {
        self.sequence = self.sequence.saturating_add(1);
        let slot = Head { sequence: self.sequence, ..head }.to_slot();
        let offset = if self.sequence & 1 == 1 { 0 } else { SLOT_BYTES as u64 };
        self.file.write_all_at(&slot, offset).map_err(|source| self.failed(source))
    }

    /// A handle that makes what was written durable.
    pub(super) fn syncer(&self) -> Result<File, HeadError> {
        self.file.try_clone().map_err(|source| self.failed(source))
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> Result<(), HeadError> {
        self.file.sync_data().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> HeadError {
        HeadError::Io { path: self.path.clone(), source }
    }
}

/// Reads a head record without owning the log; none if there is no such file.
pub(super) fn read_head(path: &Path) -> Result<Option<Head>, HeadError> {
    match File::open(path) {
        Ok(file) => read_slots(&file, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HeadError::Io { path: path.to_owned(), source }),
    }
}

/// The newer readable slot; none if nothing was ever written.
fn read_slots(file: &File, path: &Path) -> Result<Option<Head>, HeadError> {
    let mut bytes = Vec::with_capacity(2 * SLOT_BYTES);
    let mut slot = [0; SLOT_BYTES];
    for offset in [0, SLOT_BYTES as u64] {
        if file.read_exact_at(&mut slot, offset).is_ok() {
            bytes.push(slot);
        }
    }
    let newest = bytes.iter().filter_map(Head::from_slot).max_by_key(|head| head.sequence);
    if newest.is_none() && bytes.iter().flatten().any(|byte| *byte != 0) {
        return Err(HeadError::Altered(path.to_owned()));
    }
    Ok(newest)
}

impl Head {
    /// One line of text, padded with spaces, with its CRC32C at the end.
    fn to_slot(self) -> [u8; SLOT_BYTES] {
        let Self { sequence, epoch, size, root, closed } = self;
        let state = if closed { "closed" } else { "open" };
        let line = format!("cordon-head-1 {sequence} {epoch} {size} {} {state}", root.hex());
        let line = format!("{line} {:08x}", crc32c::crc32c(line.as_bytes()));
        let mut slot = [b' '; SLOT_BYTES];
        slot.iter_mut().zip(line.bytes()).for_each(|(to, from)| *to = from);
        if let Some(last) = slot.last_mut() {
            *last = b'\n';
        }
        slot
    }

    fn from_slot(slot: &[u8; SLOT_BYTES]) -> Option<Self> {
        let text = std::str::from_utf8(slot).ok()?.trim_end();
        let (line, crc) = text.rsplit_once(' ')?;
        if format!("{:08x}", crc32c::crc32c(line.as_bytes())) != crc {
            return None;
        }
        let mut words = line.strip_prefix("cordon-head-1 ")?.split(' ');
        let mut number = || words.next()?.parse().ok();
        let (sequence, epoch, size) = (number()?, number()?, number()?);
        let root = format!("sha256:{}", words.next()?).parse().ok()?;
        let closed = match words.next()? {
            "closed" => true,
            "open" => false,
            _ => return None,
        };
        Some(Self { sequence, epoch, size, root, closed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: u64) -> Head {
        Head { sequence: 0, epoch: 1, size, root: Digest::of(b"r"), closed: false }
    }

    #[test]
    fn the_newer_slot_counts_and_a_spoilt_one_leaves_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.head");
        let (mut file, none) = HeadFile::open(&path).unwrap();
        assert_eq!(none, None);
        for size in 1..=3 {
            file.write(head(size)).unwrap();
            assert_eq!(read_head(&path).unwrap().unwrap().size, size);
        }
        assert!(matches!(HeadFile::open(&path), Err(HeadError::Busy(_))));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1; // the third write went to the first slot
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read_head(&path).unwrap().unwrap().size, 2);
        bytes[600] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(read_head(&path), Err(HeadError::Altered(_))));
    }
}
