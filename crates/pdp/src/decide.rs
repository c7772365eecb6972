//! The decision: one pure function.

use std::cell::OnceCell;
use std::sync::Arc;

use cordon_core::{
    Facts, Judgement, Obligation, Reason, ReasonKind, Request, Risk, Role, RuleRef, Timestamp, Unmet,
    Verdict, combine, join_obligations,
};

use crate::PolicySet;
use crate::engine::{Asked, Found, Outcome, Outcomes};
use crate::few::Few;
use crate::person::{Person, people, show};
use crate::policies::Inner;
use crate::preconditions::{gathered, unread};
use crate::principals::Demand;
use crate::rego::{GuardOutcome, Subject};
use crate::restraint::restrained;
use crate::rows::Filter;
use crate::rule::{Body, Rule};

/// Judges one request. Same arguments, same judgement, on any machine, in any year.
///
/// Deny if a kill switch or the session's posture refuses it, if a principal that must permit it lacks a
/// satisfied permission, if signed data refuse the principals or the purpose, if any prohibition is
/// satisfied, if any prohibition or obligation could not be judged, or if an obligation is due that the
/// enforcement point cannot carry out. Else ask if an approval is due. Else allow.
pub fn decide(policies: &PolicySet, request: &Request, facts: &Facts, now: Timestamp) -> Judgement {
    let answer = assess(policies, request, facts, now)
        .map(|assessment| assessment.combine(policies, request, facts, now));
    let mut judgement = answer.unwrap_or_else(|problem| unreadable(policies, &problem));
    judgement.risk = policies.risk().assess(facts, now);
    judgement.gathered = gathered(policies.manifest(request.action.name()), facts, now);
    restrained(judgement, request, facts)
}

/// What came of every rule about the action, for every principal.
#[derive(Debug)]
pub(crate) struct Assessment<'r> {
    people: Few<Person<'r>>,
    outcomes: Found,
    /// What came of the guards that could be about the action, by their place in the list.
    pub(crate) guards: Vec<(usize, GuardOutcome)>,
}

/// Asks about every principal; the text says why that is not possible.
pub(crate) fn assess<'r>(
    policies: &PolicySet,
    request: &'r Request,
    facts: &Facts,
    now: Timestamp,
) -> Result<Assessment<'r>, String> {
    asked(policies, request, facts, now, |asked| {
        let (inner, mut outcomes) = (asked.inner, asked.outcomes()?);
        if let Some(table) = inner.rows.of(request) {
            table.ask(&asked, &mut outcomes);
        }
        let subject = || Subject {
            request,
            facts,
            risk: &asked.risk,
            now,
            directory: &inner.directory,
            arguments: policies.arguments(request.action.name()),
            names: &asked.route.restricting,
        };
        let guards = if inner.guards.rules.is_empty() { Vec::new() } else { inner.guards.judge(&subject()) };
        Ok(Assessment { people: asked.people, outcomes, guards })
    })
}

/// Puts a question about the rules that the action of a request meets.
pub(crate) fn asked<'r, T>(
    policies: &PolicySet,
    request: &'r Request,
    facts: &Facts,
    now: Timestamp,
    question: impl FnOnce(Asked<'_, 'r>) -> Result<T, String>,
) -> Result<T, String> {
    let inner = policies.inner();
    let route = inner.route(&request.action)?;
    let engine = policies.engine();
    let people = people(request, inner.needs.per_role());
    let risk = inner.risk.view(facts, now);
    question(Asked {
        inner,
        route: &route,
        request,
        facts,
        now,
        engine,
        risk,
        people,
        frame: OnceCell::new(),
    })
}

impl<'r> Assessment<'r> {
    /// Each principal with what came of the rules.
    pub(crate) fn principals(&self) -> impl Iterator<Item = (&Person<'r>, &Outcomes)> {
        self.people.iter().zip(&self.outcomes)
    }

    fn combine(&self, policies: &PolicySet, request: &Request, facts: &Facts, now: Timestamp) -> Judgement {
        let inner = policies.inner();
        let rules = &inner.rules;
        let demand = inner.principals.demand(&request.action);
        let mut reasons = refusals(policies, request, &demand);
        if let Some(capability) = &facts.capability {
            reasons.extend(capability.unmet(request, facts, now).map(|unmet| uncovered(&unmet)));
        }
        reasons.extend(unread(policies.manifest(request.action.name()), facts, now));
        let mut weighed = Weighed { reasons, due: Vec::new(), filter: Filter::default() };
        let mut lacking = None;
        for (number, (person, outcomes)) in self.principals().enumerate() {
            let role = person.role();
            let mut permitted = false;
            for (place, outcome) in outcomes.iter() {
                let Some(rule) = rules.get(place) else { continue };
                if *outcome == Outcome::Satisfied {
                    permitted |= rule.body == Body::Permission;
                    // A rule that says the same of several principals says it of the first.
                    let mut before = self.outcomes.iter().take(number);
                    if before.any(|outcomes| outcomes.of(place) == Some(&Outcome::Satisfied)) {
                        continue;
                    }
                }
                weighed.add(rule, outcome, role);
            }
            let rows = weighed.filter.turn();
            if permitted || !demand.counts(person.roles()) {
                continue;
            }
            match rows {
                Some(rows) => weighed.filter.narrow(rows),
                None => {
                    let lacking = lacking.get_or_insert_with(|| Lacking::new(inner, request));
                    weighed.reasons.push(lacking.reason(person, outcomes));
                }
            }
        }
        let Weighed { mut reasons, mut due, filter } = weighed;
        match filter.obligation() {
            None => {}
            Some(Ok(obligation)) => due.push(obligation),
            Some(Err(reason)) => reasons.push(reason),
        }
        policies.inner().guards.contribute(&self.guards, &mut reasons, &mut due);
        let obligations = join_obligations(due);
        reasons.extend(obligations.iter().filter_map(|obligation| unenforceable(obligation, facts)));
        finish(policies, reasons, obligations)
    }
}

/// What the outcomes of rules mean.
struct Weighed {
    reasons: Vec<Reason>,
    due: Vec<Obligation>,
    filter: Filter,
}

impl Weighed {
    fn add(&mut self, rule: &Rule, outcome: &Outcome, role: Option<Role>) {
        let mut say = |reason: Reason| self.reasons.push(reason);
        match (&rule.body, outcome) {
            (_, Outcome::NotSatisfied) => {}
            (Body::Permission, Outcome::Satisfied) => say(reason(rule, ReasonKind::Permitted, role)),
            (Body::Permission, Outcome::Rows(rows)) => {
                self.filter.permit(rows, &rule.at);
                say(reason(rule, ReasonKind::Permitted, role));
            }
            (Body::Prohibition, Outcome::Rows(rows)) => self.filter.forbid(rows, &rule.at),
            (Body::Obligation(_), Outcome::Rows(_)) => {
                say(in_doubt(rule, role, "it depends on the row", None));
            }
            // A permission that cannot be judged permits nothing.
            (Body::Permission, _) => {}
            (Body::Prohibition, Outcome::Satisfied) => say(reason(rule, ReasonKind::Forbidden, role)),
            (Body::Obligation(kind), Outcome::Satisfied) => {
                self.due.push(Obligation { kind: kind.clone(), rules: vec![rule.at.clone()] });
                if kind.verdict() == Verdict::Ask {
                    say(reason(rule, ReasonKind::ApprovalDue, role));
                }
            }
            (_, Outcome::Error(problem)) => say(in_doubt(rule, role, problem, None)),
            (_, Outcome::Unknown(path)) => {
                let problem = format!("it mentions {path}, which is not known");
                say(in_doubt(rule, role, &problem, Some(path)));
            }
        }
    }
}

/// What signed data say against the request, whatever the rules say.
pub(crate) fn refusals(policies: &PolicySet, request: &Request, demand: &Demand) -> Vec<Reason> {
    let inner = policies.inner();
    let mut reasons = inner.principals.lacking(&request.chain, &request.action, demand);
    if let Some(purpose) = &request.context.purpose {
        reasons.extend(inner.purposes.refusal(purpose, &request.chain, &inner.directory));
    }
    reasons
}

/// Why the token that the caller shows does not cover the request.
fn uncovered(unmet: &Unmet<'_>) -> Reason {
    let caveat = unmet.caveat.map_or_else(|| "it has no blocks".to_owned(), ToString::to_string);
    Reason {
        kind: ReasonKind::NotPermitted,
        rule: RuleRef::builtin("cordon:capability"),
        principal: None,
        message: format!("block {} of the capability token does not cover it: {caveat}", unmet.block).into(),
        remedy: Some("show a token that covers it; whoever passed this one on narrowed it".into()),
    }
}

fn finish(policies: &PolicySet, mut reasons: Vec<Reason>, mut obligations: Vec<Obligation>) -> Judgement {
    let verdict = combine(reasons.iter().map(|reason| verdict(reason.kind)));
    // What was in favour of the action is no reason for refusing it.
    reasons.retain(|reason| verdict != Verdict::Deny || self::verdict(reason.kind) == Verdict::Deny);
    reasons.sort_by(|a, b| {
        (rank(a.kind), &a.rule.file, a.rule.line, &a.rule.rule, a.principal).cmp(&(
            rank(b.kind),
            &b.rule.file,
            b.rule.line,
            &b.rule.rule,
            b.principal,
        ))
    });
    // A rule that says the same of several principals says it once.
    reasons.dedup_by(|later, earlier| {
        (later.kind, &later.rule, &later.message) == (earlier.kind, &earlier.rule, &earlier.message)
    });
    if verdict == Verdict::Deny {
        obligations.retain(|obligation| obligation.kind.is_containing());
    }
    Judgement {
        verdict,
        reasons,
        obligations,
        bundle: policies.digest(),
        risk: Risk::default(),
        gathered: Vec::new(),
    }
}

fn verdict(kind: ReasonKind) -> Verdict {
    match kind {
        ReasonKind::Permitted => Verdict::Allow,
        ReasonKind::ApprovalDue => Verdict::Ask,
        _ => Verdict::Deny,
    }
}

fn rank(kind: ReasonKind) -> u8 {
    match kind {
        ReasonKind::Forbidden => 0,
        ReasonKind::Indeterminate => 1,
        ReasonKind::NotPermitted => 2,
        ReasonKind::Unenforceable => 3,
        ReasonKind::ApprovalDue => 5,
        ReasonKind::Permitted => 6,
        _ => 4,
    }
}

fn reason(rule: &Rule, kind: ReasonKind, principal: Option<Role>) -> Reason {
    // A remedy belongs to what stands in the way.
    let remedy = if kind == ReasonKind::Permitted { None } else { rule.remedy.clone() };
    Reason { kind, rule: rule.at.clone(), principal, message: Arc::clone(&rule.message), remedy }
}

fn in_doubt(rule: &Rule, principal: Option<Role>, problem: &str, unknown: Option<&str>) -> Reason {
    let what = if rule.body == Body::Prohibition { "the prohibition" } else { "the obligation" };
    let problem = problem.replace(&format!("{}::", crate::cedar_text::NAMESPACE), "");
    let remedy = unknown.map_or_else(
        || format!("correct the rule in {} line {}", rule.at.file, rule.at.line),
        |path| format!("send {path} complete and in a form that can be read"),
    );
    Reason {
        kind: ReasonKind::Indeterminate,
        rule: rule.at.clone(),
        principal,
        message: format!("{what} could not be judged, which denies: {problem}").into(),
        remedy: Some(remedy.into()),
    }
}

/// Words what is missing, for each principal that nothing permits the action.
struct Lacking<'r> {
    inner: &'r Inner,
    request: &'r Request,
    /// `Kind::"identifier"` of the resource.
    resource: String,
    text: String,
}

impl<'r> Lacking<'r> {
    fn new(inner: &'r Inner, request: &'r Request) -> Self {
        let mut resource = String::with_capacity(64);
        show(&mut resource, request.resource.kind.as_str(), &request.resource.id);
        Self { inner, request, resource, text: String::with_capacity(256) }
    }

    fn reason(&mut self, person: &Person<'_>, outcomes: &Outcomes) -> Reason {
        let message = self.message(person, outcomes);
        Reason {
            kind: ReasonKind::NotPermitted,
            rule: self.inner.no_permit.clone(),
            principal: person.role(),
            message,
            remedy: Some(self.remedy(person)),
        }
    }

    fn message(&mut self, person: &Person<'_>, outcomes: &Outcomes) -> Arc<str> {
        let (text, action) = (&mut self.text, self.request.action.name().as_str());
        text.clear();
        text.push_str("no permission lets ");
        person.show(text);
        for part in [" do `", action, "` on ", &self.resource] {
            text.push_str(part);
        }
        let broken = outcomes.iter().find_map(|(place, outcome)| {
            let rule = self.inner.rules.get(place).filter(|rule| rule.body == Body::Permission)?;
            match outcome {
                Outcome::Error(problem) => Some(format!("; `{}` could not be judged: {problem}", rule.at)),
                Outcome::Unknown(path) => {
                    Some(format!("; `{}` mentions {path}, which is not known", rule.at))
                }
                _ => None,
            }
        });
        text.push_str(&broken.unwrap_or_default());
        text.as_str().into()
    }

    fn remedy(&mut self, person: &Person<'_>) -> Arc<str> {
        let (text, action) = (&mut self.text, &self.request.action);
        text.clear();
        for part in ["add a permit for Action::\"", action.name().as_str(), "\" and "] {
            text.push_str(part);
        }
        person.show(text);
        text.push_str(" to permissions/");
        if !action.is_declared() {
            text.push_str(
                "; without a manifest in tools/ the action is in no class that a permit could name",
            );
        }
        text.as_str().into()
    }
}

fn unenforceable(obligation: &Obligation, facts: &Facts) -> Option<Reason> {
    let name = obligation.kind.name();
    if facts.supported.contains(name) {
        return None;
    }
    Some(Reason {
        kind: ReasonKind::Unenforceable,
        rule: obligation.rules.first().cloned().unwrap_or_else(|| RuleRef::builtin("cordon:unenforceable")),
        principal: None,
        message: format!("the enforcement point cannot carry out the obligation `{name}`").into(),
        remedy: Some(format!("use an enforcement point that declares `{name}` supported").into()),
    })
}

fn unreadable(policies: &PolicySet, problem: &str) -> Judgement {
    let reason = Reason {
        kind: ReasonKind::Indeterminate,
        rule: RuleRef::builtin("cordon:unreadable"),
        principal: None,
        message: format!("the request could not be judged: {problem}").into(),
        remedy: None,
    };
    Judgement {
        verdict: Verdict::Deny,
        reasons: vec![reason],
        obligations: Vec::new(),
        bundle: policies.digest(),
        risk: Risk::default(),
        gathered: Vec::new(),
    }
}
