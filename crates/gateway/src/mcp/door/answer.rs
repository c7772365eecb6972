//! A server's answer, from its bytes to what the client gets.

use std::sync::Arc;

use cordon_core::{Obligation, ObligationKind};
use cordon_guard::{Release, ResultKind, ResultSeen};
use cordon_wire::mcp::{Era, ListKind, Message, Method, Operation, Outcome, RequestId, Version, reply};

use super::flights::Ticket;
use super::judge::{Question, Waiting};
use super::request::state_key;
use super::{Inner, Reply, Stop, log};
use crate::mcp::redact::Veil;
use crate::mcp::server;
use crate::mcp::upstream::UpstreamError;

/// What an answer answers.
pub(super) struct Landed<'l> {
    pub(super) message: &'l Message,
    pub(super) operation: &'l Operation,
    pub(super) era: Era,
    pub(super) id: &'l RequestId,
    pub(super) obligations: &'l [Obligation],
    pub(super) status: u16,
}

impl Inner {
    /// Observes an answer and gives what the client gets of it.
    pub(super) async fn land(
        me: &Arc<Self>,
        ticket: Ticket,
        landed: &Landed<'_>,
        answer: Message,
    ) -> Result<Reply, Stop> {
        let Landed { operation, era, id, .. } = *landed;
        let Some(pending) = ticket.land() else { return Err(Stop::Silent) };
        let entry = pending.receipt().id;
        let outcome = match Outcome::of(&answer, operation.method(), era) {
            Ok(outcome) => outcome,
            Err(refusal) => {
                pending.failed(cordon_guard::Failure::Malformed);
                let error = UpstreamError::Malformed(refusal.to_string().into());
                return Err(Stop::Reply(Reply::upstream(Some(id), &error)));
            }
        };
        let seen = match &outcome {
            Outcome::Complete { is_error, structured } => {
                ResultSeen { bytes: answer.bytes(), structured: *structured, kind: ResultKind::of(*is_error) }
            }
            // Not the result itself: no output schema describes it.
            Outcome::InputRequired { .. } | Outcome::Task { .. } => {
                ResultSeen { bytes: answer.bytes(), structured: None, kind: ResultKind::Interim }
            }
            Outcome::Error { .. } => {
                ResultSeen { bytes: answer.bytes(), structured: None, kind: ResultKind::Error }
            }
        };
        if let Release::Withhold { why } = pending.observe(seen) {
            return Err(withheld(id, &why, &entry.to_string()));
        }
        me.decide_embedded(landed, &outcome, &entry.to_string()).await?;
        me.learn(operation.method(), &answer);
        let answer = me.filter(landed, answer).await?;
        let answer = me.carry_out(landed, answer).map_err(|why| withheld(id, &why, &entry.to_string()))?;
        let answer = match answer.id() {
            Some(have) if have != id => answer.with_id(id).map_err(|refusal| Stop::refused(&refusal))?,
            _ => answer,
        };
        let status = status_of(landed, &answer);
        Ok(Reply { bytes: answer.into_bytes().into_vec(), status })
    }

    /// Decides everything that a result asks of the client; one refusal refuses the result.
    async fn decide_embedded(
        &self,
        landed: &Landed<'_>,
        outcome: &Outcome<'_>,
        entry: &str,
    ) -> Result<(), Stop> {
        let Landed { message, operation, id, .. } = *landed;
        let session = self.session.read().unwrap_or_else(std::sync::PoisonError::into_inner).id;
        let now = self.guard.now();
        if let Outcome::Task { id: task, .. } = outcome {
            // A server that gives one session's task to another would let it read and cancel it.
            if !self.server.tasks.claim(task, session, now) {
                return Err(withheld(id, "it names a task of another session", entry));
            }
        }
        let mut pending = Vec::with_capacity(outcome.requests().len());
        for embedded in outcome.requests() {
            let unknown = || {
                let text = format!(
                    "it asks for `{}`, which may not be asked for",
                    embedded.operation.sent().escape_debug()
                );
                withheld(id, &text, entry)
            };
            if !embedded.operation.is_known() {
                return Err(unknown());
            }
            let params = embedded.node.get("params");
            let question =
                Question::of(self, &embedded.operation, params, &[], false).map_err(|_| unknown())?;
            let waiting = Waiting {
                id: Some(id),
                action: question.action(),
                trace: super::judge::trace(message),
                progress: None,
            };
            for resource in &question.resources {
                let exact = embedded.node.to_string().into_bytes();
                let permit = self.judge(question.about(resource), exact, waiting).await?;
                pending.push(permit.spend().1);
            }
        }
        if let Outcome::InputRequired { state, .. } = outcome {
            let call = message.call_digest();
            let question = server::Question { call, pending, at: now };
            self.server.questions.ask(session, state_key(*state, call), question);
        } else {
            for pending in pending {
                let _ =
                    pending.observe(ResultSeen { bytes: b"", structured: None, kind: ResultKind::Complete });
            }
        }
        let _ = operation;
        Ok(())
    }

    /// Remembers what an answer settles for the connection.
    fn learn(&self, method: Method, answer: &Message) {
        if method == Method::Initialize
            && answer.result().is_some()
            && let Some(version) = Version::negotiated(answer)
        {
            self.upstream.negotiated(version);
        }
    }

    /// Takes out of a list what the caller may not use.
    async fn filter(&self, landed: &Landed<'_>, answer: Message) -> Result<Message, Stop> {
        let Landed { message, operation, era, id, .. } = *landed;
        if answer.result().is_none() {
            return Ok(answer);
        }
        if operation.method() == Method::ListTasks {
            return self.own_tasks(answer, id);
        }
        let Some(kind) = ListKind::of(operation.method()) else { return Ok(answer) };
        let me = self.me.upgrade().ok_or(Stop::Silent)?;
        Self::filter_list(&me, kind, message, era, id, answer).await
    }

    /// A list of tasks is passed on only if every task in it is this session's.
    fn own_tasks(&self, answer: Message, id: &RequestId) -> Result<Message, Stop> {
        let session = self.session.read().unwrap_or_else(std::sync::PoisonError::into_inner).id;
        let tasks = answer.result().and_then(|result| result.get("tasks"));
        let foreign = tasks.map_or(&[][..], |tasks| tasks.items()).iter().any(|task| {
            !task
                .get("taskId")
                .and_then(|id| id.as_text())
                .is_some_and(|task| self.server.tasks.owns(task, session))
        });
        if foreign { Err(withheld(id, "it names tasks of other sessions", "-")) } else { Ok(answer) }
    }

    /// Carries out the obligations that come after a call.
    fn carry_out(&self, landed: &Landed<'_>, answer: Message) -> Result<Message, String> {
        for obligation in landed.obligations {
            if let ObligationKind::MaxBytes { limit } = obligation.kind
                && answer.bytes().len() as u64 > limit
            {
                return Err(format!("it is larger than the {limit} bytes that may be returned"));
            }
        }
        let veil = Veil::of(landed.obligations);
        if veil.is_empty() {
            return Ok(answer);
        }
        let splice = veil.hide(&answer, &self.limits().message).map_err(|opaque| opaque.to_string())?;
        answer.spliced(&splice).map_err(|refusal| {
            log(format_args!("[{}] a result could not be redacted: {refusal}", self.name()));
            "it could not be redacted".to_owned()
        })
    }
}

pub(super) fn withheld(id: &RequestId, why: &str, entry: &str) -> Stop {
    let text = format!("Cordon withheld the result: {why}. The call itself was made. Ledger entry {entry}.");
    Stop::Reply(Reply::ok(reply::error(Some(id), reply::DENIED, &text, None)))
}

/// The HTTP status of an answer: the server's own, or the one that its error code calls for.
fn status_of(landed: &Landed<'_>, answer: &Message) -> u16 {
    let code = answer.error().and_then(|error| error.get("code")).and_then(cordon_core::json::Node::as_i64);
    match (landed.status, code, landed.era) {
        (200, Some(_), Era::Modern) if landed.operation.method() == Method::Discover => 400,
        (200, Some(reply::METHOD_NOT_FOUND), Era::Modern) => 404,
        (
            200,
            Some(reply::HEADER_MISMATCH | reply::MISSING_CAPABILITY | reply::UNSUPPORTED_VERSION),
            Era::Modern,
        ) => 400,
        (status, ..) => status,
    }
}
