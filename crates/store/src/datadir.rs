//! The data directory: where things lie in it, and the lock that gives it one owner.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use cordon_core::{Id, IdKind, Timestamp};
use cordon_guard::ports::{Draw, Random};
use rustix::fs::{FlockOperation, Mode, OFlags};

/// One node's data directory.
///
/// ```text
/// lock          the owner's process id, under an exclusive flock
/// id            names the sealing and log keys, which lie outside
/// cordon.sock   the owner listens here
/// state.db      sessions, approvals, pins, epochs (sealed)
/// ledger/       the log
/// ledger.head   what the log signed last
/// tools/        definitions of the tools that were accepted (sealed)
/// bundles/      every bundle that was in force, by its digest (sealed)
/// tokens/       bearer tokens: operator, pep, agent
/// owner.log     what an owner that nobody watches has to say
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    path: PathBuf,
}

/// Marks identifiers written `data_…`.
#[derive(Debug)]
pub enum DataKind {}
impl IdKind for DataKind {
    const PREFIX: &'static str = "data";
}
/// Names one data directory, wherever it is moved.
pub type DataId = Id<DataKind>;

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// An operation failed.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It belongs to somebody else.
    #[error("`{}` belongs to user {owner}, and this process runs as {me}", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        me: u32,
    },
    /// Another process owns it.
    #[error("`{}` is owned by process {pid}; stop it, or name another directory with --data", path.display())]
    Owned {
        /// The directory.
        path: PathBuf,
        /// The owner, as it wrote itself down.
        pid: String,
    },
    /// A file in it does not hold what it should.
    #[error("`{}` holds {got}, expected {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// What came.
        got: String,
    },
}

/// Proof that this process owns the data directory; it ends with the process or when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// A path to the socket that fits into a socket address however deep the directory lies.
///
/// Holds the directory open; the path goes through it (`/proc/self/fd`).
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    _directory: Option<File>,
}

impl SocketPath {
    /// The path to bind or connect to.
    pub fn as_path(&self) -> &Path {
        &self.path
    }
}

/// Longest socket path that every platform takes, in bytes.
const SOCKET_PATH_MAX: usize = 100;

impl DataDir {
    /// The data directory at `path`, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state database.
    pub fn state_file(&self) -> PathBuf {
        self.path.join("state.db")
    }

    /// The ledger's directory.
    pub fn ledger(&self) -> PathBuf {
        self.path.join("ledger")
    }

    /// The ledger's head record, outside its directory.
    pub fn ledger_head(&self) -> PathBuf {
        self.path.join("ledger.head")
    }

    /// Sealed definitions of the tools that were accepted.
    pub fn definitions(&self) -> PathBuf {
        self.path.join("tools")
    }

    /// Sealed files of every bundle that was in force.
    pub fn bundles(&self) -> PathBuf {
        self.path.join("bundles")
    }

    /// The token files' directory.
    pub fn tokens(&self) -> PathBuf {
        self.path.join("tokens")
    }

    /// The socket that the owner listens on.
    pub fn socket_file(&self) -> PathBuf {
        self.path.join("cordon.sock")
    }

    /// What an owner that was started in the background writes to.
    pub fn log_file(&self) -> PathBuf {
        self.path.join("owner.log")
    }

    /// Makes the directory (mode 0700) if there is none, and closes it to other users.
    pub fn create(&self) -> Result<(), DataDirError> {
        let path = &self.path;
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(self.failed("create", path))?;
        let meta = fs::metadata(path).map_err(self.failed("look at", path))?;
        let me = rustix::process::geteuid().as_raw();
        if meta.uid() != me {
            return Err(DataDirError::Foreign { path: path.clone(), owner: meta.uid(), me });
        }
        if meta.mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
                .map_err(self.failed("close to other users", path))?;
        }
        Ok(())
    }

    /// Becomes the owner, at once or not at all.
    pub fn lock(&self) -> Result<Lock, DataDirError> {
        let path = self.path.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(self.failed("open", &path))?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = file.take(32).read_to_string(&mut pid);
            return Err(DataDirError::Owned { path: self.path.clone(), pid: pid.trim().to_owned() });
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(self.failed("write", &path))?;
        Ok(Lock { _file: file })
    }

    /// The process that owns the directory, if one does.
    pub fn owner(&self) -> Option<String> {
        let mut file = File::open(self.path.join("lock")).ok()?;
        let owned = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err();
        let mut pid = String::new();
        file.read_to_string(&mut pid).ok()?;
        owned.then(|| pid.trim().to_owned())
    }

    /// The name of this data directory, made at first use; only the owner calls this.
    pub fn id(&self, _owner: &Lock, now: Timestamp, random: &dyn Random) -> Result<DataId, DataDirError> {
        match self.known_id()? {
            Some(id) => Ok(id),
            None => {
                let id = DataId::new(now, &mut Draw(random));
                let path = self.path.join("id");
                write_new(&path, format!("{id}\n").as_bytes()).map_err(self.failed("write", &path))?;
                Ok(id)
            }
        }
    }

    /// The name of this data directory, if it has one.
    pub fn known_id(&self) -> Result<Option<DataId>, DataDirError> {
        let path = self.path.join("id");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(DataDirError::Io { doing: "read", path, source }),
        };
        let expected = "`data_` and 32 hex digits";
        text.trim().parse().map(Some).map_err(|_| DataDirError::Malformed {
            path,
            expected,
            got: text.chars().take(60).collect(),
        })
    }

    /// The socket's path in a form that fits into a socket address.
    pub fn socket(&self) -> Result<SocketPath, DataDirError> {
        let plain = self.socket_file();
        if plain.as_os_str().len() <= SOCKET_PATH_MAX {
            return Ok(SocketPath { path: plain, _directory: None });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.path, flags, Mode::empty())
            .map_err(|error| self.failed("open", &self.path)(error.into()))?;
        let directory = File::from(directory);
        let path = PathBuf::from(format!("/proc/self/fd/{}/cordon.sock", directory.as_raw_fd()));
        Ok(SocketPath { path, _directory: Some(directory) })
    }

    fn failed(&self, doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError + use<> {
        let path = path.to_owned();
        move |source| DataDirError::Io { doing, path, source }
    }
}

/// Writes a file that must not exist yet, readable by its owner only, durable when this returns.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemRandom;

    fn dir() -> (tempfile::TempDir, DataDir) {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::at(root.path().join("data"));
        dir.create().unwrap();
        (root, dir)
    }

    #[test]
    fn a_directory_has_one_owner_at_a_time_and_names_it() {
        let (_root, dir) = dir();
        assert_eq!(dir.owner(), None);
        let lock = dir.lock().unwrap();
        let second = dir.lock().unwrap_err().to_string();
        assert!(second.contains(&format!("owned by process {}", std::process::id())), "{second}");
        assert_eq!(dir.owner(), Some(std::process::id().to_string()));
        drop(lock);
        assert_eq!(dir.owner(), None);
        assert!(dir.lock().is_ok());
    }

    #[test]
    fn an_open_directory_is_closed_to_other_users() {
        let (_root, dir) = dir();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        dir.create().unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_keeps_its_name_and_a_spoilt_one_is_refused() {
        let (_root, dir) = dir();
        let lock = dir.lock().unwrap();
        let id = dir.id(&lock, Timestamp::from_micros(1), &SystemRandom).unwrap();
        assert_eq!(dir.id(&lock, Timestamp::from_micros(2), &SystemRandom).unwrap(), id);
        fs::write(dir.path().join("id"), "../../elsewhere").unwrap();
        assert!(dir.known_id().is_err());
    }

    #[test]
    fn a_socket_path_fits_however_deep_the_directory_lies() {
        let root = tempfile::tempdir().unwrap();
        let deep = DataDir::at(root.path().join("d".repeat(120)).join("e".repeat(120)));
        deep.create().unwrap();
        let socket = deep.socket().unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(socket.as_path()).unwrap();
        assert!(std::os::unix::net::UnixStream::connect(deep.socket().unwrap().as_path()).is_ok());
        assert!(deep.socket_file().exists());
    }
}
