//! Finding the process that owns a data directory, and starting one where there is none.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cordon_control::Client;
use cordon_store::datadir::{DataDir, SocketPath};

use crate::cli::{Failure, Global};
use crate::config::{self, Config, ConfigError};

/// Longest wait for an owner to answer; opening a long ledger takes a while.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the socket is tried meanwhile.
const PAUSE: Duration = Duration::from_millis(20);
/// How much of a failed owner's last words is shown, in bytes.
const LAST_WORDS_MAX: u64 = 16 << 10;

/// An owner that answers.
#[derive(Debug)]
pub(crate) struct Reached {
    socket: SocketPath,
}

impl Reached {
    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.socket.as_path())
    }
}

/// The owner of the data directory that the flags name, started if there is none.
pub(crate) fn owner(global: &Global) -> Result<Reached, Failure> {
    let data = config::data_dir(global).map_err(|error| Failure::from(error).code("CONFIG-001"))?;
    if let Some(reached) = reach(&data) {
        return Ok(reached);
    }
    if data.owner().is_some()
        && let Some(reached) = wait(&data)?
    {
        return Ok(reached);
    }
    // Only a configuration says what to enforce; without one there is nothing to start.
    let config = Config::load(global).map_err(|error| match error {
        ConfigError::Missing { .. } => Failure::new(format!("no owner answers, and {error}")),
        error => Failure::from(error).code("CONFIG-001"),
    })?;
    start(&config)
}

/// The owner of a configuration's data directory, started if there is none.
pub(crate) fn owner_of(config: &Config) -> Result<Reached, Failure> {
    if let Some(reached) = reach(&config.data) {
        return Ok(reached);
    }
    if config.data.owner().is_some()
        && let Some(reached) = wait(&config.data)?
    {
        return Ok(reached);
    }
    start(config)
}

fn reach(data: &DataDir) -> Option<Reached> {
    let socket = data.socket().ok()?;
    UnixStream::connect(socket.as_path()).ok()?;
    Some(Reached { socket })
}

/// Starts an owner in the background; when several start at once, the lock lets one of them stay.
fn start(config: &Config) -> Result<Reached, Failure> {
    config.data.create()?;
    let log = config.data.log_file();
    let out = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&log)?;
    let child = Command::new(std::env::current_exe()?)
        .arg("--config")
        .arg(&config.file)
        .arg("--data")
        .arg(config.data.path())
        .args(["serve", "--owner-only"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(out)
        .spawn()?;
    await_start(&config.data, child)
}

/// Waits until the owner answers; `None` when it let go of the directory instead, as an owner does
/// that is just ending.
fn wait(data: &DataDir) -> Result<Option<Reached>, Failure> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(reached) = reach(data) {
            return Ok(Some(reached));
        }
        if data.owner().is_none() {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
    Err(silent(data))
}

/// Waits until the owner that was started, or one that was quicker, answers.
fn await_start(data: &DataDir, mut child: Child) -> Result<Reached, Failure> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(reached) = reach(data) {
            return Ok(reached);
        }
        // A child that ended because another process became the owner is no failure.
        let ended = child.try_wait().ok().flatten();
        if ended.is_some() && data.owner().is_none() && reach(data).is_none() {
            return Err(Failure::new(last_words(data)).code("OWNER-002"));
        }
        std::thread::sleep(PAUSE);
    }
    Err(silent(data))
}

fn silent(data: &DataDir) -> Failure {
    let pid = data.owner().unwrap_or_else(|| "?".to_owned());
    Failure::new(format!(
        "process {pid} owns `{}` and does not answer; stop it, and the next command starts another",
        data.path().display()
    ))
    .code("OWNER-001")
}

fn last_words(data: &DataDir) -> String {
    let mut words = String::new();
    let log = std::fs::File::open(data.log_file());
    let _ = log.map(|log| log.take(LAST_WORDS_MAX).read_to_string(&mut words));
    let words = words.trim();
    format!(
        "the owner of `{}` could not start: {}",
        data.path().display(),
        words.trim_start_matches("cordon: error: ")
    )
}
