//! MCP over HTTP, the server's side: `/mcp/{server}` and, all servers as one, `/mcp`.
//!
//! Streamable HTTP in both eras: 2025-03-26 to 2025-11-25 with sessions, 2026-07-28 without.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cordon_core::json::Node;
use cordon_guard::Guard;
use cordon_wire::mcp::http::{Hosts, Origins, accepts_both, is_json};
use cordon_wire::mcp::{Era, Kind, Message, Version, reply};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use self::events::Events;
use self::peer::Peer;
use self::sessions::{Sessions, Stateless};
use super::door::era_of;
use super::upstream::SESSION;
use super::{ClientMessage, InvalidOptions, Outlet, Reply, Server, ServerOptions};
use crate::Caller;

mod aggregate;
mod events;
mod peer;
mod sessions;

/// The body of an answer: whole, or a stream of events.
pub type BoxBody = UnsyncBoxBody<Bytes, Infallible>;

/// Whom a listener answers.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The names it answers to.
    pub hosts: Hosts,
    /// The pages that may speak to it.
    pub origins: Origins,
    /// Most legacy sessions at once.
    pub sessions_max: usize,
    /// How long a session may be idle.
    pub idle: Duration,
    /// How long a client may take to send a message.
    pub read: Duration,
    /// When a request that has no answer yet becomes a stream of events.
    pub patience: Duration,
    /// How often a stream shows that it lives.
    pub keep_alive: Duration,
}

impl Default for HttpOptions {
    /// This machine only; 1,024 sessions, idle for at most an hour.
    fn default() -> Self {
        Self {
            hosts: Hosts::loopback(),
            origins: Origins::loopback(),
            sessions_max: 1_024,
            idle: Duration::from_secs(3_600),
            read: Duration::from_secs(30),
            patience: Duration::from_secs(5),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// MCP over HTTP for every configured server; cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    guard: Guard,
    servers: BTreeMap<Box<str>, Arc<Server>>,
    options: HttpOptions,
    sessions: Sessions,
    stateless: Stateless,
}

/// The message that a request carries, and what came with it.
struct Posted {
    message: Message,
    era: Era,
    headers: HeaderMap,
}

/// Under which key a modern request carries its version.
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const VERSION_HEADER: &str = "mcp-protocol-version";

impl Service {
    /// Serves these servers; none is connected before somebody calls it.
    pub fn new(
        guard: Guard,
        servers: Vec<ServerOptions>,
        options: HttpOptions,
    ) -> Result<Self, InvalidOptions> {
        let mut known = BTreeMap::new();
        for server in servers {
            let name = server.name.clone();
            if known.insert(name.clone(), Server::new(server)?).is_some() {
                return Err(InvalidOptions::Twice(name));
            }
        }
        let sessions = Sessions::new(options.sessions_max, options.idle);
        let stateless = Stateless::new(options.sessions_max, options.idle);
        Ok(Self(Arc::new(Inner { guard, servers: known, options, sessions, stateless })))
    }

    /// The configured servers.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.0.servers.values()
    }

    /// Answers one request of an authenticated caller.
    pub async fn handle<B>(&self, request: Request<B>, caller: Caller) -> Response<BoxBody>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        if !self.0.admits(&parts.headers) {
            return plain(StatusCode::FORBIDDEN, "this Origin or Host may not speak to this listener");
        }
        let which = match parts.uri.path().strip_prefix("/mcp") {
            Some("" | "/") => None,
            Some(path) => match path.strip_prefix('/').and_then(|name| self.0.servers.get(name)) {
                Some(server) => Some(server),
                None => return plain(StatusCode::NOT_FOUND, "there is no server of this name"),
            },
            None => return plain(StatusCode::NOT_FOUND, "there is nothing here"),
        };
        match parts.method {
            Method::POST => match self.0.read(&parts.headers, body).await {
                Ok(posted) => self.0.post(posted, which, caller).await,
                Err(response) => *response,
            },
            Method::GET => self.0.get(&parts.headers, which, &caller).await,
            Method::DELETE => self.0.delete(&parts.headers, which, &caller).await,
            _ => not_allowed(),
        }
    }

    /// Ends every connection.
    pub async fn close(&self) {
        for peer in self.0.sessions.take_all().into_iter().chain(self.0.stateless.take_all()) {
            peer.close().await;
        }
    }
}

impl Inner {
    fn admits(&self, headers: &HeaderMap) -> bool {
        let text = |name| match headers.get(&name) {
            None => Ok(None),
            Some(value) => value.to_str().map(Some).map_err(drop),
        };
        let once = headers.get_all(ORIGIN).iter().count() <= 1 && headers.get_all(HOST).iter().count() <= 1;
        let (Ok(origin), Ok(host)) = (text(ORIGIN), text(HOST)) else { return false };
        once && self.options.origins.admit(origin) && self.options.hosts.admit(host)
    }

    async fn read<B>(&self, headers: &HeaderMap, body: B) -> Result<Posted, Box<Response<BoxBody>>>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let fail = |status, text| Box::new(plain(status, text));
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !is_json(kind) {
            return Err(fail(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send `Content-Type: application/json`"));
        }
        let accept: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        if !accepts_both(&accept.join(",")) {
            return Err(fail(
                StatusCode::NOT_ACCEPTABLE,
                "send `Accept: application/json, text/event-stream`",
            ));
        }
        let limits = self
            .servers
            .values()
            .next()
            .map_or(super::DoorLimits::DEFAULT, |server| *server.limits())
            .message;
        let collected =
            timeout(self.options.read, Limited::new(body, limits.message_bytes_max).collect()).await;
        let bytes = match collected {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(fail(StatusCode::PAYLOAD_TOO_LARGE, "the message is too large"));
            }
            Ok(Err(_)) => return Err(fail(StatusCode::BAD_REQUEST, "the body could not be read")),
            Err(_) => return Err(fail(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
        };
        let message = Message::parse(Vec::from(bytes), &limits)
            .map_err(|refusal| Box::new(json(Reply::refused(&refusal))))?;
        let version = headers.get(VERSION_HEADER).map(HeaderValue::to_str).transpose();
        let Ok(version) = version else {
            return Err(fail(StatusCode::BAD_REQUEST, "`MCP-Protocol-Version` is not visible text"));
        };
        if let Some(problem) = lacks_version(&message, version) {
            return Err(Box::new(problem));
        }
        let era = era_of(&message, version, Era::Legacy)
            .map_err(|refusal| Box::new(unsupported(&message, &refusal)))?;
        Ok(Posted { message, era, headers: headers.clone() })
    }

    async fn post(&self, posted: Posted, which: Option<&Arc<Server>>, caller: Caller) -> Response<BoxBody> {
        let Posted { message, era, headers } = posted;
        let starts = era == Era::Legacy && message.method() == Some("initialize");
        let found = match (era, starts) {
            (Era::Legacy, true) => {
                Peer::connect(&self.guard, &self.servers, which, caller.clone(), era).await
            }
            (Era::Legacy, false) => match self.sessions.find(&headers, which, &caller) {
                Ok(peer) => Ok(peer),
                Err(status) => return session_problem(&message, status),
            },
            (Era::Modern, _) => self.stateless.find(&self.guard, &self.servers, which, &caller).await,
        };
        let peer = match found {
            Ok(peer) => peer,
            Err(error) => {
                let bytes = reply::error(message.id(), reply::UPSTREAM, &error.to_string(), None);
                return json(Reply { bytes, status: 502 });
            }
        };
        match message.kind() {
            Kind::Request { .. } if starts => self.start(peer, message, headers, which, &caller).await,
            Kind::Request { .. } => {
                self.exchange(peer, ClientMessage { message, era, headers: Some(headers), outlet: None })
                    .await
            }
            Kind::Notification { .. } => {
                let incoming = ClientMessage { message, era, headers: Some(headers), outlet: None };
                accepted(peer.notify(incoming).await)
            }
            Kind::Result { .. } | Kind::Error { .. } => accepted(peer.respond(message).await),
        }
    }

    /// A request that opens a session: it is answered whole, so that the session's name can go along.
    async fn start(
        &self,
        peer: Peer,
        message: Message,
        headers: HeaderMap,
        which: Option<&Arc<Server>>,
        caller: &Caller,
    ) -> Response<BoxBody> {
        let limits = peer.limits();
        let incoming = ClientMessage { message, era: Era::Legacy, headers: Some(headers), outlet: None };
        let Some(reply) = peer.request(incoming).await else { return accepted(Ok(())) };
        let settled = Message::parse(reply.bytes.clone(), &limits.message)
            .is_ok_and(|answer| answer.result().is_some());
        if !settled {
            peer.close().await;
            return json(reply);
        }
        match self.sessions.insert(peer, which, caller) {
            Ok(name) => {
                let mut response = json(reply);
                if let Ok(value) = HeaderValue::from_str(&name) {
                    response.headers_mut().insert(SESSION, value);
                }
                response
            }
            Err(peer) => {
                peer.close().await;
                plain(StatusCode::SERVICE_UNAVAILABLE, "too many sessions are open")
            }
        }
    }

    /// A request that is answered by one JSON value, or by a stream once there is more to say.
    async fn exchange(&self, peer: Peer, mut incoming: ClientMessage) -> Response<BoxBody> {
        let (outlet, mut queue) = Outlet::new();
        incoming.outlet = Some(outlet);
        let mut running: events::Running = Box::pin(async move { peer.request(incoming).await });
        let patience = tokio::time::sleep(self.options.patience);
        tokio::pin!(patience);
        let (first, answer) = tokio::select! {
            biased;
            answer = &mut running => match queue.try_recv() {
                Err(_) => return answer.map_or_else(|| accepted(Ok(())), json),
                Ok(first) => (Some(first), Some(answer)),
            },
            first = queue.recv() => (first, None),
            () = &mut patience => (None, None),
        };
        let mut events = Events::new(queue, self.options.keep_alive);
        if let Some(first) = first {
            events.push(first);
        }
        match answer {
            Some(answer) => events.finish(answer),
            None => events.run(running),
        }
        stream(events)
    }

    /// The stream of messages that answer nothing (legacy era).
    async fn get(
        &self,
        headers: &HeaderMap,
        which: Option<&Arc<Server>>,
        caller: &Caller,
    ) -> Response<BoxBody> {
        if !headers.contains_key(SESSION) {
            return not_allowed();
        }
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !accept.split(',').any(|part| {
            matches!(part.split(';').next().map(str::trim), Some("text/event-stream" | "text/*" | "*/*"))
        }) {
            return plain(StatusCode::NOT_ACCEPTABLE, "send `Accept: text/event-stream`");
        }
        if headers.contains_key("last-event-id") {
            // What was sent was not kept, so that nobody can be shown it again without a decision.
            return plain(
                StatusCode::BAD_REQUEST,
                "streams cannot be resumed here: open one without `Last-Event-ID`",
            );
        }
        let peer = match self.sessions.find(headers, which, caller) {
            Ok(peer) => peer,
            Err(status) => return plain(status, "there is no such session"),
        };
        let (outlet, queue) = Outlet::new();
        peer.set_client(outlet);
        match peer.open_stream().await {
            Ok(()) => stream(Events::new(queue, self.options.keep_alive)),
            Err(reply) if reply.status == 405 => not_allowed(),
            Err(reply) => json(Reply { status: 502, ..reply }),
        }
    }

    async fn delete(
        &self,
        headers: &HeaderMap,
        which: Option<&Arc<Server>>,
        caller: &Caller,
    ) -> Response<BoxBody> {
        if !headers.contains_key(SESSION) {
            return not_allowed();
        }
        match self.sessions.remove(headers, which, caller) {
            Ok(peer) => {
                peer.close().await;
                empty(StatusCode::OK)
            }
            Err(status) => plain(status, "there is no such session"),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Doors end their connections when they go.
        self.sessions.take_all();
        self.stateless.take_all();
    }
}

/// A modern request that does not carry its version in the body is incomplete, not contradictory.
fn lacks_version(message: &Message, header: Option<&str>) -> Option<Response<BoxBody>> {
    let modern = header.and_then(Version::parse).is_some_and(|version| version.era() == Era::Modern);
    if !modern || !matches!(message.kind(), Kind::Request { .. }) || message.meta(VERSION_KEY).is_some() {
        return None;
    }
    let text = format!("`params._meta` needs `{VERSION_KEY}`, as `MCP-Protocol-Version` says");
    Some(json(Reply { bytes: reply::error(message.id(), reply::INVALID_PARAMS, &text, None), status: 400 }))
}

/// The refusal of a message whose version is not spoken; a modern one is told the modern versions.
fn unsupported(message: &Message, refusal: &cordon_wire::mcp::Refusal) -> Response<BoxBody> {
    let requested = message.meta(VERSION_KEY).and_then(Node::as_text);
    match (&refusal.problem, requested) {
        (cordon_wire::mcp::Problem::UnsupportedVersion { .. }, Some(requested)) => {
            let modern: Vec<_> = Version::ALL.iter().filter(|version| version.era() == Era::Modern).collect();
            let modern: Vec<_> = modern.iter().map(|version| format!("\"{version}\"")).collect();
            let requested: String = requested.chars().take(80).collect();
            let data = format!(
                r#"{{"supported":[{}],"requested":{}}}"#,
                modern.join(","),
                cordon_core::json::quote(&requested)
            );
            let bytes =
                reply::error(message.id(), reply::UNSUPPORTED_VERSION, &refusal.to_string(), Some(&data));
            json(Reply { bytes, status: 400 })
        }
        _ => json(Reply::refused(refusal)),
    }
}

fn session_problem(message: &Message, status: StatusCode) -> Response<BoxBody> {
    let text = match status {
        StatusCode::NOT_FOUND => "there is no such session: start with `initialize`",
        _ => "`Mcp-Session-Id` is missing: start with `initialize`",
    };
    let bytes = reply::error(message.id(), reply::INVALID_REQUEST, text, None);
    json(Reply { bytes, status: status.as_u16() })
}

fn accepted(outcome: Result<(), Reply>) -> Response<BoxBody> {
    match outcome {
        Ok(()) => empty(StatusCode::ACCEPTED),
        Err(reply) => json(Reply { status: if reply.status == 200 { 400 } else { reply.status }, ..reply }),
    }
}

fn not_allowed() -> Response<BoxBody> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "not allowed here");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
    response
}

fn json(reply: Reply) -> Response<BoxBody> {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(status, "application/json", Bytes::from(reply.bytes))
}

/// A refusal at the level of HTTP, as an error without id that a client of the protocol can show.
fn plain(status: StatusCode, text: &str) -> Response<BoxBody> {
    respond(status, "application/json", Bytes::from(reply::error(None, reply::INVALID_REQUEST, text, None)))
}

fn empty(status: StatusCode) -> Response<BoxBody> {
    let mut response = Response::new(BoxBody::new(http_body_util::Empty::new()));
    *response.status_mut() = status;
    response
}

fn respond(status: StatusCode, kind: &'static str, bytes: Bytes) -> Response<BoxBody> {
    let mut response = Response::new(BoxBody::new(Full::new(bytes)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn stream(events: Events) -> Response<BoxBody> {
    let mut response = Response::new(BoxBody::new(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("servers", &self.0.servers.keys()).finish_non_exhaustive()
    }
}
