//! The two evaluation endpoints and the metadata, apart from the transport.

use std::collections::BTreeSet;

use cordon_core::Limits;
use cordon_core::json::{self, Node, quote};
use cordon_guard::Guard;

use super::parse::{Evaluation, Properties, batch, evaluation};
use super::reply;
use crate::{Answer, Caller, CallerRole};

/// Most evaluations in one batch.
const BATCH_MAX: usize = 256;

/// Serves decisions of one guard; cheap to clone.
#[derive(Debug, Clone)]
pub struct Endpoint {
    guard: Guard,
}

/// How a batch ends early (AuthZEN §7.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Semantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Endpoint {
    /// Decisions of this guard.
    pub fn new(guard: Guard) -> Self {
        Self { guard }
    }

    /// `POST /access/v1/evaluation`.
    pub async fn evaluation(&self, body: &[u8], caller: &Caller) -> Answer {
        let node = match read(body) {
            Ok(node) => node,
            Err(answer) => return answer,
        };
        self.one(members(&node), caller).await
    }

    /// `POST /access/v1/evaluations`: several at once, or one when there is no array.
    pub async fn evaluations(&self, body: &[u8], caller: &Caller) -> Answer {
        let node = match read(body) {
            Ok(node) => node,
            Err(answer) => return answer,
        };
        let all = match batch(&node) {
            Ok(None) => return self.one(members(&node), caller).await,
            Ok(Some(all)) => all,
            Err(error) => return Answer::error(400, "malformed", &error.to_string()),
        };
        if all.len() > BATCH_MAX {
            let message = format!("a batch holds at most {BATCH_MAX} evaluations, got {}", all.len());
            return Answer::error(413, "limit", &message);
        }
        let semantic = match node
            .select("/options/evaluations_semantic")
            .first()
            .and_then(|node| node.as_text())
        {
            None | Some("execute_all") => Semantic::ExecuteAll,
            Some("deny_on_first_deny") => Semantic::DenyOnFirstDeny,
            Some("permit_on_first_permit") => Semantic::PermitOnFirstPermit,
            Some(_) => {
                return Answer::error(
                    400,
                    "malformed",
                    "`options.evaluations_semantic`: expected `execute_all`, `deny_on_first_deny` or `permit_on_first_permit`",
                );
            }
        };
        let mut answers = Vec::with_capacity(all.len());
        for members in all {
            let answer = self.one(members, caller).await;
            let (body, allowed) = match answer.status {
                200 => {
                    let allowed = answer.body.starts_with(r#"{"decision":true"#);
                    (answer.body, allowed)
                }
                status => (reply::failed(status, &message(&answer.body)), false),
            };
            answers.push(body);
            match (semantic, allowed) {
                (Semantic::DenyOnFirstDeny, false) | (Semantic::PermitOnFirstPermit, true) => break,
                _ => {}
            }
        }
        Answer { status: 200, body: format!(r#"{{"evaluations":[{}]}}"#, answers.join(",")) }
    }

    /// `GET /.well-known/authzen-configuration` for a node that is reached at `origin`.
    pub fn configuration(origin: &str) -> String {
        let origin = origin.trim_end_matches('/');
        let at = |path: &str| quote(&format!("{origin}{path}"));
        format!(
            r#"{{"policy_decision_point":{},"access_evaluation_endpoint":{},"access_evaluations_endpoint":{}}}"#,
            at(""),
            at("/access/v1/evaluation"),
            at("/access/v1/evaluations"),
        )
    }

    async fn one(&self, members: [Option<&Node>; 4], caller: &Caller) -> Answer {
        let properties = match caller.role {
            CallerRole::Pep => Properties::All,
            CallerRole::Operator | CallerRole::Agent => Properties::Asserted,
        };
        let policies = self.guard.policies();
        let evaluation = match evaluation(members, &policies.set, &caller.tenant, properties) {
            Ok(evaluation) => evaluation,
            Err(error) => return Answer::error(400, "malformed", &error.to_string()),
        };
        let Evaluation { mut request, supported } = evaluation;
        request.chain = match caller.speaks_for(request.chain) {
            Ok(chain) => chain,
            Err(mismatch) => return Answer::error(403, "identity", &mismatch.to_string()),
        };
        let mut supported = supported.unwrap_or_else(BTreeSet::new);
        // "A person must approve" needs nothing of the enforcement point: it is answered with a no.
        supported.insert("approve");
        match self.guard.evaluate(&request, supported).await {
            Ok(evaluated) => {
                Answer { status: 200, body: reply::judged(&evaluated.judgement, Some(&evaluated.receipt)) }
            }
            Err(error) => Answer::error(503, "unavailable", &error.to_string()),
        }
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

fn message(body: &str) -> String {
    let node = json::parse(body.as_bytes(), &Limits::DEFAULT).ok();
    let text = node.as_ref().and_then(|node| node.get("error")?.get("message")?.as_text().map(str::to_owned));
    text.unwrap_or_else(|| "the evaluation could not be judged".to_owned())
}
