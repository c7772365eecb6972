//! The files of a policy bundle, read from a directory or a tar and written back.
//!
//! Reading is strict: regular files only, no symbolic links, bounded in size and number, paths of
//! plain parts. What the files mean is `cordon_guard::policy`'s business.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use cordon_guard::policy::{ENVELOPE_FILE, FILE_BYTES_MAX, FILES_MAX, SOURCE_BYTES_MAX};

/// A bundle's files by path; paths use `/`.
pub(crate) type Files = BTreeMap<Box<str>, Vec<u8>>;

/// Deepest folder inside a bundle; the layout needs one.
const DEPTH_MAX: usize = 4;

/// Why the files of a bundle cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FilesError {
    /// The operating system refused.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something other than a regular file or a folder.
    #[error("`{}` is {got}, expected a regular file; a bundle holds no links and no devices", path.display())]
    Kind {
        /// Where.
        path: PathBuf,
        /// What it is.
        got: &'static str,
    },
    /// A path that is not made of plain parts.
    #[error("the path `{path}` is not a relative path of plain parts")]
    Path {
        /// The path.
        path: String,
    },
    /// The same path twice in one tar.
    #[error("the file `{path}` occurs twice in the tar")]
    Twice {
        /// The path.
        path: Box<str>,
    },
    /// More than a bundle may hold.
    #[error("`{}` holds {what}", path.display())]
    Limit {
        /// Where.
        path: PathBuf,
        /// Which limit was passed.
        what: String,
    },
}

/// Reads a bundle or a policy source: a directory, or a tar when `path` is a file.
pub(crate) fn read(path: &Path) -> Result<Files, FilesError> {
    let kind =
        fs::metadata(path).map_err(|source| FilesError::Io { doing: "read", path: path.into(), source })?;
    if kind.is_dir() { read_dir(path) } else { read_tar(path) }
}

/// Reads every file below a directory.
pub(crate) fn read_dir(root: &Path) -> Result<Files, FilesError> {
    let mut intake = Intake::new(root);
    let mut folders = vec![(root.to_path_buf(), String::new(), 0usize)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let failed = |source| FilesError::Io { doing: "list", path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let name = entry
                .file_name()
                .into_string()
                .map_err(|name| FilesError::Path { path: format!("{prefix}{}", name.to_string_lossy()) })?;
            let kind = entry.file_type().map_err(failed)?;
            let name = format!("{prefix}{name}");
            if kind.is_dir() && depth < DEPTH_MAX {
                folders.push((path, format!("{name}/"), depth.saturating_add(1)));
            } else if kind.is_dir() {
                let what = format!("folders nested deeper than {DEPTH_MAX}");
                return Err(FilesError::Limit { path, what });
            } else if kind.is_file() {
                intake.take(&name, &mut open(&path)?)?;
            } else {
                return Err(FilesError::Kind {
                    path,
                    got: if kind.is_symlink() { "a symbolic link" } else { "a special file" },
                });
            }
        }
    }
    Ok(intake.files)
}

/// Reads every file in a tar (POSIX.1-2001 ustar and pax, GNU long names).
pub(crate) fn read_tar(path: &Path) -> Result<Files, FilesError> {
    // The limit covers headers and padding too: nothing unbounded is read from a file.
    let most = (SOURCE_BYTES_MAX as u64).saturating_mul(2);
    unpack(open(path)?.take(most), path)
}

/// Takes a tar apart that was found at `path`.
pub(crate) fn unpack(tar: impl Read, path: &Path) -> Result<Files, FilesError> {
    let failed = |source| FilesError::Io { doing: "read the tar", path: path.into(), source };
    let mut archive = tar::Archive::new(tar);
    let mut intake = Intake::new(path);
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() {
            return Err(FilesError::Kind { path: path.join(name), got: "a link or a special file" });
        }
        intake.take(name.strip_prefix("./").unwrap_or(&name), &mut entry)?;
    }
    Ok(intake.files)
}

/// The files as a tar that is the same for the same files: sorted, no owner, no times.
pub(crate) fn pack(files: &Files) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut tar = tar::Builder::new(&mut bytes);
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, &**name, &**content)?;
    }
    tar.finish()?;
    drop(tar);
    Ok(bytes)
}

/// Writes the files as a tar ([`pack`]).
pub(crate) fn write_tar(path: &Path, files: &Files) -> Result<(), FilesError> {
    let failed = |source| FilesError::Io { doing: "write the tar", path: path.into(), source };
    replace(path, &pack(files).map_err(failed)?)
}

/// Writes the signed envelope into a bundle directory.
pub(crate) fn write_envelope(dir: &Path, envelope: &str) -> Result<(), FilesError> {
    replace(&dir.join(ENVELOPE_FILE), envelope.as_bytes())
}

/// Puts `bytes` at `path` in one step: readers see the old file or the new one, never a part.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        // The rename itself is durable once the folder is.
        File::open(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
            .sync_all()
    })();
    written.map_err(|source| {
        let _ = fs::remove_file(&part);
        FilesError::Io { doing: "write", path: path.into(), source }
    })
}

fn open(path: &Path) -> Result<File, FilesError> {
    let failed = |source| FilesError::Io { doing: "read", path: path.into(), source };
    // Neither a link that appeared since the listing nor a pipe that would block for ever.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_file() {
        Ok(file)
    } else {
        Err(FilesError::Kind { path: path.into(), got: "a special file" })
    }
}

/// Collects files within the bounds of a bundle.
struct Intake<'p> {
    root: &'p Path,
    files: Files,
    total: usize,
}

impl<'p> Intake<'p> {
    fn new(root: &'p Path) -> Self {
        Self { root, files: Files::new(), total: 0 }
    }

    fn take(&mut self, name: &str, content: &mut dyn Read) -> Result<(), FilesError> {
        let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || name.is_empty() || name.chars().any(|c| c.is_control() || c == '\\') {
            return Err(FilesError::Path { path: name.escape_debug().to_string() });
        }
        let limit = |what: String| FilesError::Limit { path: self.root.into(), what };
        let mut bytes = Vec::new();
        content
            .take((FILE_BYTES_MAX as u64).saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|source| FilesError::Io { doing: "read", path: self.root.join(name), source })?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(limit(format!("`{name}`, which is larger than {} MiB", FILE_BYTES_MAX >> 20)));
        }
        self.total = self.total.saturating_add(bytes.len());
        if self.total > SOURCE_BYTES_MAX {
            return Err(limit(format!("more than {} MiB", SOURCE_BYTES_MAX >> 20)));
        }
        // The envelope comes on top of the files it lists.
        if self.files.len() > FILES_MAX {
            return Err(limit(format!("more than {FILES_MAX} files")));
        }
        let path: Box<str> = name.into();
        if self.files.insert(path.clone(), bytes).is_some() {
            return Err(FilesError::Twice { path });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Files {
        [("permissions/a.cedar", "permit(principal, action, resource);"), (ENVELOPE_FILE, "{}")]
            .into_iter()
            .map(|(path, text)| (path.into(), text.into()))
            .collect()
    }

    /// A tar of entries written `name`, `name -> target` or `name/`.
    fn tar_of(entries: &[&str]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            let (name, target) = entry.split_once(" -> ").unwrap_or((entry, ""));
            // Names are set raw: a hostile writer does not use this library.
            let field = &mut header.as_old_mut().name;
            field[..name.len()].copy_from_slice(name.as_bytes());
            if !target.is_empty() {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name(target).unwrap();
            } else if name.ends_with('/') {
                header.set_entry_type(tar::EntryType::Directory);
            }
            header.set_size(0);
            header.set_cksum();
            tar.append(&header, io::empty()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn check_tar(entries: &[&str], want: Result<&[&str], &str>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.tar");
        fs::write(&path, tar_of(entries)).unwrap();
        match (read(&path), want) {
            (Ok(files), Ok(want)) => assert_eq!(files.keys().map(|k| &**k).collect::<Vec<_>>(), want),
            (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
            (got, want) => panic!("{entries:?}: {got:?}, expected {want:?}"),
        }
    }

    #[test]
    fn a_directory_and_its_tar_hold_the_same_files_and_the_tar_is_always_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("policy");
        fs::create_dir_all(root.join("permissions")).unwrap();
        for (path, bytes) in source() {
            fs::write(root.join(&*path), bytes).unwrap();
        }
        let tar = dir.path().join("b.tar");
        write_tar(&tar, &read(&root).unwrap()).unwrap();
        let first = fs::read(&tar).unwrap();
        assert_eq!(read(&tar).unwrap(), source());
        write_tar(&tar, &source()).unwrap();
        assert_eq!(fs::read(&tar).unwrap(), first);
        write_envelope(&root, "{\"signed\":1}").unwrap();
        assert_eq!(read(&root).unwrap().get(ENVELOPE_FILE).map(Vec::len), Some(12));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no part file is left");
    }

    #[test]
    fn a_directory_with_a_link_or_a_pipe_is_refused_by_name() {
        for hostile in ["link", "pipe"] {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("permissions")).unwrap();
            let path = dir.path().join("permissions/a.cedar");
            match hostile {
                "link" => std::os::unix::fs::symlink("/etc/hostname", &path).unwrap(),
                _ => rustix::fs::mknodat(
                    rustix::fs::CWD,
                    &path,
                    rustix::fs::FileType::Fifo,
                    rustix::fs::Mode::RWXU,
                    0,
                )
                .unwrap(),
            }
            let error = read(dir.path()).unwrap_err().to_string();
            assert!(
                error.contains("permissions/a.cedar") && error.contains("expected a regular file"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_tar_cannot_smuggle_links_climbing_paths_or_two_files_of_one_name() {
        check_tar(&["./permissions/", "./permissions/a.cedar"], Ok(&["permissions/a.cedar"]));
        check_tar(&["a -> /etc/passwd"], Err("expected a regular file"));
        for path in ["../a", "permissions/../../a", "/etc/a", "a\\b", "x\u{1b}y"] {
            check_tar(&[path], Err("not a relative path of plain parts"));
        }
        check_tar(&["a", "a"], Err("occurs twice"));
        check_tar(&["a", "./a"], Err("occurs twice"));
    }

    #[test]
    fn a_file_over_the_limit_and_a_broken_tar_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        let big = File::create(dir.path().join("data/big.json")).unwrap();
        big.set_len(FILE_BYTES_MAX as u64 + 1).unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("larger than 8 MiB"));
        let tar = dir.path().join("b.tar");
        fs::write(&tar, [7; 700]).unwrap();
        assert!(read(&tar).unwrap_err().to_string().contains("cannot read the tar"));
        assert!(read(&dir.path().join("none")).unwrap_err().to_string().contains("cannot read"));
    }
}
