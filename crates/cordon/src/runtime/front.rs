//! The front of `cordon mcp`: runs the real server and carries bytes; the door is in the owner.
//!
//! Two connections go to the owner: one carries what the MCP client says and hears, the other what
//! the server says and hears. The front reads neither. When it dies, the server's process group dies
//! with it; when the owner dies, the front ends the server and exits with 125.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cordon_control::{Client, ClientError};
use cordon_gateway::mcp::Command;
use cordon_gateway::mcp::child::{Child, SpawnError};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};

use super::attach::{ATTACH_PATH, Attach, PROTOCOL};
use super::start::{self, Reached};
use crate::cli::{Ended, Failure, MISSING, NOT_RUNNABLE, REFUSED};
use crate::config::Config;

/// How long the server has to end after its client has gone, and again after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
/// How often attaching is tried again when the owner was just about to end.
const ATTEMPTS: u32 = 3;

/// A server's program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    command: String,
    args: Vec<String>,
    env: BTreeMap<OsString, OsString>,
    cwd: Option<PathBuf>,
}

impl Program {
    /// A program with arguments.
    pub(crate) fn new<S: AsRef<str>>(command: &str, args: &[S]) -> Self {
        let args = args.iter().map(|arg| arg.as_ref().to_owned()).collect();
        Self { command: command.to_owned(), args, ..Self::default() }
    }

    /// Hands these variables of this process on.
    #[must_use]
    pub(crate) fn passing<S: AsRef<str>>(mut self, names: &[S]) -> Self {
        for name in names {
            if let Some(value) = std::env::var_os(name.as_ref()) {
                self.env.insert(name.as_ref().into(), value);
            }
        }
        self
    }

    /// Sets these variables.
    #[must_use]
    pub(crate) fn setting(mut self, env: &BTreeMap<Box<str>, Box<str>>) -> Self {
        self.env.extend(env.iter().map(|(name, value)| ((&**name).into(), (&**value).into())));
        self
    }

    /// Starts it in this directory.
    #[must_use]
    pub(crate) fn in_dir(mut self, cwd: Option<&Path>) -> Self {
        self.cwd = cwd.map(Path::to_owned);
        self
    }

    /// Whether it is this command with these arguments.
    pub(crate) fn is(&self, command: &str, args: &[Box<str>]) -> bool {
        self.command == command && self.args.iter().map(String::as_str).eq(args.iter().map(|arg| &**arg))
    }

    /// The command that runs it as a child which the kernel ends with this process.
    fn tied(&self) -> std::io::Result<Command> {
        let own = ["exec-child".to_owned(), std::process::id().to_string(), "--".to_owned()];
        let args = own.iter().chain([&self.command]).chain(&self.args);
        Ok(Command {
            program: std::env::current_exe()?.into(),
            args: args.map(OsString::from).collect(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
        })
    }
}

/// Runs the server behind the owner's door until either side ends.
pub(crate) fn run(config: &Config, name: &str, agent: &str, program: Program) -> Ended {
    // The kernel ties a child to the thread that started it: this one lives as long as the process.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(relay(config, name, agent, &program));
    // A read of standard input cannot be taken back; it must not keep the process.
    runtime.shutdown_background();
    ended
}

async fn relay(config: &Config, name: &str, agent: &str, program: &Program) -> Ended {
    let attach = Attach { server: name.to_owned(), agent: agent.to_owned(), front: true };
    let Attached { client, server, _owner } = attached(config, &attach).await?;
    let mut child = Child::spawn(name, &program.tied()?, GRACE).map_err(|error| {
        let exit = match error {
            SpawnError::Missing { .. } => MISSING,
            _ => NOT_RUNNABLE,
        };
        Failure::from(error).exit(exit)
    })?;
    let (child_out, child_in) = child.take_streams()?;
    let (client_read, client_write) = tokio::io::split(client);
    let (server_read, server_write) = tokio::io::split(server);

    let first = First::default();
    tokio::spawn(first.carry(Side::Client, tokio::io::stdin(), client_write));
    let from_server = tokio::spawn(first.carry(Side::Server, child_out, server_write));
    let to_server = tokio::spawn(first.carry(Side::Owner, server_read, child_in));
    // The door closes the client's side once it has said everything.
    let mut to_client = tokio::spawn(first.carry(Side::Owner, client_read, tokio::io::stdout()));

    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let status = tokio::select! {
        status = child.wait() => {
            let last_words = async {
                from_server.await.ok();
                (&mut to_client).await.ok()
            };
            let _ = tokio::time::timeout(GRACE, last_words).await;
            status
        }
        _ = &mut to_client => {
            // Either the MCP client ended and the door let go of the server, or the owner died.
            let told = tokio::time::timeout(GRACE, to_server).await.is_ok();
            child.end(if told { GRACE } else { Duration::ZERO }).await;
            child.wait().await
        }
        _ = terminate.recv() => {
            child.end(Duration::ZERO).await;
            child.wait().await
        }
    };
    if first.is(Side::Owner) {
        let gone = "the owner let go of the connection, and the server was ended";
        return Err(Failure::new(gone).exit(REFUSED));
    }
    Ok(exit_code(status))
}

struct Attached {
    client: TokioIo<Upgraded>,
    server: TokioIo<Upgraded>,
    _owner: Reached,
}

/// Both connections; an owner that ended just now is started again.
async fn attached(config: &Config, attach: &Attach) -> Result<Attached, Failure> {
    let mut attempt = 0u32;
    loop {
        attempt = attempt.saturating_add(1);
        let owner = start::owner_of(config)?;
        match both(&owner.client(), attach).await {
            Ok((client, server)) => return Ok(Attached { client, server, _owner: owner }),
            Err(ClientError::NoOwner { .. } | ClientError::Broken(_)) if attempt < ATTEMPTS => {}
            Err(error) => return Err(Failure::from(error).exit(REFUSED)),
        }
    }
}

async fn both(
    owner: &Client,
    attach: &Attach,
) -> Result<(TokioIo<Upgraded>, TokioIo<Upgraded>), ClientError> {
    let (client, ticket) = owner.upgrade(ATTACH_PATH, PROTOCOL, attach).await?;
    let ticket = ticket.ok_or_else(|| ClientError::Broken("the owner gave no ticket".to_owned()))?;
    let (server, _) = owner.upgrade(&format!("{ATTACH_PATH}/{ticket}"), PROTOCOL, &()).await?;
    Ok((client, server))
}

/// Whose end came first: a server that ends because its owner died did not end by itself.
#[derive(Debug, Clone, Default)]
struct First(Arc<OnceLock<Side>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
    Owner,
}

impl First {
    /// Carries bytes until the source ends, notes that it did, and says so to the sink.
    fn carry<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        side: Side,
        mut from: R,
        mut to: W,
    ) -> impl Future<Output = ()> + use<R, W> {
        let first = Arc::clone(&self.0);
        async move {
            let _ = tokio::io::copy(&mut from, &mut to).await;
            first.get_or_init(|| side);
            let _ = to.shutdown().await;
        }
    }

    fn is(&self, side: Side) -> bool {
        self.0.get() == Some(&side)
    }
}

/// Carries bytes until the source ends, then says so to the sink.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

/// The child's own status; 128 and the signal when one ended it, as a shell says it.
fn exit_code(status: Option<ExitStatus>) -> ExitCode {
    use std::os::unix::process::ExitStatusExt as _;
    let Some(status) = status else { return ExitCode::from(REFUSED) };
    let by_signal = status.signal().map(|signal| signal.saturating_add(128));
    let code = status.code().or(by_signal).unwrap_or_default();
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// A conversation of this process itself with a server, through the owner's door.
pub(crate) struct Visit {
    client: BufReader<TokioIo<Upgraded>>,
    child: Option<Child>,
    owner: Reached,
}

/// Longest wait for one answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

impl Visit {
    /// Attaches to the server, which `program` runs, or which the owner reaches by itself.
    pub(crate) async fn begin(
        config: &Config,
        name: &str,
        program: Option<Program>,
    ) -> Result<Self, Failure> {
        let agent = config.identity.agent.to_string();
        let attach = Attach { server: name.to_owned(), agent, front: program.is_some() };
        let Some(program) = program else {
            let owner = start::owner_of(config)?;
            let (client, _) = owner.client().upgrade(ATTACH_PATH, PROTOCOL, &attach).await?;
            return Ok(Self { client: BufReader::new(client), child: None, owner });
        };
        let Attached { client, server, _owner: owner } = attached(config, &attach).await?;
        let mut child = Child::spawn(name, &program.tied()?, GRACE)?;
        let (child_out, child_in) = child.take_streams()?;
        let (server_read, server_write) = tokio::io::split(server);
        tokio::spawn(carry(child_out, server_write));
        tokio::spawn(carry(server_read, child_in));
        Ok(Self { client: BufReader::new(client), child: Some(child), owner })
    }

    /// Says something that has no answer.
    pub(crate) async fn tell(&mut self, message: &str) -> Result<(), Failure> {
        self.client.write_all(format!("{message}\n").as_bytes()).await?;
        Ok(self.client.flush().await?)
    }

    /// Asks, and gives the next message that is an answer.
    pub(crate) async fn ask(&mut self, message: &str) -> Result<String, Failure> {
        self.tell(message).await?;
        let answered = async {
            loop {
                let mut line = String::new();
                (&mut self.client).take(ANSWER_BYTES_MAX).read_line(&mut line).await?;
                if line.is_empty() {
                    return Err(Failure::new("the server went away; is its command right?"));
                }
                let node = cordon_core::json::parse(line.trim().as_bytes(), &cordon_core::Limits::DEFAULT)?;
                if node.get("method").is_none() {
                    return Ok(line);
                }
            }
        };
        let late = || Failure::new(format!("no answer came within {} s", ANSWER_PATIENCE.as_secs()));
        tokio::time::timeout(ANSWER_PATIENCE, answered).await.map_err(|_| late())?
    }

    /// A client of the owner.
    pub(crate) fn owner(&self) -> Client {
        self.owner.client()
    }

    /// Ends the conversation and the server.
    pub(crate) async fn end(mut self) {
        let _ = self.client.shutdown().await;
        if let Some(mut child) = self.child.take() {
            child.end(GRACE).await;
        }
    }
}
