//! Every bundle that was in force, kept so that its decisions can be judged again.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use cordon_core::Digest;
use cordon_guard::policy::{ENVELOPE_FILE, PolicySource};
use cordon_store::seal::{SealingKey, Unsealable};
use cordon_store::system::SystemRandom;

use crate::bundle_files::{self, Files, FilesError};

/// Sealed bundles in files that are named after the digests that judgements name.
///
/// A file holds the bundle as a tar, envelope included. Nothing is ever removed: a bundle is needed
/// as long as one of its decisions is in the log.
pub(crate) struct Archive {
    dir: PathBuf,
    key: SealingKey,
}

/// A bundle cannot be kept or found again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// An operation failed.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its files cannot be packed, written or unpacked.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// It is sealed under another key, or was altered.
    #[error("`{}`: {error}", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: Unsealable,
    },
    /// The files are others than the name says.
    #[error("`{}` holds the bundle {got}", path.display())]
    Another {
        /// The file.
        path: PathBuf,
        /// What it holds.
        got: Digest,
    },
}

impl Archive {
    /// The bundles under `dir`, sealed under `key`; nothing is read or made yet.
    pub(crate) fn at(dir: PathBuf, key: SealingKey) -> Self {
        Self { dir, key }
    }

    /// Keeps a bundle, envelope included; durable when this returns. One that is kept already, and
    /// opens, is left.
    pub(crate) fn keep(&self, files: &Files) -> Result<(), ArchiveError> {
        let digest = source_of(files.clone()).digest();
        if self.find(digest).is_ok_and(|found| found.is_some()) {
            return Ok(());
        }
        let failed = |source| ArchiveError::Io { doing: "create", path: self.dir.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        let path = self.path(digest);
        let packed = bundle_files::pack(files).map_err(|source| ArchiveError::Io {
            doing: "pack the bundle for",
            path: path.clone(),
            source,
        })?;
        let sealed = self.key.seal(&place(digest), &packed, &SystemRandom);
        let sealed = sealed.map_err(|error| ArchiveError::Sealed { path: path.clone(), error })?;
        Ok(bundle_files::replace(&path, &sealed)?)
    }

    /// The source of the bundle with this digest, if it is kept; its files are checked against it.
    pub(crate) fn find(&self, digest: Digest) -> Result<Option<PolicySource>, ArchiveError> {
        let path = self.path(digest);
        let sealed = match fs::read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ArchiveError::Io { doing: "read", path, source }),
        };
        let packed = self
            .key
            .open(&place(digest), &sealed)
            .map_err(|error| ArchiveError::Sealed { path: path.clone(), error })?;
        let source = source_of(bundle_files::unpack(packed.as_slice(), &path)?);
        match source.digest() {
            got if got == digest => Ok(Some(source)),
            got => Err(ArchiveError::Another { path, got }),
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }
}

/// A bundle's files without its envelope.
pub(crate) fn source_of(mut files: Files) -> PolicySource {
    files.remove(ENVELOPE_FILE);
    PolicySource::from(files)
}

/// Binds a sealed bundle to its name.
fn place(digest: Digest) -> Vec<u8> {
    [b"cordon/bundle/v1".as_slice(), digest.as_bytes()].concat()
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Files {
        [("permissions/a.cedar", text), (ENVELOPE_FILE, "{}")]
            .into_iter()
            .map(|(path, text)| (path.into(), text.into()))
            .collect()
    }

    fn archive(dir: &tempfile::TempDir, key: u8) -> Archive {
        Archive::at(dir.path().join("bundles"), SealingKey::new(&[key; 32]).unwrap())
    }

    #[test]
    fn a_kept_bundle_is_found_by_its_digest_and_its_file_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (files("// a canary"), files("// another"));
        archive(&dir, 1).keep(&one).unwrap();
        archive(&dir, 1).keep(&two).unwrap();
        let digest = source_of(one.clone()).digest();
        assert_eq!(archive(&dir, 1).find(digest).unwrap(), Some(source_of(one)));
        assert_eq!(archive(&dir, 1).find(Digest::of(b"none")).unwrap(), None);
        for entry in fs::read_dir(dir.path().join("bundles")).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"canary"));
        }
    }

    #[test]
    fn a_bundle_under_another_name_or_key_or_altered_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (files("// one"), files("// two"));
        let (first, second) = (source_of(one.clone()).digest(), source_of(two.clone()).digest());
        let kept = archive(&dir, 1);
        kept.keep(&one).unwrap();
        kept.keep(&two).unwrap();
        assert!(archive(&dir, 2).find(first).is_err());
        fs::copy(kept.path(second), kept.path(first)).unwrap();
        assert!(kept.find(first).is_err(), "another bundle's file");
        // What does not open is written again when its bundle comes into force again.
        kept.keep(&one).unwrap();
        assert!(kept.find(first).unwrap().is_some());
        let mut bytes = fs::read(kept.path(first)).unwrap();
        bytes[40] ^= 1;
        fs::write(kept.path(first), bytes).unwrap();
        assert!(kept.find(first).is_err(), "altered");
    }
}
