//! Private keys in files outside the data directory and outside any project.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cordon_core::InvalidName;
use cordon_core::ed25519::{SigningKey, VerifyingKey};
use cordon_guard::ports::Random;

use crate::datadir::write_new;

/// What a private key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyRole {
    /// Signs policy bundles.
    Policy,
    /// Signs tool bundles.
    Tools,
    /// Signs kill bundles.
    Kill,
    /// Signs answers to held calls.
    Approver,
    /// Signs the ledger's checkpoints.
    Log,
    /// Seals what lies in the data directory; symmetric.
    Seal,
}

impl KeyRole {
    /// Every role.
    pub const ALL: [Self; 6] = [Self::Policy, Self::Tools, Self::Kill, Self::Approver, Self::Log, Self::Seal];

    /// The role as written on the command line and as its directory is named.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Tools => "tools",
            Self::Kill => "kill",
            Self::Approver => "approver",
            Self::Log => "log",
            Self::Seal => "seal",
        }
    }
}

impl fmt::Display for KeyRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyRole {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let expected = "a key role (`policy`, `tools`, `kill`, `approver`, `log`)";
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| InvalidName::new(expected, text))
    }
}

/// The directory of private keys: `<role>/<name>.key`, mode 0600.
#[derive(Debug, Clone)]
pub struct KeyRing {
    dir: PathBuf,
}

/// One key in the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// What it is for.
    pub role: KeyRole,
    /// Its name.
    pub name: Box<str>,
    /// Its public half; none for sealing keys.
    pub public: Option<VerifyingKey>,
}

/// A key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It cannot be read or written.
    #[error("cannot use the key file `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// There is none of this name.
    #[error("there is no {role} key `{name}` in `{}`; make one with `cordon keys new --role {role} --name {name}`", dir.display())]
    Missing {
        /// The role.
        role: KeyRole,
        /// The name.
        name: Box<str>,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// There is one of this name already.
    #[error("there is a {role} key `{name}` already: `{}`", path.display())]
    Exists {
        /// The role.
        role: KeyRole,
        /// The name.
        name: Box<str>,
        /// The file.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("`{}` has mode {mode:o}, expected 600: others may have read the key; make another one", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("`{}` belongs to user {owner}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// It does not hold a key.
    #[error("`{}` does not hold a {role} key", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The role.
        role: KeyRole,
    },
    /// The name cannot be a file's.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

const MAGIC: &str = "cordon-key/v1";

impl KeyRing {
    /// The keys under `dir`, which need not exist yet.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a signing key; never overwrites one.
    pub fn generate(&self, role: KeyRole, name: &str, random: &dyn Random) -> Result<SigningKey, KeyError> {
        let path = self.path(role, name)?;
        self.write(&path, role, name, random)?;
        self.signing(role, name)
    }

    /// Reads a signing key; refuses a file that others may read.
    pub fn signing(&self, role: KeyRole, name: &str) -> Result<SigningKey, KeyError> {
        let path = self.path(role, name)?;
        let seed = self.read(&path, role, name)?;
        SigningKey::from_seed(&seed).map_err(|_| KeyError::Malformed { path, role })
    }

    /// Reads a signing key, making it if there is none.
    pub fn signing_or_new(
        &self,
        role: KeyRole,
        name: &str,
        random: &dyn Random,
    ) -> Result<SigningKey, KeyError> {
        match self.signing(role, name) {
            Err(KeyError::Missing { .. }) => self.generate(role, name, random),
            other => other,
        }
    }

    /// Reads the 32 bytes of a sealing key.
    pub fn secret(&self, role: KeyRole, name: &str) -> Result<[u8; 32], KeyError> {
        let path = self.path(role, name)?;
        self.read(&path, role, name)
    }

    /// Reads the 32 bytes of a sealing key, making it if there is none.
    pub fn secret_or_new(
        &self,
        role: KeyRole,
        name: &str,
        random: &dyn Random,
    ) -> Result<[u8; 32], KeyError> {
        match self.secret(role, name) {
            Err(KeyError::Missing { .. }) => {
                let path = self.path(role, name)?;
                self.write(&path, role, name, random)?;
                self.secret(role, name)
            }
            other => other,
        }
    }

    /// Every key, by role and name; those that cannot be read are an error.
    pub fn list(&self) -> Result<Vec<KeyEntry>, KeyError> {
        let mut entries = Vec::new();
        for role in KeyRole::ALL {
            for name in self.names(role)? {
                let public = match role {
                    KeyRole::Seal => None,
                    _ => Some(self.signing(role, &name)?.verifying_key()),
                };
                entries.push(KeyEntry { role, name, public });
            }
        }
        Ok(entries)
    }

    /// The names of the keys of one role, in order.
    pub fn names(&self, role: KeyRole) -> Result<Vec<Box<str>>, KeyError> {
        let dir = self.dir.join(role.as_str());
        let failed = |source| KeyError::Io { path: dir.clone(), source };
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.file_name();
            let name = file.to_str().and_then(|name| name.strip_suffix(".key"));
            names.extend(name.map(Box::from));
        }
        names.sort();
        Ok(names)
    }

    /// Gives a key another name; never overwrites one.
    pub fn rename(&self, role: KeyRole, from: &str, to: &str) -> Result<(), KeyError> {
        let (from, path) = (self.path(role, from)?, self.path(role, to)?);
        if path.exists() {
            return Err(KeyError::Exists { role, name: to.into(), path });
        }
        fs::rename(&from, &path).map_err(|source| KeyError::Io { path: from, source })
    }

    fn path(&self, role: KeyRole, name: &str) -> Result<PathBuf, KeyError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
        if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.bytes().all(plain) {
            let expected = "a key name of letters, digits, `-`, `_`, `.` and `@`";
            return Err(InvalidName::new(expected, name).into());
        }
        Ok(self.dir.join(role.as_str()).join(format!("{name}.key")))
    }

    fn write(&self, path: &Path, role: KeyRole, name: &str, random: &dyn Random) -> Result<(), KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let dir = self.dir.join(role.as_str());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let mut seed = [0; 32];
        random.fill(&mut seed);
        let text = format!("{MAGIC} {role} {}\n", STANDARD.encode(seed));
        write_new(path, text.as_bytes()).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => {
                KeyError::Exists { role, name: name.into(), path: path.to_owned() }
            }
            _ => failed(source),
        })
    }

    fn read(&self, path: &Path, role: KeyRole, name: &str) -> Result<[u8; 32], KeyError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeyError::Missing { role, name: name.into(), dir: self.dir.clone() },
            _ => KeyError::Io { path: path.to_owned(), source },
        };
        let meta = fs::metadata(path).map_err(failed)?;
        let (mode, owner) = (meta.mode() & 0o777, meta.uid());
        if mode & 0o077 != 0 {
            return Err(KeyError::Open { path: path.to_owned(), mode });
        }
        let me = rustix::process::geteuid();
        if owner != me.as_raw() && !me.is_root() {
            return Err(KeyError::Foreign { path: path.to_owned(), owner });
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        let mut parts = text.split_whitespace();
        let (magic, kind, seed) = (parts.next(), parts.next(), parts.next());
        let right = magic == Some(MAGIC) && kind == Some(role.as_str()) && parts.next().is_none();
        let seed = seed.filter(|_| right).and_then(|seed| STANDARD.decode(seed).ok());
        seed.and_then(|seed| seed.try_into().ok())
            .ok_or_else(|| KeyError::Malformed { path: path.to_owned(), role })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemRandom;
    use std::os::unix::fs::PermissionsExt as _;

    fn ring() -> (tempfile::TempDir, KeyRing) {
        let root = tempfile::tempdir().unwrap();
        let ring = KeyRing::at(root.path().join("keys"));
        (root, ring)
    }

    #[test]
    fn a_key_is_made_once_found_again_and_never_overwritten() {
        let (_root, ring) = ring();
        let missing = ring.signing(KeyRole::Approver, "alice").unwrap_err().to_string();
        assert!(missing.contains("cordon keys new --role approver --name alice"), "{missing}");
        let key = ring.generate(KeyRole::Approver, "alice", &SystemRandom).unwrap();
        let again = ring.signing(KeyRole::Approver, "alice").unwrap();
        assert_eq!(again.verifying_key(), key.verifying_key());
        let second = ring.generate(KeyRole::Approver, "alice", &SystemRandom);
        assert!(matches!(second, Err(KeyError::Exists { .. })));
        let listed = ring.list().unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].public, Some(key.verifying_key()));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let (_root, ring) = ring();
        ring.generate(KeyRole::Policy, "main", &SystemRandom).unwrap();
        let path = ring.dir().join("policy/main.key");
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(ring.signing(KeyRole::Policy, "main"), Err(KeyError::Open { .. })), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(ring.signing(KeyRole::Policy, "main").is_ok());
    }

    #[test]
    fn a_key_counts_for_its_role_only_and_a_name_cannot_leave_the_directory() {
        let (_root, ring) = ring();
        ring.generate(KeyRole::Policy, "main", &SystemRandom).unwrap();
        fs::create_dir_all(ring.dir().join("kill")).unwrap();
        fs::copy(ring.dir().join("policy/main.key"), ring.dir().join("kill/main.key")).unwrap();
        assert!(matches!(ring.signing(KeyRole::Kill, "main"), Err(KeyError::Malformed { .. })));
        for name in ["", "..", "../policy/main", "a/b", ".hidden", "a\nb", "ä"] {
            assert!(matches!(ring.signing(KeyRole::Policy, name), Err(KeyError::Name(_))), "{name}");
        }
    }
}
