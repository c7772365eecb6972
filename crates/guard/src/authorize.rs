//! The one path: gather facts, judge, hold or refuse, record, permit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cordon_core::json::Node;
use cordon_core::{
    Action, ActionName, Ambiguity, CallId, CallLimits, Context, Digest, ExactBytes, Facts, Integrity,
    Judgement, Reason, ReasonKind, Record, Request, Resource, ResourceKind, Risk, RuleRef, SessionFacts,
    Timestamp, Value, Verdict,
};
use cordon_ledger::{Level, Receipt};
use cordon_workflow::{Approval, Event, Progress};

use crate::Opening;
use crate::asking::{Found, Question};
use crate::attempt::{Attempt, Operation};
use crate::binding::binding;
use crate::denial::{Denial, Held};
use crate::guard::{ActivePolicies, Guard, Live};
use crate::observe::{Inner, Pending, ResultTerms};
use crate::permit::{Judged, Permit};
use crate::ports::StoreDown;
use crate::readings::{self, Rested};
use crate::record::{self, Decided};
use crate::risk::{Destination, Observed};
use crate::shadow;
use crate::throttle::Exceeded;
use crate::tools::Tool;

/// What the guard says to an attempt.
#[derive(Debug)]
#[must_use = "the call was not made"]
pub enum Outcome<C> {
    /// The call may be made, once, by spending the permit.
    Permitted(Permit<C>),
    /// The call waits for a person; here it is back, to be attempted again.
    Held(Held, C),
    /// The call may not be made.
    Denied(Denial),
}

/// An attempt with everything that the decision needs.
struct Asked<'a> {
    request: Request,
    facts: Facts,
    arguments: Option<&'a Node>,
    tool: Option<Arc<Tool>>,
    limits: CallLimits,
    /// What the shadow policies would have said; never looked at here.
    shadow: Option<Judgement>,
    /// Where it would reach.
    destinations: Vec<Destination>,
    /// What was read for it, which has to be so when it leaves, too.
    rests: Vec<Rested>,
}

/// One attempt on its way to an outcome.
struct Case<'a> {
    id: CallId,
    attempt: &'a Attempt<'a>,
    live: &'a Arc<Live>,
    policies: &'a ActivePolicies,
    asked: Asked<'a>,
    now: Timestamp,
    /// How many narrowings there were before anything was looked at.
    narrowings: u64,
}

impl Guard {
    /// Judges one attempt and hands out the permit for exactly `call`.
    ///
    /// The permit exists only once the decision's record is durable. A refusal takes effect at once;
    /// its record follows.
    pub async fn authorize<C: ExactBytes>(&self, attempt: Attempt<'_>, call: C) -> Outcome<C> {
        let now = self.now();
        let id = self.call_id(now);
        let narrowings = self.shared.gate.narrowings();
        let policies = self.policies();
        let live = match self.shared.live(attempt.session) {
            Ok(Some(live)) => live,
            Ok(None) => return Outcome::Denied(self.no_session(id, &attempt, &policies, now)),
            Err(down) => return Outcome::Denied(unrecorded(id, &attempt, &policies, &down)),
        };
        let calls = live.calls.fetch_add(1, Ordering::Relaxed);
        let tool = self.tool_of(&attempt, &live, &policies);
        let gathered = gather(self, &attempt, &live, &policies, tool, calls, now);
        let (mut asked, unfit) = match gathered {
            Ok(gathered) => gathered,
            Err(down) => return Outcome::Denied(unrecorded(id, &attempt, &policies, &down)),
        };
        asked.facts.kills = self.shared.kills.covering(&asked.request);
        let mut case =
            Case { id, attempt: &attempt, live: &live, policies: &policies, asked, now, narrowings };
        if let Some(reason) = unfit {
            return Outcome::Denied(self.refuse(&case, reason));
        }
        let judgement = cordon_pdp::decide(&policies.set, &case.asked.request, &case.asked.facts, now);
        self.contain_as_judged(&live, id, &judgement);
        case.asked.shadow = shadow::judge(&self.shared, &case.asked.request, &case.asked.facts, now);
        match judgement.verdict {
            Verdict::Deny => Outcome::Denied(self.deny(&case, judgement)),
            Verdict::Ask => self.ask(case, judgement, call).await,
            Verdict::Allow => self.permit(case, judgement, None, call).await,
        }
    }

    fn tool_of(&self, attempt: &Attempt<'_>, live: &Live, policies: &ActivePolicies) -> Option<Arc<Tool>> {
        match &attempt.operation {
            Operation::Tool { server, tool, .. } => self.shared.tools.get(server, tool),
            Operation::Described { tool, .. } => {
                // What the bundle describes is never what a caller says it is.
                let Some(manifest) = policies.set.manifest(tool) else { return live.declared.tool(tool) };
                Some(self.shared.described.get(policies.set.digest(), manifest))
            }
            Operation::Message { .. } => None,
        }
    }

    /// Holds a call for a person, or lets it through when it spends a grant.
    async fn ask<C: ExactBytes>(&self, case: Case<'_>, judgement: Judgement, call: C) -> Outcome<C> {
        let Case { id, attempt, live, policies, asked, now, .. } = &case;
        let bound = binding(&asked.request, attempt.session, asked.arguments, policies.set.digest());
        let question = Question {
            binding: bound,
            session: live.session.id,
            requesters: asked.request.chain.agent().map(|agent| agent.id.clone()).into_iter().collect(),
            request: &asked.request,
            judgement: &judgement,
            arguments: asked.arguments.map_or_else(|| "{}".into(), |node| node.to_string().into()),
        };
        let (approval, fresh) = match self.shared.find_or_ask(question, *now) {
            Ok(Found::Known(approval)) => (approval, false),
            Ok(Found::Asked(approval)) => (approval, true),
            Ok(Found::Full(most)) => return Outcome::Denied(self.refuse(&case, too_many_waiting(most))),
            Err(down) => return Outcome::Denied(unrecorded(*id, attempt, policies, &down)),
        };
        if matches!(approval.progress, Progress::Granted { .. }) {
            return match self.shared.store.apply(approval.terms.id, Event::Spent, *now) {
                // Exactly one caller sees the step from granted to spent.
                Ok(Some((before, after))) if before != after => {
                    self.shared.watch.report(approval.terms.id, true);
                    self.permit(case, judgement, Some(after), call).await
                }
                Ok(_) => {
                    let reason = builtin("cordon:approval-spent", "the approval was spent by another call");
                    Outcome::Denied(self.refuse(&case, reason))
                }
                Err(down) => Outcome::Denied(unrecorded(*id, attempt, policies, &down)),
            };
        }
        let draft = record::held(
            &self.shared,
            live,
            policies,
            &case.decided(&judgement),
            &approval.terms,
            call.exact_bytes(),
            fresh,
        );
        let receipt = self.shared.ledger.append(draft, Level::Durable).await.ok();
        let held = Held {
            call: *id,
            what: what(&asked.request),
            approval: approval.terms.id,
            expires: approval.terms.expires,
            judgement,
            receipt,
        };
        Outcome::Held(held, call)
    }

    /// Records an allowed call durably and hands out its permit.
    async fn permit<C: ExactBytes>(
        &self,
        case: Case<'_>,
        judgement: Judgement,
        approval: Option<Approval>,
        call: C,
    ) -> Outcome<C> {
        let Case { id, attempt, live, policies, asked, now, .. } = &case;
        self.watch_as_judged(live, *id, &judgement);
        let entered =
            self.shared.throttle.enter(attempt.session, asked.request.action.name(), &asked.limits, *now);
        let slot = match entered {
            Ok(slot) => slot,
            Err(exceeded) => {
                return Outcome::Denied(self.refuse(&case, over_limit(&asked.request, exceeded)));
            }
        };
        let is_call = !matches!(attempt.operation, Operation::Message { .. });
        if let Some(shown) = live.session.opening.capability.as_ref().filter(|_| is_call)
            && let Err(reason) = self.shared.capabilities.spend(shown)
        {
            return Outcome::Denied(self.refuse(&case, reason));
        }
        let action = asked.request.action.name().as_str();
        self.shared.count_use(live, action, &asked.destinations, *now);
        let decided = case.decided(&judgement);
        let draft =
            record::permitted(&self.shared, live, policies, &decided, approval.as_ref(), call.exact_bytes());
        let receipt = match self.shared.ledger.append(draft, Level::Durable).await {
            Ok(receipt) => receipt,
            Err(down) => {
                let reason =
                    builtin("cordon:no-evidence", &format!("{down}, and without a record nothing runs"));
                return Outcome::Denied(Denial {
                    call: *id,
                    what: what(&asked.request),
                    judgement: refused(policies, reason),
                    receipt: None,
                });
            }
        };
        // The bundle or the session may have changed while the record was written; what is judged
        // under a bundle runs under it, and a session that ended meanwhile runs nothing.
        if !self.shared.live(attempt.session).is_ok_and(|live| live.is_some()) {
            return Outcome::Denied(self.refuse(&case, ended()));
        }
        let pending = Pending::new(Inner {
            shared: Arc::clone(&self.shared),
            live: Arc::clone(live),
            call: *id,
            trace: attempt.trace,
            action: asked.request.action.name().clone(),
            asks: asks(policies, asked, *now),
            receipt,
            terms: ResultTerms { tool: asked.tool.clone(), limits: asked.limits },
            slot: Some(slot),
            sent: false,
            leaving: None,
        });
        let Case { asked: Asked { request, facts, rests, .. }, narrowings, .. } = case;
        let judged = Box::new(Judged { narrowings, request, facts, rests });
        Outcome::Permitted(Permit { call, pending, judgement, judged })
    }

    /// Refuses an attempt for a reason that no policy gave.
    fn refuse(&self, case: &Case<'_>, reason: Reason) -> Denial {
        self.deny(case, refused(case.policies, reason))
    }

    fn deny(&self, case: &Case<'_>, judgement: Judgement) -> Denial {
        let Case { id, live, policies, asked, now, .. } = case;
        let draft = record::denied(&self.shared, live, policies, &case.decided(&judgement), *now);
        let record = draft.id();
        self.shared.count_refusal(live);
        // A refusal never waits for its record.
        drop(self.shared.ledger.append(draft, Level::Accepted));
        let receipt = Receipt { id: record, level: Level::Accepted, index: None };
        Denial { call: *id, what: what(&asked.request), judgement, receipt: Some(receipt) }
    }

    /// Refuses an attempt outside any open session; that somebody tried is recorded.
    fn no_session(
        &self,
        id: CallId,
        attempt: &Attempt<'_>,
        policies: &ActivePolicies,
        now: Timestamp,
    ) -> Denial {
        let judgement = refused(policies, ended());
        let draft = record::stray(&self.shared, policies, id, &name_of(attempt), &judgement, now);
        let receipt = Some(Receipt { id: draft.id(), level: Level::Accepted, index: None });
        drop(self.shared.ledger.append(draft, Level::Accepted));
        Denial { call: id, what: name_of(attempt).into(), judgement, receipt }
    }
}

impl Case<'_> {
    fn decided<'c>(&'c self, judgement: &'c Judgement) -> Decided<'c> {
        let Asked { request, facts, arguments, shadow, .. } = &self.asked;
        let asked =
            record::Asked { request, facts, arguments: *arguments, now: self.now, shadow: shadow.as_ref() };
        Decided { call: self.id, attempt: self.attempt, asked, judgement }
    }
}

/// Bounds on a protocol's own messages: many more than calls of one tool, and streams that stay open.
const MESSAGE_LIMITS: CallLimits =
    CallLimits { rate_per_min: 60_000, concurrency: 4_096, ..CallLimits::DEFAULT };

/// Turns an attempt into a request with facts, and says which check outside the policies refuses it.
fn gather<'a>(
    guard: &Guard,
    attempt: &Attempt<'a>,
    live: &Live,
    policies: &ActivePolicies,
    tool: Option<Arc<Tool>>,
    calls: u64,
    now: Timestamp,
) -> Result<(Asked<'a>, Option<Reason>), StoreDown> {
    let capabilities = &guard.shared.capabilities;
    let opening = &live.session.opening;
    let mut context = circumstances(opening);
    let mut ambiguous = BTreeSet::new();
    let mut limits = MESSAGE_LIMITS;
    let mut unfit = None;
    let (action, resource, arguments) = match &attempt.operation {
        Operation::Tool { arguments, .. } | Operation::Described { arguments, .. } => {
            let (action, checked) =
                tool_action(&attempt.operation, arguments, tool.as_deref(), live, policies);
            limits = checked.limits;
            context.args = checked.args;
            unfit = checked.unfit;
            if !action.is_declared() {
                ambiguous.insert(Ambiguity::NoManifest);
            }
            let resource = Resource::new(ResourceKind::TOOL, action.name().as_str(), opening.tenant.clone());
            (action, resource, Some(*arguments))
        }
        Operation::Message { action, resource, args, arguments, ambiguous: unclear } => {
            context.args = args.clone();
            ambiguous.clone_from(unclear);
            (action.clone(), resource.clone(), *arguments)
        }
    };
    if context.args.values().any(Value::has_unknown) {
        ambiguous.insert(Ambiguity::UnknownInput);
    }
    let mut facts = facts(guard, live, calls)?;
    facts.ambiguous = ambiguous;
    facts.capability = match opening.capability.as_ref().map(|shown| capabilities.current(shown)) {
        Some(Ok(current)) => Some(current),
        Some(Err(reason)) => {
            unfit.get_or_insert(reason);
            opening.capability.as_deref().cloned()
        }
        None => None,
    };
    // Attributes age while a session lasts.
    let chain = opening.chain.clone().at(now);
    if chain.on_behalf_of().is_none() && unfit.is_none() {
        unfit = policies.set.needs_user(&action);
    }
    let request = Request { chain, action, resource, context };
    let observed = Observed {
        policies,
        request: &request,
        manifest: policies
            .set
            .manifest(request.action.name())
            .or_else(|| live.declared.manifest(request.action.name())),
        arguments,
        confidence: attempt.confidence,
        now,
    };
    let (signals, destinations) = guard.shared.signals(live, &observed)?;
    facts.signals = signals;
    let (gathered, rests) = live.readings.gather(observed.manifest, arguments);
    facts.gathered = gathered;
    Ok((Asked { request, facts, arguments, tool, limits, destinations, rests, shadow: None }, unfit))
}

/// The circumstances that a session was opened with.
fn circumstances(opening: &Opening) -> Context {
    Context {
        purpose: opening.purpose.clone(),
        project: opening.project.clone(),
        workflow: opening.workflow.clone(),
        task: opening.task.clone(),
        model: opening.model.clone(),
        args: Record::new(),
        asserted: Record::new(),
    }
}

/// What Cordon itself knows of a session.
fn facts(guard: &Guard, live: &Live, calls: u64) -> Result<Facts, StoreDown> {
    let (lineage, markings) = guard.shared.told(live)?;
    let session = SessionFacts {
        id: live.session.id,
        calls,
        integrity: Integrity::User,
        posture: live.posture(),
        lineage,
        markings,
    };
    Ok(Facts { session: Some(session), supported: live.supported.clone(), ..Facts::default() })
}

/// The request and facts of an attempt whose arguments do not count; `None` when it is refused
/// whatever they are.
pub(crate) fn gather_visible(
    guard: &Guard,
    attempt: &Attempt<'_>,
    live: &Live,
    policies: &ActivePolicies,
) -> Option<(Request, Facts)> {
    let tool = guard.tool_of(attempt, live, policies);
    if !matches!(attempt.operation, Operation::Message { .. })
        && tool.as_ref().is_none_or(|tool| tool.quarantine.is_some())
    {
        return None;
    }
    let (Asked { mut request, mut facts, .. }, _) =
        gather(guard, attempt, live, policies, tool, 0, guard.now()).ok()?;
    if request.chain.on_behalf_of().is_none() && policies.set.needs_user(&request.action).is_some() {
        return None;
    }
    facts.kills = guard.shared.kills.covering(&request);
    request.context.args.clear();
    Some((request, facts))
}

/// What the checks on a tool call found.
struct CheckedTool {
    args: Record,
    limits: CallLimits,
    unfit: Option<Reason>,
}

fn tool_action(
    operation: &Operation<'_>,
    arguments: &Node,
    tool: Option<&Tool>,
    live: &Live,
    policies: &ActivePolicies,
) -> (Action, CheckedTool) {
    let untyped = || match Value::from_json(arguments) {
        Some(Value::Record(record)) => record,
        _ => Record::new(),
    };
    let refused =
        |action, limits, reason| (action, CheckedTool { args: untyped(), limits, unfit: Some(reason) });
    let action_name = match operation {
        Operation::Tool { server, tool, .. } => {
            ActionName::tool(server, tool).map_err(|_| (fallback_name(server), *tool))
        }
        Operation::Described { tool, .. } => Ok((*tool).clone()),
        Operation::Message { action, .. } => Ok(action.name().clone()),
    };
    let action_name = match action_name {
        Ok(name) => name,
        Err((unnamed, tool)) => {
            let text = format!("`{}` is not a tool name", tool.escape_debug());
            let reason = builtin("cordon:tool-name", &text);
            return refused(Action::undeclared(unnamed), CallLimits::DEFAULT, reason);
        }
    };
    let declared = match operation {
        Operation::Described { .. } => live.declared.manifest(&action_name),
        _ => None,
    };
    let manifest = policies.set.manifest(&action_name).or(declared);
    let action =
        manifest.map_or_else(|| Action::undeclared(action_name.clone()), |manifest| manifest.action());
    let limits = manifest.map_or(CallLimits::DEFAULT, |manifest| manifest.limits);
    let Some(tool) = tool else {
        return refused(action, limits, unlisted(operation, &action_name));
    };
    if let Some(why) = &tool.quarantine {
        let text = format!("tool `{action_name}` is quarantined: {}", why.describe());
        let mut reason = builtin("cordon:tool-quarantined", &text);
        reason.remedy = Some(format!("a person reviews it with `cordon tools diff {action_name}` and accepts it with `cordon tools approve {action_name}`").into());
        return refused(action, limits, reason);
    }
    if let Some(Err(violations)) = tool.input.as_ref().map(|schema| schema.validate(arguments)) {
        let first = violations.first().map(ToString::to_string).unwrap_or_default();
        let mut reason =
            builtin("cordon:input-schema", &format!("the arguments break the tool's input schema: {first}"));
        reason.remedy = Some("send arguments that satisfy the schema in tools/list".into());
        return refused(action, limits, reason);
    }
    let validators = manifest.map_or(&[][..], |manifest| &manifest.validators);
    if let Some(first) = cordon_inspect::check_validators(validators, arguments).first() {
        let reason =
            builtin("cordon:validator", &format!("the arguments break the tool's manifest: {first}"));
        return refused(action, limits, reason);
    }
    let args = tool.input.as_ref().map_or_else(untyped, |schema| schema.typed(arguments));
    (action, CheckedTool { args, limits, unfit: None })
}

fn unlisted(operation: &Operation<'_>, name: &ActionName) -> Reason {
    let (text, remedy) = match operation {
        Operation::Tool { server, tool, .. } => {
            (format!("server `{server}` lists no tool `{tool}`"), "call a tool that tools/list names")
        }
        _ => (format!("the bundle describes no tool `{name}`"), "add its manifest to tools/"),
    };
    let mut reason = builtin("cordon:tool-unlisted", &text);
    reason.remedy = Some(remedy.into());
    reason
}

/// The name under which a call is recorded whose own name is not one.
#[expect(clippy::expect_used, reason = "the literal is a valid action name; the test below tries it")]
fn fallback_name(server: &str) -> ActionName {
    ActionName::tool(server, "?").unwrap_or_else(|_| "unknown/?".parse().expect("a valid literal"))
}

fn what(request: &Request) -> Box<str> {
    format!("`{}` on {} `{}`", request.action.name(), request.resource.kind.as_str(), request.resource.id)
        .into()
}

fn name_of(attempt: &Attempt<'_>) -> String {
    match &attempt.operation {
        Operation::Tool { server, tool, .. } => format!("`{server}/{}`", tool.escape_debug()),
        Operation::Described { tool, .. } => format!("`{tool}`"),
        Operation::Message { action, .. } => format!("`{}`", action.name()),
    }
}

fn ended() -> Reason {
    let mut reason = builtin("cordon:session", "the session does not exist, was closed or has expired");
    reason.remedy = Some("open a new session".into());
    reason
}

fn too_many_waiting(most: u32) -> Reason {
    let text = format!("{most} approvals of this session wait for an answer already");
    let mut reason = builtin("cordon:approvals", &text);
    reason.remedy = Some("wait until some are answered or expire".into());
    reason
}

fn over_limit(request: &Request, exceeded: Exceeded) -> Reason {
    let name = request.action.name();
    let text = match exceeded {
        Exceeded::Rate(most) => format!("`{name}` may be called {most} times a minute in one session"),
        Exceeded::Concurrency(most) => format!("`{name}` may have {most} calls in flight"),
        Exceeded::Buckets => "too many sessions and tools are active to count their rates".to_owned(),
    };
    let mut reason = builtin("cordon:limit", &text);
    reason.remedy = Some("try again later, or raise `limits` in the tool's manifest".into());
    reason
}

/// A reason that is part of Cordon itself.
pub(crate) fn builtin(rule: &'static str, message: &str) -> Reason {
    Reason {
        kind: ReasonKind::Refused,
        rule: RuleRef::builtin(rule),
        principal: None,
        message: message.into(),
        remedy: None,
    }
}

/// The judgement of a check outside the policies.
fn refused(policies: &ActivePolicies, reason: Reason) -> Judgement {
    Judgement {
        verdict: Verdict::Deny,
        reasons: vec![reason],
        obligations: Vec::new(),
        bundle: policies.set.digest(),
        risk: Risk::default(),
        gathered: Vec::new(),
    }
}

/// The refusal of a permitted call from which something was taken before it was sent.
pub(crate) fn withdrawn(inner: &Inner, judged: &Judged, bundle: Digest) -> Option<Denial> {
    let Judged { request, facts, .. } = judged;
    let mut facts = facts.clone();
    facts.kills = inner.shared.kills.covering(request);
    if let Some(session) = &mut facts.session {
        session.posture = inner.live.posture();
    }
    let mut reasons = cordon_pdp::restraints(request, &facts);
    if reasons.is_empty() && !inner.shared.live(inner.live.session.id).is_ok_and(|live| live.is_some()) {
        reasons.push(ended());
    }
    if reasons.is_empty() {
        return None;
    }
    Some(not_sent(inner, judged, bundle, reasons))
}

/// The refusal of a permitted call that rests on something which is not so any more.
pub(crate) fn outdated(inner: &Inner, judged: &Judged, bundle: Digest) -> Option<Denial> {
    let name = inner.live.readings.outdated(&judged.rests, inner.shared.clock.now())?;
    let text = format!("the precondition `{name}` is too old or has changed since it was decided");
    let mut reason = builtin("cordon:precondition", &text);
    reason.remedy = Some("try again: it is read anew".into());
    Some(not_sent(inner, judged, bundle, vec![reason]))
}

fn not_sent(inner: &Inner, judged: &Judged, bundle: Digest, reasons: Vec<Reason>) -> Denial {
    let (verdict, obligations, risk) = (Verdict::Deny, Vec::new(), Risk::default());
    let judgement = Judgement { verdict, reasons, obligations, bundle, risk, gathered: Vec::new() };
    let receipt = Some(inner.receipt.clone());
    Denial { call: inner.call, what: what(&judged.request), judgement, receipt }
}

/// What a call asks that other calls may rest on, and when it was decided.
fn asks(policies: &ActivePolicies, asked: &Asked<'_>, now: Timestamp) -> Option<(Digest, Timestamp)> {
    let tool = asked.request.action.name();
    let arguments = asked.arguments.filter(|_| policies.set.is_precondition(tool))?;
    Some((readings::asked(tool, &arguments.canonical()), now))
}

/// A refusal when the state store itself does not answer.
fn unrecorded(id: CallId, attempt: &Attempt<'_>, policies: &ActivePolicies, down: &StoreDown) -> Denial {
    let reason = builtin("cordon:state", &format!("{down}, and without state nothing runs"));
    Denial { call: id, what: name_of(attempt).into(), judgement: refused(policies, reason), receipt: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_without_a_usable_name_still_has_one_in_the_record() {
        assert_eq!(fallback_name("mail").as_str(), "mail/?");
        assert_eq!(fallback_name("not a name").as_str(), "unknown/?");
    }
}
