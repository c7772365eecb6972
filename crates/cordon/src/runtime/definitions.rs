//! What accepted tools said about themselves, so that a changed one can be shown beside it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cordon_control::view::ToolDefinition;
use cordon_core::Digest;
use cordon_guard::{Guard, Tool};
use cordon_store::seal::SealingKey;
use cordon_store::system::SystemRandom;

use crate::bundle_files;

/// Definitions of usable tools, each sealed in a file that is named after the tool's digest.
pub(crate) struct Definitions {
    dir: PathBuf,
    key: SealingKey,
    /// The pins that are kept already.
    kept: Mutex<HashMap<Digest, Digest>>,
}

impl Definitions {
    /// The definitions under `dir`, sealed under `key`.
    pub(crate) fn open(dir: PathBuf, key: SealingKey) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self { dir, key, kept: Mutex::default() })
    }

    /// Keeps the definitions of all usable tools; what cannot be kept is reported and left.
    pub(crate) fn keep(&self, guard: &Guard) {
        for tool in guard.tools().iter().filter(|tool| tool.quarantine.is_none()) {
            if let Err(error) = self.keep_one(tool) {
                crate::term::note(format_args!(
                    "cordon: cannot keep the definition of {}: {error}",
                    tool.action
                ));
            }
        }
    }

    fn keep_one(&self, tool: &Tool) -> io::Result<()> {
        let name = Digest::of(tool.action.as_str().as_bytes());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.get(&name) == Some(&tool.listed.pin) {
            return Ok(());
        }
        let plain = serde_json::to_vec(&ToolDefinition::from(tool))?;
        let sealed = self.key.seal(name.as_bytes(), &plain, &SystemRandom).map_err(io::Error::other)?;
        bundle_files::replace(&self.dir.join(name.hex()), &sealed).map_err(io::Error::other)?;
        kept.insert(name, tool.listed.pin);
        Ok(())
    }

    /// The definition that was kept for a tool.
    pub(crate) fn find(&self, tool: &str) -> Option<ToolDefinition> {
        let name = Digest::of(tool.as_bytes());
        let sealed = fs::read(self.dir.join(name.hex())).ok()?;
        let plain = self.key.open(name.as_bytes(), &sealed).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

impl std::fmt::Debug for Definitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Definitions").field("dir", &self.dir).finish_non_exhaustive()
    }
}
