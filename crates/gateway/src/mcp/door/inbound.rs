//! What a server sends on its own: answers are paired, notifications passed only where they belong,
//! questions decided.

use std::sync::Arc;

use cordon_core::json::Node;
use cordon_guard::Release;
use cordon_wire::mcp::{self, Era, Kind, Message, Method, Operation, Outcome, Sender, Splice, Target, reply};

use super::answer::{is_about_results, seen_of_task};
use super::flights::{Answer, Flight, Which};
use super::judge::Question;
use super::request::request_id;
use super::{Inner, Mode, log};
use crate::mcp::upstream::UpstreamError;

/// The key under which a modern notification names the request that opened its stream.
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

impl Inner {
    /// One message from the server; `via` is the request on whose stream it came.
    pub(super) fn arrived(self: &Arc<Self>, bytes: Vec<u8>, via: Option<u64>) {
        match Message::parse(bytes, &self.limits().message) {
            Ok(message) => self.handle(message, via),
            Err(refusal) => self.unreadable(refusal.id.as_ref(), &refusal.to_string()),
        }
    }

    /// The server sent something that is no acceptable message. If it can only be the answer to one
    /// request, that request has failed; otherwise each waits for its own.
    pub(super) fn unreadable(&self, id: Option<&mcp::RequestId>, why: &str) {
        log(format_args!("[{}] a message from the server is not acceptable: {why}", self.name()));
        let error = UpstreamError::Malformed(why.into());
        let found = id.is_some_and(|id| self.flights.end(id, Answer::Failed(error.clone())));
        if !found {
            self.flights.end_only(&error);
        }
    }

    /// The server has gone; so has every answer.
    pub(super) fn server_gone(&self, why: &str) {
        if self.flights.count() > 0 {
            log(format_args!("[{}] {why}; {} requests have no answer", self.name(), self.flights.count()));
        }
        self.flights.end_all(&UpstreamError::Gone(why.into()));
        self.asked.clear();
        self.gone.send_replace(true);
    }

    pub(super) fn handle(&self, message: Message, via: Option<u64>) {
        match message.kind() {
            Kind::Result { id } | Kind::Error { id: Some(id) } => {
                let id = id.clone();
                if !self.flights.end(&id, Answer::Message(Box::new(message))) {
                    log(format_args!("[{}] an answer to nothing that was asked is dropped", self.name()));
                }
            }
            Kind::Error { id: None } => {
                log(format_args!("[{}] an error that answers nothing is dropped", self.name()));
            }
            Kind::Notification { .. } => self.notified(&message, via),
            Kind::Request { .. } => {
                let Some(me) = self.me.upgrade() else { return };
                tokio::spawn(me.ask(message, via));
            }
        }
    }

    fn notified(&self, message: &Message, via: Option<u64>) {
        let operation = match Operation::of(message, Sender::Server, self.era()) {
            Ok(operation) if operation.is_known() => operation,
            _ => return log(format_args!("[{}] a notification that is not known is dropped", self.name())),
        };
        match operation.method() {
            Method::Progress => return self.progressed(message, via),
            Method::ToolsChanged => self.listed.changed(),
            Method::Cancelled => return self.withdrawn(message, via),
            Method::TaskStatus | Method::TaskChanged if !self.is_fit_news(message, &operation) => {
                return log(format_args!(
                    "[{}] news of a task is dropped: the task is another session's, or they carry what an answer has to bring",
                    self.name()
                ));
            }
            _ => {}
        }
        let look_alikes = !message.look_alikes().is_empty();
        let Ok(question) = Question::of(self, &operation, message.params(), message.bytes(), look_alikes)
        else {
            return;
        };
        if self.mode == Mode::Gathered {
            return;
        }
        let allowed = question.resources.iter().all(|resource| self.could_allow(question.about(resource)));
        if !allowed {
            return log(format_args!("[{}] `{}` may not reach the client", self.name(), question.action()));
        }
        self.pass(message, via);
    }

    /// Whether news are of this session's task and carry nothing past a decision: no questions to the
    /// client, and no result that the task's call would not let through as it is.
    fn is_fit_news(&self, message: &Message, operation: &Operation) -> bool {
        let session = self.session.read().unwrap_or_else(std::sync::PoisonError::into_inner).id;
        let Target::Task(task) = operation.target() else { return false };
        let Some(owed) = self.server.tasks.owed(task, session) else { return false };
        let Ok(outcome) = Outcome::of_task_notification(message) else {
            return operation.method() == Method::TaskStatus && message.param("result").is_none();
        };
        let (Outcome::Task { result, .. }, true) = (&outcome, outcome.requests().is_empty()) else {
            return false;
        };
        result.is_none_or(|result| {
            let passes = owed.terms.as_ref().is_none_or(|terms| {
                terms.examine(&seen_of_task(message.bytes(), Some(result))) == Release::Pass
            });
            passes && owed.obligations.iter().all(|obligation| !is_about_results(&obligation.kind))
        })
    }

    /// Progress reaches only the request whose token it carries.
    fn progressed(&self, message: &Message, via: Option<u64>) {
        let Some(token) = message.param("progressToken").map(Node::canonical) else { return };
        let which = match via {
            Some(key) => Which::Key(key),
            None => Which::Token(&token),
        };
        let passed = self.flights.with(which, self.limits().messages_max, |flight| {
            let (wire, written) = flight.token.as_ref()?;
            if *wire != token {
                return None;
            }
            let bytes = match self.mode.has_own_ids() && flight.on_channel {
                true => message.with_progress_token(written).ok()?.into_bytes().into_vec(),
                false => message.bytes().to_vec(),
            };
            flight.outlet.as_ref().map(|outlet| outlet.offer(bytes))
        });
        if passed.flatten().is_none() {
            log(format_args!("[{}] progress on nothing that is in flight is dropped", self.name()));
        }
    }

    /// The server takes a question back, or ends a subscription.
    fn withdrawn(&self, message: &Message, via: Option<u64>) {
        let Some(id) = message.param("requestId").and_then(|node| request_id(node, message)) else { return };
        if let Some(Some(pending)) = self.asked.take(&id) {
            pending.failed(cordon_guard::Failure::Cancelled);
            return self.pass(message, via);
        }
        if self.era() == Era::Modern {
            let ended = self.flights.with(Which::Id(&id), self.limits().messages_max, |flight| {
                let bytes = match flight.on_channel && self.mode.has_own_ids() {
                    true => reply::cancelled(&flight.client_id, "the server ended it"),
                    false => message.bytes().to_vec(),
                };
                flight.outlet.as_ref().is_some_and(|outlet| outlet.offer(bytes))
            });
            if ended.is_some() {
                let error = UpstreamError::Gone("it ended the subscription".into());
                self.flights.end(&id, Answer::Failed(error));
            }
        }
    }

    /// Leaves a notification for the client: with the request it belongs to, else beside all.
    fn pass(&self, message: &Message, via: Option<u64>) {
        let most = self.limits().messages_max;
        let subscription = message.meta(SUBSCRIPTION).and_then(|node| request_id(node, message));
        let to_flight = |which: Which<'_>| {
            self.flights.with(which, most, |flight| {
                let bytes = self.renamed(message, flight).unwrap_or_else(|| message.bytes().to_vec());
                flight.outlet.as_ref().is_some_and(|outlet| outlet.offer(bytes))
            })
        };
        let passed = match (via, &subscription) {
            (Some(key), _) => to_flight(Which::Key(key)),
            (None, Some(id)) => to_flight(Which::Id(id)),
            (None, None) => match self.client_outlet() {
                Some(outlet) if !outlet.is_closed() => Some(outlet.offer(message.bytes().to_vec())),
                // Over one channel it cannot be said which request it belongs to, unless there is one.
                _ if self.flights.count() == 1 => to_flight(Which::Newest),
                _ => None,
            },
        };
        if passed != Some(true) {
            log(format_args!("[{}] a notification could not be passed to the client", self.name()));
        }
    }

    /// The notification with the id by which the client knows the subscription.
    fn renamed(&self, message: &Message, flight: &Flight) -> Option<Vec<u8>> {
        if !self.mode.has_own_ids() || !flight.on_channel {
            return None;
        }
        let node = message.meta(SUBSCRIPTION)?;
        let splice = Splice::new().replace(node.span(), flight.client_id.as_json());
        message.spliced(&splice).ok().map(|message| message.into_bytes().into_vec())
    }
}
