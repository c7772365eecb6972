//! The routes of the session API, apart from the transport.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;
use cordon_core::json::{self, Node, quote};
use cordon_core::{Duration, Judgement, Limits, SessionId, Verdict};
use cordon_guard::{Attempt, Guard, GuardError, Operation, Outcome, Release, Session, Settled};
use cordon_ledger::{Level, Receipt};
use hyper::Method;

use super::call::{Called, Returned, call, result};
use super::opening::{InvalidBody, read};
use super::running::Running;
use crate::authzen::reply::{entry, members};
use crate::{Answer, Caller};

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The method, in lower case.
    pub method: &'static str,
    /// The path, with parameters in braces.
    pub path: &'static str,
}

/// Every route there is; an agent's credential is enough, and sees its own sessions only.
pub const ROUTES: &[Route] = &[
    Route { method: "post", path: "/v1/sessions" },
    Route { method: "post", path: "/v1/sessions/{id}/calls" },
    Route { method: "post", path: "/v1/sessions/{id}/results" },
    Route { method: "delete", path: "/v1/sessions/{id}" },
];

/// Serves sessions of one guard; cheap to clone.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    guard: Guard,
    running: Running,
}

/// The exact bytes that are judged and that the enforcement point runs.
struct Exact(Vec<u8>);

impl cordon_core::ExactBytes for Exact {
    fn exact_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Endpoint {
    /// Sessions of this guard.
    pub fn new(guard: Guard) -> Self {
        Self(Arc::new(Inner { guard, running: Running::default() }))
    }

    /// Whether a request is for this API.
    pub fn serves(method: &Method, path: &str) -> bool {
        Target::of(method, path).is_some()
    }

    /// Answers one request of an authenticated caller.
    pub async fn answer(&self, method: &Method, path: &str, body: &[u8], caller: &Caller) -> Answer {
        let answered = match Target::of(method, path) {
            None => Err(Answer::error(404, "unknown", "there is nothing here")),
            Some(Target::Sessions) => self.open(body, caller).await,
            Some(Target::Calls(id)) => match self.session(id, caller) {
                Ok(session) => self.call(&session, body).await,
                Err(answer) => Err(answer),
            },
            Some(Target::Results(id)) => {
                self.session(id, caller).and_then(|session| self.result(&session, body))
            }
            Some(Target::Session(id)) => self.session(id, caller).and_then(|session| self.close(&session)),
        };
        answered.unwrap_or_else(|answer| answer)
    }

    /// `POST /v1/sessions`.
    async fn open(&self, body: &[u8], caller: &Caller) -> Result<Answer, Answer> {
        let node = parse(body)?;
        let guard = &self.0.guard;
        let mut opening = read(&node, caller, &guard.policies().set, guard.now()).map_err(refused)?;
        opening.key = Some(key(caller)?);
        let expires = opening.expires;
        let session = guard.open(opening).await.map_err(failed)?;
        let (id, expires) = (quote(&session.id.to_string()), quote(&expires.to_string()));
        Ok(Answer { status: 201, body: format!(r#"{{"session":{id},"expires":{expires}}}"#) })
    }

    /// `POST /v1/sessions/{id}/calls`.
    async fn call(&self, session: &Session, body: &[u8]) -> Result<Answer, Answer> {
        let node = parse(body)?;
        let Called { tool, arguments, confidence, trace } = call(&node).map_err(refused)?;
        if session.opening.tools.as_ref().is_some_and(|tools| !tools.contains(&tool)) {
            let message = format!("the session was opened without the tool `{tool}`");
            return Err(Answer::error(422, "malformed", &message));
        }
        let guard = &self.0.guard;
        if !self.0.running.has_room(guard.now()) {
            return Err(Answer::error(429, "limit", "too many calls have no result yet"));
        }
        let operation = Operation::Described { tool: &tool, arguments };
        let attempt = Attempt { session: session.id, operation, trace, parent: None, confidence };
        let exact = Exact(
            format!(r#"{{"tool":{},"arguments":{}}}"#, quote(tool.as_str()), arguments.canonical())
                .into_bytes(),
        );
        let (id, rest) = match guard.authorize(attempt, exact).await {
            Outcome::Permitted(permit) => {
                let (id, timeout) = (permit.id(), Duration::from_millis(u64::from(permit.timeout_ms())));
                // A grant that was spent turns "ask" into "allow".
                let judgement = Judgement { verdict: Verdict::Allow, ..permit.judgement().clone() };
                let rest = members(&judgement, Some(permit.receipt()));
                match permit.spend_along() {
                    Ok(pending) => {
                        self.0.running.begin(session.id, id, pending, guard.now().plus(timeout));
                        (id, rest)
                    }
                    Err(denial) => (denial.call, members(&denial.judgement, denial.receipt.as_ref())),
                }
            }
            Outcome::Held(held, _) => {
                let (approval, expires) =
                    (quote(&held.approval.to_string()), quote(&held.expires.to_string()));
                let rest = members(&held.judgement, held.receipt.as_ref());
                let approval = format!(r#"{{"id":{approval},"kind":"call","expires":{expires}}}"#);
                (held.call, format!(r#"{rest},"approval":{approval}"#))
            }
            Outcome::Denied(denial) => (denial.call, members(&denial.judgement, denial.receipt.as_ref())),
        };
        Ok(Answer { status: 200, body: format!(r#"{{"call":{},{rest}}}"#, quote(&id.to_string())) })
    }

    /// `POST /v1/sessions/{id}/results`.
    fn result(&self, session: &Session, body: &[u8]) -> Result<Answer, Answer> {
        let node = parse(body)?;
        let Returned { call, seen } = result(&node, body).map_err(refused)?;
        let Some(pending) = self.0.running.end(session.id, call) else {
            let message = format!("no call `{call}` of this session waits for a result");
            return Err(Answer::error(404, "unknown", &message));
        };
        let Settled { release, record, sign } = pending.settle(seen);
        let mut findings: Vec<String> = sign
            .map(|sign| format!(r#"{{"kind":{},"score":{}}}"#, quote(sign.kind.as_str()), sign.score))
            .into_iter()
            .collect();
        let band = match &release {
            Release::Pass if sign.is_some() => "constrain",
            Release::Pass => "pass",
            Release::Withhold { why } => {
                findings.push(format!(r#"{{"kind":"result","message":{}}}"#, quote(why)));
                "block"
            }
        };
        let findings = findings.join(",");
        let entry = record.map_or_else(
            || "null".to_owned(),
            |id| entry(&Receipt { id, level: Level::Accepted, index: None }),
        );
        let body = format!(r#"{{"band":"{band}","labels":[],"findings":[{findings}],"entry":{entry}}}"#);
        Ok(Answer { status: 200, body })
    }

    /// `DELETE /v1/sessions/{id}`.
    fn close(&self, session: &Session) -> Result<Answer, Answer> {
        self.0.guard.close(session.id).map_err(failed)?;
        self.0.running.forget(session.id);
        Ok(Answer { status: 200, body: format!(r#"{{"session":{}}}"#, quote(&session.id.to_string())) })
    }

    /// The open session of this name, if the caller opened it.
    fn session(&self, id: &str, caller: &Caller) -> Result<Session, Answer> {
        let unknown = || Answer::error(404, "unknown", "there is no such session of this caller");
        let id: SessionId = id.parse().map_err(|_| unknown())?;
        let session = match self.0.guard.session(id) {
            Ok(session) => session,
            Err(GuardError::UnknownSession(_)) => return Err(unknown()),
            Err(error) => return Err(failed(error)),
        };
        let own = session.opening.key.as_ref().is_some_and(|key| key.starts_with(&prefix(caller)));
        if !own {
            return Err(unknown());
        }
        if !session.is_open(self.0.guard.now()) {
            self.0.running.forget(id);
            return Err(Answer::error(409, "ended", "the session was closed or has expired; open a new one"));
        }
        Ok(session)
    }
}

/// What a request is about.
enum Target<'p> {
    Sessions,
    Session(&'p str),
    Calls(&'p str),
    Results(&'p str),
}

impl<'p> Target<'p> {
    fn of(method: &Method, path: &'p str) -> Option<Self> {
        let rest = path.strip_prefix("/v1/sessions")?;
        let (id, what) = match rest.strip_prefix('/') {
            None if rest.is_empty() => return (*method == Method::POST).then_some(Self::Sessions),
            None => return None,
            Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
        };
        match (method, what) {
            (&Method::DELETE, "") => Some(Self::Session(id)),
            (&Method::POST, "calls") => Some(Self::Calls(id)),
            (&Method::POST, "results") => Some(Self::Results(id)),
            _ => None,
        }
    }
}

/// What the keys of a caller's sessions begin with: only the caller that opened one may use it.
fn prefix(caller: &Caller) -> String {
    format!("api|{}|", caller.key())
}

/// A key under which nothing else is found.
fn key(caller: &Caller) -> Result<Box<str>, Answer> {
    let mut unique = [0; 16];
    rand::fill(&mut unique).map_err(|_| Answer::error(503, "unavailable", "there is no randomness"))?;
    let unique: String = unique.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}{unique}", prefix(caller)).into())
}

fn parse(body: &[u8]) -> Result<Node, Answer> {
    json::parse(body, &Limits::DEFAULT).map_err(|error| Answer::error(422, "malformed", &error.to_string()))
}

fn refused(error: InvalidBody) -> Answer {
    match error {
        InvalidBody::Identity(_)
        | InvalidBody::Tenant { .. }
        | InvalidBody::Attributes { .. }
        | InvalidBody::Declarer => Answer::error(403, "identity", &error.to_string()),
        _ => Answer::error(422, "malformed", &error.to_string()),
    }
}

fn failed(error: GuardError) -> Answer {
    match error {
        GuardError::Principals => Answer::error(422, "malformed", &error.to_string()),
        GuardError::TooManySessions(_) => Answer::error(429, "limit", &error.to_string()),
        GuardError::UnknownSession(_) => Answer::error(409, "ended", &error.to_string()),
        _ => Answer::error(503, "unavailable", &error.to_string()),
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}
