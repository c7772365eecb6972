//! What a server lists: learnt before a tool is called, compared with what was accepted, and shown
//! only as far as the caller may use it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use cordon_core::json::{Node, quote};
use cordon_core::{Action, ActionName, Class, Effect, Limits, Record, Resource, ResourceKind, Value, json};
use cordon_guard::{Failure, ListedTool, Operation, Release, ResultKind, ResultSeen};
use cordon_wire::mcp::header::Mirrored;
use cordon_wire::mcp::{
    Edit, Era, Item, ListKind, Listing, Message, Method, RESERVED_SERVER, RequestId, Version, pin,
};

use super::answer::withheld;
use super::flights::{Answer, Flight};
use super::{Inner, Stop, log};
use crate::mcp::OutboundMessage;
use crate::mcp::upstream::{Sent, UpstreamError};

/// What is known of a server's tools over this connection.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Held while the list is learnt, so that it is learnt once.
    learning: tokio::sync::Mutex<()>,
    /// When it was learnt, and which changes had been reported by then.
    learnt: RwLock<Option<(Instant, u64)>>,
    /// How often the server said that its tools changed.
    changes: AtomicU64,
    /// The arguments that tools want repeated in headers; most want none.
    mirrored: RwLock<HashMap<Box<str>, Arc<[Mirrored]>>>,
}

impl Listed {
    /// The server says that its tools changed.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// The arguments of `tool` that are repeated in headers.
    pub(super) fn mirrored(&self, tool: &str) -> Arc<[Mirrored]> {
        let mirrored = self.mirrored.read().unwrap_or_else(PoisonError::into_inner);
        mirrored.get(tool).cloned().unwrap_or_else(|| Arc::from([]))
    }

    fn is_fresh(&self, age: std::time::Duration) -> bool {
        let learnt = *self.learnt.read().unwrap_or_else(PoisonError::into_inner);
        learnt.is_some_and(|(at, changes)| {
            at.elapsed() < age && changes == self.changes.load(Ordering::Acquire)
        })
    }
}

/// A whole list, page by page.
#[derive(Default)]
struct Gathered {
    tools: Vec<ListedTool>,
    mirrored: HashMap<Box<str>, Arc<[Mirrored]>>,
}

impl Inner {
    /// Makes sure that the server's tools are known as they are.
    pub(super) async fn list(
        me: &Arc<Self>,
        era: Era,
        version: Option<Version>,
        id: &RequestId,
    ) -> Result<(), Stop> {
        if me.listed.is_fresh(me.limits().list_age) {
            return Ok(());
        }
        let _one_learns = me.listed.learning.lock().await;
        if me.listed.is_fresh(me.limits().list_age) {
            return Ok(());
        }
        let changes = me.listed.changes.load(Ordering::Acquire);
        let mut gathered = Gathered::default();
        let mut cursor: Option<String> = None;
        for _ in 0..me.limits().pages_max {
            let page = Self::page(me, era, version, cursor.as_deref(), id).await?;
            if page.error().is_some() {
                // A server that lists no tools has none.
                break;
            }
            let unlisted = |why: &str| {
                Stop::unavailable(Some(id), &format!("the server's tools could not be listed: {why}"))
            };
            let listing =
                Listing::of(&page, ListKind::Tools).map_err(|refusal| unlisted(&refusal.to_string()))?;
            gathered.take(&listing);
            cursor = next_cursor(&page).map(str::to_owned);
            if cursor.is_none() {
                return me.learn_tools(gathered, changes).map_err(|why| unlisted(&why));
            }
        }
        match cursor {
            None => me.learn_tools(gathered, changes).map_err(|why| Stop::unavailable(Some(id), &why)),
            Some(_) => Err(Stop::unavailable(Some(id), "the server's list of tools does not end")),
        }
    }

    /// One page of the list, asked for by Cordon itself.
    async fn page(
        me: &Arc<Self>,
        era: Era,
        version: Option<Version>,
        cursor: Option<&str>,
        id: &RequestId,
    ) -> Result<Message, Stop> {
        let own = RequestId::text(&format!("cordon-list-{}", me.flights.number()));
        let unlisted = |why: &str| {
            Stop::unavailable(Some(id), &format!("the server's tools could not be listed: {why}"))
        };
        let message = Message::parse(question(&own, era, version, cursor), &me.limits().message)
            .map_err(|refusal| unlisted(&refusal.to_string()))?;
        let flight = Flight::new(own.clone(), own, me.upstream.is_shared_channel());
        let (mut ticket, mut ended) = me
            .flights
            .begin(Arc::clone(me), flight, era, u32::MAX)
            .map_err(|_| unlisted("the list is being asked for already"))?;
        let outbound = OutboundMessage::plain(Arc::new(message));
        let Sent { pending, replies } =
            me.originate("tools.list", outbound).await.map_err(|stop| answering(stop, id))?;
        ticket.pending = Some(pending);
        let deadline = tokio::time::Instant::now().checked_add(std::time::Duration::from_secs(30));
        let answered = match replies {
            Ok(replies) => me.await_answer(&ticket, replies, &mut ended, deadline, 30_000).await,
            Err(error) => Err(Answer::Failed(error)),
        };
        let failed = |error: &UpstreamError| unlisted(&error.to_string());
        match answered {
            Ok((page, _)) => {
                let pending = ticket.land();
                let seen = ResultSeen {
                    bytes: page.bytes(),
                    structured: None,
                    kind: ResultKind::of(page.error().is_some()),
                };
                match pending.map(|pending| pending.observe(seen)) {
                    Some(Release::Withhold { why }) => Err(unlisted(&why)),
                    _ => Ok(*page),
                }
            }
            Err(Answer::Failed(error)) => {
                match error {
                    UpstreamError::TimedOut(_) => ticket.give_up(Failure::TimedOut),
                    _ => drop(ticket.land().map(|pending| pending.failed(Failure::Gone))),
                }
                Err(failed(&error))
            }
            Err(_) => Err(unlisted("the connection ended")),
        }
    }

    /// Hands a whole list to the guard, which compares it with what was accepted.
    fn learn_tools(&self, gathered: Gathered, changes: u64) -> Result<(), String> {
        self.guard.listed(self.name(), gathered.tools).map_err(|error| error.to_string())?;
        *self.listed.mirrored.write().unwrap_or_else(PoisonError::into_inner) = gathered.mirrored;
        *self.listed.learnt.write().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), changes));
        Ok(())
    }

    /// The list in `answer` with only what the caller may use.
    pub(super) async fn filter_list(
        me: &Arc<Self>,
        kind: ListKind,
        asked: &Message,
        era: Era,
        id: &RequestId,
        answer: Message,
    ) -> Result<Message, Stop> {
        let unreadable = |refusal: cordon_wire::mcp::Refusal| withheld(id, &refusal.to_string(), "-");
        if kind == ListKind::Tools {
            let changes = me.listed.changes.load(Ordering::Acquire);
            let whole = asked.param("cursor").is_none() && next_cursor(&answer).is_none();
            if whole {
                let listing = Listing::of(&answer, kind).map_err(unreadable)?;
                let mut gathered = Gathered::default();
                gathered.take(&listing);
                me.learn_tools(gathered, changes).map_err(|why| Stop::unavailable(Some(id), &why))?;
            } else {
                Self::list(me, era, super::request::version(asked), id).await?;
            }
        }
        let listing = Listing::of(&answer, kind).map_err(unreadable)?;
        let twice: BTreeSet<&str> = listing.duplicates();
        listing
            .rewrite(|item| match !twice.contains(item.name()) && me.may_use(kind, item, era) {
                true => Edit::Keep,
                false => Edit::Drop,
            })
            .map_err(unreadable)
    }

    /// Whether the caller could use an item with some arguments.
    fn may_use(&self, kind: ListKind, item: &Item<'_>, era: Era) -> bool {
        let message = |method: Method, resource: &str, attribute: &str| {
            let Ok(name) = ActionName::tool(RESERVED_SERVER, &method.as_str().replace('/', ".")) else {
                return false;
            };
            let action =
                Action::declared(name, method.classes().iter().copied().map(Class::whole), Effect::Read);
            let id = format!("{}/{}", self.name(), item.name());
            let mut resource = Resource::new(resource, id, self.caller.tenant.clone());
            resource.attributes.insert("server".into(), Value::text(self.name()));
            resource.attributes.insert(attribute.into(), Value::text(item.name()));
            self.could_allow(Operation::Message {
                action,
                resource,
                args: Record::new(),
                arguments: None,
                ambiguous: BTreeSet::new(),
            })
        };
        match kind {
            ListKind::Resources | ListKind::Templates => {
                message(Method::ReadResource, ResourceKind::DOCUMENT, "uri")
            }
            ListKind::Prompts => message(Method::GetPrompt, ResourceKind::PROMPT, "name"),
            ListKind::Tools => self.may_call(item, era),
        }
    }

    fn may_call(&self, item: &Item<'_>, era: Era) -> bool {
        let Ok(action) = ActionName::tool(self.name(), item.name()) else { return false };
        let Some(tool) = self.guard.tool(&action) else { return false };
        // The definition that the client sees must be the one that was compared and accepted.
        if tool.quarantine.is_some() || tool.listed.pin != pin(item.node()) {
            return false;
        }
        if era == Era::Modern && !self.upstream.is_shared_channel() && item.mirrored().is_err() {
            return false;
        }
        let Ok(arguments) = json::parse(b"{}", &Limits::DEFAULT) else { return false };
        self.could_allow(Operation::Tool { server: self.name(), tool: item.name(), arguments: &arguments })
    }
}

impl Gathered {
    fn take(&mut self, listing: &Listing<'_>) {
        if listing.malformed() > 0 {
            log(format_args!(
                "{} tools of a list are not well formed and do not exist here",
                listing.malformed()
            ));
        }
        for item in listing.items() {
            match item.mirrored() {
                Ok(mirrored) if !mirrored.is_empty() => {
                    self.mirrored.insert(item.name().into(), mirrored.into());
                }
                _ => {}
            }
            self.tools.push(ListedTool {
                name: item.name().into(),
                pin: pin(item.node()),
                input_schema: item.raw("inputSchema").map(<[u8]>::to_vec),
                output_schema: item.raw("outputSchema").map(<[u8]>::to_vec),
                description: item.description().unwrap_or_default().into(),
            });
        }
    }
}

fn next_cursor(page: &Message) -> Option<&str> {
    page.result()?.get("nextCursor").and_then(Node::as_text)
}

fn question(id: &RequestId, era: Era, version: Option<Version>, cursor: Option<&str>) -> Vec<u8> {
    let cursor = cursor.map(|cursor| format!(r#""cursor":{}"#, quote(cursor)));
    let meta = (era == Era::Modern).then(|| format!(r#""_meta":{}"#, own_meta(version)));
    let params: Vec<String> = cursor.into_iter().chain(meta).collect();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{{}}}}}"#, params.join(","))
        .into_bytes()
}

/// What Cordon says of itself in a modern request.
pub(crate) fn own_meta(version: Option<Version>) -> String {
    let version = version.filter(|version| version.era() == Era::Modern).unwrap_or(Version::V2026_07_28);
    format!(
        r#"{{"io.modelcontextprotocol/protocolVersion":"{version}","io.modelcontextprotocol/clientInfo":{{"name":"cordon","version":"{}"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}"#,
        env!("CARGO_PKG_VERSION")
    )
}

/// Puts the client's id on what stopped Cordon's own request.
fn answering(stop: Stop, id: &RequestId) -> Stop {
    let Stop::Reply(reply) = stop else { return stop };
    let text = Message::parse(reply.bytes, &Limits::DEFAULT)
        .ok()
        .and_then(|message| message.error()?.get("message")?.as_text().map(str::to_owned))
        .unwrap_or_default();
    Stop::unavailable(Some(id), &format!("the server's tools could not be listed: {text}"))
}
