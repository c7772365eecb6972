//! One governed connection to one server.

use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use cordon_core::{Action, ActionName, Effect, Record, Resource, ResourceKind};
use cordon_guard::{Attempt, Guard, GuardError, Operation, Outcome, ResultKind, ResultSeen, Session, Trace};
use cordon_wire::mcp::{Era, Message, RESERVED_SERVER};
use hyper::HeaderMap;
use tokio::sync::watch;

use self::flights::Flights;
use self::listing::Listed;
use self::questions::Asked;
use super::child::SpawnError;
use super::outlet::Outlet;
use super::server::Server;
use super::upstream::{Arrived, Incoming, Sent, Upstream, UpstreamError};
use super::{DoorLimits, OutboundMessage};
use crate::Caller;

mod answer;
mod flights;
mod inbound;
mod judge;
mod listing;
mod questions;
mod reads;
mod request;

pub use self::judge::Reply;
pub(crate) use self::judge::Stop;
pub(crate) use self::listing::own_meta;
pub(crate) use self::request::era_of;

/// One governed connection to one server, in one session.
///
/// Every client message is judged before its bytes go on, and everything that comes back is paired,
/// observed, and released or withheld. Dropping the last handle ends the connection.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

pub(crate) struct Inner {
    guard: Guard,
    caller: Caller,
    server: Arc<Server>,
    session: RwLock<Arc<Session>>,
    upstream: Upstream,
    mode: Mode,
    /// Requests of the client that wait for an answer.
    flights: Flights,
    /// Requests of the server that wait for the client.
    asked: Asked,
    /// What the server lists, as far as it is known.
    listed: Listed,
    /// The way to the client for what belongs to none of its requests.
    client: Mutex<Option<Outlet>>,
    /// The era that the client speaks.
    era: AtomicU8,
    /// Turns true when nothing will come from the server any more.
    gone: watch::Sender<bool>,
    me: Weak<Inner>,
}

/// How many clients a door has, and what the server may ask of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One client: its own ids go to the server, which may ask it what policies let it ask.
    Alone,
    /// Several clients of one caller share one channel: the server sees Cordon's ids.
    Shared,
    /// Clients see several servers as one: Cordon's ids, and the servers may ask nothing.
    Gathered,
}

/// One message of a client.
#[derive(Debug)]
pub struct ClientMessage {
    /// The message.
    pub message: Message,
    /// The era it belongs to.
    pub era: Era,
    /// The HTTP headers that it came with.
    pub headers: Option<HeaderMap>,
    /// The way back for what the server says before it answers.
    pub outlet: Option<Outlet>,
}

/// A door could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The guard opens no session.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The server could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

impl Door {
    /// Opens a session of `caller` with `server`, or finds it again, over the connection `upstream`.
    pub async fn open(
        guard: Guard,
        caller: Caller,
        server: Arc<Server>,
        mut upstream: Upstream,
        mode: Mode,
    ) -> Result<Self, OpenError> {
        let session = guard.open(opening(&guard, &caller, &server)).await?;
        let incoming = upstream.take_incoming();
        let inner = Arc::new_cyclic(|me| Inner {
            guard,
            caller,
            server,
            session: RwLock::new(session),
            upstream,
            mode,
            flights: Flights::default(),
            asked: Asked::default(),
            listed: Listed::default(),
            client: Mutex::default(),
            era: AtomicU8::new(0),
            gone: watch::Sender::new(false),
            me: me.clone(),
        });
        if let Some(incoming) = incoming {
            tokio::spawn(pump(Weak::clone(&inner.me), incoming));
        }
        Ok(Self(inner))
    }

    /// Connects to `server` and opens a door to it.
    pub async fn connect(
        guard: Guard,
        caller: Caller,
        server: Arc<Server>,
        mode: Mode,
    ) -> Result<Self, OpenError> {
        let upstream = server.connect()?;
        Self::open(guard, caller, server, upstream, mode).await
    }

    /// Where messages go that answer none of the client's requests; the way before it is closed.
    pub fn set_client(&self, outlet: Outlet) {
        *self.0.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(outlet);
    }

    /// Nothing goes to the client any more beside answers.
    pub fn forget_client(&self) {
        *self.0.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Ends when the server has gone.
    pub async fn gone(&self) {
        let mut gone = self.0.gone.subscribe();
        let _ = gone.wait_for(|gone| *gone).await;
    }

    /// The server behind it.
    pub fn server(&self) -> &Arc<Server> {
        &self.0.server
    }

    /// The session that its calls belong to.
    pub fn session(&self) -> Arc<Session> {
        self.0.session.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server has gone, so that nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.0.upstream.is_closed()
    }

    /// Ends the connection: the server's session is ended where it keeps one, a child is told to end
    /// and made to. The guard's session stays, so that what was approved can still be spent.
    pub async fn close(&self) {
        if self.0.upstream.has_session()
            && let Ok(sent) = self.0.originate("session.end", OutboundMessage::EndSession).await
        {
            // A server that keeps its session for itself ends it by itself.
            let _ = sent.accepted().await;
        }
        self.0.upstream.close();
        self.0.gone.send_replace(true);
    }

    /// Opens the server's stream of messages that answer nothing (HTTP, legacy era) and passes them
    /// to the client. Over lines there is nothing to open.
    pub async fn open_stream(&self) -> Result<(), Reply> {
        if self.0.upstream.is_shared_channel() {
            return Ok(());
        }
        let inner = &self.0;
        let sent = inner.originate("stream.open", OutboundMessage::OpenStream).await;
        let Sent { pending, replies } = sent.map_err(|stop| stop.into_reply().unwrap_or_else(Reply::gone))?;
        let mut replies = replies.map_err(|error| Reply::upstream(None, &error))?;
        let opened = tokio::time::timeout(STREAM_OPEN_MAX, replies.open()).await;
        if let Err(error) = opened.unwrap_or(Err(UpstreamError::Stalled)) {
            pending.failed(error.failure());
            return Err(Reply::upstream(None, &error));
        }
        let _ = pending.observe(ResultSeen { bytes: b"", structured: None, kind: ResultKind::Complete });
        let me = Weak::clone(&inner.me);
        let outlet = inner.client_outlet();
        let mut ended = inner.gone.subscribe();
        tokio::spawn(async move {
            let gone = async {
                match &outlet {
                    Some(outlet) => outlet.closed().await,
                    None => std::future::pending().await,
                }
            };
            let ended = async { drop(ended.wait_for(|ended| *ended).await) };
            let pass = async {
                while let Some(Ok((bytes, _))) = replies.next().await {
                    let Some(inner) = me.upgrade() else { return };
                    inner.arrived(bytes, None);
                }
            };
            tokio::select! {
                () = gone => {}
                () = ended => {}
                () = pass => {}
            }
        });
        Ok(())
    }
}

/// How long a server may take to open its stream.
const STREAM_OPEN_MAX: std::time::Duration = std::time::Duration::from_secs(10);

fn opening(guard: &Guard, caller: &Caller, server: &Server) -> cordon_guard::Opening {
    let span = cordon_core::Duration::from_secs(server.limits().session.as_secs());
    caller.opening(server.name(), guard.now().plus(span))
}

impl Mode {
    const fn has_own_ids(self) -> bool {
        matches!(self, Self::Shared | Self::Gathered)
    }
}

impl Inner {
    fn limits(&self) -> &DoorLimits {
        self.server.limits()
    }

    fn name(&self) -> &str {
        self.server.name()
    }

    fn client_outlet(&self) -> Option<Outlet> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn era(&self) -> Era {
        if self.era.load(Ordering::Relaxed) == 1 { Era::Modern } else { Era::Legacy }
    }

    fn speaks(&self, era: Era) {
        self.era.store(u8::from(era == Era::Modern), Ordering::Relaxed);
    }

    /// The session, opened anew when its time ran out. One that was closed stays closed.
    async fn session(&self) -> Result<Arc<Session>, GuardError> {
        let session = self.session.read().unwrap_or_else(PoisonError::into_inner).clone();
        if session.is_open(self.guard.now()) {
            return Ok(session);
        }
        let session = self.guard.open(opening(&self.guard, &self.caller, &self.server)).await?;
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&session);
        Ok(session)
    }

    /// Judges and sends what Cordon itself has to say to the server.
    async fn originate(&self, what: &str, outbound: OutboundMessage) -> Result<Sent, Stop> {
        let name = ActionName::tool(RESERVED_SERVER, what)
            .map_err(|error| Stop::unavailable(None, &error.to_string()))?;
        let operation = Operation::Message {
            action: Action::declared(name, [], Effect::Read),
            resource: self.server_resource(),
            args: Record::new(),
            arguments: None,
            ambiguous: std::collections::BTreeSet::new(),
        };
        let session = self.session().await.map_err(|error| Stop::unavailable(None, &error.to_string()))?;
        let attempt = Attempt {
            session: session.id,
            operation,
            trace: Trace::default(),
            parent: None,
            confidence: None,
        };
        match self.guard.authorize(attempt, outbound).await {
            Outcome::Permitted(permit) => {
                self.upstream.send(permit).await.map_err(|denial| Stop::denied(None, what, &denial))
            }
            Outcome::Held(held, _) => Err(Stop::held(None, what, &held)),
            Outcome::Denied(denial) => Err(Stop::denied(None, what, &denial)),
        }
    }

    /// The same for a message that nobody answers.
    async fn tell(&self, what: &str, bytes: Vec<u8>) {
        let message = match Message::parse(bytes, &self.limits().message) {
            Ok(message) => Arc::new(message),
            Err(refusal) => return log(format_args!("[{}] not sent: {refusal}", self.name())),
        };
        match self.originate(what, OutboundMessage::plain(message)).await {
            Ok(sent) => {
                if let Err(error) = sent.accepted().await {
                    log(format_args!("[{}] `mcp/{what}`: {error}", self.name()));
                }
            }
            Err(_) => log(format_args!("[{}] `mcp/{what}` was not permitted and not sent", self.name())),
        }
    }

    /// The server as a whole, as policies see it.
    fn server_resource(&self) -> Resource {
        let mut resource = Resource::new(ResourceKind::SERVER, self.name(), self.caller.tenant.clone());
        resource.attributes.insert("server".into(), cordon_core::Value::text(self.name()));
        resource
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.upstream.close();
    }
}

/// Hands everything that comes over lines to the door, until either side has gone.
async fn pump(door: Weak<Inner>, mut incoming: Incoming) {
    loop {
        let arrived = incoming.next().await;
        let Some(inner) = door.upgrade() else { return };
        match arrived {
            Arrived::Line(line) => inner.arrived(line, None),
            Arrived::TooLong(most) => inner.unreadable(None, &format!("it is longer than {most} bytes")),
            Arrived::End(why) => {
                drop(inner);
                let why = incoming
                    .settle()
                    .await
                    .map_or(why, |status| format!("its process ended: {status}").into());
                if let Some(inner) = door.upgrade() {
                    inner.server_gone(&why);
                }
                return;
            }
        }
    }
}

/// Writes one line for the operator; one that cannot be written is lost.
pub(crate) fn log(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("server", &self.0.name())
            .field("upstream", &self.0.upstream)
            .finish_non_exhaustive()
    }
}
