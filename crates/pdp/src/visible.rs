//! What a caller may see: what some arguments could make possible.

use std::collections::BTreeSet;

use cordon_core::{Capability, Facts, Request, Timestamp};

use crate::PolicySet;
use crate::decide::{Assessment, asked, assess, refusals};
use crate::engine::Outcome;
use crate::restraint::restraints;
use crate::rule::{Body, Rule};

/// Whether the request could be allowed or held with some arguments; what it has in
/// `context.args` is not looked at.
///
/// A rule that mentions the arguments counts in favour: a permission as soon as its scope holds, a
/// prohibition, an obligation or a guard not at all.
pub fn could_allow(policies: &PolicySet, request: &Request, facts: &Facts, now: Timestamp) -> bool {
    if !restraints(request, facts).is_empty() {
        return false;
    }
    let mut request = request.clone();
    request.context.args.clear();
    let covered = |token: &Capability| token.unmet_by_any(&request, facts, now).is_none();
    if !facts.capability.as_ref().is_none_or(covered) {
        return false;
    }
    let scopes = asked(policies, &request, facts, now, |asked| asked.scopes());
    let assessment = assess(policies, &request, facts, now);
    let could = |scopes: Vec<_>| Ok(could_allow_some(&assessment?, &scopes, policies, &request, facts));
    scopes.and_then(could).unwrap_or(false)
}

fn could_allow_some(
    assessment: &Assessment<'_>,
    scopes: &[BTreeSet<usize>],
    policies: &PolicySet,
    request: &Request,
    facts: &Facts,
) -> bool {
    let demand = policies.inner().principals.demand(&request.action);
    if !refusals(policies, request, &demand).is_empty() {
        return false;
    }
    if !policies.inner().guards.could_pass(&assessment.guards, facts) {
        return false;
    }
    assessment.principals().zip(scopes).all(|((person, outcomes), scopes)| {
        let mut permitted = false;
        for (place, rule) in policies.inner().rules.iter().enumerate() {
            let outcome = outcomes.of(place).unwrap_or(&Outcome::NotSatisfied);
            let free = mentions_arguments(rule);
            match &rule.body {
                Body::Permission if free => permitted |= scopes.contains(&place),
                Body::Permission => permitted |= matches!(outcome, Outcome::Satisfied | Outcome::Rows(_)),
                // A prohibition of some rows leaves others.
                _ if free || matches!(outcome, Outcome::NotSatisfied | Outcome::Rows(_)) => {}
                Body::Obligation(kind) if *outcome == Outcome::Satisfied => {
                    if !facts.supported.contains(kind.name()) {
                        return false;
                    }
                }
                Body::Obligation(_) | Body::Prohibition => return false,
            }
        }
        permitted || !demand.counts(person.roles())
    })
}

/// Whether what a rule says could depend on the arguments; the risk does.
fn mentions_arguments(rule: &Rule) -> bool {
    let mut paths = rule.mentions.context.iter();
    paths.any(|path| path.first().is_none_or(|first| matches!(&**first, "args" | "risk" | "preconditions")))
}
