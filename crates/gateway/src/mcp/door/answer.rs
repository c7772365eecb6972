//! A server's answer, from its bytes to what the client gets.

use std::sync::Arc;

use cordon_core::json::Node;
use cordon_core::{Obligation, ObligationKind, join_obligations};
use cordon_guard::{Pending, Release, ResultKind, ResultSeen};
use cordon_wire::mcp::{
    Era, ListKind, Message, Method, Operation, Outcome, RequestId, Target, Version, reply,
};

use super::flights::Ticket;
use super::judge::{Question, Waiting};
use super::request::state_key;
use super::{Inner, Reply, Stop, log};
use crate::mcp::redact::Veil;
use crate::mcp::server::{self, Owed};
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
        let Some(mut pending) = ticket.land() else { return Err(Stop::Silent) };
        let entry = pending.receipt().id;
        let owed = me.owed(landed, &mut pending);
        let landed = &Landed { obligations: &owed.obligations, ..*landed };
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
            Outcome::Task { result, .. } => seen_of_task(answer.bytes(), *result),
            // Not the result itself: no output schema describes it.
            Outcome::InputRequired { .. } => {
                ResultSeen { bytes: answer.bytes(), structured: None, kind: ResultKind::Interim }
            }
            Outcome::Error { .. } => {
                ResultSeen { bytes: answer.bytes(), structured: None, kind: ResultKind::Error }
            }
        };
        if let Release::Withhold { why } = pending.observe(seen) {
            return Err(withheld(id, &why, &entry.to_string()));
        }
        me.decide_embedded(landed, &outcome, &owed, &entry.to_string()).await?;
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

    /// What an answer owes: to its own request, and if it is about a task, to the call that made it.
    fn owed(&self, landed: &Landed<'_>, pending: &mut Pending) -> Arc<Owed> {
        let session = self.session.read().unwrap_or_else(std::sync::PoisonError::into_inner).id;
        let earlier = match landed.operation.target() {
            Target::Task(task) => self.server.tasks.owed(task, session),
            _ => None,
        };
        let Some(earlier) = earlier else {
            return Arc::new(Owed { terms: pending.terms(), obligations: landed.obligations.into() });
        };
        if let Some(terms) = &earlier.terms {
            pending.adopt(terms);
        }
        if landed.obligations.is_empty() {
            return earlier;
        }
        let both = landed.obligations.iter().chain(&*earlier.obligations).cloned();
        Arc::new(Owed { terms: earlier.terms.clone(), obligations: join_obligations(both).into() })
    }

    /// Decides everything that a result asks of the client; one refusal refuses the result.
    async fn decide_embedded(
        &self,
        landed: &Landed<'_>,
        outcome: &Outcome<'_>,
        owed: &Arc<Owed>,
        entry: &str,
    ) -> Result<(), Stop> {
        let Landed { message, operation, id, .. } = *landed;
        let session = self.session.read().unwrap_or_else(std::sync::PoisonError::into_inner).id;
        let now = self.guard.now();
        if let Outcome::Task { id: task, .. } = outcome {
            let fits = match operation.target() {
                Target::Task(asked) => **asked == **task,
                // A server that gives one call's task to another would let it read and cancel it.
                _ => self.server.tasks.claim(task, session, now, Arc::clone(owed)),
            };
            if !fits {
                return Err(withheld(id, "it names a task of another call", entry));
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
                let spent = permit.spend_along();
                pending.push(spent.map_err(|denial| Stop::denied(Some(id), question.action(), &denial))?);
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
        let unfit = tasks.map_or(&[][..], |tasks| tasks.items()).iter().find_map(|task| {
            let named = task.get("taskId").and_then(|id| id.as_text());
            let own = named.is_some_and(|task| self.server.tasks.owed(task, session).is_some());
            match (own, task.get("result")) {
                (false, _) => Some("it names tasks of other sessions"),
                (true, Some(_)) => Some("it carries a result, which only an answer about its task may bring"),
                (true, None) => None,
            }
        });
        unfit.map_or(Ok(answer), |why| Err(withheld(id, why, "-")))
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

/// An answer that is about a task: the result itself once it carries one.
pub(super) fn seen_of_task<'r>(bytes: &'r [u8], result: Option<&'r Node>) -> ResultSeen<'r> {
    let Some(result) = result else {
        return ResultSeen { bytes, structured: None, kind: ResultKind::Interim };
    };
    let is_error = result.get("isError").and_then(Node::as_bool).unwrap_or_default();
    ResultSeen { bytes, structured: result.get("structuredContent"), kind: ResultKind::of(is_error) }
}

/// Whether an obligation changes or bounds what a result may show.
pub(super) const fn is_about_results(kind: &ObligationKind) -> bool {
    matches!(
        kind,
        ObligationKind::Redact { .. } | ObligationKind::Mask { .. } | ObligationKind::MaxBytes { .. }
    )
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
