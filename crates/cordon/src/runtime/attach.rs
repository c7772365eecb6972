//! The owner's side of `cordon mcp`: two upgraded connections become one governed door.
//!
//! `POST /v1/attach` with `Upgrade: cordon-mcp/1` carries the client's bytes and gives a ticket;
//! `POST /v1/attach/{ticket}` carries the server's. Both exist on the socket only.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use cordon_control::Refusal;
use cordon_core::{Assurance, Chain, Principal, PrincipalKind};
use cordon_gateway::mcp::{
    Command, Credential, Door, DoorLimits, Endpoint, InvalidOptions, Mode, Server, ServerOptions, Upstream,
    UpstreamOptions, stdio,
};
use cordon_gateway::{Caller, CallerRole};
use cordon_guard::ports::Random as _;
use cordon_store::system::SystemRandom;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::owner::Owner;
use crate::config::{Config, McpServer, Upstream as Configured};
use crate::term;

/// Where a front attaches.
pub(crate) const ATTACH_PATH: &str = "/v1/attach";
/// What the connection is upgraded to.
pub(crate) const PROTOCOL: &str = "cordon-mcp/1";

/// Longest wait for the second connection, and for either upgrade.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most fronts that wait for their second connection.
const WAITING_MAX: usize = 256;
/// Largest request to attach, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// A front wants to attach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attach {
    /// The server's name.
    pub(crate) server: String,
    /// The agent that calls.
    pub(crate) agent: String,
    /// Whether the front runs the server; otherwise the owner connects to a configured one.
    pub(crate) front: bool,
}

/// The fronts that wait for their second connection.
#[derive(Debug, Default)]
pub(crate) struct Attaching(Mutex<HashMap<String, oneshot::Sender<OnUpgrade>>>);

/// Answers a request under [`ATTACH_PATH`].
pub(super) async fn answer(
    owner: &Arc<Owner>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let wanted = request.headers().get(UPGRADE).is_some_and(|protocol| protocol == PROTOCOL);
    if request.method() != hyper::Method::POST || !wanted {
        let message = format!("send `POST` with `Upgrade: {PROTOCOL}`");
        return Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, "upgrade", message));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let ticket = request.uri().path().strip_prefix(ATTACH_PATH).and_then(|rest| rest.strip_prefix('/'));
    if let Some(ticket) = ticket {
        let waiting = owner.attaching.take(ticket);
        let unknown = || Refusal::new(StatusCode::NOT_FOUND, "unknown", "no front waits under this ticket");
        waiting.ok_or_else(unknown)?.send(upgrade).map_err(|_| unknown())?;
        return Ok(switching(None));
    }
    let attach = read(request).await?;
    let door = Opening::new(owner, &attach)?;
    let (ticket, second) = if attach.front {
        let (ticket, second) = owner.attaching.wait()?;
        (Some(ticket), Some(second))
    } else {
        (None, None)
    };
    let response = switching(ticket.as_deref());
    let owner = Arc::clone(owner);
    tokio::spawn(async move {
        let _busy = owner.clients.enter();
        if let Err(why) = serve(&owner, door, upgrade, second).await {
            term::note(format_args!("cordon: {why}"));
        }
        ticket.map(|ticket| owner.attaching.take(&ticket));
    });
    Ok(response)
}

/// Everything about a door but its connections.
struct Opening {
    caller: Caller,
    server: Arc<Server>,
    front: bool,
}

impl Opening {
    fn new(owner: &Owner, attach: &Attach) -> Result<Self, Refusal> {
        let server = if attach.front {
            owner.attached_server(&attach.server)
        } else {
            let configured = owner.config.server(&attach.server).ok_or_else(|| {
                Refusal::new(StatusCode::NOT_FOUND, "unknown", "no MCP server of this name is configured")
            })?;
            owner.configured_server(configured)
        };
        let server = server.map_err(|error| Refusal::malformed(error.to_string()))?;
        let caller = local_caller(&owner.config, &attach.agent).map_err(Refusal::malformed)?;
        Ok(Self { caller, server, front: attach.front })
    }
}

async fn serve(
    owner: &Owner,
    opening: Opening,
    client: OnUpgrade,
    server: Option<oneshot::Receiver<OnUpgrade>>,
) -> Result<(), String> {
    let client = upgraded(client).await?;
    let Opening { caller, server: to, front } = opening;
    let upstream = match server {
        Some(second) => {
            let second = timeout(PATIENCE, second).await.map_err(|_| "the front did not bring its server")?;
            let second = second.map_err(|_| "the front did not bring its server")?;
            let (read, write) = tokio::io::split(upgraded(second).await?);
            Upstream::duplex(read, write, to.limits())
        }
        None => to.connect().map_err(|error| error.to_string())?,
    };
    debug_assert!(
        front || owner.config.server(to.name()).is_some(),
        "only configured servers are connected to"
    );
    let door = Door::open(owner.guard.clone(), caller, to, upstream, Mode::Alone);
    let door = door.await.map_err(|error| error.to_string())?;
    let (read, write) = tokio::io::split(client);
    let _end = stdio::serve(door, read, write).await;
    Ok(())
}

async fn upgraded(upgrade: OnUpgrade) -> Result<TokioIo<Upgraded>, String> {
    let upgraded = timeout(PATIENCE, upgrade).await.map_err(|_| "the front did not upgrade in time")?;
    upgraded.map(TokioIo::new).map_err(|error| format!("the front did not upgrade: {error}"))
}

fn switching(ticket: Option<&str>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, hyper::header::HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, hyper::header::HeaderValue::from_static(PROTOCOL));
    if let Some(ticket) = ticket.and_then(|ticket| ticket.parse().ok()) {
        headers.insert("cordon-attach", ticket);
    }
    response
}

async fn read(request: Request<Incoming>) -> Result<Attach, Refusal> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let body =
        timeout(PATIENCE, body).await.map_err(|_| Refusal::malformed("the body did not come in time"))?;
    let body = body.map_err(|error| Refusal::malformed(error.to_string()))?.to_bytes();
    serde_json::from_slice(&body).map_err(|error| Refusal::malformed(error.to_string()))
}

impl Attaching {
    fn wait(&self) -> Result<(String, oneshot::Receiver<OnUpgrade>), Refusal> {
        let mut bytes = [0u8; 16];
        SystemRandom.fill(&mut bytes);
        let ticket = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, waiting| !waiting.is_closed());
        if waiting.len() >= WAITING_MAX {
            return Err(Refusal::unavailable("too many fronts are attaching at once"));
        }
        waiting.insert(ticket.clone(), sender);
        Ok((ticket, receiver))
    }

    fn take(&self, ticket: &str) -> Option<oneshot::Sender<OnUpgrade>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket)
    }
}

impl Owner {
    /// The server of a front; all fronts of one name share what is known about it.
    fn attached_server(&self, name: &str) -> Result<Arc<Server>, InvalidOptions> {
        // The program is the front's to run; this one is never started.
        let never = Command { program: "false".into(), ..Command::default() };
        self.server(name, || Ok(UpstreamOptions::Stdio(never)))
    }

    /// A configured server.
    pub(crate) fn configured_server(&self, server: &McpServer) -> Result<Arc<Server>, InvalidOptions> {
        self.server(&format!("{}", server.name), || upstream_options(server))
    }

    fn server(
        &self,
        name: &str,
        upstream: impl FnOnce() -> Result<UpstreamOptions, InvalidOptions>,
    ) -> Result<Arc<Server>, InvalidOptions> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get(name) {
            return Ok(Arc::clone(server));
        }
        let mut options = ServerOptions::new(name, upstream()?)?;
        options.limits = door_limits(&self.config);
        let server = Server::new(options)?;
        servers.insert(name.into(), Arc::clone(&server));
        Ok(server)
    }
}

/// The bounds that the configuration sets.
pub(crate) fn door_limits(config: &Config) -> DoorLimits {
    let mut limits = DoorLimits::DEFAULT;
    limits.hold = Duration::from_secs(u64::from(config.hold_s));
    limits.session = Duration::from_secs(u64::from(config.session_h).saturating_mul(3_600));
    limits.message.message_bytes_max = config.limits.message_bytes_max as usize;
    limits
}

/// How a configured server is reached.
pub(crate) fn upstream_options(server: &McpServer) -> Result<UpstreamOptions, InvalidOptions> {
    Ok(match &server.upstream {
        Configured::Stdio { command, args, env, pass_env, cwd } => {
            let passed =
                pass_env.iter().filter_map(|name| Some(((&**name).into(), std::env::var_os(&**name)?)));
            let set = env.iter().map(|(name, value)| ((&**name).into(), (&**value).into()));
            UpstreamOptions::Stdio(Command {
                program: (&**command).into(),
                args: args.iter().map(|arg| (&**arg).into()).collect(),
                env: passed.chain(set).collect(),
                cwd: cwd.clone(),
            })
        }
        Configured::Http { url, bearer_file, header } => {
            let credential = match (bearer_file, header) {
                (Some(file), _) => {
                    let token = std::fs::read_to_string(file).map_err(|_| InvalidOptions::Credential)?;
                    Some(Credential::bearer(token.trim())?)
                }
                (None, Some((name, value))) => Some(Credential::header(name, value)?),
                (None, None) => None,
            };
            UpstreamOptions::Http(Endpoint::new(url, credential)?)
        }
    })
}

/// The caller of a local session: the login is owner and user, and the agent is as named.
pub(crate) fn local_caller(config: &Config, agent: &str) -> Result<Caller, String> {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '"' | '\\');
    if agent.is_empty() || agent.len() > 128 || !agent.chars().all(plain) {
        return Err(format!("`{}` is not an agent's name", agent.escape_debug()));
    }
    let identity = &config.identity;
    let chain = Chain::new(
        Some(Principal::new(PrincipalKind::User, identity.owner.clone())),
        Some(Principal::new(PrincipalKind::Agent, agent)),
        Some(Principal::new(PrincipalKind::User, identity.user.clone())),
    );
    Ok(Caller {
        role: CallerRole::Agent,
        chain: chain.map_err(|error| error.to_string())?,
        tenant: identity.tenant.clone(),
        scopes: BTreeSet::new(),
        assurance: Assurance::Local,
        capability: None,
    })
}
