//! Asking the guard: one message, one decision, held calls awaited.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use cordon_core::json::{self, Node, quote};
use cordon_core::{Action, Ambiguity, ExactBytes, Limits, Reason, Record, Resource, Value, Verdict};
use cordon_guard::{Attempt, Operation, Outcome, Permit, Trace};
use cordon_ledger::Receipt;
use cordon_wire::mcp::{self, Message, Problem, Refusal, RequestId, reply};
use cordon_workflow::Progress;
use tokio::time::{Instant, sleep_until};

use super::Inner;
use crate::mcp::outlet::Outlet;
use crate::mcp::upstream::UpstreamError;

/// An answer to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// The HTTP status that goes with them.
    pub status: u16,
}

impl Reply {
    pub(crate) fn ok(bytes: Vec<u8>) -> Self {
        Self { bytes, status: 200 }
    }

    /// The refusal of a message that cannot be understood.
    pub fn refused(refusal: &Refusal) -> Self {
        Self { bytes: reply::refused(refusal), status: refusal.http_status() }
    }

    pub(crate) fn upstream(id: Option<&RequestId>, error: &UpstreamError) -> Self {
        let status = match error {
            UpstreamError::Status(status @ (404 | 405)) => *status,
            _ => 200,
        };
        Self { bytes: reply::error(id, reply::UPSTREAM, &error.to_string(), None), status }
    }

    pub(crate) fn gone() -> Self {
        Self::upstream(None, &UpstreamError::Gone("the request was given up".into()))
    }
}

/// Why a request goes no further.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Nobody waits for an answer.
    Silent,
    /// This is the answer.
    Reply(Reply),
}

impl Stop {
    pub(crate) fn refused(refusal: &Refusal) -> Self {
        Self::Reply(Reply::refused(refusal))
    }

    pub(crate) fn invalid(id: Option<&RequestId>, text: &str) -> Self {
        Self::Reply(Reply { bytes: reply::error(id, reply::INVALID_PARAMS, text, None), status: 200 })
    }

    /// A task is asked for by a client that does not declare that it can handle tasks.
    pub(crate) fn tasks_undeclared(id: &RequestId) -> Self {
        let text = "the request does not declare the extension `io.modelcontextprotocol/tasks`";
        let data = r#"{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;
        let bytes = reply::error(Some(id), reply::MISSING_CAPABILITY, text, Some(data));
        Self::Reply(Reply { bytes, status: 400 })
    }

    pub(crate) fn unavailable(id: Option<&RequestId>, text: &str) -> Self {
        let text = format!("Cordon could not judge this, so it did not happen: {text}.");
        Self::Reply(Reply { bytes: reply::error(id, reply::UNAVAILABLE, &text, None), status: 200 })
    }

    pub(crate) fn denied(id: Option<&RequestId>, action: &str, denial: &cordon_guard::Denial) -> Self {
        let judgement = &denial.judgement;
        let told = Told {
            action,
            verdict: Verdict::Deny,
            reasons: &judgement.reasons,
            receipt: denial.receipt.as_ref(),
        };
        Self::Reply(told.reply(id, &denial.to_string(), judgement.bundle, None))
    }

    pub(crate) fn held(id: Option<&RequestId>, action: &str, held: &cordon_guard::Held) -> Self {
        let judgement = &held.judgement;
        let told = Told {
            action,
            verdict: Verdict::Ask,
            reasons: &judgement.reasons,
            receipt: held.receipt.as_ref(),
        };
        let approval = (held.approval.to_string(), held.expires.to_string());
        Self::Reply(told.reply(id, &held.to_string(), judgement.bundle, Some(&approval)))
    }

    pub(crate) fn into_reply(self) -> Option<Reply> {
        match self {
            Self::Silent => None,
            Self::Reply(reply) => Some(reply),
        }
    }
}

struct Told<'t> {
    action: &'t str,
    verdict: Verdict,
    reasons: &'t [Reason],
    receipt: Option<&'t Receipt>,
}

impl Told<'_> {
    fn reply(
        &self,
        id: Option<&RequestId>,
        text: &str,
        bundle: cordon_core::Digest,
        approval: Option<&(String, String)>,
    ) -> Reply {
        let entry = self.receipt.map(|receipt| receipt.id.to_string());
        let level = self.receipt.map(|receipt| receipt.level.as_str()).unwrap_or_default();
        let index = self.receipt.and_then(|receipt| receipt.index);
        let denial = reply::Denial {
            text,
            verdict: self.verdict,
            action: self.action,
            reasons: self.reasons,
            bundle: Some(bundle),
            entry: entry.as_deref().map(|id| reply::Entry { id, level, index }),
            approval: approval.map(|(id, expires)| reply::Approval { id, expires }),
        };
        let code = if self.verdict == Verdict::Ask { reply::HELD } else { reply::DENIED };
        Reply::ok(match id {
            Some(id) => reply::denied(id, &denial),
            None => reply::error(None, code, text, Some(&denial.data())),
        })
    }
}

/// What the guard is asked about one message of the protocol.
#[derive(Debug)]
pub(super) struct Question<'m> {
    action: Action,
    pub(super) resources: Vec<Resource>,
    args: Record,
    arguments: Option<Cow<'m, Node>>,
    ambiguous: BTreeSet<Ambiguity>,
}

/// The arguments of a call that has none.
static NOTHING: LazyLock<Option<Node>> = LazyLock::new(|| json::parse(b"{}", &Limits::DEFAULT).ok());

/// Parameters that do not say what a message asks for.
const ASIDE: &[&str] = &["_meta", "inputResponses", "requestState"];

impl<'m> Question<'m> {
    /// What `operation`, carried by these parameters (which stand in `bytes`), is to the policies.
    pub(super) fn of(
        inner: &Inner,
        operation: &mcp::Operation,
        params: Option<&'m Node>,
        bytes: &[u8],
        look_alikes: bool,
    ) -> Result<Self, Problem> {
        let action = operation
            .action(inner.name())
            .map_err(|_| Problem::UnknownMethod { method: operation.sent().into() })?;
        let arguments = params.map(|params| aside(params, bytes));
        let args = match arguments.as_deref().and_then(Value::from_json) {
            Some(Value::Record(record)) => record,
            _ => Record::new(),
        };
        let mut ambiguous = BTreeSet::new();
        if look_alikes {
            ambiguous.insert(Ambiguity::Unparsed);
        }
        let resources = operation.resources(inner.name(), &inner.caller.tenant);
        Ok(Self { action, resources, args, arguments, ambiguous })
    }

    /// The question about one of its resources.
    pub(super) fn about(&self, resource: &Resource) -> Operation<'_> {
        Operation::Message {
            action: self.action.clone(),
            resource: resource.clone(),
            args: self.args.clone(),
            arguments: self.arguments.as_deref(),
            ambiguous: self.ambiguous.clone(),
        }
    }

    pub(super) fn action(&self) -> &str {
        self.action.name().as_str()
    }
}

/// The parameters without what differs each time the same is asked for.
fn aside<'m>(params: &'m Node, bytes: &[u8]) -> Cow<'m, Node> {
    if !params.members().iter().any(|(name, _)| ASIDE.contains(&&**name)) {
        return Cow::Borrowed(params);
    }
    let mut text = String::from("{");
    for (name, member) in params.members().iter().filter(|(name, _)| !ASIDE.contains(&&**name)) {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&quote(name));
        text.push(':');
        text.push_str(std::str::from_utf8(member.raw(bytes)).unwrap_or_default());
    }
    text.push('}');
    // What was read once within the limits is read again; the whole would only be judged more widely.
    json::parse(text.as_bytes(), &Limits::DEFAULT).map_or(Cow::Borrowed(params), Cow::Owned)
}

/// The arguments of a `tools/call`.
pub(super) fn arguments(message: &Message) -> Option<&Node> {
    message.arguments().or_else(|| NOTHING.as_ref())
}

/// The trace that a message says it belongs to.
pub(super) fn trace(message: &Message) -> Trace {
    message.meta("traceparent").and_then(Node::as_text).and_then(Trace::parse).unwrap_or_default()
}

/// Who waits while a call is held, and how it is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting<'w> {
    /// The request to answer; none for what is not answered.
    pub(super) id: Option<&'w RequestId>,
    /// The action, for the answer.
    pub(super) action: &'w str,
    /// Where the request came from, in a trace.
    pub(super) trace: Trace,
    /// The token and the way for progress.
    pub(super) progress: Option<(&'w str, &'w Outlet)>,
}

impl Inner {
    /// Has one operation judged. A held one waits for its approval, as long as the door waits.
    pub(super) async fn judge<C: ExactBytes>(
        &self,
        operation: Operation<'_>,
        mut call: C,
        waiting: Waiting<'_>,
    ) -> Result<Permit<C>, Stop> {
        let Waiting { id, action, trace, .. } = waiting;
        let deadline = Instant::now().checked_add(self.limits().hold).unwrap_or_else(Instant::now);
        loop {
            let session = self.session().await.map_err(|error| Stop::unavailable(id, &error.to_string()))?;
            let attempt = Attempt {
                session: session.id,
                operation: operation.clone(),
                trace,
                parent: None,
                confidence: None,
            };
            let held = match self.guard.authorize(attempt, call).await {
                Outcome::Permitted(permit) => return Ok(permit),
                Outcome::Denied(denial) => return Err(Stop::denied(id, action, &denial)),
                Outcome::Held(held, back) => {
                    call = back;
                    held
                }
            };
            match self.wait(&held, deadline, waiting).await {
                Some(Progress::Granted { .. }) => {}
                Some(Progress::Refused { by }) => {
                    let text = format!("{held} It was refused by `{by}`: do not send it again.");
                    return Err(Stop::Reply(Reply::ok(reply::error(id, reply::DENIED, &text, None))));
                }
                // Not settled in time, or settled in a way that lets nothing run.
                _ => return Err(Stop::held(id, action, &held)),
            }
        }
    }

    /// Waits until the approval is settled or the deadline passes.
    async fn wait(
        &self,
        held: &cordon_guard::Held,
        deadline: Instant,
        waiting: Waiting<'_>,
    ) -> Option<Progress> {
        let settled = self.guard.settled(held.approval);
        tokio::pin!(settled);
        let every = self.limits().progress_every;
        let mut ticks =
            tokio::time::interval_at(Instant::now(), every.max(std::time::Duration::from_millis(10)));
        let mut count = 0u64;
        loop {
            tokio::select! {
                biased;
                approval = &mut settled => return approval.ok().map(|approval| approval.progress),
                () = sleep_until(deadline) => return None,
                _ = ticks.tick() => {
                    if let Some((token, outlet)) = waiting.progress {
                        count = count.saturating_add(1);
                        let text = format!("waiting for approval {} until {}", held.approval, held.expires);
                        outlet.offer(reply::progress(token, count, None, &text));
                    }
                }
            }
        }
    }

    /// Whether the operation could be allowed or held; nothing is recorded.
    pub(super) fn could_allow(&self, operation: Operation<'_>) -> bool {
        let session = self.session.read().unwrap_or_else(std::sync::PoisonError::into_inner).id;
        self.guard.could_allow(&Attempt {
            session,
            operation,
            trace: Trace::default(),
            parent: None,
            confidence: None,
        })
    }
}
