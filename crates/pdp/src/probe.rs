//! Requests made from the words of policies, to find one that two sources judge differently.
//!
//! A bounded search, not a proof: that nothing was found says only that so many requests were tried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cordon_core::{
    Action, ActionName, Ambiguity, Chain, Class, Context, Effect, Facts, Integrity, Marking, ObligationKind,
    Posture, Principal, PrincipalKind, Record, Request, Resource, ResourceKind, SessionFacts, SessionId,
    Signal, SignalKind, Timestamp, Value,
};

use crate::outline::{Literal, RuleOutline};
use crate::{PolicySet, RuleKind};

/// Makes requests that rules are about, without end; the same ones each time.
#[derive(Debug)]
pub struct Probes {
    /// Rules that every request is about one of.
    focus: Vec<RuleOutline>,
    /// Rules that may have to hold as well.
    others: Vec<RuleOutline>,
    /// Every action that is known by name.
    actions: Vec<Action>,
    draw: Draw,
}

/// Numbers that look random (SplitMix64) and are the same each time.
#[derive(Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    /// The same sequence as ever.
    pub(crate) const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `count`; none below 0.
    pub(crate) fn below(&mut self, count: usize) -> Option<usize> {
        usize::try_from(self.number() >> 1).unwrap_or_default().checked_rem(count)
    }
}

impl Probes {
    /// Requests about the rules `focus`, in the midst of `others`, with the actions of `policies`.
    pub fn new(focus: Vec<RuleOutline>, others: Vec<RuleOutline>, policies: &[&PolicySet]) -> Self {
        let manifests = policies.iter().flat_map(|set| set.manifests().map(|manifest| manifest.action()));
        let mut actions: BTreeMap<ActionName, Action> =
            manifests.map(|action| (action.name().clone(), action)).collect();
        for rule in focus.iter().chain(&others) {
            for (kind, id) in &rule.words.entities {
                if &**kind == "Action"
                    && let Some(action) = named_action(id, policies)
                {
                    actions.entry(action.name().clone()).or_insert(action);
                }
            }
        }
        let others = others.into_iter().filter(|rule| rule.kind == RuleKind::Permission).collect();
        Self { focus, others, actions: actions.into_values().collect(), draw: Draw::new() }
    }

    /// An action that one of the rules names, or one in a group that it names, or any.
    fn action(&mut self, rules: &[RuleOutline]) -> Option<Action> {
        let named: BTreeSet<&str> = rules
            .iter()
            .take(1)
            .flat_map(|rule| &rule.words.entities)
            .filter(|(kind, _)| &**kind == "Action")
            .map(|(_, id)| &**id)
            .collect();
        let about = |action: &&Action| {
            named.contains(action.name().as_str())
                || named.contains(format!("effect:{}", action.effect()).as_str())
                || action.classes().iter().any(|class| {
                    named.contains(class.to_string().as_str()) || named.contains(class.kind().as_str())
                })
        };
        let draw = self.draw.number();
        let fitting: Vec<&Action> = self.actions.iter().filter(about).collect();
        choose(&fitting, draw).copied().or_else(|| choose(&self.actions, draw)).cloned()
    }

    fn value(&mut self, literals: &BTreeSet<Literal>) -> Value {
        let literals: Vec<&Literal> = literals.iter().collect();
        let (draw, near) = (self.draw.number(), self.draw.number());
        match choose(&literals, draw) {
            Some(Literal::Long(number)) => {
                let step = i64::try_from(near % 3).unwrap_or_default().saturating_sub(1);
                Value::Long(number.saturating_add(step))
            }
            Some(Literal::Bool(value)) => Value::Bool(*value),
            Some(Literal::Text(text)) if near.is_multiple_of(4) => Value::text(format!("{text}x")),
            Some(Literal::Text(text)) => Value::text(text.clone()),
            Some(Literal::Pattern(_)) if near.is_multiple_of(2) => Value::text("x"),
            Some(Literal::Pattern(pattern)) => Value::text(pattern.replace('*', "x")),
            None => match near % 4 {
                0 => Value::Long(0),
                1 => Value::Bool(true),
                2 => Value::Bool(false),
                _ => Value::text("x"),
            },
        }
    }

    /// True `of - 1` times out of `of`.
    fn chance(&mut self, of: u64) -> bool {
        !self.draw.number().is_multiple_of(of)
    }
}

impl Iterator for Probes {
    type Item = (Request, Facts, Timestamp);

    /// The next request with facts and time; none when there is no action to make one about.
    fn next(&mut self) -> Option<Self::Item> {
        let focus = self.draw.below(self.focus.len()).and_then(|at| self.focus.get(at)).cloned();
        let other = self.draw.below(self.others.len()).and_then(|at| self.others.get(at)).cloned();
        let rules: Vec<RuleOutline> = focus.into_iter().chain(other).collect();
        let action = self.action(&rules)?;
        let mut probe = Probe::new(action);
        for rule in &rules {
            for (kind, id) in &rule.words.entities {
                if self.chance(3) {
                    probe.entity(kind, id, self.draw.number());
                }
            }
            for (path, literals) in &rule.words.paths {
                if self.chance(4) {
                    probe.set(path, self.value(literals));
                }
            }
        }
        probe.finish()
    }
}

/// The action of this name; for the name of a class or an effect, an example in it.
pub(crate) fn named_action(id: &str, policies: &[&PolicySet]) -> Option<Action> {
    let example = || "example/tool".parse().ok();
    if let Some(effect) = id.strip_prefix("effect:") {
        let name: ActionName = format!("example/{effect}").parse().ok()?;
        return Some(Action::declared(name, [], effect.parse::<Effect>().ok()?));
    }
    if let Ok(class) = id.parse::<Class>() {
        let name = format!("example/{}", class.kind().as_str()).parse().ok().or_else(example)?;
        return Some(Action::declared(name, [class], Effect::Write));
    }
    let name: ActionName = id.parse().ok()?;
    let declared = policies.iter().map(|set| set.action(&name)).find(Action::is_declared);
    Some(declared.unwrap_or_else(|| Action::undeclared(name)))
}

fn choose<T>(items: &[T], draw: u64) -> Option<&T> {
    let draw = usize::try_from(draw >> 1).unwrap_or_default();
    items.get(draw.checked_rem(items.len())?)
}

/// When requests that are made are judged: 2026-01-01T12:00:00Z.
const NOW: Timestamp = Timestamp::from_micros(1_767_268_800_000_000);

/// One request in the making.
#[derive(Debug)]
pub(crate) struct Probe {
    action: Action,
    pub(crate) owner: Principal,
    pub(crate) agent: Principal,
    /// Whom the agent acts for.
    pub(crate) user: Option<Principal>,
    /// Type and identifier of what is acted on; the tool itself unless something else is named.
    pub(crate) resource: Option<(Box<str>, Box<str>)>,
    markings: BTreeSet<Marking>,
    properties: Record,
    context: Context,
    facts: Facts,
}

impl Probe {
    /// The plainest request for an action: an agent, for a user who is its owner, in a session.
    pub(crate) fn new(action: Action) -> Self {
        let ambiguous = if action.is_declared() { BTreeSet::new() } else { [Ambiguity::NoManifest].into() };
        Self {
            action,
            owner: Principal::new(PrincipalKind::User, "user"),
            agent: Principal::new(PrincipalKind::Agent, "agent"),
            user: Some(Principal::new(PrincipalKind::User, "user")),
            resource: None,
            markings: BTreeSet::new(),
            properties: Record::new(),
            context: Context::default(),
            facts: Facts {
                session: Some(SessionFacts {
                    id: SessionId::from_bytes([0; 16]),
                    calls: 0,
                    integrity: Integrity::User,
                    posture: Posture::default(),
                    lineage: Arc::default(),
                    markings: Arc::default(),
                }),
                ambiguous,
                supported: ObligationKind::NAMES.iter().copied().collect(),
                ..Facts::default()
            },
        }
    }

    /// Lets an entity that a rule names take its part.
    pub(crate) fn entity(&mut self, kind: &str, id: &str, draw: u64) {
        match kind {
            "Action" => {}
            "User" if draw.is_multiple_of(2) => self.owner.id = id.into(),
            "User" => {
                self.owner.id = id.into();
                if let Some(user) = &mut self.user {
                    user.id = id.into();
                }
            }
            "Agent" => self.agent.id = id.into(),
            "Team" => {
                self.everybody(|who| who.teams.push(id.into()));
            }
            // Tools are in their server, so a server that is named is matched by its tools.
            "Server" => {}
            kind => self.resource = Some((kind.into(), id.into())),
        }
    }

    /// Gives an attribute a value; paths that are Cordon's own to set take what fits them.
    pub(crate) fn set(&mut self, path: &[Box<str>], value: Value) {
        let parts: Vec<&str> = path.iter().map(|part| &**part).collect();
        let text = |value: &Value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        match (parts.as_slice(), &value) {
            (["context", "args", rest @ ..], _) => nest(&mut self.context.args, rest, value),
            (["context", "asserted", rest @ ..], _) => nest(&mut self.context.asserted, rest, value),
            (["context", "model", rest @ ..], _) => nest(&mut self.context.model, rest, value),
            (["context", "purpose"], _) => self.context.purpose = text(&value),
            (["context", "project"], _) => self.context.project = text(&value),
            (["context", "workflow"], _) => self.context.workflow = text(&value),
            (["context", "task"], _) => self.context.task = text(&value),
            (["context", "env", "region"], _) => self.facts.region = text(&value),
            (["context", "session", "calls"], Value::Long(number)) => {
                if let Some(session) = &mut self.facts.session {
                    session.calls = u64::try_from(*number).unwrap_or_default();
                }
            }
            (["context", "session", "integrity"], Value::Long(number)) => {
                let level = Integrity::ALL.iter().find(|level| level.as_long() == *number);
                if let (Some(session), Some(level)) = (&mut self.facts.session, level) {
                    session.integrity = *level;
                }
            }
            (["context", "chain", "owner"], Value::Text(id)) => self.owner.id = id.clone(),
            (["context", "chain", "agent"], Value::Text(id)) => self.agent.id = id.clone(),
            (["context", "chain", "on_behalf_of"], Value::Text(id)) => {
                if let Some(user) = &mut self.user {
                    user.id = id.clone();
                }
            }
            (["context", "risk", "level"], Value::Text(level)) => {
                // As much of everything as makes that level under the weights that hold by default.
                let value = match &**level {
                    "low" => 0,
                    "medium" => 220,
                    "high" => 300,
                    _ => Signal::MAX,
                };
                let signals = SignalKind::ALL.map(|kind| (kind, Signal::known(value, "made", NOW)));
                self.facts.signals.extend(signals);
            }
            (["context", "risk", name], Value::Long(number)) => {
                if let (Ok(kind), Ok(value)) = (name.parse::<SignalKind>(), u16::try_from(*number)) {
                    self.facts.signals.insert(kind, Signal::known(value, "made", NOW));
                }
            }
            (["context", "session", "posture"], Value::Text(state)) => {
                if let (Some(session), Ok(state)) = (&mut self.facts.session, state.parse()) {
                    session.posture = Posture::of_state(state);
                }
            }
            (["context", "ambiguous", ..], _) => drop(self.facts.ambiguous.insert(Ambiguity::UnknownInput)),
            (["principal", "id"] | ["resource", "id" | "tenant"], _) => {}
            (["resource", "markings"], Value::Set(items)) => {
                let texts = items.iter().filter_map(text);
                self.markings.extend(texts.filter_map(|text| text.parse::<Marking>().ok()));
            }
            (["resource", "markings"], _) => {}
            (["principal", rest @ ..], _) => {
                self.everybody(|who| nest(&mut who.attributes, rest, value.clone()));
            }
            (["resource", rest @ ..], _) => nest(&mut self.properties, rest, value),
            _ => {}
        }
    }

    fn everybody(&mut self, mut change: impl FnMut(&mut Principal)) {
        [&mut self.owner, &mut self.agent].into_iter().chain(self.user.as_mut()).for_each(&mut change);
    }

    /// The request with facts and time; none when it has no principal.
    pub(crate) fn finish(self) -> Option<(Request, Facts, Timestamp)> {
        let name: Box<str> = self.action.name().as_str().into();
        let (kind, id) = self.resource.unwrap_or_else(|| (ResourceKind::TOOL.into(), name));
        let mut resource = Resource::new(kind, id, "default");
        resource.attributes = self.properties;
        resource.markings = self.markings;
        let chain = Chain::new(Some(self.owner), Some(self.agent), self.user).ok()?;
        let request = Request { chain, action: self.action, resource, context: self.context };
        Some((request, self.facts, NOW))
    }
}

/// Sets a value in nested records.
fn nest(record: &mut Record, path: &[&str], value: Value) {
    match path {
        [] => {}
        [name] => drop(record.insert((*name).into(), value)),
        [name, rest @ ..] => {
            let inner = record.entry((*name).into()).or_insert_with(|| Value::Record(Record::new()));
            if let Value::Record(inner) = inner {
                nest(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PolicySource, decide};

    const PERMIT: &str = "@id(\"all\") permit (principal, action, resource);";

    fn compiled(permissions: &str) -> (PolicySource, PolicySet) {
        let source: PolicySource = [
            ("permissions/p.cedar", permissions),
            ("tools/t.toml", "tool = \"bank/pay\"\nclasses = [\"money.move\"]\neffect = \"irreversible\"\n"),
        ]
        .into_iter()
        .collect();
        let set = PolicySet::compile(&source).unwrap().policies;
        (source, set)
    }

    /// Whether a request is found that the two permissions judge differently.
    fn finds(a: &str, b: &str) -> bool {
        let ((old, first), (new, second)) = (compiled(a), compiled(b));
        let (old, new) = (old.outline(), new.outline());
        let changed = new.iter().chain(&old).filter(|rule| !(old.contains(rule) && new.contains(rule)));
        let mut probes = Probes::new(changed.cloned().collect(), new.clone(), &[&first, &second]).take(2_000);
        probes.any(|(request, facts, now)| {
            decide(&first, &request, &facts, now).verdict != decide(&second, &request, &facts, now).verdict
        })
    }

    #[test]
    fn a_request_is_found_for_each_kind_of_condition_and_none_where_nothing_changes() {
        for condition in [
            "context.args has amount && context.args.amount > 5000",
            "context.args has to && !(context.args.to like \"*@example.com\")",
            "context has purpose && context.purpose == \"billing\"",
            "context.session.calls >= 7",
            "principal == User::\"ann\"",
            "principal in Team::\"ops\"",
            "context.args has to && [\"a\", \"b\"].contains(context.args.to)",
        ] {
            let rule = format!(
                "{PERMIT}\n@id(\"new\") forbid (principal, action, resource) when {{ {condition} }};"
            );
            assert!(finds(PERMIT, &rule), "{condition}");
        }
        let scoped = "@id(\"new\") forbid (principal, action in Action::\"money.move\", resource);";
        assert!(finds(PERMIT, &format!("{PERMIT}\n{scoped}")));
        assert!(!finds(PERMIT, "@id(\"all\") permit (principal, action, resource) when { true };"));
    }
}
