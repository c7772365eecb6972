//! Rules by the actions and the things they are about, so that a request meets only those it must.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr as _;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, pst};
use cordon_core::{Action, ResourceKind};

use crate::program::{Gates, Places, Program, Run, Scope, Uid};
use crate::rule::Rule;

/// Rules about one action or group, or about every action.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) permissions: Bucket,
    pub(crate) restrictions: Bucket,
}

/// Rules of one slice of which only the scope tells which apply.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Places in the list of rules.
    pub(crate) rules: Vec<usize>,
    /// Compiled rules whose outcome is the same for every principal.
    pub(crate) shared: Keyed,
    /// Compiled rules whose outcome can differ between principals.
    pub(crate) own: Keyed,
    /// Rules that stock Cedar evaluates.
    pub(crate) outside: Vec<usize>,
    whole: Sets,
    rest: Sets,
    /// The scopes of the rules alone, as permissions.
    pub(crate) scopes: PolicySet,
}

/// Which rules of a bucket stock Cedar is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Every rule.
    Whole,
    /// Those that are not compiled.
    Outside,
}

/// Rules as stock Cedar reports every one that holds: those of one effect apart from the others.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    pub(crate) permits: PolicySet,
    pub(crate) forbids: PolicySet,
}

/// Rules by the thing without which their scope does not hold.
#[derive(Debug, Default)]
pub(crate) struct Keyed {
    /// Rules about every thing, or about every thing of a type.
    any: List,
    by_thing: HashMap<Box<str>, HashMap<Box<str>, List>>,
}

/// Rules that one thing meets.
#[derive(Debug, Default)]
pub(crate) struct List {
    places: Vec<usize>,
    /// The same rules by what else must hold, where that tells them apart.
    gates: Option<Box<Gates>>,
}

/// All rules by action.
#[derive(Debug)]
pub(crate) struct Index {
    /// The first is about every action.
    slices: Vec<Slice>,
    by_name: HashMap<Box<str>, usize>,
}

/// Where the rules about one action are.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) action: Action,
    /// Groups that the action is in for a permission, and its name.
    pub(crate) permitting: Vec<Box<str>>,
    /// Groups that the action is in for a prohibition or an obligation, and its name.
    pub(crate) restricting: Vec<Box<str>>,
    permissions: Vec<usize>,
    restrictions: Vec<usize>,
}

impl Default for Index {
    fn default() -> Self {
        Self { slices: vec![Slice::default()], by_name: HashMap::new() }
    }
}

impl Index {
    /// Sorts `rules` by the actions and groups in their scopes.
    pub(crate) fn new(rules: &[Rule], program: &Program) -> Result<Self, String> {
        let mut index = Self::default();
        for (place, rule) in rules.iter().enumerate() {
            match &rule.actions {
                None => index.add(0, place, rule, program)?,
                Some(names) => {
                    for name in names.iter().collect::<BTreeSet<_>>() {
                        let next = index.slices.len();
                        let slice = *index.by_name.entry(name.clone()).or_insert(next);
                        if slice == next {
                            index.slices.push(Slice::default());
                        }
                        index.add(slice, place, rule, program)?;
                    }
                }
            }
        }
        for slice in &mut index.slices {
            for bucket in [&mut slice.permissions, &mut slice.restrictions] {
                bucket.shared.sort_out(program);
                bucket.own.sort_out(program);
            }
        }
        Ok(index)
    }

    fn add(&mut self, slice: usize, place: usize, rule: &Rule, program: &Program) -> Result<(), String> {
        let Some(slice) = self.slices.get_mut(slice) else { return Ok(()) };
        let bucket = if rule.body.restricts() { &mut slice.restrictions } else { &mut slice.permissions };
        bucket.rules.push(place);
        bucket.whole.add(place, rule)?;
        bucket.scopes.add(scope_alone(place, rule)?).map_err(|error| error.to_string())?;
        match program.rule(place).map(|rule| (rule, rule.scope())) {
            Some((compiled, Some(scope))) if !compiled.is_outside() => {
                let list = if compiled.is_own() { &mut bucket.own } else { &mut bucket.shared };
                list.add(place, scope);
            }
            _ => {
                bucket.outside.push(place);
                bucket.rest.add(place, rule)?;
            }
        }
        Ok(())
    }

    /// Where the rules about `action` are, given the names under which they may be found.
    pub(crate) fn route(
        &self,
        action: Action,
        permitting: Vec<Box<str>>,
        restricting: Vec<Box<str>>,
    ) -> Route {
        let places = |names: &[Box<str>], kind: fn(&Slice) -> &Bucket| {
            let named = names.iter().filter_map(|name| self.by_name.get(name).copied());
            let filled =
                |slice: &usize| self.slices.get(*slice).is_some_and(|slice| !kind(slice).rules.is_empty());
            std::iter::once(0).chain(named).filter(filled).collect()
        };
        Route {
            permissions: places(&permitting, |slice| &slice.permissions),
            restrictions: places(&restricting, |slice| &slice.restrictions),
            action,
            permitting,
            restricting,
        }
    }

    /// Buckets of permissions about an action.
    pub(crate) fn permissions<'i>(&'i self, route: &'i Route) -> impl Iterator<Item = &'i Bucket> {
        route.permissions.iter().filter_map(|slice| self.slices.get(*slice)).map(|slice| &slice.permissions)
    }

    /// Buckets of prohibitions and obligations about an action.
    pub(crate) fn restrictions<'i>(&'i self, route: &'i Route) -> impl Iterator<Item = &'i Bucket> {
        route.restrictions.iter().filter_map(|slice| self.slices.get(*slice)).map(|slice| &slice.restrictions)
    }
}

/// Rules and the steps that they take at most.
pub(crate) type Load = (u64, usize);

impl Index {
    /// Most steps and rules of each slice's permissions and restrictions: all rules, or those that any
    /// one thing meets.
    pub(crate) fn loads(&self, program: &Program, every: Every) -> Vec<(Load, Load)> {
        let load = |bucket: &Bucket| match every {
            Every::Rule => load(program, &bucket.rules),
            Every::RuleOfOneThing => {
                let keyed = [&bucket.shared, &bucket.own].map(|keyed| keyed.load(program));
                keyed.into_iter().fold(load(program, &bucket.outside), plus)
            }
        };
        self.slices.iter().map(|slice| (load(&slice.permissions), load(&slice.restrictions))).collect()
    }
}

/// Which rules are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Every {
    /// Every rule about the action.
    Rule,
    /// Those that one thing meets.
    RuleOfOneThing,
}

impl Route {
    /// Most steps and rules of one decision, given those of each slice.
    pub(crate) fn load(&self, loads: &[(Load, Load)]) -> Load {
        let permissions = self.permissions.iter().filter_map(|slice| loads.get(*slice)).map(|load| load.0);
        let restrictions = self.restrictions.iter().filter_map(|slice| loads.get(*slice)).map(|load| load.1);
        permissions.chain(restrictions).fold((0, 0), plus)
    }
}

fn load(program: &Program, places: &[usize]) -> Load {
    let rules = places.iter().filter_map(|place| program.rule(*place));
    rules.fold((0, 0), |sum, rule| plus(sum, (rule.steps(), 1)))
}

fn plus(one: Load, other: Load) -> Load {
    (one.0.saturating_add(other.0), one.1.saturating_add(other.1))
}

impl Bucket {
    /// The rules, or part of them, as stock Cedar evaluates them.
    pub(crate) const fn stock(&self, part: Part) -> &Sets {
        match part {
            Part::Whole => &self.whole,
            Part::Outside => &self.rest,
        }
    }

    /// The places of a part of the rules.
    pub(crate) fn places(&self, part: Part) -> &[usize] {
        match part {
            Part::Whole => &self.rules,
            Part::Outside => &self.outside,
        }
    }
}

impl Sets {
    fn add(&mut self, place: usize, rule: &Rule) -> Result<(), String> {
        let set = match rule.policy.effect() {
            Effect::Permit => &mut self.permits,
            Effect::Forbid => &mut self.forbids,
        };
        set.add(rule.policy.new_id(id(place))).map_err(|error| error.to_string())
    }
}

impl Keyed {
    /// Most that one thing meets, which may belong to a server.
    fn load(&self, program: &Program) -> Load {
        let most = |things: Option<&HashMap<Box<str>, List>>| {
            let lists = things.into_iter().flat_map(HashMap::values);
            lists.map(|list| load(program, &list.places)).max().unwrap_or_default()
        };
        let (servers, others): (Vec<_>, Vec<_>) =
            self.by_thing.keys().partition(|kind| ***kind == *ResourceKind::SERVER);
        let most_of = |kinds: Vec<&Box<str>>| {
            kinds.into_iter().map(|kind| most(self.by_thing.get(kind))).max().unwrap_or_default()
        };
        [most_of(servers), most_of(others)].into_iter().fold(load(program, &self.any.places), plus)
    }

    fn add(&mut self, place: usize, scope: &Scope) {
        match scope.resource.key() {
            None => self.any.places.push(place),
            Some(Uid { kind, id }) => {
                let things = self.by_thing.entry(kind.clone()).or_default();
                things.entry(id.clone()).or_default().places.push(place);
            }
        }
    }

    /// Looks for keys by which the rules of each list can be told apart.
    fn sort_out(&mut self, program: &Program) {
        let things = self.by_thing.values_mut().flat_map(HashMap::values_mut);
        for list in things.chain([&mut self.any]) {
            list.gates = Gates::new(program, &list.places).map(Box::new);
        }
    }

    /// Hands on the rules that could be about a thing, which may belong to a server.
    pub(crate) fn about<'i>(
        &'i self,
        kind: &str,
        id: &str,
        server: Option<&str>,
        mut add: impl FnMut(&'i List),
    ) {
        if !self.any.places.is_empty() {
            add(&self.any);
        }
        if self.by_thing.is_empty() {
            return;
        }
        if let Some(list) = self.by_thing.get(kind).and_then(|things| things.get(id)) {
            add(list);
        }
        if let Some(list) = server.and_then(|server| self.by_thing.get(ResourceKind::SERVER)?.get(server)) {
            add(list);
        }
    }
}

impl List {
    /// Adds the rules that the request may meet, but for those of [`Self::gates_by_principal`].
    pub(crate) fn met<'v>(&'v self, run: &mut Run<'v>, places: &mut Places) {
        match &self.gates {
            None => places.extend_from_slice(&self.places),
            Some(gates) => gates.met(run, places),
        }
    }

    /// The rules that only one principal meets.
    pub(crate) fn gates_by_principal(&self) -> Option<&Gates> {
        self.gates.as_deref().filter(|gates| gates.names_principals())
    }
}

/// A permission with the scope of a rule and no conditions.
fn scope_alone(place: usize, rule: &Rule) -> Result<Policy, String> {
    let tree = &rule.tree;
    let template = pst::Template::new(
        place.to_string().as_str(),
        pst::Effect::Permit,
        tree.principal.clone(),
        tree.action.clone(),
        tree.resource.clone(),
    );
    let policy = pst::StaticPolicy::try_from(template).map_err(|error| error.to_string())?;
    Policy::from_pst(policy.into()).map_err(|error| error.to_string())
}

/// The engine's name for the policy at a place of a list.
pub(crate) fn id(place: usize) -> PolicyId {
    PolicyId::new(place.to_string())
}

/// The place in the list of rules that the engine's name for a policy stands for.
pub(crate) fn place(id: &PolicyId) -> Option<usize> {
    usize::from_str(id.as_ref()).ok()
}
