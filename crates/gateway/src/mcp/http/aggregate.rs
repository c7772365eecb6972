//! All servers as one: Cordon answers the handshake, lists every tool as `server__tool`, and calls
//! each server in its own era. What servers ask of a client is not offered here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cordon_core::Limits;
use cordon_core::json::{Node, quote};
use cordon_guard::Guard;
use cordon_wire::mcp::header;
use cordon_wire::mcp::{
    Edit, Era, ListKind, Listing, Message, Method, Operation, Problem, Refusal, RequestId, Sender, Splice,
    Version, reply,
};
use tokio::sync::OnceCell;

use crate::Caller;
use crate::mcp::door::own_meta;
use crate::mcp::{ClientMessage, Door, Mode, OpenError, Outlet, Reply, Server};

/// One client's view of every server.
#[derive(Debug)]
pub(super) struct Aggregate {
    guard: Guard,
    caller: Caller,
    backends: BTreeMap<Box<str>, Backend>,
    client: Mutex<Option<Outlet>>,
}

/// One server as the aggregate reaches it.
#[derive(Debug)]
struct Backend {
    server: Arc<Server>,
    link: tokio::sync::Mutex<Arc<OnceCell<Linked>>>,
}

/// A connection that has said hello.
#[derive(Debug, Clone)]
struct Linked {
    door: Door,
    era: Era,
}

/// Between a server's name and a tool's.
const BETWEEN: &str = "__";
/// Most pages that are asked of one server for one list.
const PAGES_MAX: usize = 64;

impl Aggregate {
    pub(super) fn new(guard: Guard, servers: Vec<Arc<Server>>, caller: Caller) -> Arc<Self> {
        let backends =
            servers.into_iter().map(|server| (server.name().into(), Backend::new(server))).collect();
        Arc::new(Self { guard, caller, backends, client: Mutex::default() })
    }

    pub(super) fn set_client(&self, outlet: Outlet) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(outlet);
    }

    pub(super) async fn close(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for backend in self.backends.values() {
            let link = Arc::clone(&*backend.link.lock().await);
            if let Some(linked) = link.get() {
                linked.door.close().await;
            }
        }
    }

    pub(super) async fn request(&self, incoming: ClientMessage) -> Option<Reply> {
        let ClientMessage { message, era, headers, outlet } = incoming;
        let id = message.id().cloned()?;
        let operation = match Operation::of(&message, Sender::Client, era) {
            Ok(operation) => operation,
            Err(refusal) => return Some(Reply::refused(&refusal)),
        };
        if let Some(headers) = &headers {
            let pairs: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            if let Err(refusal) = header::check(&message, era, &pairs, &[]) {
                return Some(Reply::refused(&refusal));
            }
        }
        Some(match operation.method() {
            Method::Initialize => Reply::ok(reply::result(&id, &hello(&message))),
            Method::Discover => Reply::ok(reply::result(&id, DISCOVERED)),
            Method::Ping => Reply::ok(reply::result(&id, "{}")),
            Method::ListTools => self.list(&id, era).await,
            Method::CallTool => match self.call(&message, &operation, era, &id, outlet).await {
                Ok(reply) => reply?,
                Err(reply) => reply,
            },
            _ => {
                let problem = Problem::UnknownMethod { method: operation.sent().into() };
                Reply::refused(&Refusal { id: Some(id), problem })
            }
        })
    }

    /// A notification: only a cancellation means anything here, and it reaches whoever works on it.
    pub(super) async fn notify(&self, incoming: ClientMessage) -> Result<(), Reply> {
        let operation = Operation::of(&incoming.message, Sender::Client, incoming.era)
            .map_err(|refusal| Reply::refused(&refusal))?;
        match operation.method() {
            Method::Cancelled => {
                for backend in self.backends.values() {
                    let link = Arc::clone(&*backend.link.lock().await);
                    if let Some(linked) = link.get() {
                        let message = incoming.message.clone();
                        let copy = ClientMessage { message, era: linked.era, headers: None, outlet: None };
                        linked.door.notify(copy).await?;
                    }
                }
                Ok(())
            }
            Method::Unknown => {
                let problem = Problem::UnknownMethod { method: operation.sent().into() };
                Err(Reply::refused(&problem.into()))
            }
            _ => Ok(()),
        }
    }

    /// Every tool of every server that answers, under its own name.
    async fn list(&self, id: &RequestId, era: Era) -> Reply {
        let mut tools = String::new();
        for (name, backend) in &self.backends {
            match self.tools_of(backend).await {
                Ok(items) => {
                    for item in items {
                        if !tools.is_empty() {
                            tools.push(',');
                        }
                        tools.push_str(&item);
                    }
                }
                // One server that is down does not take the others with it.
                Err(why) => crate::mcp::door::log(format_args!("[{name}] its tools are not listed: {why}")),
            }
        }
        let kind = match era {
            Era::Modern => r#""resultType":"complete","ttlMs":0,"cacheScope":"private","#,
            Era::Legacy => "",
        };
        Reply::ok(reply::result(id, &format!(r#"{{{kind}"tools":[{tools}]}}"#)))
    }

    async fn tools_of(&self, backend: &Backend) -> Result<Vec<String>, String> {
        let Linked { door, era } = backend.linked(self).await.map_err(|error| error.to_string())?;
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let id = RequestId::whole(1);
            let cursor_member = cursor.as_ref().map(|cursor| format!(r#""cursor":{}"#, quote(cursor)));
            let asked = compose(&id, "tools/list", cursor_member.into_iter().collect(), era);
            let page = ask(&door, asked, era).await?;
            let listing = Listing::of(&page, ListKind::Tools).map_err(|refusal| refusal.to_string())?;
            let prefix = format!("{}{BETWEEN}", backend.server.name());
            let renamed = listing
                .rewrite(|item| Edit::Rename(format!("{prefix}{}", item.name())))
                .map_err(|refusal| refusal.to_string())?;
            let list = renamed.result().and_then(|result| result.get("tools"));
            found.extend(list.map_or(&[][..], Node::items).iter().map(|item| renamed.raw(item).to_owned()));
            cursor = page
                .result()
                .and_then(|result| result.get("nextCursor"))
                .and_then(Node::as_text)
                .map(str::to_owned);
            if cursor.is_none() {
                return Ok(found);
            }
        }
        Err("its list does not end".to_owned())
    }

    async fn call(
        &self,
        message: &Message,
        operation: &Operation,
        era: Era,
        id: &RequestId,
        outlet: Option<Outlet>,
    ) -> Result<Option<Reply>, Reply> {
        let named = operation.tool().and_then(|name| name.split_once(BETWEEN));
        let Some((backend, tool)) = named.and_then(|(server, tool)| Some((self.backends.get(server)?, tool)))
        else {
            let text = "there is no such tool: its name is `server__tool`, as tools/list gives it";
            return Err(Reply::ok(reply::error(Some(id), reply::INVALID_PARAMS, text, None)));
        };
        let unreachable = |error: &dyn std::fmt::Display| Reply {
            bytes: reply::error(Some(id), reply::UPSTREAM, &error.to_string(), None),
            status: 200,
        };
        let linked = backend.linked(self).await.map_err(|error| unreachable(&error))?;
        let mut members = vec![format!(r#""name":{}"#, quote(tool))];
        if let Some(arguments) = message.arguments() {
            members.push(format!(r#""arguments":{}"#, message.raw(arguments)));
        }
        let token = message.progress_token().map(|token| format!(r#""progressToken":{token}"#));
        let bytes = compose_with(id, "tools/call", members, linked.era, token);
        let message = Message::parse(bytes, &backend.server.limits().message)
            .map_err(|refusal| Reply::refused(&Refusal { id: Some(id.clone()), ..refusal }))?;
        let incoming = ClientMessage { message, era: linked.era, headers: None, outlet };
        let reply = linked.door.request(incoming).await;
        Ok(reply.map(|reply| translate(reply, era, linked.era, id)))
    }
}

impl Backend {
    fn new(server: Arc<Server>) -> Self {
        Self { server, link: tokio::sync::Mutex::default() }
    }

    /// The connection to the server, opened and greeted where there is none.
    async fn linked(&self, aggregate: &Aggregate) -> Result<Linked, OpenError> {
        let cell = {
            let mut link = self.link.lock().await;
            if link.get().is_some_and(|linked| linked.door.is_closed()) {
                *link = Arc::default();
            }
            Arc::clone(&*link)
        };
        cell.get_or_try_init(|| self.greet(aggregate)).await.cloned()
    }

    /// Connects and finds out what the server speaks: the newest first.
    async fn greet(&self, aggregate: &Aggregate) -> Result<Linked, OpenError> {
        let (guard, caller) = (aggregate.guard.clone(), aggregate.caller.clone());
        let door = Door::connect(guard, caller, Arc::clone(&self.server), Mode::Gathered).await?;
        let id = RequestId::whole(1);
        let discover = compose(&id, "server/discover", Vec::new(), Era::Modern);
        if ask(&door, discover, Era::Modern).await.is_ok() {
            return Ok(Linked { door, era: Era::Modern });
        }
        let hello = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{}","capabilities":{{}},"clientInfo":{{"name":"cordon","version":"{}"}}}}}}"#,
            Version::V2025_11_25,
            env!("CARGO_PKG_VERSION")
        );
        if let Err(why) = ask(&door, hello.into_bytes(), Era::Legacy).await {
            crate::mcp::door::log(format_args!(
                "[{}] it answers neither greeting: {why}",
                self.server.name()
            ));
        }
        let ready = reply::notification("notifications/initialized", "{}");
        if let Ok(message) = Message::parse(ready, &Limits::DEFAULT) {
            let incoming = ClientMessage { message, era: Era::Legacy, headers: None, outlet: None };
            let _ = door.notify(incoming).await;
        }
        Ok(Linked { door, era: Era::Legacy })
    }
}

/// Asks a server on Cordon's own account, which is judged like any other request.
async fn ask(door: &Door, bytes: Vec<u8>, era: Era) -> Result<Message, String> {
    let limits = door.server().limits().message;
    let message = Message::parse(bytes, &limits).map_err(|refusal| refusal.to_string())?;
    let incoming = ClientMessage { message, era, headers: None, outlet: None };
    let reply = door.request(incoming).await.ok_or("there is no answer")?;
    let answer = Message::parse(reply.bytes, &limits).map_err(|refusal| refusal.to_string())?;
    match answer.error().and_then(|error| error.get("message")).and_then(Node::as_text) {
        Some(text) => Err(text.to_owned()),
        None => Ok(answer),
    }
}

fn compose(id: &RequestId, method: &str, members: Vec<String>, era: Era) -> Vec<u8> {
    compose_with(id, method, members, era, None)
}

/// A request with these parameters in the words of `era`; `token` goes into `_meta`.
fn compose_with(
    id: &RequestId,
    method: &str,
    mut members: Vec<String>,
    era: Era,
    token: Option<String>,
) -> Vec<u8> {
    let meta = match (era, token) {
        (Era::Legacy, None) => None,
        (Era::Legacy, Some(token)) => Some(format!("{{{token}}}")),
        (Era::Modern, None) => Some(own_meta(None)),
        (Era::Modern, Some(token)) => {
            let meta = own_meta(None);
            Some(format!("{{{token},{}", meta.strip_prefix('{').unwrap_or_default()))
        }
    };
    members.extend(meta.map(|meta| format!(r#""_meta":{meta}"#)));
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{},"params":{{{}}}}}"#, quote(method), members.join(","))
        .into_bytes()
}

/// An answer in the client's era. What only the other era has is refused.
fn translate(answer: Reply, client: Era, server: Era, id: &RequestId) -> Reply {
    let Ok(message) = Message::parse(answer.bytes.clone(), &Limits::DEFAULT) else { return answer };
    let Some(result) = message.result() else { return Reply { status: 200, ..answer } };
    let kind = result.get("resultType").and_then(Node::as_text);
    if !matches!(kind, None | Some("complete"))
        || result.get("task").is_some_and(|task| task.get("taskId").is_some())
    {
        let text =
            "the server asks for something that is not offered where all servers are one; use its own path";
        return Reply::ok(reply::error(Some(id), reply::UPSTREAM, text, None));
    }
    if client == server || client == Era::Legacy || kind.is_some() {
        return answer;
    }
    let at = result.span().start.saturating_add(1);
    let comma = if result.members().is_empty() { "" } else { "," };
    let splice = Splice::new().replace(at..at, format!(r#""resultType":"complete"{comma}"#));
    message.spliced(&splice).map_or(answer, |message| Reply::ok(message.into_bytes().into_vec()))
}

/// What Cordon answers to `initialize`: the version that was asked for, where it is spoken.
fn hello(message: &Message) -> String {
    let asked = Version::negotiated(message).filter(|version| version.era() == Era::Legacy);
    format!(
        r#"{{"protocolVersion":"{}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"cordon","version":"{}"}}}}"#,
        asked.unwrap_or(Version::V2025_11_25),
        env!("CARGO_PKG_VERSION")
    )
}

const DISCOVERED: &str = concat!(
    r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"#,
    r#""ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"cordon","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}}}"#
);
