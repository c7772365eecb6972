//! A server as a child process: its own process group, a scrubbed environment, an end that is sure.
//!
//! The environment of a child is `PATH`, `HOME`, `LANG`, `LC_*`, `TERM`, `TMPDIR`, `USER` and `XDG_*`
//! of the parent, and what its configuration names; nothing else, so that no credential of the parent
//! comes along.

use std::ffi::OsStr;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::options::Command;

/// A child process and its group. Dropping it ends the group: SIGTERM, then SIGKILL after the grace.
#[derive(Debug)]
pub struct Child {
    stop: Option<oneshot::Sender<()>>,
    state: watch::Receiver<State>,
    streams: Option<(ChildStdout, ChildStdin)>,
    pid: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Ended(Option<ExitStatus>),
}

/// A child could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// There is no such program.
    #[error("there is no program `{program}`: {source}")]
    Missing {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program cannot be run.
    #[error("`{program}` cannot be run: {source}")]
    NotRunnable {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Longest line of a child's error output that is passed on, in bytes.
const ERROR_LINE_MAX: usize = 4 << 10;

impl Child {
    /// Starts `command` in its own process group, its standard streams piped. Each line of its error
    /// output goes to this process's own, marked with `name` and with control characters escaped.
    pub fn spawn(name: &str, command: &Command, grace: Duration) -> Result<Self, SpawnError> {
        let mut spawning = tokio::process::Command::new(&command.program);
        spawning.args(&command.args).env_clear().envs(kept_environment()).envs(&command.env);
        if let Some(cwd) = &command.cwd {
            spawning.current_dir(cwd);
        }
        spawning.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        spawning.process_group(0).kill_on_drop(true);
        let failed = |source: io::Error| {
            let program = command.program.to_string_lossy().into_owned();
            match source.kind() {
                io::ErrorKind::NotFound => SpawnError::Missing { program, source },
                _ => SpawnError::NotRunnable { program, source },
            }
        };
        let mut child = spawning.spawn().map_err(failed)?;
        let piped = |what| io::Error::other(format!("its {what} is not piped"));
        let stdin = child.stdin.take().ok_or_else(|| failed(piped("input")))?;
        let stdout = child.stdout.take().ok_or_else(|| failed(piped("output")))?;
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(pass_errors_on(name.to_owned(), stderr));
        }
        let pid = child.id().unwrap_or_default();
        let (stop, stopped) = oneshot::channel();
        let (report, state) = watch::channel(State::Running);
        tokio::spawn(supervise(child, Group::of(pid), stopped, report, grace));
        Ok(Self { stop: Some(stop), state, streams: Some((stdout, stdin)), pid })
    }

    /// The child's output and input; given once.
    pub fn take_streams(&mut self) -> Result<(ChildStdout, ChildStdin), SpawnError> {
        self.streams.take().ok_or_else(|| SpawnError::NotRunnable {
            program: format!("process {}", self.pid),
            source: io::Error::other("its streams were already taken"),
        })
    }

    /// The process's identifier, which is its group's too.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the child to end by itself and gives its status.
    pub async fn wait(&mut self) -> Option<ExitStatus> {
        match self.state.wait_for(|state| *state != State::Running).await.as_deref() {
            Ok(State::Ended(status)) => *status,
            Ok(State::Running) | Err(_) => None,
        }
    }

    /// Waits `patience` for the child to end by itself, then ends it and waits until it has.
    pub async fn end(&mut self, patience: Duration) {
        if timeout(patience, self.wait()).await.is_err() {
            drop(self.stop.take());
            self.wait().await;
        }
    }

    /// How it stands, in one clause.
    pub fn describe(&self) -> String {
        match *self.state.borrow() {
            State::Running => "it still runs".to_owned(),
            State::Ended(Some(status)) => status.to_string(),
            State::Ended(None) => "its exit status is not known".to_owned(),
        }
    }
}

/// A process group that is killed when this is dropped.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn of(pid: u32) -> Self {
        Self(i32::try_from(pid).ok().and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // A group that has already gone is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Waits for the child's end or for the order to end it. Grandchildren that stay behind are killed
/// with the group when `group` goes.
async fn supervise(
    mut child: tokio::process::Child,
    group: Group,
    stopped: oneshot::Receiver<()>,
    report: watch::Sender<State>,
    grace: Duration,
) {
    let ended = tokio::select! {
        status = child.wait() => Some(status),
        _ = stopped => None,
    };
    let status = match ended {
        Some(status) => status,
        None => {
            group.signal(Signal::TERM);
            match timeout(grace, child.wait()).await {
                Ok(status) => status,
                Err(_) => {
                    group.signal(Signal::KILL);
                    child.wait().await
                }
            }
        }
    };
    drop(group);
    report.send_replace(State::Ended(status.ok()));
}

/// The variables of this process that every child gets.
fn kept_environment() -> impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)> {
    std::env::vars_os().filter(|(name, _)| is_kept(name))
}

fn is_kept(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    matches!(name, "PATH" | "HOME" | "LANG" | "TERM" | "TMPDIR" | "USER")
        || name.starts_with("LC_")
        || name.starts_with("XDG_")
}

async fn pass_errors_on(name: String, stderr: impl AsyncRead + Unpin) {
    let mut reader = BufReader::with_capacity(ERROR_LINE_MAX, stderr);
    let mut line = Vec::new();
    loop {
        let (taken, ended) = match reader.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(bytes) => match bytes.iter().position(|byte| *byte == b'\n') {
                Some(at) => {
                    line.extend_from_slice(bytes.get(..at).unwrap_or_default());
                    (at.saturating_add(1), true)
                }
                None => {
                    line.extend_from_slice(bytes);
                    (bytes.len(), false)
                }
            },
        };
        reader.consume(taken);
        if ended || line.len() >= ERROR_LINE_MAX {
            show(&name, &line);
            line.clear();
        }
    }
    if !line.is_empty() {
        show(&name, &line);
    }
}

fn show(name: &str, line: &[u8]) {
    let text = String::from_utf8_lossy(line.get(..line.len().min(ERROR_LINE_MAX)).unwrap_or_default());
    let safe: String =
        text.trim_end().chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
    crate::mcp::door::log(format_args!("[{name}] {safe}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_inherited() {
        for name in ["PATH", "HOME", "LC_ALL", "XDG_RUNTIME_DIR"] {
            assert!(is_kept(OsStr::new(name)), "{name}");
        }
        for name in
            ["AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK", "OPENAI_API_KEY", "LD_PRELOAD", "path", "PATHX"]
        {
            assert!(!is_kept(OsStr::new(name)), "{name}");
        }
    }
}
