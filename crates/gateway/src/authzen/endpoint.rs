//! The endpoints and the metadata, apart from the transport.

use std::collections::BTreeSet;
use std::sync::Arc;

use cordon_core::cbor::Cbor;
use cordon_core::json::{self, Node, quote};
use cordon_core::{ApprovalId, Digest, Limits, ObligationKind, Verdict};
use cordon_guard::{ActivePolicies, Asking, Guard, Ungranted, Weighed};

use super::page::Page;
use super::parse::{Evaluation, InvalidEvaluation, Properties, Reading, batch, evaluation, optional};
use super::reply;
use super::requests::{self, Problem, Requests};
use super::search::{Search, Sought};
use crate::{Answer, Caller, CallerRole, Mismatch};

/// Most evaluations in one batch.
const BATCH_MAX: usize = 256;
/// Most candidates that one search judges; the rest is on the next page.
const JUDGED_MAX: usize = 10_000;
/// After how many judgements in a row others get a turn.
const TURN: usize = 64;

/// The profiles that are followed, each at the draft that was read.
const CAPABILITIES: &[&str] =
    &["urn:cordon:authzen:access-request:draft-1", "urn:cordon:authzen:obligations:draft-1"];

/// Serves decisions of one guard; cheap to clone.
#[derive(Debug, Clone)]
pub struct Endpoint {
    guard: Guard,
    /// Requests for access; none where nobody could send one.
    requests: Option<Arc<Requests>>,
}

/// A judgement and the members that go with it.
struct Told {
    weighed: Weighed,
    more: String,
}

/// How a batch ends early (AuthZEN §7.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Semantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

/// Why there is no judgement.
#[derive(Debug, thiserror::Error)]
enum Unjudged {
    #[error(transparent)]
    Malformed(#[from] InvalidEvaluation),
    #[error(transparent)]
    Identity(#[from] Mismatch),
    #[error("{0}")]
    Unrecorded(String),
}

impl Unjudged {
    fn status(&self) -> (u16, &'static str) {
        match self {
            Self::Malformed(_) => (400, "malformed"),
            Self::Identity(_) => (403, "identity"),
            Self::Unrecorded(_) => (500, "unavailable"),
        }
    }

    fn answer(&self) -> Answer {
        let (status, code) = self.status();
        Answer::error(status, code, &self.to_string())
    }
}

impl Endpoint {
    /// Decisions of this guard.
    pub fn new(guard: Guard) -> Self {
        Self { guard, requests: None }
    }

    /// Decisions of this guard on a node that is reached at `origin`, where callers may ask a person.
    pub fn at(guard: Guard, origin: &str) -> Self {
        Self { guard, requests: Requests::new(origin).map(Arc::new) }
    }

    /// `POST /access/v1/evaluation`.
    pub async fn evaluation(&self, body: &[u8], caller: &Caller) -> Answer {
        match read(body) {
            Ok(node) => self.one(members(&node), caller).await,
            Err(answer) => answer,
        }
    }

    /// `POST /access/v1/evaluations`: several at once under the same policies, or one when there is no
    /// array. What cannot be judged is a denial in its place.
    pub async fn evaluations(&self, body: &[u8], caller: &Caller) -> Answer {
        let node = match read(body) {
            Ok(node) => node,
            Err(answer) => return answer,
        };
        let (all, semantic) = match batch(&node).and_then(|all| Ok((all, semantic(&node)?))) {
            Ok((None, _)) => return self.one(members(&node), caller).await,
            Ok((Some(all), semantic)) => (all, semantic),
            Err(error) => return Unjudged::from(error).answer(),
        };
        if all.len() > BATCH_MAX {
            let message = format!("a batch holds at most {BATCH_MAX} evaluations, got {}", all.len());
            return Answer::error(413, "limit", &message);
        }
        let policies = self.guard.policies();
        let mut judged = Vec::with_capacity(all.len());
        for (at, members) in all.into_iter().enumerate() {
            let weighed = self.weigh(members, caller, &policies);
            let allowed = weighed.as_ref().is_ok_and(|told| told.weighed.told().verdict == Verdict::Allow);
            // Records are handed over in order and become durable together.
            judged.push(weighed.map(|told| (self.guard.note(&policies, &told.weighed), told)));
            match (semantic, allowed) {
                (Semantic::DenyOnFirstDeny, false) | (Semantic::PermitOnFirstPermit, true) => break,
                _ => {}
            }
            turn(at).await;
        }
        let mut answers = Vec::with_capacity(judged.len());
        for judged in judged {
            let told = match judged {
                Ok((record, told)) => match record.await {
                    Ok(receipt) => Ok(told.answer(&receipt)),
                    Err(down) => Err(Unjudged::Unrecorded(down.to_string())),
                },
                Err(error) => Err(error),
            };
            answers.push(told.unwrap_or_else(|error| reply::failed(error.status().0, &error.to_string())));
        }
        Answer { status: 200, body: format!(r#"{{"evaluations":[{}]}}"#, answers.join(",")) }
    }

    /// `POST /access/v1/search/{subject,resource,action}`: each candidate judged as an evaluation of it
    /// would be; each that is told is on record first.
    pub async fn search(&self, sought: Sought, body: &[u8], caller: &Caller) -> Answer {
        let node = match read(body) {
            Ok(node) => node,
            Err(answer) => return answer,
        };
        self.found(sought, &node, caller).await.unwrap_or_else(|error| error.answer())
    }

    async fn found(&self, sought: Sought, node: &Node, caller: &Caller) -> Result<Answer, Unjudged> {
        let policies = self.guard.policies();
        let page = Page::read(node, query(sought, node, caller, &policies))?;
        let reading =
            Reading { policies: &policies.set, tenant: &caller.tenant, properties: counting(caller) };
        let search = Search::read(sought, node, reading)?;
        let candidates = search.candidates();
        let mut found = Vec::new();
        let mut next = None;
        for (judged, (at, candidate)) in candidates.iter().enumerate().skip(page.start).enumerate() {
            if judged >= JUDGED_MAX {
                next = Some(at);
                break;
            }
            let mut request = search.request(candidate)?;
            request.chain = caller.speaks_for(request.chain)?;
            let weighed = self.guard.weigh(&policies, request, carried_out(search.supported.clone()));
            if weighed.judgement.verdict == Verdict::Allow {
                if found.len() == page.limit {
                    next = Some(at);
                    break;
                }
                found.push((candidate, self.guard.note(&policies, &weighed), weighed));
            }
            turn(judged).await;
        }
        let mut results = Vec::with_capacity(found.len());
        for (candidate, record, weighed) in found {
            record.await.map_err(|down| Unjudged::Unrecorded(down.to_string()))?;
            let due = reply::due(&weighed.judgement);
            results.push(format!("{{{}{due}}}", search.result(candidate)));
        }
        let token = next.map(|at| page.token(at)).unwrap_or_default();
        let shown = match page.asked || next.is_some() {
            true => format!(r#""page":{{"next_token":{},"count":{}}},"#, quote(&token), results.len()),
            false => String::new(),
        };
        let context = format!(
            r#"{{"searched":{},"candidates":{},"bundle":{}}}"#,
            quote(search.looked_in()),
            candidates.len(),
            quote(&policies.set.digest().to_string()),
        );
        let body = format!(r#"{{{shown}"context":{context},"results":[{}]}}"#, results.join(","));
        Ok(Answer { status: 200, body })
    }

    /// `GET /.well-known/authzen-configuration` for a node that is reached at `origin`.
    pub fn configuration(origin: &str) -> String {
        let origin = origin.trim_end_matches('/');
        let at = |path: &str| quote(&format!("{origin}{path}"));
        let searches = Sought::ALL.map(|sought| {
            let word = sought.as_str();
            format!(r#","search_{word}_endpoint":{}"#, at(&format!("/access/v1/search/{word}")))
        });
        let texts = |texts: &[&str]| texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(",");
        format!(
            r#"{{"policy_decision_point":{},"access_evaluation_endpoint":{},"access_evaluations_endpoint":{}{},"access_request_endpoint":{},"capabilities":[{}],"supported_obligations":[{}]}}"#,
            at(""),
            at("/access/v1/evaluation"),
            at("/access/v1/evaluations"),
            searches.concat(),
            at(requests::PATH),
            texts(CAPABILITIES),
            texts(ObligationKind::NAMES),
        )
    }

    async fn one(&self, members: [Option<&Node>; 4], caller: &Caller) -> Answer {
        let policies = self.guard.policies();
        let told = match self.weigh(members, caller, &policies) {
            Ok(told) => told,
            Err(error) => return error.answer(),
        };
        match self.guard.note(&policies, &told.weighed).await {
            Ok(receipt) => Answer { status: 200, body: told.answer(&receipt) },
            Err(down) => Unjudged::Unrecorded(down.to_string()).answer(),
        }
    }

    fn weigh(
        &self,
        members: [Option<&Node>; 4],
        caller: &Caller,
        policies: &ActivePolicies,
    ) -> Result<Told, Unjudged> {
        let (mut weighed, approval) = self.judge(members, caller, policies)?;
        let Some(requests) = &self.requests else { return Ok(Told { weighed, more: String::new() }) };
        let (exact, arguments) = requests::exact(members);
        let requester = caller.key();
        let asking = Asking { requester: &requester, exact: &exact, arguments: &arguments };
        let step = match approval.map(|id| self.guard.spend_grant(&mut weighed, id, asking)) {
            Some(Err(Ungranted::Store(down))) => return Err(Unjudged::Unrecorded(down.to_string())),
            Some(Err(why)) => Some(requests::next(&why)),
            Some(Ok(())) if weighed.told().verdict == Verdict::Deny => Some(("policy_denied", "none")),
            Some(Ok(())) => None,
            None if weighed.judgement.verdict == Verdict::Ask => Some(("approval_required", "request")),
            None => None,
        };
        let mut more = step.map(|(reason, action)| requests::steps(reason, action)).unwrap_or_default();
        if step.is_some_and(|(_, action)| action == "request") {
            more.push_str(&requests.hint(weighed.binding(asking), self.guard.now()));
        }
        Ok(Told { weighed, more })
    }

    /// The judgement alone, and the grant that is shown for it.
    fn judge(
        &self,
        members: [Option<&Node>; 4],
        caller: &Caller,
        policies: &ActivePolicies,
    ) -> Result<(Weighed, Option<ApprovalId>), Unjudged> {
        let Evaluation { mut request, supported, approval } =
            evaluation(members, &policies.set, &caller.tenant, counting(caller))?;
        request.chain = caller.speaks_for(request.chain)?;
        let supported = carried_out(supported.unwrap_or_default());
        Ok((self.guard.weigh(policies, request, supported), approval))
    }

    /// `POST /access/v1/requests`: asks a person, after a denial that said that this is possible.
    pub async fn request_access(&self, body: &[u8], caller: &Caller) -> Answer {
        match self.ask(body, caller).await {
            Ok(answer) => answer,
            Err((problem, detail)) => problem.answer(&detail),
        }
    }

    async fn ask(&self, body: &[u8], caller: &Caller) -> Result<Answer, (Problem, String)> {
        let plain = |problem: Problem, detail: &str| (problem, detail.to_owned());
        let requests = self.requests.as_ref();
        let requests = requests.ok_or_else(|| plain(Problem::UnknownTask, "this node takes no requests"))?;
        let node =
            json::parse(body, &Limits::DEFAULT).map_err(|error| (Problem::Malformed, error.to_string()))?;
        if node.get("items").is_some() {
            return Err(plain(Problem::Malformed, "`items`: one request for access at a time"));
        }
        let members = members(&node);
        let policies = self.guard.policies();
        let judged = self.judge(members, caller, &policies);
        let (weighed, _) = judged.map_err(|error| (Problem::Malformed, error.to_string()))?;
        if weighed.judgement.verdict != Verdict::Ask {
            let detail = format!("nobody's approval is due: the verdict is {}", weighed.judgement.verdict);
            return Err((Problem::NotRequestable, detail));
        }
        let (exact, arguments) = requests::exact(members);
        let requester = caller.key();
        let asking = Asking { requester: &requester, exact: &exact, arguments: &arguments };
        let token = node.select("/denial/binding_token");
        let token = token.first().and_then(|token| token.as_text()).unwrap_or_default();
        requests.check(token, weighed.binding(asking), self.guard.now()).map_err(|problem| {
            plain(problem, "`denial.binding_token` is not that of this denial; evaluate it again")
        })?;
        Ok(match self.guard.request_access(&policies, &weighed, asking).await {
            Ok(approval) => Answer { status: 202, body: requests.task(&approval) },
            Err(error @ cordon_guard::GuardError::TooManyWaiting(_)) => {
                Answer::error(429, "limit", &error.to_string())
            }
            Err(error) => Answer::error(500, "unavailable", &error.to_string()),
        })
    }

    /// `GET /access/v1/requests/{id}`: how far a request of this caller got.
    pub fn requested(&self, id: &str, caller: &Caller) -> Answer {
        let known = id.parse().ok().and_then(|id| self.guard.requested(id, &caller.key()).ok());
        match (&self.requests, known) {
            (Some(requests), Some(approval)) => Answer { status: 200, body: requests.task(&approval) },
            _ => Problem::UnknownTask.answer("no request of this caller has this name"),
        }
    }
}

impl Told {
    fn answer(&self, receipt: &cordon_ledger::Receipt) -> String {
        reply::judged_with(&self.weighed.told(), Some(receipt), &self.more)
    }
}

/// Which of the caller's properties count.
fn counting(caller: &Caller) -> Properties {
    match caller.role {
        CallerRole::Pep => Properties::All,
        CallerRole::Operator | CallerRole::Agent => Properties::Asserted,
    }
}

/// What is carried out for an enforcement point that carries out these. "A person must approve" needs
/// nothing of it: it is answered with a no.
fn carried_out(mut supported: BTreeSet<&'static str>) -> BTreeSet<&'static str> {
    supported.insert("approve");
    supported
}

/// What a page's token is bound to.
fn query(sought: Sought, node: &Node, caller: &Caller, policies: &ActivePolicies) -> Digest {
    let member = |name| node.get(name).map_or(Cbor::Null, |node: &Node| Cbor::from(&*node.canonical()));
    let parts = Cbor::Array(vec![
        "cordon/search/v1".into(),
        sought.as_str().into(),
        (&*caller.tenant).into(),
        Cbor::bytes(*policies.set.digest().as_bytes()),
        member("subject"),
        member("action"),
        member("resource"),
        member("context"),
    ]);
    Digest::of(&parts.encode())
}

fn semantic(node: &Node) -> Result<Semantic, InvalidEvaluation> {
    let options = optional(node.get("options"), "options")?;
    let Some(word) = options.and_then(|options| options.get("evaluations_semantic")) else {
        return Ok(Semantic::ExecuteAll);
    };
    match word.as_text() {
        Some("execute_all") => Ok(Semantic::ExecuteAll),
        Some("deny_on_first_deny") => Ok(Semantic::DenyOnFirstDeny),
        Some("permit_on_first_permit") => Ok(Semantic::PermitOnFirstPermit),
        _ => super::parse::wrong(
            "options.evaluations_semantic",
            "`execute_all`, `deny_on_first_deny` or `permit_on_first_permit`",
        ),
    }
}

/// Lets others go on now and then.
async fn turn(judged: usize) {
    if judged % TURN == TURN - 1 {
        tokio::task::yield_now().await;
    }
}

fn read(body: &[u8]) -> Result<Node, Answer> {
    let malformed = |message: &str| Answer::error(400, "malformed", message);
    let node = json::parse(body, &Limits::DEFAULT).map_err(|error| malformed(&error.to_string()))?;
    if node.is_object() { Ok(node) } else { Err(malformed("expected an object")) }
}

fn members(node: &Node) -> [Option<&Node>; 4] {
    ["subject", "action", "resource", "context"].map(|name| node.get(name))
}
