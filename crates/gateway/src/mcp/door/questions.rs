//! What a server asks of the client (legacy era): each question decided, each answer too.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use cordon_core::{Action, ActionName, Effect, Record};
use cordon_guard::{Failure, Operation, Pending, Release, ResultKind, ResultSeen};
use cordon_wire::mcp::{self, Message, Method, Problem, RESERVED_SERVER, Refusal, RequestId, Sender, reply};

use super::flights::Which;
use super::judge::{Question, Waiting, trace};
use super::{Inner, Mode, Reply, Stop, log};
use crate::mcp::OutboundMessage;
use crate::mcp::outlet::Outlet;

/// The questions that wait for the client, by the server's ids.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<HashMap<RequestId, Option<Pending>>>);

/// Most questions that wait for one client.
const ASKED_MAX: usize = 64;

impl Asked {
    /// Reserves an id; false if it is taken or too many wait.
    fn reserve(&self, id: &RequestId) -> bool {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= ASKED_MAX || asked.contains_key(id) {
            return false;
        }
        asked.insert(id.clone(), None);
        true
    }

    fn wait(&self, id: &RequestId, pending: Pending) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Some(pending));
    }

    pub(super) fn take(&self, id: &RequestId) -> Option<Option<Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn clear(&self) {
        let asked = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for pending in asked.into_values().flatten() {
            pending.failed(Failure::Gone);
        }
    }
}

impl Inner {
    /// A question of the server: decided, then put to the client; or answered with why not.
    pub(super) async fn ask(self: Arc<Self>, message: Message, via: Option<u64>) {
        let Some(id) = message.id().cloned() else { return };
        if let Err(stop) = self.put(message, &id, via).await {
            self.asked.take(&id);
            if let Some(reply) = stop.into_reply() {
                self.tell("answer", reply.bytes).await;
            }
        }
    }

    async fn put(&self, message: Message, id: &RequestId, via: Option<u64>) -> Result<(), Stop> {
        let operation = mcp::Operation::of(&message, Sender::Server, self.era())
            .map_err(|refusal| Stop::refused(&refusal))?;
        let refused = self.mode == Mode::Gathered && operation.method() != Method::Ping;
        if !operation.is_known() || refused {
            let problem = Problem::UnknownMethod { method: operation.sent().into() };
            return Err(Stop::refused(&Refusal { id: Some(id.clone()), problem }));
        }
        if !self.asked.reserve(id) {
            return Err(Stop::unavailable(Some(id), "too many questions wait, or one with this id does"));
        }
        let look_alikes = !message.look_alikes().is_empty();
        let message = Arc::new(message);
        let question = Question::of(self, &operation, message.params(), message.bytes(), look_alikes)
            .map_err(|problem| Stop::refused(&Refusal { id: Some(id.clone()), problem }))?;
        let waiting =
            Waiting { id: Some(id), action: question.action(), trace: trace(&message), progress: None };
        let Some(resource) = question.resources.first() else {
            return Err(Stop::unavailable(Some(id), "it is about nothing that could be judged"));
        };
        let permit = self
            .judge(question.about(resource), OutboundMessage::plain(Arc::clone(&message)), waiting)
            .await?;
        if operation.method() == Method::Ping {
            // The connection ends here: Cordon is who is asked whether it is there.
            let pending =
                permit.spend_along().map_err(|denial| Stop::denied(Some(id), question.action(), &denial))?;
            let _ =
                pending.observe(ResultSeen { bytes: b"{}", structured: None, kind: ResultKind::Complete });
            self.asked.take(id);
            self.tell("answer", reply::result(id, "{}")).await;
            return Ok(());
        }
        let Some(outlet) = self.way_to_client(via) else {
            return Err(Stop::unavailable(Some(id), "the client cannot be reached"));
        };
        let pending =
            permit.spend_along().map_err(|denial| Stop::denied(Some(id), question.action(), &denial))?;
        self.asked.wait(id, pending);
        if outlet.offer(message.bytes().to_vec()) {
            return Ok(());
        }
        if let Some(Some(pending)) = self.asked.take(id) {
            pending.failed(Failure::NotSent);
        }
        Err(Stop::unavailable(Some(id), "the client does not read"))
    }

    /// The way to the client: the request that the server works on, else what belongs to none.
    fn way_to_client(&self, via: Option<u64>) -> Option<Outlet> {
        let most = self.limits().messages_max;
        let of_flight = |which| self.flights.with(which, most, |flight| flight.outlet.clone()).flatten();
        via.and_then(|key| of_flight(Which::Key(key)))
            .or_else(|| self.client_outlet().filter(|outlet| !outlet.is_closed()))
            .or_else(|| of_flight(Which::Newest))
    }

    /// The client's answer to a question: observed, decided, and sent to the server.
    pub(super) async fn respond(&self, message: Message) -> Result<(), Stop> {
        let Some(id) = message.id().cloned() else { return Ok(()) };
        let Some(Some(pending)) = self.asked.take(&id) else {
            return Err(Stop::invalid(None, "it answers nothing that was asked"));
        };
        let seen = ResultSeen {
            bytes: message.bytes(),
            structured: None,
            kind: ResultKind::of(message.error().is_some()),
        };
        if let Release::Withhold { why } = pending.observe(seen) {
            let text = format!("Cordon withheld the client's answer: {why}.");
            self.tell("answer", reply::error(Some(&id), reply::DENIED, &text, None)).await;
            return Ok(());
        }
        let name = ActionName::tool(RESERVED_SERVER, "answer").map_err(|_| Stop::Silent)?;
        let message = if self.upstream.is_shared_channel() { message.on_one_line() } else { message };
        let message = Arc::new(message);
        let payload = message.result().or_else(|| message.error());
        let operation = Operation::Message {
            action: Action::declared(name, [], Effect::Read),
            resource: self.server_resource(),
            args: Record::new(),
            arguments: payload,
            ambiguous: BTreeSet::new(),
        };
        let waiting = Waiting { id: Some(&id), action: "mcp/answer", trace: trace(&message), progress: None };
        match self.judge(operation, OutboundMessage::plain(Arc::clone(&message)), waiting).await {
            Ok(permit) => {
                let sent = self.upstream.send(permit).await;
                let sent = sent.map_err(|denial| Stop::denied(None, "mcp/answer", &denial))?;
                sent.accepted().await.map_err(|error| Stop::Reply(Reply::upstream(None, &error)))?;
                Ok(())
            }
            // The server hears that there is no answer, as far as it may be told anything.
            Err(stop) => {
                if let Some(reply) = stop.into_reply() {
                    self.tell("answer", reply.bytes).await;
                }
                log(format_args!("[{}] the client's answer was not permitted", self.name()));
                Ok(())
            }
        }
    }
}
