//! The last scene: one byte of a copy of the ledger is changed, and the change is found.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::cli::Failure;

/// A byte that was changed.
pub(super) struct Changed {
    /// The file, relative to the ledger.
    pub(super) file: PathBuf,
    /// Where in the file.
    pub(super) offset: u64,
}

/// Copies the ledger and flips one bit in the middle of what was written to its first segment.
pub(super) fn copy_and_change(ledger: &Path, copy: &Path) -> Result<Changed, Failure> {
    let mut files = Vec::new();
    copy_tree(ledger, copy, Path::new(""), &mut files)?;
    // The frames are what is evidence; tiles and the like are derived from them.
    let file = files
        .into_iter()
        .filter(|file| {
            file.to_string_lossy().contains("segment") || file.extension().is_some_and(|ext| ext == "seg")
        })
        .min()
        .ok_or_else(|| Failure::new("the ledger has no segment"))?;
    let path = copy.join(&file);
    let bytes = fs::read(&path)?;
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default();
    // Not in padding: a byte that holds something.
    let offset = bytes
        .iter()
        .enumerate()
        .skip(written / 2)
        .find(|(_, byte)| **byte != 0)
        .map(|(at, _)| at as u64)
        .ok_or_else(|| Failure::new("the ledger is empty"))?;
    flip(&path, offset)?;
    Ok(Changed { file, offset })
}

fn flip(path: &Path, offset: u64) -> Result<(), Failure> {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(&byte.map(|byte| byte ^ 1))?;
    Ok(file.sync_all()?)
}

fn copy_tree(from: &Path, to: &Path, inside: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    fs::create_dir_all(to.join(inside))?;
    for entry in fs::read_dir(from.join(inside))? {
        let entry = entry?;
        let name = inside.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(from, to, &name, files)?;
        } else {
            fs::copy(entry.path(), to.join(&name))?;
            files.push(name);
        }
    }
    Ok(())
}
