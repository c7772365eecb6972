//! What a caller may see: what some arguments could make possible.

use cordon_core::{Facts, Request, Timestamp};

use crate::PolicySet;
use crate::decide::{Assessment, assess, refusals};
use crate::engine::Outcome;
use crate::rule::{Body, Rule};

/// Whether the request could be allowed or held with some arguments; what it has in
/// `context.args` is not looked at.
///
/// A rule that mentions the arguments counts in favour: a permission as soon as its scope holds, a
/// prohibition or obligation not at all.
pub fn could_allow(policies: &PolicySet, request: &Request, facts: &Facts, now: Timestamp) -> bool {
    let mut request = request.clone();
    request.context.args.clear();
    assess(policies, &request, facts, now)
        .is_ok_and(|assessment| could_allow_some(&assessment, policies, &request, facts))
}

fn could_allow_some(assessment: &Assessment, policies: &PolicySet, request: &Request, facts: &Facts) -> bool {
    let inner = policies.inner();
    let demand = inner.principals.demand(&request.action);
    if !refusals(policies, request, &demand).is_empty() {
        return false;
    }
    assessment.principals().all(|(judged, outcomes)| {
        let scopes = inner.engine.scopes(assessment.question(inner, judged)).unwrap_or_default();
        let mut permitted = false;
        for (place, rule) in inner.rules.iter().enumerate() {
            let outcome = outcomes.get(&place).unwrap_or(&Outcome::NotSatisfied);
            let free = mentions_arguments(rule);
            match &rule.body {
                Body::Permission if free => permitted |= scopes.contains_key(&place),
                Body::Permission => permitted |= *outcome == Outcome::Satisfied,
                _ if free || *outcome == Outcome::NotSatisfied => {}
                Body::Obligation(kind) if *outcome == Outcome::Satisfied => {
                    if !facts.supported.contains(kind.name()) {
                        return false;
                    }
                }
                Body::Obligation(_) | Body::Prohibition => return false,
            }
        }
        permitted || !demand.counts(&judged.roles)
    })
}

fn mentions_arguments(rule: &Rule) -> bool {
    let mut paths = rule.mentions.context.iter();
    paths.any(|path| path.first().is_none_or(|first| &**first == "args"))
}
