//! A server over Streamable HTTP: the client side of both eras.
//!
//! Nothing of a client's HTTP request goes along: headers are made here, the credential is Cordon's
//! own, redirects are refused, and what comes back is bounded.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cordon_wire::mcp::http::{is_event_stream, is_json};
use cordon_wire::mcp::sse::{Item, Reader, SseLimits};
use cordon_wire::mcp::{Era, Message, Version, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::UpstreamError;
use crate::mcp::OutboundMessage;
use crate::mcp::options::{DoorLimits, Endpoint, InvalidOptions};

/// The header that names a session of the legacy era.
pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Connections to one server, shared by every door to it.
pub(crate) struct Client {
    hyper: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Endpoint,
    bytes_max: usize,
}

/// One client's dealings with the server.
pub(crate) struct Link {
    client: Arc<Client>,
    state: Arc<Mutex<State>>,
}

#[derive(Default, Clone)]
struct State {
    session: Option<HeaderValue>,
    version: Option<Version>,
}

/// What the server says to one request, message by message.
pub(crate) enum Replies {
    /// Nothing, or not this way.
    None,
    /// The request is on its way; whoever asks for the replies drives it.
    Opening(Opening),
    /// One message and the HTTP status it came with.
    Whole(Option<(Vec<u8>, u16)>),
    /// A stream of messages.
    Stream(Box<Stream>),
}

/// A request on its way to its response. Dropping it closes its connection.
pub(crate) type Opening = Pin<Box<dyn Future<Output = Result<Replies, UpstreamError>> + Send>>;

pub(crate) struct Stream {
    body: Incoming,
    reader: Reader,
    items: VecDeque<Item>,
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint, limits: &DoorLimits) -> Result<Self, InvalidOptions> {
        let hyper = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(std::time::Duration::from_secs(60))
            .pool_max_idle_per_host(16)
            .build(connector()?);
        Ok(Self { hyper, endpoint, bytes_max: limits.message.message_bytes_max })
    }
}

/// The connector of every HTTP client in this crate.
pub(crate) fn connector() -> Result<HttpsConnector<HttpConnector>, InvalidOptions> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(std::time::Duration::from_secs(10)));
    Ok(hyper_rustls::HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp))
}

impl Link {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { client, state: Arc::default() }
    }

    pub(crate) fn negotiated(&self, version: Version) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).version = Some(version);
    }

    pub(crate) fn has_session(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).session.is_some()
    }

    /// Sends one message and gives what the server says to it. Nothing here waits for the server: the
    /// replies do, and whoever asks for them can give up at any time.
    pub(crate) fn send(&self, outbound: OutboundMessage) -> Result<Replies, UpstreamError> {
        let starts = matches!(&outbound, OutboundMessage::Message { message, .. } if message.method() == Some("initialize"));
        let request = self.request(outbound)?;
        let (client, state) = (Arc::clone(&self.client), Arc::clone(&self.state));
        Ok(Replies::Opening(Box::pin(async move {
            let gone = |error: hyper_util::client::legacy::Error| UpstreamError::Gone(chain(&error).into());
            let response = client.hyper.request(request).await.map_err(gone)?;
            if starts && response.status().is_success() {
                let session = response.headers().get(&SESSION).cloned();
                state.lock().unwrap_or_else(PoisonError::into_inner).session = session;
            }
            client.replies(response).await
        })))
    }

    fn request(&self, outbound: OutboundMessage) -> Result<Request<Full<Bytes>>, UpstreamError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut headers = HeaderMap::new();
        let accept = match &outbound {
            OutboundMessage::OpenStream => "text/event-stream",
            _ => "application/json, text/event-stream",
        };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let modern =
            matches!(&outbound, OutboundMessage::Message { message, .. } if declares_version(message));
        if !modern {
            if let Some(session) = state.session {
                headers.insert(SESSION, session);
            }
            if let Some(version) = state.version {
                headers.insert("mcp-protocol-version", HeaderValue::from_static(version.as_str()));
            }
        }
        let (method, body) = match outbound {
            OutboundMessage::OpenStream => (Method::GET, Bytes::new()),
            OutboundMessage::EndSession => (Method::DELETE, Bytes::new()),
            OutboundMessage::Message { message, mirrored } => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                if modern {
                    repeat_in_headers(&message, &mirrored, &mut headers)?;
                }
                (Method::POST, Bytes::from_owner(Exact(message)))
            }
        };
        if let Some(credential) = &self.client.endpoint.credential {
            headers.insert(credential.name.clone(), credential.value.clone());
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.client.endpoint.url.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl Client {
    async fn replies(&self, response: Response<Incoming>) -> Result<Replies, UpstreamError> {
        let status = response.status();
        if status.is_redirection() {
            return Err(UpstreamError::Redirect(status.as_u16()));
        }
        if response.headers().contains_key(CONTENT_ENCODING) {
            return Err(UpstreamError::Malformed("it is compressed, which nobody asked for".into()));
        }
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if status.is_success() && is_event_stream(kind) {
            let limits = SseLimits {
                line_bytes_max: self.bytes_max.saturating_add(64),
                event_bytes_max: self.bytes_max,
            };
            let reader = Reader::new(limits);
            let body = response.into_body();
            return Ok(Replies::Stream(Box::new(Stream { body, reader, items: VecDeque::new() })));
        }
        if !is_json(kind) {
            return if status.is_success() {
                Ok(Replies::None)
            } else {
                Err(UpstreamError::Status(status.as_u16()))
            };
        }
        let body = Limited::new(response.into_body(), self.bytes_max).collect().await;
        let bytes = body.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => UpstreamError::Malformed(format!("it is larger than {} bytes", self.bytes_max).into()),
            Err(error) => UpstreamError::Gone(chain(&*error).into()),
        })?;
        let bytes = bytes.to_bytes();
        if bytes.is_empty() && status.is_success() {
            return Ok(Replies::None);
        }
        // An error status is passed on only with an answer that a client of the protocol understands.
        let speaks = status.is_success() || matches!(status.as_u16(), 400 | 404);
        if speaks {
            Ok(Replies::Whole(Some((bytes.into(), status.as_u16()))))
        } else {
            Err(UpstreamError::Status(status.as_u16()))
        }
    }
}

impl Replies {
    /// Waits until the server has taken the request and begun to answer.
    pub(crate) async fn open(&mut self) -> Result<(), UpstreamError> {
        if let Self::Opening(opening) = self {
            let opened = opening.as_mut().await;
            *self = Self::None;
            *self = opened?;
        }
        Ok(())
    }

    /// The next message and the HTTP status it came with; nothing after the last.
    pub(crate) async fn next(&mut self) -> Option<Result<(Vec<u8>, u16), UpstreamError>> {
        if let Err(error) = self.open().await {
            return Some(Err(error));
        }
        match self {
            Self::None | Self::Opening(_) => None,
            Self::Whole(whole) => whole.take().map(Ok),
            Self::Stream(stream) => stream.next().await.map(|next| next.map(|bytes| (bytes, 200))),
        }
    }
}

impl Stream {
    async fn next(&mut self) -> Option<Result<Vec<u8>, UpstreamError>> {
        loop {
            while let Some(item) = self.items.pop_front() {
                let Item::Event(event) = item else { continue };
                // Only events of the usual type carry messages; an empty one only sets an id.
                let message = event.event.as_deref().is_none_or(|kind| kind == "message");
                if let Some(data) = event.data.filter(|data| message && !data.is_empty()) {
                    return Some(Ok(data.into_bytes()));
                }
            }
            let data = match self.body.frame().await? {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) => return Some(Err(UpstreamError::Gone(chain(&error).into()))),
            };
            match self.reader.feed(&data) {
                Ok(items) => self.items.extend(items),
                Err(error) => return Some(Err(UpstreamError::Malformed(error.to_string().into()))),
            }
        }
    }
}

fn declares_version(message: &Message) -> bool {
    matches!(Era::of(message, None), Ok(Some(Era::Modern)))
}

fn repeat_in_headers(
    message: &Message,
    mirrored: &[header::Mirrored],
    headers: &mut HeaderMap,
) -> Result<(), UpstreamError> {
    for (name, value) in header::standard(message, mirrored) {
        let name: HeaderName = name.parse().map_err(|_| unfit(&name))?;
        let value = HeaderValue::from_str(&value).map_err(|_| unfit(name.as_str()))?;
        headers.insert(name, value);
    }
    Ok(())
}

fn unfit(name: &str) -> UpstreamError {
    UpstreamError::Malformed(format!("`{name}` cannot be written as a header").into())
}

/// A message's bytes without a copy.
struct Exact(Arc<Message>);

impl AsRef<[u8]> for Exact {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// An error with its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("client", &self.client).finish_non_exhaustive()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Opening(_) => "Opening",
            Self::Whole(_) => "Whole",
            Self::Stream(_) => "Stream",
        })
    }
}
