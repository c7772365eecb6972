//! The listeners: who calls is settled here, once; then the request goes to the part it is for.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::IntoResponse as _;
use cordon_control::{Api, Caller, CallerRole, Refusal};
use cordon_gateway::auth::{
    AuthError, Authenticator, JwksSource, OAuth, OAuthOptions, Peer, Token, TokenRules, Tokens, WELL_KNOWN,
    Workloads,
};
use cordon_gateway::authzen::Endpoint;
use cordon_gateway::mcp::http::HttpOptions;
use cordon_gateway::mcp::{self, ServerOptions};
use cordon_gateway::{Answer, session};
use cordon_store::system::SystemRandom;
use cordon_store::tokens::TokenRole;
use cordon_wire::mcp::http::{Authority, Hosts, Origins};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::{Service as _, service_fn};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::attach::{self, ATTACH_PATH, door_limits, local_caller, upstream_options};
use super::authzen;
use super::capabilities::{self, Shown};
use super::console::{self, Console};
use super::owner::Owner;
use super::serve::{Busy, told};
use crate::cli::Failure;
use crate::config::{Config, Jwks, McpServer};
use crate::term;

/// How long a client may take to send a request's head, and to shake hands.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take to send the body of a decision request.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Largest decision request, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How long requests may go on after the order to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Everything that answers requests.
pub(crate) struct Service {
    owner: Arc<Owner>,
    api: TowerToHyperService<Router>,
    mcp: mcp::http::Service,
    sessions: session::Endpoint,
    decisions: Endpoint,
    auth: Authenticator,
    hosts: Hosts,
    origin: String,
    places: Arc<Semaphore>,
}

/// Where a request came in.
#[derive(Debug, Clone)]
enum Via {
    /// The socket, from this user or root.
    Socket(Box<str>),
    /// The network listener, from this workload where it showed a certificate.
    Network(Option<Arc<Peer>>),
}

impl Service {
    /// The service of one node that is reached at `address`, if at all.
    pub(super) async fn new(owner: &Arc<Owner>, address: Option<SocketAddr>) -> Result<Arc<Self>, Failure> {
        let config = &owner.config;
        owner.listens_at(address);
        let scheme = if config.serve.tls.is_some() { "https" } else { "http" };
        let address = address.unwrap_or(config.serve.listen);
        let origin =
            config.serve.public_url.as_deref().map_or_else(|| format!("{scheme}://{address}"), str::to_owned);
        let (hosts, origins) = names(config)?;
        let options = HttpOptions { hosts: hosts.clone(), origins, ..HttpOptions::default() };
        let servers = servers(config)?;
        Ok(Arc::new(Self {
            api: TowerToHyperService::new(Api::router(Arc::clone(owner) as _)),
            mcp: mcp::http::Service::new(owner.guard.clone(), servers, options)?,
            sessions: session::Endpoint::new(owner.guard.clone()),
            decisions: Endpoint::at(owner.guard.clone(), &origin),
            auth: authenticator(owner, address, &origin)?,
            hosts,
            origin,
            places: Arc::new(Semaphore::new(config.limits.connections_max as usize)),
            owner: Arc::clone(owner),
        }))
    }

    async fn answer(self: Arc<Self>, via: Via, request: Request<Incoming>) -> Response<Body> {
        let id = authzen::request_id(request.uri().path(), request.headers());
        let mut response = self.answered(via, request).await;
        authzen::echo(&mut response, id);
        response
    }

    async fn answered(self: Arc<Self>, via: Via, request: Request<Incoming>) -> Response<Body> {
        if let Via::Network(_) = via {
            let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
            if !self.hosts.admit(host) {
                let message = "this Host is not one of the names of this node; add it to `[serve] hosts`";
                return Refusal::new(StatusCode::FORBIDDEN, "host", message).into_response();
            }
        }
        let path = request.uri().path();
        if let Some(response) = self.open_to_all(request.method(), path) {
            return response;
        }
        if request.method() == Method::POST && path == console::ENTER_PATH {
            return self.enter_console(request).await;
        }
        match via {
            Via::Socket(name) => {
                if path == ATTACH_PATH || path.starts_with("/v1/attach/") {
                    return match attach::answer(&self.owner, request).await {
                        Ok(response) => response,
                        Err(refusal) => refusal.into_response(),
                    };
                }
                let Some(caller) = gateway_caller(&self.owner.config, CallerRole::Operator) else {
                    return Refusal::unauthenticated().into_response();
                };
                self.known(request, caller, name).await
            }
            Via::Network(_) if self.is_console(&request) => {
                let Some(caller) = gateway_caller(&self.owner.config, CallerRole::Operator) else {
                    return Refusal::unauthenticated().into_response();
                };
                self.known(request, caller, "console".into()).await
            }
            Via::Network(peer) if request.headers().contains_key(capabilities::TOKEN) => {
                match self.with_capability(request, peer.as_deref()).await {
                    Ok(response) => response,
                    Err(refusal) => refusal.into_response(),
                }
            }
            Via::Network(peer) => match self.caller(&request, peer.as_deref()).await {
                Ok(caller) => {
                    let name = format!("{} token", caller.role.as_str()).into();
                    self.known(request, caller, name).await
                }
                Err(error) => {
                    let (status, challenge) = self.auth.challenge(&error, request.uri().path());
                    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED);
                    let refusal = Refusal::new(status, "unauthenticated", error.to_string());
                    let mut response = refusal.into_response();
                    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                    response
                }
            },
        }
    }

    /// What is answered without knowing who asks.
    fn open_to_all(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        if method != Method::GET {
            return None;
        }
        match path {
            "/healthz" => Some(text(StatusCode::OK, "ok\n".to_owned())),
            "/readyz" => Some(match self.owner.problems().is_empty() {
                true => text(StatusCode::OK, "ready\n".to_owned()),
                // What stands in the way is for operators only.
                false => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
            }),
            "/.well-known/authzen-configuration" => Some(json(200, Endpoint::configuration(&self.origin))),
            path if Console::file(path).is_some() => Console::file(path).map(page),
            path => {
                let resource = path.strip_prefix(WELL_KNOWN)?;
                Some(match self.auth.metadata(resource) {
                    Some(metadata) => json(200, metadata.to_json()),
                    None => text(StatusCode::NOT_FOUND, "no authorization server is configured\n".to_owned()),
                })
            }
        }
    }

    /// Trades the secret of a console's link for a token.
    async fn enter_console(&self, request: Request<Incoming>) -> Response<Body> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Enter {
            once: String,
        }
        let body = timeout(HEAD_PATIENCE, Limited::new(request.into_body(), 1_024).collect()).await;
        let Ok(Ok(body)) = body else {
            return Refusal::malformed("expected {\"once\": …}").into_response();
        };
        let once = match cordon_control::strict(&body.to_bytes()) {
            Ok(Enter { once }) => once,
            Err(refusal) => return refusal.into_response(),
        };
        match self.owner.console.enter(&once, self.owner.guard.now(), &SystemRandom) {
            Some(seat) => json(
                200,
                serde_json::json!({"token": seat.token, "until": seat.until.to_string()}).to_string(),
            ),
            None => {
                let message = "this link was used or has expired; `cordon console` makes another";
                Refusal::new(StatusCode::UNAUTHORIZED, "link", message).into_response()
            }
        }
    }

    /// Whether an administrative request comes from an open console.
    fn is_console(&self, request: &Request<Incoming>) -> bool {
        let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        request.uri().path().starts_with("/v1/")
            && token.is_some_and(|token| self.owner.console.holds(token, self.owner.guard.now()))
    }

    /// The caller of a request from the network.
    async fn caller(
        &self,
        request: &Request<Incoming>,
        peer: Option<&Peer>,
    ) -> Result<cordon_gateway::Caller, AuthError> {
        let guard = &self.owner.guard;
        let policies = guard.policies();
        let found = self.auth.authenticate(request.headers(), peer, &policies.set, guard.now()).await;
        match found {
            Err(AuthError::Missing) if self.is_open(request.uri().path()) => {
                local_caller(&self.owner.config, &self.owner.config.identity.agent)
                    .map_err(|_| AuthError::Missing)
            }
            found => found,
        }
    }

    /// Whether a server's endpoint asks for no token: only by configuration, and on loopback only.
    fn is_open(&self, path: &str) -> bool {
        let name = path.strip_prefix("/mcp/").unwrap_or_default();
        let listen = &self.owner.config.serve.listen;
        listen.ip().is_loopback() && self.owner.config.server(name).is_some_and(|server| server.open_loopback)
    }

    /// Answers a request with a capability token: by itself it says who calls, beside a credential it
    /// narrows what that may do.
    async fn with_capability(
        &self,
        request: Request<Incoming>,
        peer: Option<&Peer>,
    ) -> Result<Response<Body>, Refusal> {
        let refuse = |message: &str| Refusal::new(StatusCode::FORBIDDEN, "capability", message);
        if !request.uri().path().starts_with("/mcp") {
            return Err(refuse("capability tokens count at /mcp"));
        }
        let shown = Shown::read(request.headers())?.ok_or_else(|| refuse("there is no token"))?;
        let guard = &self.owner.guard;
        let policies = guard.policies();
        let known = self.auth.authenticate(request.headers(), peer, &policies.set, guard.now()).await;
        let authenticated = match known {
            Ok(caller) => Some(caller),
            Err(AuthError::Missing) => None,
            Err(error) => {
                return Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthenticated", error.to_string()));
            }
        };
        let (parts, body) = request.into_parts();
        let bytes_max = self.owner.config.limits.message_bytes_max as usize;
        let body = match timeout(BODY_PATIENCE, Limited::new(body, bytes_max).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            _ => return Err(refuse("the body could not be read")),
        };
        let caller = shown.caller(guard, authenticated, &parts, &body)?;
        let request = Request::from_parts(parts, Full::new(body));
        Ok(self.mcp.handle(request, caller).await.map(Body::new))
    }

    /// Answers a caller that is known.
    async fn known(
        &self,
        mut request: Request<Incoming>,
        caller: cordon_gateway::Caller,
        name: Box<str>,
    ) -> Response<Body> {
        let role = match caller.role {
            cordon_gateway::CallerRole::Operator => CallerRole::Operator,
            cordon_gateway::CallerRole::Pep => CallerRole::Pep,
            cordon_gateway::CallerRole::Agent => CallerRole::Agent,
        };
        let path = request.uri().path().to_owned();
        match (request.method(), &*path) {
            (_, "/mcp") => self.mcp.handle(request, caller).await.map(Body::new),
            (_, path) if path.starts_with("/mcp/") => self.mcp.handle(request, caller).await.map(Body::new),
            // An operator ends any session, everybody else their own.
            (method, path)
                if session::Endpoint::serves(method, path)
                    && !(*method == Method::DELETE && role == CallerRole::Operator) =>
            {
                let method = method.clone();
                let answer = match collected(request).await {
                    Ok(body) => self.sessions.answer(&method, path, &body, &caller).await,
                    Err(answer) => answer,
                };
                json(answer.status, answer.body)
            }
            (&Method::POST, path @ (capabilities::PATH | capabilities::REVOKE_PATH)) => {
                let guard = &self.owner.guard;
                let answered = match path {
                    capabilities::PATH => capabilities::grant(guard, caller, &name, request).await,
                    _ => capabilities::revoke(guard, &caller, &name, request).await,
                };
                answered.unwrap_or_else(|refusal| refusal.into_response())
            }
            (_, path) if path.starts_with("/v1/") => {
                request.extensions_mut().insert(Caller { role, name });
                match self.api.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
            (_, path) if authzen::serves(path) => {
                authzen::answer(&self.decisions, request, &caller, role).await
            }
            (_, "/metrics") if role < CallerRole::Pep => Refusal::role(role, CallerRole::Pep).into_response(),
            (&Method::GET, "/metrics") => text(StatusCode::OK, self.owner.metrics()),
            _ => Refusal::new(StatusCode::NOT_FOUND, "unknown", "there is nothing here").into_response(),
        }
    }
}

/// The whole body of a decision request, within its bounds.
pub(super) async fn collected(request: Request<Incoming>) -> Result<bytes::Bytes, Answer> {
    match timeout(BODY_PATIENCE, Limited::new(request.into_body(), BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(Answer::error(413, "limit", &error.to_string())),
        Err(_) => Err(Answer::error(408, "timeout", "the body did not come in time")),
    }
}

/// A file of the console, with what the page may load.
fn page((kind, text): (&'static str, &'static str)) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, console::CONTENT_SECURITY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Serves the socket until told to stop.
pub(super) async fn on_socket(service: Arc<Service>, listener: UnixListener, stopped: watch::Receiver<bool>) {
    let accept = |context: &mut Context<'_>| listener.poll_accept(context).map_ok(|(stream, _)| stream);
    let (serving, until) = (Arc::clone(&service), stopped.clone());
    let serve = move |stream, place| {
        let name = peer(&stream)?;
        Some(connection(Arc::clone(&serving), Via::Socket(name), stream, place, until.clone()))
    };
    serve_all(service, stopped, accept, serve).await;
}

/// Serves the network listener until told to stop.
pub(super) async fn on_network(
    service: Arc<Service>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stopped: watch::Receiver<bool>,
) {
    let accept = |context: &mut Context<'_>| listener.poll_accept(context).map_ok(|(stream, _)| stream);
    let (serving, until) = (Arc::clone(&service), stopped.clone());
    let serve = move |stream: TcpStream, place| {
        let _ = stream.set_nodelay(true);
        let (service, stopped, tls) = (Arc::clone(&serving), until.clone(), tls.clone());
        Some(async move {
            match tls {
                None => connection(service, Via::Network(None), stream, place, stopped).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(HEAD_PATIENCE, tls.accept(stream)).await
                        && let Ok(peer) = workload(&service, &stream)
                    {
                        connection(service, Via::Network(peer), stream, place, stopped).await;
                    }
                }
            }
        })
    };
    serve_all(service, stopped, accept, serve).await;
}

/// One client's place among those that may be connected.
struct Place {
    _busy: Busy,
    _permit: OwnedSemaphorePermit,
}

/// Serves every stream that comes, each by itself, until told to stop.
async fn serve_all<S, F>(
    service: Arc<Service>,
    mut stopped: watch::Receiver<bool>,
    accept: impl Fn(&mut Context<'_>) -> Poll<std::io::Result<S>>,
    serve: impl Fn(S, Place) -> Option<F>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = poll_fn(&accept) => match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    accept_failed(&error).await;
                    continue;
                }
            },
            () = told(&mut stopped) => break,
        };
        while connections.try_join_next().is_some() {}
        // A client beyond the limit is dropped at once rather than kept waiting.
        let Ok(permit) = Arc::clone(&service.places).try_acquire_owned() else { continue };
        let place = Place { _busy: service.owner.clients.enter(), _permit: permit };
        if let Some(serving) = serve(stream, place) {
            connections.spawn(serving);
        }
    }
    service.mcp.close().await;
    let _ = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
}

/// The workload that the client's certificate names. A certificate that verified and names none that
/// counts ends the connection: whoever shows one is that, or nobody.
fn workload(
    service: &Service,
    stream: &tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
) -> Result<Option<Arc<Peer>>, ()> {
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let (Some(certificate), Some(domain)) = (certificate, service.auth.trust_domain()) else {
        return Ok(None);
    };
    match Peer::of(certificate, domain) {
        Ok(peer) => Ok(Some(Arc::new(peer))),
        Err(error) => {
            term::note(format_args!("cordon: a client was turned away: {}", term::safe(&error.to_string())));
            Err(())
        }
    }
}

async fn accept_failed(error: &std::io::Error) {
    // Out of descriptors: a moment for others to be given back.
    term::note(format_args!("cordon: cannot accept a connection: {error}"));
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection(
    service: Arc<Service>,
    via: Via,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    _place: Place,
    mut stopped: watch::Receiver<bool>,
) {
    let answering = service_fn(move |request| {
        let answered = Arc::clone(&service).answer(via.clone(), request);
        async move { Ok::<_, std::convert::Infallible>(answered.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), answering)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = told(&mut stopped) => None,
    };
    if ended.is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(DRAIN, connection).await;
    }
}

/// Who is at the other end of the socket: this user or root, else nobody.
fn peer(stream: &tokio::net::UnixStream) -> Option<Box<str>> {
    let uid = stream.peer_cred().ok()?.uid();
    let ours = uid == 0 || uid == rustix::process::geteuid().as_raw();
    if !ours {
        term::note(format_args!("cordon: user {uid} was turned away from the socket"));
    }
    ours.then(|| format!("uid {uid}").into())
}

/// The gateway's caller for a role of this node.
pub(super) fn gateway_caller(config: &Config, role: CallerRole) -> Option<cordon_gateway::Caller> {
    let mut caller = local_caller(config, &config.identity.agent).ok()?;
    caller.role = match role {
        CallerRole::Operator => cordon_gateway::CallerRole::Operator,
        CallerRole::Pep => cordon_gateway::CallerRole::Pep,
        CallerRole::Agent => cordon_gateway::CallerRole::Agent,
    };
    Some(caller)
}

/// The configured servers as the door takes them.
fn servers(config: &Config) -> Result<Vec<ServerOptions>, Failure> {
    let options = |server: &McpServer| -> Result<ServerOptions, mcp::InvalidOptions> {
        let mut options = ServerOptions::new(server.name.clone(), upstream_options(server)?)?;
        options.limits = door_limits(config);
        Ok(options)
    };
    config
        .servers
        .iter()
        .map(|server| {
            options(server)
                .map_err(|error| Failure::from(error).context(&format!("the server `{}`", server.name)))
        })
        .collect()
}

fn names(config: &Config) -> Result<(Hosts, Origins), Failure> {
    let mut hosts = Hosts::loopback();
    let public =
        config.serve.public_url.as_deref().and_then(|url| url.split("://").nth(1)?.split('/').next());
    for host in config.serve.hosts.iter().map(|host| &**host).chain(public) {
        let authority = Authority::parse(host).ok_or_else(|| {
            Failure::new(format!("`[serve] hosts`: `{}` is not a host name", host.escape_debug()))
                .code("CONFIG-001")
        })?;
        hosts = hosts.with(authority);
    }
    let mut origins = Origins::loopback();
    for origin in &config.serve.origins {
        origins = origins.with(origin).ok_or_else(|| {
            Failure::new(format!("`[serve] origins`: `{}` is not an origin", origin.escape_debug()))
                .code("CONFIG-001")
        })?;
    }
    Ok((hosts, origins))
}

/// Token files count on loopback only; an authorization server's tokens wherever one is configured.
fn authenticator(owner: &Owner, address: SocketAddr, origin: &str) -> Result<Authenticator, Failure> {
    let config = &owner.config;
    let tokens = address.ip().is_loopback().then(|| {
        Tokens::new(owner.tokens.iter().filter_map(|(role, token)| {
            let role = match role {
                TokenRole::Operator => CallerRole::Operator,
                TokenRole::Pep => CallerRole::Pep,
                TokenRole::Agent => CallerRole::Agent,
            };
            Some(Token::new(token.expose(), gateway_caller(config, role)?))
        }))
    });
    let principal =
        cordon_core::Principal::new(cordon_core::PrincipalKind::User, config.identity.owner.clone());
    let mut issuers = Vec::new();
    for oauth in &config.issuers {
        issuers.push(OAuth::new(OAuthOptions {
            issuer: oauth.issuer.clone(),
            origin: origin.into(),
            audiences: oauth.audience.clone().into_iter().collect(),
            jwks: match &oauth.jwks {
                Jwks::File(path) => JwksSource::File(path.clone()),
                Jwks::Url(url) => JwksSource::Url(url.clone()),
            },
            scopes: oauth.scopes.clone(),
            owner: principal.clone(),
            tenant: config.identity.tenant.clone(),
            leeway_s: oauth.leeway_s.into(),
            rules: TokenRules {
                // Which tokens were used before this start is not known.
                once_since: oauth.one_time.then(|| owner.guard.now()),
                ..oauth.rules.clone()
            },
        })?);
    }
    let authenticator = Authenticator::new(tokens, issuers);
    Ok(match &config.spiffe {
        None => authenticator,
        Some(spiffe) => authenticator.with_workloads(Workloads {
            trust_domain: spiffe.trust_domain.clone(),
            owner: principal,
            tenant: config.identity.tenant.clone(),
        }),
    })
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    (status, [(CONTENT_TYPE, kind)], body).into_response()
}

pub(super) fn json(status: u16, body: String) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// Where the owner is reached over the network, once it is.
pub(crate) type Listening = OnceLock<Option<SocketAddr>>;
