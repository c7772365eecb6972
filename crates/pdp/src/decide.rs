//! The decision: one pure function.

use cordon_core::{Facts, Judgement, Reason, ReasonKind, Request, RuleRef, Timestamp, Verdict};

use crate::PolicySet;

/// Judges one request. Same arguments, same judgement, on any machine, in any year.
pub fn decide(policies: &PolicySet, request: &Request, facts: &Facts, now: Timestamp) -> Judgement {
    let _ = (request, facts, now);
    Judgement {
        verdict: Verdict::Deny,
        reasons: vec![Reason {
            kind: ReasonKind::NotPermitted,
            rule: RuleRef::builtin("cordon:no-permit"),
            principal: None,
            message: "no permission is satisfied".into(),
            remedy: None,
        }],
        obligations: Vec::new(),
        bundle: policies.digest(),
    }
}
