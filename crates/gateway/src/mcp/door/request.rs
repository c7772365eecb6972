//! A client's request, from its bytes to its answer.

use std::sync::Arc;

use cordon_core::json::Node;
use cordon_core::{Digest, Obligation, ObligationKind};
use cordon_guard::{Denial, Failure, Operation, Pending, Permit, ResultKind, ResultSeen};
use cordon_wire::mcp::header::{self, Mirrored};
use cordon_wire::mcp::{
    self, Era, Kind, Message, Method, Problem, Refusal, RequestId, Sender, Target, Version, reply,
};
use hyper::HeaderMap;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, sleep_until};

use super::answer::Landed;
use super::flights::{Answer, Flight, Grounded, Ticket};
use super::judge::{Question, Waiting, arguments, trace};
use super::{ClientMessage, Door, Inner, Reply, Stop, log};
use crate::mcp::OutboundMessage;
use crate::mcp::upstream::{Replies, UpstreamError};

/// A request that is permitted and about to be sent.
pub(super) struct Cleared {
    pub(super) permit: Permit<OutboundMessage>,
    /// Permits for the same message on other resources; they settle with it.
    pub(super) also: Vec<Pending>,
}

/// Why a request that was about to be sent has no answer.
enum Unanswered {
    /// The client gave it up.
    GivenUp,
    /// The server did not answer.
    Failed(UpstreamError),
    /// It was taken away before it was sent.
    Withdrawn(Box<Denial>),
}

/// Longest time for requests that wait by nature: a task's result.
const PATIENT_MAX: Duration = Duration::from_secs(3_600);
/// Longest time for the first question to a server that may not know it.
const PROBE_MAX: Duration = Duration::from_secs(5);

impl Door {
    /// Takes one request to its answer; nothing if the client gave it up. Dropping the future is
    /// giving it up.
    pub async fn request(&self, incoming: ClientMessage) -> Option<Reply> {
        Inner::request(&self.0, incoming).await.unwrap_or_else(Stop::into_reply)
    }

    /// Takes one notification; a refusal is for transports that can show one.
    pub async fn notify(&self, incoming: ClientMessage) -> Result<(), Reply> {
        match Inner::notify(&self.0, incoming).await {
            Ok(()) | Err(Stop::Silent) => Ok(()),
            Err(Stop::Reply(reply)) => Err(reply),
        }
    }

    /// Takes one answer of the client to a question of the server.
    pub async fn respond(&self, message: Message) -> Result<(), Reply> {
        match self.0.respond(message).await {
            Ok(()) | Err(Stop::Silent) => Ok(()),
            Err(Stop::Reply(reply)) => Err(reply),
        }
    }
}

impl Inner {
    pub(super) async fn request(me: &Arc<Self>, incoming: ClientMessage) -> Result<Option<Reply>, Stop> {
        let ClientMessage { message, era, headers, outlet } = incoming;
        let (operation, id) = known(&message, era)?;
        me.speaks(era);
        me.check_target(&operation, &id, &message, era)?;
        let mut mirrored: Arc<[Mirrored]> = Arc::from([]);
        if let Some(tool) = operation.tool() {
            Self::list(me, era, version(&message), &id).await?;
            mirrored = me.listed.mirrored(tool);
        }
        if let Some(headers) = &headers {
            agree(headers, &message, era, &mirrored)?;
        }
        me.check_retry(&message, &id)?;
        if let Some(tool) = operation.tool() {
            Self::make_reads(me, tool, &message, era).await;
        }

        let token = message.progress_token().map(Box::<str>::from);
        let (message, flight) = me.prepare(message, &id, outlet.clone())?;
        let (mut ticket, mut ended) = me
            .flights
            .begin(Arc::clone(me), flight, era, me.limits().in_flight_max)
            .map_err(|why| grounded(&id, why))?;
        let message = Arc::new(message);
        let progress = token.as_deref().zip(outlet.as_ref());
        let cleared = tokio::select! {
            biased;
            answer = &mut ended => return Err(ended_early(&id, answer)),
            cleared = me.clear(&operation, &message, mirrored, &id, progress) => cleared?,
        };
        let Cleared { permit, also } = cleared;
        let obligations: Arc<[Obligation]> = permit.obligations().into();
        me.admit(&obligations, &operation, &id)?;
        let (answer, status) = match me.fly(&mut ticket, &mut ended, permit, operation.method()).await {
            Ok(answered) => answered,
            Err(why) => return Err(me.unanswered(ticket, &id, &operation, also, why)),
        };
        let landed = Landed {
            message: &message,
            operation: &operation,
            era,
            id: &id,
            obligations: &obligations,
            status,
        };
        let reply = Self::land(me, ticket, &landed, *answer).await;
        for pending in also {
            let _ = pending.observe(ResultSeen {
                bytes: b"",
                structured: None,
                kind: ResultKind::of(reply.is_err()),
            });
        }
        reply.map(Some)
    }

    /// Sends a permitted request and waits for its answer.
    async fn fly(
        &self,
        ticket: &mut Ticket,
        ended: &mut oneshot::Receiver<Answer>,
        permit: Permit<OutboundMessage>,
        method: Method,
    ) -> Result<(Box<Message>, u16), Unanswered> {
        let timeout_ms = permit.timeout_ms();
        let deadline = deadline(method, timeout_ms);
        let sent = self.upstream.send(permit).await.map_err(Unanswered::Withdrawn)?;
        ticket.pending = Some(sent.pending);
        let replies = sent.replies.map_err(Unanswered::Failed)?;
        self.await_answer(ticket, replies, ended, deadline, timeout_ms).await.map_err(|why| match why {
            Answer::Failed(error) => Unanswered::Failed(error),
            Answer::Cancelled | Answer::Message(_) => Unanswered::GivenUp,
        })
    }

    /// Settles a request without an answer.
    fn unanswered(
        &self,
        ticket: Ticket,
        id: &RequestId,
        operation: &mcp::Operation,
        also: Vec<Pending>,
        why: Unanswered,
    ) -> Stop {
        let failure = match &why {
            Unanswered::GivenUp => Failure::Cancelled,
            Unanswered::Failed(error) => error.failure(),
            Unanswered::Withdrawn(_) => Failure::Withdrawn,
        };
        also.into_iter().for_each(|pending| pending.failed(failure));
        match why {
            Unanswered::Failed(error) => self.failed(ticket, id, &error),
            Unanswered::Withdrawn(denial) => {
                drop(ticket.land());
                let action = operation.action_name(self.name());
                Stop::denied(Some(id), action.as_ref().map_or("?", |name| name.as_str()), &denial)
            }
            // The client's own notification tells the server.
            Unanswered::GivenUp => {
                ticket.land().into_iter().for_each(|pending| pending.failed(Failure::Cancelled));
                Stop::Silent
            }
        }
    }

    /// Whether the thing a request is aimed at is this session's, and something that its client
    /// can handle.
    fn check_target(
        &self,
        operation: &mcp::Operation,
        id: &RequestId,
        message: &Message,
        era: Era,
    ) -> Result<(), Stop> {
        if matches!(operation.target(), Target::Task(_)) && era == Era::Modern && !handles_tasks(message) {
            return Err(Stop::tasks_undeclared(id));
        }
        let session = self.session.read().unwrap_or_else(std::sync::PoisonError::into_inner).id;
        match operation.target() {
            Target::Task(task) if self.server.tasks.owed(task, session).is_none() => {
                let text = format!("there is no task `{}` in this session", task.escape_debug());
                Err(Stop::invalid(Some(id), &text))
            }
            _ => Ok(()),
        }
    }

    /// The message as the server gets it, and its flight.
    fn prepare(
        &self,
        message: Message,
        id: &RequestId,
        outlet: Option<crate::mcp::Outlet>,
    ) -> Result<(Message, Flight), Stop> {
        let on_channel = self.upstream.is_shared_channel();
        let token = message.meta("progressToken").map(Node::canonical);
        let written = message.progress_token().map(Box::<str>::from);
        let mut message = if on_channel { message.on_one_line() } else { message };
        let mut flight = Flight::new(id.clone(), id.clone(), on_channel);
        flight.outlet = outlet;
        flight.token = token.zip(written);
        if self.mode.has_own_ids() && on_channel {
            let number = self.flights.number();
            let own = RequestId::text(&format!("cordon-{number}"));
            let failed = |refusal: Refusal| Stop::refused(&refusal);
            message = message.with_id(&own).map_err(failed)?;
            if let Some((token, _)) = &mut flight.token {
                *token = own.as_json().to_owned();
                message = message.with_progress_token(token).map_err(failed)?;
            }
            flight.wire_id = own;
        }
        Ok((message, flight))
    }

    /// Has a request judged, once for each thing that it is about.
    async fn clear(
        &self,
        operation: &mcp::Operation,
        message: &Arc<Message>,
        mirrored: Arc<[Mirrored]>,
        id: &RequestId,
        progress: Option<(&str, &crate::mcp::Outlet)>,
    ) -> Result<Cleared, Stop> {
        let look_alikes = !message.look_alikes().is_empty();
        let outbound =
            || OutboundMessage::Message { message: Arc::clone(message), mirrored: Arc::clone(&mirrored) };
        if let Some(tool) = operation.tool() {
            let action = format!("{}/{tool}", self.name());
            if look_alikes {
                let text = format!(
                    "two names in the arguments of `{}` differ only by letter case, and some readers take one for the other",
                    action.escape_debug()
                );
                return Err(Stop::invalid(Some(id), &text));
            }
            let Some(arguments) = arguments(message) else {
                return Err(Stop::unavailable(Some(id), "there are no arguments to judge"));
            };
            let waiting = Waiting { id: Some(id), action: &action, trace: trace(message), progress };
            let attempt = Operation::Tool { server: self.name(), tool, arguments };
            let permit = self.judge(attempt, outbound(), waiting).await?;
            return Ok(Cleared { permit, also: Vec::new() });
        }
        let question = Question::of(self, operation, message.params(), message.bytes(), look_alikes)
            .map_err(|problem| Stop::refused(&Refusal { id: Some(id.clone()), problem }))?;
        let waiting = Waiting { id: Some(id), action: question.action(), trace: trace(message), progress };
        let mut permits = Vec::with_capacity(question.resources.len());
        for resource in &question.resources {
            permits.push(self.judge(question.about(resource), outbound(), waiting).await?);
        }
        let Some(permit) = permits.pop() else {
            return Err(Stop::unavailable(Some(id), "it is about nothing that could be judged"));
        };
        let along = permits.into_iter().map(Permit::spend_along).collect::<Result<_, _>>();
        let also = along.map_err(|denial| Stop::denied(Some(id), question.action(), &denial))?;
        Ok(Cleared { permit, also })
    }

    /// Carries out the obligations that come before a call.
    fn admit(
        &self,
        obligations: &[Obligation],
        operation: &mcp::Operation,
        id: &RequestId,
    ) -> Result<(), Stop> {
        for obligation in obligations {
            let action = || {
                operation.action_name(self.name()).map_or_else(|_| "?".to_owned(), |name| name.to_string())
            };
            match &obligation.kind {
                ObligationKind::Rate { limit, window_s } => {
                    let session = self.session.read().unwrap_or_else(std::sync::PoisonError::into_inner).id;
                    if !self.server.rates.admit(session, &action(), *limit, *window_s, self.guard.now()) {
                        let rules: Vec<_> = obligation.rules.iter().map(ToString::to_string).collect();
                        let text = format!(
                            "Cordon refused `{}`: at most {limit} calls in {window_s} s [rule {}]. To make it possible: wait.",
                            action(),
                            rules.join(", ")
                        );
                        return Err(Stop::Reply(Reply::ok(reply::error(
                            Some(id),
                            reply::DENIED,
                            &text,
                            None,
                        ))));
                    }
                }
                ObligationKind::Log { level } => {
                    log(format_args!("[{}] {level}: `{}` is called", self.name(), action()))
                }
                ObligationKind::Notify { to } => {
                    let to: Vec<_> = to.iter().map(|to| &**to).collect();
                    log(format_args!(
                        "[{}] notice to {}: `{}` is called",
                        self.name(),
                        to.join(", "),
                        action()
                    ));
                }
                ObligationKind::Monitor => {
                    log(format_args!("[{}] monitored: `{}` is called", self.name(), action()))
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits for the answer to a request that was sent; what comes before it is passed on.
    pub(super) async fn await_answer(
        &self,
        ticket: &Ticket,
        mut replies: Replies,
        ended: &mut oneshot::Receiver<Answer>,
        deadline: Option<Instant>,
        timeout_ms: u32,
    ) -> Result<(Box<Message>, u16), Answer> {
        let here = !matches!(replies, Replies::None);
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(late);
        loop {
            tokio::select! {
                biased;
                answer = &mut *ended => {
                    return match answer {
                        Ok(Answer::Message(message)) => Ok((message, 200)),
                        Ok(other) => Err(other),
                        Err(_) => Err(Answer::Cancelled),
                    };
                }
                next = replies.next(), if here => match next {
                    Some(Ok((bytes, status))) => {
                        if let Some(message) = self.arrived_for(bytes, ticket).map_err(Answer::Failed)? {
                            return Ok((message, status));
                        }
                    }
                    Some(Err(error)) => return Err(Answer::Failed(error)),
                    None => {
                        let why = UpstreamError::Gone("it gave no answer, or ended before it".into());
                        return Err(Answer::Failed(why));
                    }
                },
                () = &mut late => return Err(Answer::Failed(UpstreamError::TimedOut(timeout_ms))),
            }
        }
    }

    /// One message of the stream that answers `ticket`: the answer itself, or something before it.
    fn arrived_for(&self, bytes: Vec<u8>, ticket: &Ticket) -> Result<Option<Box<Message>>, UpstreamError> {
        let message = Message::parse(bytes, &self.limits().message)
            .map_err(|refusal| UpstreamError::Malformed(refusal.to_string().into()))?;
        match message.kind() {
            Kind::Result { id } if id == ticket.wire_id() => Ok(Some(Box::new(message))),
            // An error whose id the server could not read answers the one request of this stream.
            Kind::Error { id } if id.as_ref().is_none_or(|id| id == ticket.wire_id()) => {
                Ok(Some(Box::new(message)))
            }
            _ => {
                self.handle(message, Some(ticket.key()));
                Ok(None)
            }
        }
    }

    /// What a client is told when there is no answer.
    fn failed(&self, ticket: Ticket, id: &RequestId, error: &UpstreamError) -> Stop {
        let entry = ticket.pending.as_ref().map(|pending| format!(" Ledger entry {}.", pending.receipt().id));
        match error {
            UpstreamError::TimedOut(_) => ticket.give_up(Failure::TimedOut),
            other => {
                if let Some(pending) = ticket.land() {
                    pending.failed(other.failure());
                }
            }
        }
        let mut reply = Reply::upstream(Some(id), error);
        if let Some(entry) = entry {
            let text = format!("{error}; whether the call had an effect is not known.{entry}");
            reply.bytes = reply::error(Some(id), reply::UPSTREAM, &text, None);
        }
        Stop::Reply(reply)
    }

    /// A notification of the client.
    async fn notify(me: &Arc<Self>, incoming: ClientMessage) -> Result<(), Stop> {
        let ClientMessage { message, era, headers, .. } = incoming;
        let operation =
            mcp::Operation::of(&message, Sender::Client, era).map_err(|refusal| Stop::refused(&refusal))?;
        if !operation.is_known() {
            let problem = Problem::UnknownMethod { method: operation.sent().into() };
            return Err(Stop::refused(&problem.into()));
        }
        if let Some(headers) = &headers {
            agree(headers, &message, era, &[])?;
        }
        match operation.method() {
            Method::Cancelled => {
                // Only what is in flight can be cancelled; the server knows it by its own id.
                let named = message.param("requestId").and_then(|node| request_id(node, &message));
                let Some(wire_id) = named.and_then(|id| me.flights.cancel(&id)) else { return Ok(()) };
                if me.mode.has_own_ids() && me.upstream.is_shared_channel() {
                    me.tell("notifications.cancelled", reply::cancelled(&wire_id, "cancelled")).await;
                    return Ok(());
                }
            }
            // A client reports progress only on what the server asked it.
            Method::Progress if me.asked.is_empty() => return Ok(()),
            _ => {}
        }
        let look_alikes = !message.look_alikes().is_empty();
        let message = Arc::new(if me.upstream.is_shared_channel() { message.on_one_line() } else { message });
        let question = Question::of(me, &operation, message.params(), message.bytes(), look_alikes)
            .map_err(|problem| Stop::refused(&problem.into()))?;
        let waiting = Waiting { id: None, action: question.action(), trace: trace(&message), progress: None };
        for resource in &question.resources {
            let outbound = OutboundMessage::plain(Arc::clone(&message));
            let permit = me.judge(question.about(resource), outbound, waiting).await?;
            let sent = me.upstream.send(permit).await;
            let sent = sent.map_err(|denial| Stop::denied(None, question.action(), &denial))?;
            sent.accepted().await.map_err(|error| Stop::Reply(Reply::upstream(None, &error)))?;
        }
        Ok(())
    }

    /// Refuses a repeated request that is not the one its state was given for.
    fn check_retry(&self, message: &Message, id: &RequestId) -> Result<(), Stop> {
        let Some(retry) = message.retry() else { return Ok(()) };
        let call = message.call_digest();
        let session = self.session.read().unwrap_or_else(std::sync::PoisonError::into_inner).id;
        let key = state_key(retry.state, call);
        match self.server.questions.answer(session, key) {
            Some((asked, pending)) if asked == call => {
                let answers =
                    message.param("inputResponses").map(|node| message.raw(node)).unwrap_or_default();
                for pending in pending {
                    let seen = ResultSeen {
                        bytes: answers.as_bytes(),
                        structured: None,
                        kind: ResultKind::Complete,
                    };
                    let _ = pending.observe(seen);
                }
                Ok(())
            }
            Some(_) => Err(Stop::invalid(
                Some(id),
                "`requestState` was given for another request: repeat that one with the same name and arguments",
            )),
            // Without a state the request stands for itself and is judged as any other.
            None if retry.state.is_none() => Ok(()),
            None => Err(Stop::invalid(
                Some(id),
                "`requestState` was not given in this session: send the request again without it",
            )),
        }
    }
}

/// Refuses a message whose HTTP headers say something else than its body.
fn agree(headers: &HeaderMap, message: &Message, era: Era, mirrored: &[Mirrored]) -> Result<(), Stop> {
    let pairs: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    header::check(message, era, &pairs, mirrored).map_err(|refusal| Stop::refused(&refusal))
}

/// Under which digest a question is found again.
pub(super) fn state_key(state: Option<&str>, call: Digest) -> Digest {
    state.map_or(call, |state| Digest::of(format!("cordon/state/v1\n{state}").as_bytes()))
}

/// The version that a message itself declares.
pub(super) fn version(message: &Message) -> Option<Version> {
    message.meta("io.modelcontextprotocol/protocolVersion").and_then(Node::as_text).and_then(Version::parse)
}

/// The id that a parameter names.
pub(super) fn request_id(node: &Node, message: &Message) -> Option<RequestId> {
    match (node.as_text(), node.as_i64()) {
        (Some(text), _) if message.raw(node).len() <= 256 => Some(RequestId::text(text)),
        (None, Some(whole)) => Some(RequestId::whole(whole)),
        _ => None,
    }
}

fn deadline(method: Method, timeout_ms: u32) -> Option<Instant> {
    let wait = match method {
        // It lasts until one side ends it.
        Method::Listen => return None,
        Method::TaskResult => PATIENT_MAX,
        Method::Discover => PROBE_MAX.min(Duration::from_millis(u64::from(timeout_ms))),
        _ => Duration::from_millis(u64::from(timeout_ms)),
    };
    Instant::now().checked_add(wait)
}

fn grounded(id: &RequestId, why: Grounded) -> Stop {
    match why {
        Grounded::Full => {
            Stop::unavailable(Some(id), "too many requests are in flight; wait for their answers")
        }
        Grounded::Twice => {
            Stop::invalid(Some(id), "another request with this id or progress token is in flight")
        }
    }
}

fn ended_early(id: &RequestId, answer: Result<Answer, oneshot::error::RecvError>) -> Stop {
    match answer {
        Ok(Answer::Failed(error)) => Stop::Reply(Reply::upstream(Some(id), &error)),
        // A server cannot answer what it was not sent, and such an answer is nobody's.
        Ok(Answer::Message(_)) => {
            let error = UpstreamError::Malformed("it answered before it was asked".into());
            Stop::Reply(Reply::upstream(Some(id), &error))
        }
        Ok(Answer::Cancelled) | Err(_) => Stop::Silent,
    }
}

/// The era of a message that declares none, on a connection that has spoken `era`.
pub(crate) fn era_of(message: &Message, header: Option<&str>, era: Era) -> Result<Era, Refusal> {
    Era::of(message, header).map(|declared| declared.unwrap_or(era))
}

/// Whether a modern request declares the tasks extension among its client's capabilities.
fn handles_tasks(message: &Message) -> bool {
    message
        .meta("io.modelcontextprotocol/clientCapabilities")
        .and_then(|capabilities| capabilities.get("extensions")?.get("io.modelcontextprotocol/tasks"))
        .is_some()
}

/// What a request would do and its id, if it is one that is ever forwarded.
fn known(message: &Message, era: Era) -> Result<(mcp::Operation, RequestId), Stop> {
    let operation =
        mcp::Operation::of(message, Sender::Client, era).map_err(|refusal| Stop::refused(&refusal))?;
    let Some(id) = message.id().cloned() else {
        return Err(Stop::refused(
            &Problem::Shape("`method` without `id` where a request was expected").into(),
        ));
    };
    if !operation.is_known() {
        let problem = Problem::UnknownMethod { method: operation.sent().into() };
        return Err(Stop::refused(&Refusal { id: Some(id), problem }));
    }
    Ok((operation, id))
}
