//! Rules by the actions they are about, so that a request meets only those it must.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr as _;

use cedar_policy::{Policy, PolicyId, PolicySet};

use crate::rule::Rule;

/// Rules about one action or group, or about every action.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slice {
    pub(crate) permissions: Bucket,
    pub(crate) restrictions: Bucket,
}

/// Rules of one slice that the engine evaluates together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bucket {
    /// Places in the list of rules.
    pub(crate) rules: Vec<usize>,
    /// The rules as permissions, so that the engine reports every one that holds.
    pub(crate) full: PolicySet,
    /// Their scopes alone.
    pub(crate) scopes: PolicySet,
    /// Whether a condition asks for the groups of the action.
    pub(crate) asks_groups: bool,
}

/// All rules by action.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    every: Slice,
    by_name: HashMap<Box<str>, Slice>,
}

/// What of a request any rule could read; the rest need not be prepared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needs {
    whole_context: bool,
    context: BTreeSet<Box<str>>,
    whole_args: bool,
    args: BTreeSet<Box<str>>,
    attributes: BTreeSet<Box<str>>,
}

impl Index {
    /// Sorts `rules` by the actions and groups in their scopes.
    pub(crate) fn new(rules: &[Rule]) -> Result<Self, String> {
        let mut index = Self::default();
        for (place, rule) in rules.iter().enumerate() {
            match &rule.actions {
                None => index.every.add(place, rule)?,
                Some(names) => {
                    for name in names.iter().collect::<BTreeSet<_>>() {
                        index.by_name.entry(name.clone()).or_default().add(place, rule)?;
                    }
                }
            }
        }
        Ok(index)
    }

    /// The slices about every action and about the given names.
    pub(crate) fn slices<'i>(&'i self, names: &'i [Box<str>]) -> impl Iterator<Item = &'i Slice> {
        std::iter::once(&self.every).chain(names.iter().filter_map(|name| self.by_name.get(name)))
    }
}

impl Slice {
    fn add(&mut self, place: usize, rule: &Rule) -> Result<(), String> {
        let bucket = if rule.body.restricts() { &mut self.restrictions } else { &mut self.permissions };
        let id = || PolicyId::new(place.to_string());
        let parse = |text: &str| Policy::parse(Some(id()), text).map_err(|error| error.to_string());
        bucket.full.add(parse(&rule.full)?).map_err(|error| error.to_string())?;
        bucket.scopes.add(parse(&rule.scope)?).map_err(|error| error.to_string())?;
        bucket.rules.push(place);
        bucket.asks_groups |= !rule.mentions.groups.is_empty();
        Ok(())
    }
}

/// The place in the list of rules that the engine's name for a policy stands for.
pub(crate) fn place(id: &PolicyId) -> Option<usize> {
    usize::from_str(id.as_ref()).ok()
}

impl Needs {
    /// What `rules` could read.
    pub(crate) fn of(rules: &[Rule]) -> Self {
        let mut needs = Self::default();
        for rule in rules {
            needs.attributes.extend(rule.mentions.attributes.iter().cloned());
            for path in &rule.mentions.context {
                match path.as_slice() {
                    [] => needs.whole_context = true,
                    [first] if &**first == "args" => needs.whole_args = true,
                    [first, second, ..] if &**first == "args" => {
                        needs.args.insert(second.clone());
                    }
                    [first, ..] => {
                        needs.context.insert(first.clone());
                    }
                }
            }
        }
        needs
    }

    /// Whether any rule could read `context.<name>`.
    pub(crate) fn context(&self, name: &str) -> bool {
        self.whole_context || self.context.contains(name)
    }

    /// Whether any rule could read the argument `name`.
    pub(crate) fn arg(&self, name: &str) -> bool {
        self.whole_context || self.whole_args || self.args.contains(name)
    }

    /// Whether any rule could read an entity's attribute `name`.
    pub(crate) fn attribute(&self, name: &str) -> bool {
        self.attributes.contains(name)
    }
}
