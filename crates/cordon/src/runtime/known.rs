//! What the last start knew, so that only changes are recorded as changes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use cordon_core::Digest;

use crate::bundle_files;

/// Digests of configuration and trusted keys at the last start, in a small file of `name digest` lines.
///
/// The file holds digests only. Without it, the next start records the present state as a change from
/// an unknown one. Like the rest of the data directory it is as trustworthy as its owner's account.
#[derive(Debug)]
pub(crate) struct Known {
    path: PathBuf,
    digests: BTreeMap<String, Digest>,
}

impl Known {
    /// Reads what is known in the data directory `data`; a missing or spoilt file knows nothing.
    pub(crate) fn open(data: &Path) -> Self {
        let path = data.join("known");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let line = |line: &str| {
            let (name, digest) = line.split_once(' ')?;
            Some((name.to_owned(), digest.parse().ok()?))
        };
        Self { path, digests: text.lines().filter_map(line).collect() }
    }

    /// The digest that was known under a name.
    pub(crate) fn get(&self, name: &str) -> Option<Digest> {
        self.digests.get(name).copied()
    }

    /// Remembers a digest, or that there is none; durable when this returns.
    pub(crate) fn set(&mut self, name: &str, digest: Option<Digest>) -> io::Result<()> {
        match digest {
            Some(digest) => self.digests.insert(name.to_owned(), digest),
            None => self.digests.remove(name),
        };
        let text: String = self.digests.iter().map(|(name, digest)| format!("{name} {digest}\n")).collect();
        bundle_files::replace(&self.path, text.as_bytes()).map_err(io::Error::other)
    }
}
