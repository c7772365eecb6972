//! Why a request was judged as it was, rule by rule.

use cordon_core::{Facts, Judgement, Request, Role, RuleRef, Timestamp};

use crate::decide::{asked, assess};
use crate::engine::Outcome;
use crate::nearest::{NearestPermission, nearest};
use crate::person::Person;
use crate::rego::{GuardKind, GuardOutcome, GuardRule};
use crate::rule::{Body, Rule};
use crate::{PolicySet, decide};

/// A judgement and every rule that was looked at for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The judgement.
    pub judgement: Judgement,
    /// One part for each principal of the chain.
    pub principals: Vec<PrincipalExplanation>,
    /// Every guard that could be about the action, in order of file and line.
    pub guards: Vec<RuleExplanation>,
}

/// The rules that were looked at for one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalExplanation {
    /// The principal's part in the chain.
    pub role: Role,
    /// The principal, as `User::"alice"`.
    pub principal: Box<str>,
    /// Every rule whose action scope covers the action, in order of file and line.
    pub rules: Vec<RuleExplanation>,
    /// The permission that came closest, where none is satisfied and one is about the action.
    pub nearest: Option<NearestPermission>,
}

/// What one rule said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleExplanation {
    /// The rule.
    pub rule: RuleRef,
    /// What kind of rule it is.
    pub kind: RuleKind,
    /// What came of it.
    pub outcome: RuleOutcome,
}

/// What a rule does when it is satisfied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleKind {
    /// Permits.
    Permission,
    /// Forbids.
    Prohibition,
    /// Obliges.
    Obligation,
}

/// What came of one rule for one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleOutcome {
    /// Scope and conditions hold.
    Satisfied,
    /// Scope or conditions do not hold.
    NotSatisfied,
    /// It could not be evaluated.
    Error(Box<str>),
    /// It mentions a value that is not known.
    Unknown(Box<str>),
    /// It holds, or cannot be judged, for the rows that satisfy this (`spec/obligations.md`, Rows).
    Rows(Box<str>),
}

/// Judges a request and says what every rule about the action said.
pub fn explain(policies: &PolicySet, request: &Request, facts: &Facts, now: Timestamp) -> Explanation {
    let judgement = decide(policies, request, facts, now);
    let Ok(assessment) = assess(policies, request, facts, now) else {
        return Explanation { judgement, principals: Vec::new(), guards: Vec::new() };
    };
    let places = asked(policies, request, facts, now, |asked| Ok(asked.about())).unwrap_or_default();
    let near = |place: usize, person: &Person<'_>| {
        let found =
            asked(policies, request, facts, now, |asked| Ok(nearest(&asked, place, person.principal)));
        found.ok().flatten()
    };
    let parts = assessment.principals().enumerate().flat_map(|(at, (person, outcomes))| {
        let rules: Vec<_> = places
            .iter()
            .filter_map(|place| Some((policies.inner().rules.get(*place)?, outcomes.of(*place))))
            .filter(|(rule, _)| !rule.at.file.is_empty())
            .map(|(rule, outcome)| rule_explanation(rule, outcome))
            .collect();
        let permits = |rule: &RuleExplanation| {
            rule.kind == RuleKind::Permission && rule.outcome == RuleOutcome::Satisfied
        };
        let nearest = if rules.iter().any(permits) { None } else { near(at, person) };
        let part = move |role| PrincipalExplanation {
            role,
            principal: person.shown().into(),
            rules: rules.clone(),
            nearest: nearest.clone(),
        };
        person.roles().iter().copied().map(part)
    });
    let principals = parts.collect();
    let guards = &policies.inner().guards.rules;
    let outcomes = assessment.guards.iter();
    let guards =
        outcomes.filter_map(|(place, outcome)| Some(guard_explanation(guards.get(*place)?, outcome)));
    Explanation { judgement, principals, guards: guards.collect() }
}

fn rule_explanation(rule: &Rule, outcome: Option<&Outcome>) -> RuleExplanation {
    RuleExplanation {
        rule: rule.at.clone(),
        kind: match rule.body {
            Body::Permission => RuleKind::Permission,
            Body::Prohibition => RuleKind::Prohibition,
            Body::Obligation(_) => RuleKind::Obligation,
        },
        outcome: match outcome {
            None | Some(Outcome::NotSatisfied) => RuleOutcome::NotSatisfied,
            Some(Outcome::Satisfied) => RuleOutcome::Satisfied,
            Some(Outcome::Error(problem)) => RuleOutcome::Error(problem.as_str().into()),
            Some(Outcome::Unknown(path)) => RuleOutcome::Unknown(path.as_str().into()),
            Some(Outcome::Rows(rows)) => RuleOutcome::Rows(rows.to_json().into()),
        },
    }
}

fn guard_explanation(rule: &GuardRule, outcome: &GuardOutcome) -> RuleExplanation {
    RuleExplanation {
        rule: rule.at.clone(),
        kind: match rule.kind {
            GuardKind::Deny => RuleKind::Prohibition,
            GuardKind::Oblige => RuleKind::Obligation,
        },
        outcome: match outcome {
            GuardOutcome::NotSatisfied => RuleOutcome::NotSatisfied,
            GuardOutcome::Denies(_) | GuardOutcome::Obliges(_) => RuleOutcome::Satisfied,
            GuardOutcome::Error(problem) => RuleOutcome::Error(problem.as_str().into()),
            GuardOutcome::Unknown(path) => RuleOutcome::Unknown(path.as_str().into()),
        },
    }
}
