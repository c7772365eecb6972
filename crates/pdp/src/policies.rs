//! A compiled policy source.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::{EntityTypeName, Policy};
use cordon_core::{
    Action, ActionName, Class, ClassKind, Digest, Effect, Facts, Reason, ReasonKind, Request, Resource,
    ResourceKind, RuleRef, SpiffeId, Timestamp, ToolManifest, Verdict,
};

use crate::argument::ArgType;
use crate::bound::{self, Bound};
use crate::cases::{Case, TestReport};
use crate::cedar_text::NAMESPACE;
use crate::compile::{self, Checked};
use crate::data::{self, Asserted, Directory};
use crate::declarers::Declarers;
use crate::engine::Engine;
use crate::index::{Every, Index, Route};
use crate::mention::Mentions;
use crate::needs::Needs;
use crate::principals::{Principals, no_user};
use crate::program::Program;
use crate::purposes::Purposes;
use crate::rego::{GuardFile, Guards};
use crate::resources::Resources;
use crate::risk::RiskModel;
use crate::rows::{self, Rows};
use crate::rule::{Body, Rule, Tree};
use crate::schema::{Vocabulary, is_reserved_group};
use crate::threats::Threats;
use crate::{Diagnostic, PolicySource};

/// A policy source that is fully understood, ready to decide; cheap to clone.
#[derive(Debug, Clone)]
pub struct PolicySet {
    inner: Arc<Inner>,
    engine: Engine,
}

#[derive(Debug)]
pub(crate) struct Inner {
    digest: Digest,
    pub(crate) rules: Vec<Rule>,
    /// The built-in rule that what nothing permits is refused.
    pub(crate) no_permit: RuleRef,
    pub(crate) guards: Guards,
    pub(crate) index: Index,
    pub(crate) needs: Needs,
    pub(crate) program: Program,
    /// Where the rules about each action are that the source declares.
    routes: HashMap<Box<str>, Route>,
    pub(crate) directory: Directory,
    pub(crate) types: HashMap<Box<str>, EntityTypeName>,
    manifests: BTreeMap<ActionName, ToolManifest>,
    arguments: BTreeMap<ActionName, ArgType>,
    /// The bundle's own actions with all groups they are in.
    pub(crate) own: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
    pub(crate) bound: Bound,
    /// Parts of classes that any rule or manifest names.
    parts: BTreeSet<Box<str>>,
    asserted: Asserted,
    pub(crate) principals: Principals,
    pub(crate) purposes: Purposes,
    pub(crate) resources: Resources,
    pub(crate) declarers: Declarers,
    /// The tools that preconditions name.
    reads: BTreeSet<ActionName>,
    pub(crate) risk: RiskModel,
    threats: Option<Threats>,
    pub(crate) rows: Rows,
    /// Agents by the names of the workloads that they run as.
    workloads: BTreeMap<SpiffeId, Box<str>>,
    cases: Vec<Case>,
}

/// A compiled source and what was noticed on the way.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The policies.
    pub policies: PolicySet,
    /// What somebody should look at.
    pub warnings: Vec<Diagnostic>,
}

/// How much a source holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// `permit` policies.
    pub permissions: usize,
    /// `forbid` policies.
    pub prohibitions: usize,
    /// Obligation policies.
    pub obligations: usize,
    /// Guard rules.
    pub guards: usize,
    /// Tool manifests.
    pub manifests: usize,
    /// Tests.
    pub tests: usize,
}

/// The action that a built-in prohibition forbids in every source.
const NEVER: &str = "cordon/never";

impl PolicySet {
    /// Reads, validates and compiles `source`; anything that is not fully understood refuses it.
    ///
    /// The findings of a refused source are sorted by severity and place, errors first.
    pub fn compile(source: &PolicySource) -> Result<Compiled, Vec<Diagnostic>> {
        let mut checked = compile::check(source)?;
        let warnings = std::mem::take(&mut checked.warnings);
        match Inner::new(source.digest(), checked) {
            Ok(inner) => match inner.findings(source) {
                findings if !findings.is_empty() => Err(findings),
                _ => Ok(Compiled { policies: Self::of(inner), warnings }),
            },
            Err(message) => Err(vec![Diagnostic::error("", message)]),
        }
    }

    /// Policies that permit nothing.
    pub fn deny_all() -> Self {
        let checked = Checked {
            rules: Vec::new(),
            invariants: Vec::new(),
            guards: Guards::default(),
            manifests: BTreeMap::new(),
            directory: Directory::default(),
            asserted: BTreeSet::new(),
            principals: Principals::default(),
            purposes: Purposes::default(),
            rows: rows::Declared::new(),
            steps_max: bound::STEPS_MAX,
            resources: Resources::default(),
            declarers: Declarers::default(),
            risk: RiskModel::default(),
            threats: None,
            cases: Vec::new(),
            vocabulary: Vocabulary::default(),
            warnings: Vec::new(),
        };
        Self::of(Inner::without_rules(PolicySource::new().digest(), checked))
    }

    /// Policies from what was checked.
    pub(crate) fn from_checked(digest: Digest, checked: Checked) -> Result<Self, String> {
        Inner::new(digest, checked).map(Self::of)
    }

    fn of(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), engine: Engine::default() }
    }

    /// The same policies, every one judged by stock `cedar-policy`: slow, and what the compiled
    /// program is compared with. Judgements are the same to the last byte.
    #[must_use]
    pub fn with_stock_cedar(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), engine: Engine::Stock }
    }

    /// The digest of the source's files ([`PolicySource::digest`]).
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// The manifests, in order of the tools' names.
    pub fn manifests(&self) -> impl Iterator<Item = &ToolManifest> {
        self.inner.manifests.values()
    }

    /// The manifest of one tool.
    pub fn manifest(&self, tool: &ActionName) -> Option<&ToolManifest> {
        self.inner.manifests.get(tool)
    }

    /// The action that `name` is: as its manifest or the bundle's own schema declares it, else
    /// undeclared. The schema declares one by putting it into exactly one effect.
    pub fn action(&self, name: &ActionName) -> Action {
        self.inner.action(name)
    }

    /// Every action that the source declares, by a manifest or its own schema.
    pub(crate) fn declared_actions(&self) -> BTreeSet<ActionName> {
        let own = self.inner.own.keys().filter_map(|name| name.parse::<ActionName>().ok());
        let own = own.filter(|name| !is_reserved_group(name.as_str()) && self.action(name).is_declared());
        self.inner.manifests.keys().cloned().chain(own).collect()
    }

    /// Places of the rules whose action scope covers an action.
    pub(crate) fn rules_about(&self, action: &Action) -> BTreeSet<usize> {
        let Ok(route) = self.inner.route(action) else { return BTreeSet::new() };
        let index = &self.inner.index;
        let buckets = index.permissions(&route).chain(index.restrictions(&route));
        buckets.flat_map(|bucket| &bucket.rules).copied().collect()
    }

    /// Whether callers may assert `attribute` of entities of type `kind` (`data/asserted.json`).
    pub fn may_assert(&self, kind: &str, attribute: &str) -> bool {
        self.inner.asserted.contains(&(Box::from(kind), Box::from(attribute)))
    }

    /// Whether the source says which purposes there are and who may claim them
    /// (`data/purposes.json`).
    pub fn has_purposes(&self) -> bool {
        self.inner.purposes.is_declared()
    }

    /// Whether any manifest wants this tool called before its own (`preconditions`).
    pub fn is_precondition(&self, tool: &ActionName) -> bool {
        self.inner.reads.contains(tool)
    }

    /// How the source weighs risk (`risk.toml`).
    pub fn risk(&self) -> &RiskModel {
        &self.inner.risk
    }

    /// What the source knows of threats, where it has a list (`data/threats.json`).
    pub fn threats(&self) -> Option<&Threats> {
        self.inner.threats.as_ref()
    }

    /// Why a door refuses an agent that acts for no user, where the source does not say which actions
    /// need one; where it does (`data/principals.json`), the decision refuses.
    pub fn needs_user(&self, action: &Action) -> Option<Reason> {
        let reason = || Reason {
            kind: ReasonKind::Refused,
            rule: RuleRef::builtin("cordon:no-user"),
            ..no_user(action)
        };
        (!self.inner.principals.is_declared()).then(reason)
    }

    /// The agent that runs as this workload (`spiffe_id` in `data/entities.json`).
    pub fn agent_of(&self, workload: &SpiffeId) -> Option<&str> {
        self.inner.workloads.get(workload).map(|agent| &**agent)
    }

    /// The workload that this agent runs as, where the source names one.
    pub fn workload_of(&self, agent: &str) -> Option<&SpiffeId> {
        self.inner.workloads.iter().find_map(|(workload, known)| (**known == *agent).then_some(workload))
    }

    /// How much the source holds.
    pub fn counts(&self) -> Counts {
        let count = |wanted: fn(&Body) -> bool| {
            let own = self.inner.rules.iter().filter(|rule| !rule.at.file.is_empty());
            own.filter(|rule| wanted(&rule.body)).count()
        };
        Counts {
            permissions: count(|body| matches!(body, Body::Permission)),
            prohibitions: count(|body| matches!(body, Body::Prohibition)),
            obligations: count(|body| matches!(body, Body::Obligation(_))),
            guards: self.inner.guards.rules.len(),
            manifests: self.inner.manifests.len(),
            tests: self.inner.cases.len(),
        }
    }

    /// The rules that the program does not hold, so that stock Cedar evaluates them, and why.
    pub fn left_to_stock_cedar(&self) -> impl Iterator<Item = (&RuleRef, &str)> {
        let rules = &self.inner.rules;
        self.inner.program.outside().filter_map(|(place, why)| Some((&rules.get(place)?.at, why)))
    }

    /// The guard files, each with the version of Rego that it is written in.
    pub fn guard_files(&self) -> &[GuardFile] {
        self.inner.guards.files()
    }

    /// The most steps that one decision may take, and for which action.
    pub fn bound(&self) -> &Bound {
        &self.inner.bound
    }

    /// The most steps that one decision about `action` may take.
    pub fn bound_of(&self, action: &Action) -> Bound {
        let inner = &self.inner;
        let (every, twice) = match action.is_declared() {
            true => (Every::RuleOfOneThing, 1),
            // Every rule is asked, and twice where it asks for groups.
            false => (Every::Rule, 2),
        };
        let loads = inner.index.loads(&inner.program, every);
        let (steps, rules) = inner.route(action).map_or((0, 0), |route| route.load(&loads));
        let action = Some(action.name().clone());
        Bound { action, steps: steps.saturating_mul(twice), rules, steps_max: inner.bound.steps_max }
    }

    /// Runs the source's own tests.
    pub fn run_tests(&self) -> TestReport {
        TestReport { outcomes: self.inner.cases.iter().map(|case| case.run(self)).collect() }
    }

    /// Tries an action that every source forbids; whether it is denied because it is forbidden.
    pub(crate) fn denies_the_forbidden(&self) -> bool {
        let agent = cordon_core::Principal::new(cordon_core::PrincipalKind::Agent, "self-check");
        let (Ok(name), Ok(chain)) =
            (NEVER.parse::<ActionName>(), cordon_core::Chain::new(None, Some(agent), None))
        else {
            return false;
        };
        let request = Request {
            chain,
            action: Action::declared(name, [], Effect::Read),
            resource: Resource::new(ResourceKind::TOOL, NEVER, "default"),
            context: cordon_core::Context::default(),
        };
        let judgement = crate::decide(self, &request, &Facts::default(), Timestamp::from_micros(0));
        judgement.verdict == Verdict::Deny
            && judgement.reasons.iter().any(|reason| {
                reason.kind == ReasonKind::Forbidden && reason.rule == RuleRef::builtin("cordon:never")
            })
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) const fn engine(&self) -> Engine {
        self.engine
    }

    /// The types of a tool's arguments.
    pub(crate) fn arguments(&self, tool: &ActionName) -> &ArgType {
        self.inner.arguments.get(tool).unwrap_or(&ArgType::Open)
    }
}

#[cfg(test)]
impl PolicySet {
    /// As [`Self::compile`], for policies that nobody type-checked.
    pub(crate) fn unchecked(source: &PolicySource) -> Result<Self, Vec<Diagnostic>> {
        let checked = compile::unchecked(source)?;
        let inner = Inner::new(source.digest(), checked);
        inner.map(Self::of).map_err(|message| vec![Diagnostic::error("", message)])
    }
}

impl Default for PolicySet {
    fn default() -> Self {
        Self::deny_all()
    }
}

impl Inner {
    fn new(digest: Digest, mut checked: Checked) -> Result<Self, String> {
        let mut rules = std::mem::take(&mut checked.rules);
        let (rows, vocabulary) = (std::mem::take(&mut checked.rows), checked.vocabulary.clone());
        rules.push(never()?);
        let mut inner = Self::without_rules(digest, checked);
        inner.program = Program::new(&rules);
        inner.index = Index::new(&rules, &inner.program)?;
        inner.needs = Needs::of(&rules);
        inner.parts.extend(
            rules
                .iter()
                .flat_map(|rule| rule.actions.iter().flatten().chain(&rule.mentions.groups))
                .filter(|name| name.parse::<Class>().is_ok_and(|class| class.part().is_some()))
                .cloned(),
        );
        inner.rules = rules;
        let declared = inner.manifests.keys().cloned();
        let own = inner.own.keys().filter_map(|name| name.parse::<ActionName>().ok());
        let names: Vec<ActionName> = declared.chain(own).collect();
        for name in names.iter().filter(|name| !is_reserved_group(name.as_str())) {
            let route = inner.make_route(&inner.action(name));
            inner.routes.insert(name.as_str().into(), route);
        }
        inner.bound = inner.reckon(inner.bound.steps_max);
        inner.rows = Rows::new(&inner, &rows, &vocabulary);
        Ok(inner)
    }

    /// What refuses a source whose rules are understood.
    fn findings(&self, source: &PolicySource) -> Vec<Diagnostic> {
        let of_rows = self.rows.findings(self).into_iter();
        let of_rows = of_rows.map(|(at, message)| source.finding_at(&at.file, at.line, message));
        self.bound.finding().into_iter().chain(of_rows).collect()
    }

    /// Places of the rules about an action that the source declares.
    pub(crate) fn places_about(&self, action: &str) -> BTreeSet<usize> {
        let Some(route) = self.routes.get(action) else { return BTreeSet::new() };
        let buckets = self.index.permissions(route).chain(self.index.restrictions(route));
        buckets.flat_map(|bucket| &bucket.rules).copied().collect()
    }

    fn action(&self, name: &ActionName) -> Action {
        if let Some(manifest) = self.manifests.get(name) {
            return manifest.action();
        }
        let undeclared = || Action::undeclared(name.clone());
        let Some(groups) = self.own.get(name.as_str()) else { return undeclared() };
        let effects: Vec<Effect> = groups
            .iter()
            .filter_map(|group| group.strip_prefix("effect:").and_then(|effect| effect.parse().ok()))
            .collect();
        match effects.as_slice() {
            [effect] => {
                let classes = groups.iter().filter_map(|group| group.parse::<Class>().ok());
                Action::declared(name.clone(), classes, *effect)
            }
            _ => undeclared(),
        }
    }

    /// The action about which a decision may take most.
    fn reckon(&self, steps_max: u64) -> Bound {
        // About an action that nobody declared every rule is asked, and twice where it asks for groups.
        let undeclared = NEVER.parse::<ActionName>().map(|name| self.make_route(&Action::undeclared(name)));
        let (steps, rules) =
            undeclared.map_or((0, 0), |route| route.load(&self.index.loads(&self.program, Every::Rule)));
        let mut worst = Bound { action: None, steps: steps.saturating_mul(2), rules, steps_max };
        let loads = self.index.loads(&self.program, Every::RuleOfOneThing);
        for route in self.routes.values() {
            let (steps, rules) = route.load(&loads);
            let name = route.action.name();
            if (steps, Some(name)) > (worst.steps, worst.action.as_ref()) {
                worst = Bound { action: Some(name.clone()), steps, rules, steps_max };
            }
        }
        worst
    }

    /// Where the rules about an action are; an error if it has the name of a group.
    pub(crate) fn route(&self, action: &Action) -> Result<Cow<'_, Route>, String> {
        let name = action.name().as_str();
        if let Some(route) = self.routes.get(name).filter(|route| route.action == *action) {
            return Ok(Cow::Borrowed(route));
        }
        if is_reserved_group(name) {
            return Err(format!("an action cannot be named `{name}`, which is a group of actions"));
        }
        Ok(Cow::Owned(self.make_route(action)))
    }

    fn without_rules(digest: Digest, checked: Checked) -> Self {
        let names = checked.vocabulary.types().chain(["Action", "User", "Agent", "Team", "Server", "Tool"]);
        let types = names
            .filter_map(|name| Some((name.into(), format!("{NAMESPACE}::{name}").parse().ok()?)))
            .collect();
        let arguments = checked
            .manifests
            .iter()
            .map(|(name, manifest)| (name.clone(), ArgType::of_input(manifest.input_schema.as_deref())))
            .collect();
        let wanted = checked.manifests.values().flat_map(|manifest| &manifest.preconditions);
        let reads = wanted.map(|wanted| wanted.tool.clone()).collect();
        let own = checked.vocabulary.actions.keys();
        let own = own.map(|name| (name.clone(), groups_of(name, &checked.vocabulary))).collect();
        Self {
            digest,
            rules: Vec::new(),
            no_permit: RuleRef::builtin("cordon:no-permit"),
            guards: checked.guards,
            index: Index::default(),
            needs: Needs::default(),
            program: Program::default(),
            routes: HashMap::new(),
            workloads: data::workloads(&checked.directory).map(|(id, agent)| (id, agent.into())).collect(),
            directory: checked.directory,
            types,
            manifests: checked.manifests,
            arguments,
            own,
            bound: Bound { action: None, steps: 0, rules: 0, steps_max: checked.steps_max },
            parts: BTreeSet::new(),
            asserted: checked.asserted,
            principals: checked.principals,
            purposes: checked.purposes,
            resources: checked.resources,
            declarers: checked.declarers,
            reads,
            risk: checked.risk,
            threats: checked.threats,
            rows: Rows::default(),
            cases: checked.cases,
        }
    }

    /// The groups of an action. One that nobody declared is in no class for a permission, and in
    /// every class, every part of one, and `effect:irreversible` for a restriction.
    fn make_route(&self, action: &Action) -> Route {
        let mut restricting: BTreeSet<Box<str>> = BTreeSet::new();
        for class in action.classes() {
            restricting.insert(class.kind().as_str().into());
            restricting.insert(class.to_string().into());
        }
        restricting.insert(format!("effect:{}", action.effect()).into());
        let own = self.own.get(action.name().as_str());
        let own = || own.into_iter().flatten().cloned();
        let mut permitting: BTreeSet<Box<str>> = match action.is_declared() {
            true => restricting.iter().cloned().chain(own()).collect(),
            false => {
                restricting.extend(ClassKind::ALL.iter().map(|kind| kind.as_str().into()));
                restricting.extend(self.parts.iter().cloned());
                own().filter(|group| !is_reserved_group(group)).collect()
            }
        };
        restricting.extend(own());
        let name = || action.name().as_str().into();
        permitting.insert(name());
        restricting.insert(name());
        let list = |names: BTreeSet<Box<str>>| names.into_iter().collect();
        self.index.route(action.clone(), list(permitting), list(restricting))
    }
}

/// Every group that an action of the bundle's own schema is in, directly or through another.
fn groups_of(name: &str, vocabulary: &Vocabulary) -> BTreeSet<Box<str>> {
    let mut groups = BTreeSet::new();
    let mut open: Vec<Box<str>> = vec![name.into()];
    while let Some(next) = open.pop() {
        let direct = vocabulary.actions.get(&next).map(|own| own.groups.iter().cloned());
        let class = next.parse::<Class>().ok().filter(|class| class.part().is_some());
        let class = class.map(|class| class.kind().as_str().into());
        for group in direct.into_iter().flatten().chain(class) {
            if groups.insert(group.clone()) {
                open.push(group);
            }
        }
    }
    groups
}

/// A prohibition that is in every source, so that a start can see something denied.
fn never() -> Result<Rule, String> {
    let text = format!("forbid(principal, action == {NAMESPACE}::Action::\"{NEVER}\", resource);");
    let policy = Policy::parse(None, text).map_err(|error| error.to_string())?;
    Ok(Rule {
        at: RuleRef::builtin("cordon:never"),
        body: Body::Prohibition,
        message: "the action exists to be refused".into(),
        remedy: None,
        actions: Some(vec![NEVER.into()]),
        exact: true,
        principal_types: Vec::new(),
        resource_types: Vec::new(),
        mentions: Mentions::default(),
        tree: Tree::of(&policy.to_pst().map_err(|error| error.to_string())?),
        policy,
    })
}
