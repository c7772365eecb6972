//! Runs the owner until a signal, a fatal error, or, in the background, until nobody needs it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use super::listen::{self, Service};
use super::owner::Owner;
use super::restraints;
use super::tls;
use crate::cli::Failure;
use crate::config::Config;
use crate::term;

/// What the process offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The socket only, for as long as there are clients.
    Owner,
    /// The socket and the network listener, until a signal.
    Network,
}

/// How long connections may go on after the order to end.
const DRAIN: Duration = Duration::from_secs(3);
/// How often expiry and idleness are looked at.
const TICK: Duration = Duration::from_millis(250);

/// The clients that keep a background owner alive.
#[derive(Debug, Default)]
pub(crate) struct Clients(Arc<AtomicUsize>);

/// One client; it is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<AtomicUsize>);

impl Clients {
    /// Counts a client.
    pub(crate) fn enter(&self) -> Busy {
        self.0.fetch_add(1, Ordering::SeqCst);
        Busy(Arc::clone(&self.0))
    }

    fn none(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Runs the owner of the configuration's data directory.
pub(crate) fn run(config: Config, scope: Scope) -> Result<(), Failure> {
    if scope == Scope::Owner {
        // A terminal that closes must not end it. It fails only for a group leader, which needs none.
        let _ = rustix::process::setsid();
    } else {
        refuse_open_network(&config)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(owned(config, scope));
    runtime.shutdown_timeout(DRAIN);
    ended
}

/// A listener that others reach needs TLS and a way to know them.
fn refuse_open_network(config: &Config) -> Result<(), Failure> {
    if config.serve.listen.ip().is_loopback() {
        return Ok(());
    }
    let known = !config.issuers.is_empty() || config.spiffe.is_some();
    let missing = match (&config.serve.tls, known) {
        (None, false) => "`[serve] tls` and `[auth.oauth]` or `[auth.spiffe]`",
        (None, true) => "`[serve] tls`",
        (Some(_), false) => "`[auth.oauth]` or `[auth.spiffe]`",
        (Some(_), true) => return Ok(()),
    };
    Err(Failure::new(format!(
        "refusing to listen on {}: other machines reach it, which needs {missing} in `{}`; token files \
         count on loopback only",
        config.serve.listen,
        config.file.display()
    ))
    .code("SERVE-001"))
}

async fn owned(config: Config, scope: Scope) -> Result<(), Failure> {
    let owner = Owner::open(config).await?;
    let ran = listening(&owner, scope).await;
    owner.close();
    ran
}

async fn listening(owner: &Arc<Owner>, scope: Scope) -> Result<(), Failure> {
    let config = &owner.config;
    let (stop, stopped) = watch::channel(false);
    let network = match scope {
        Scope::Network => {
            let tls = config
                .serve
                .tls
                .as_ref()
                .map(|files| tls::acceptor(files, config.spiffe.as_ref()))
                .transpose()?;
            let listener = TcpListener::bind(config.serve.listen).await.map_err(|error| {
                Failure::from(error).context(&format!("cannot listen on {}", config.serve.listen))
            })?;
            Some((listener, tls))
        }
        Scope::Owner => None,
    };
    let address = network.as_ref().map(|(listener, _)| listener.local_addr()).transpose()?;
    let service = Service::new(owner, address).await?;
    let socket = config.data.socket()?;
    // The lock is ours, so whatever lies there is a dead owner's.
    match std::fs::remove_file(config.data.socket_file()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = UnixListener::bind(socket.as_path())?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(config.data.socket_file(), mode)?;

    // Before anybody is told where to send a signal.
    let signals = Signals::new()?;
    let local = tokio::spawn(listen::on_socket(Arc::clone(&service), listener, stopped.clone()));
    let remote = network.map(|(listener, tls)| {
        tokio::spawn(listen::on_network(Arc::clone(&service), listener, tls, stopped.clone()))
    });
    let recording = tokio::spawn(restraints::keep_on_record(Arc::clone(owner), stopped.clone()));
    let keeping = tokio::spawn(keep_definitions(Arc::clone(owner), stopped));
    if let Some(address) = address {
        let scheme = if config.serve.tls.is_some() { "https" } else { "http" };
        term::note(format_args!(
            "cordon: serving {scheme}://{address} and {}",
            config.data.socket_file().display()
        ));
        if let Ok(console) = cordon_control::Node::console(&**owner) {
            term::note(format_args!("cordon: the console, once, until {}: {}", console.until, console.url));
        }
    }
    let ended = until_end(owner, scope, signals).await;
    // New clients find no socket and start another owner once the lock is free.
    let _ = std::fs::remove_file(config.data.socket_file());
    stop.send_replace(true);
    let drained = async {
        let _ = local.await;
        if let Some(remote) = remote {
            let _ = remote.await;
        }
        let _ = keeping.await;
        let _ = recording.await;
    };
    let _ = tokio::time::timeout(DRAIN, drained).await;
    ended
}

/// The signals that an owner understands.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Waits for the end; reloads on SIGHUP and watches the bundle's expiry meanwhile.
async fn until_end(owner: &Arc<Owner>, scope: Scope, mut signals: Signals) -> Result<(), Failure> {
    let patience = Duration::from_secs(u64::from(owner.config.idle_s));
    let mut last_busy = Instant::now();
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hangup.recv() => {
                // The refusal was said where it was found.
                let _ = owner.reload(&owner.config.login).await;
            }
            () = tokio::time::sleep(TICK) => {
                if owner.guard.now() >= owner.in_force().expires {
                    owner.expire().await;
                }
                if !owner.clients.none() {
                    last_busy = Instant::now();
                } else if scope == Scope::Owner && last_busy.elapsed() >= patience {
                    return Ok(());
                }
            }
        }
    }
}

/// Ends once the order to end was given.
pub(super) async fn told(stopped: &mut watch::Receiver<bool>) {
    // Whoever could give the order is gone: that is an order too.
    let _ = stopped.wait_for(|stopped| *stopped).await.is_ok();
}

/// Keeps the definition of each tool that becomes usable.
async fn keep_definitions(owner: Arc<Owner>, mut stopped: watch::Receiver<bool>) {
    let tools = owner.recorder.tools();
    loop {
        tokio::select! {
            () = told(&mut stopped) => return,
            () = tools.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
        owner.definitions.keep(&owner.guard);
    }
}
