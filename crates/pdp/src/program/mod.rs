//! Rules compiled to a program: the same outcomes as stock Cedar, in a hundredth of its time.
//!
//! A program is a graph in which each expression stands once, however many rules hold it, and whose
//! answers are remembered for the rest of a request. It runs over borrowed values and allocates
//! nothing. What it cannot express is left to stock Cedar, rule by rule ([`Outside`]) or, for values
//! that are rarely met, request by request ([`Fault::left_to_stock`]).
//! Everything here is checked against stock Cedar in `differential.rs`.

mod compile;
#[cfg(test)]
mod differential;
mod eval;
mod fault;
mod gate;
mod input;
mod node;
mod residual;
mod scope;
mod value;

use self::compile::Outside;
use self::gate::Key;
use self::node::{NodeId, Nodes};

pub(crate) use self::eval::Run;
pub(crate) use self::gate::{Gates, Places};
pub(crate) use self::input::Inputs;
pub(crate) use self::node::Uid;
pub(crate) use self::residual::{Column, Columns, NotWritable, Residual};
pub(crate) use self::scope::{Reach, Scope};
use crate::bound::{PRINCIPALS, STOCK_STEPS};
use crate::engine::Outcome;
use crate::mention::Mentions;
use crate::rule::Rule;

/// Compiled rules, by their place in the list.
#[derive(Debug, Default)]
pub(crate) struct Program {
    nodes: Nodes,
    rules: Vec<Compiled>,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Compiled {
    scope: Option<Scope>,
    condition: Condition,
    own: bool,
    shared_conditions: bool,
    steps: u64,
}

#[derive(Debug)]
enum Condition {
    Always,
    Node(NodeId),
    Outside(Outside),
}

impl Program {
    /// Compiles `rules`.
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut nodes = Nodes::default();
        // Rules about everything come first, so that their answers are those that are remembered.
        let (every, narrow): (Vec<_>, Vec<_>) =
            rules.iter().enumerate().partition(|(_, rule)| rule.actions.is_none() && rule.body.restricts());
        let mut compiled: Vec<Option<Compiled>> = rules.iter().map(|_| None).collect();
        for (place, rule) in every.into_iter().chain(narrow) {
            if let Some(slot) = compiled.get_mut(place) {
                *slot = Some(Compiled::new(&mut nodes, rule));
            }
        }
        nodes.finish();
        Self { nodes, rules: compiled.into_iter().flatten().collect() }
    }

    /// The rule at a place.
    pub(crate) fn rule(&self, place: usize) -> Option<&Compiled> {
        self.rules.get(place)
    }

    /// What must hold before a rule's conditions can; `None` if that cannot be said.
    fn keys(&self, rule: &Compiled) -> Option<Vec<Key>> {
        match rule.condition {
            Condition::Node(node) => gate::keys(&self.nodes, node),
            Condition::Always | Condition::Outside(_) => None,
        }
    }

    /// Whether the conditions of the rule at a place read a column of a row.
    pub(crate) fn reads_columns(&self, place: usize, mentions: Option<&Mentions>, columns: &Columns) -> bool {
        match self.rule(place).map(|rule| &rule.condition) {
            Some(Condition::Always) | None => false,
            Some(Condition::Node(node)) => residual::reads(&self.nodes, *node, columns),
            Some(Condition::Outside(_)) => {
                mentions.is_none_or(|mentions| columns.keys().any(|name| mentions.attribute(name)))
            }
        }
    }

    /// Whether the rule at a place can be written as a condition on rows.
    pub(crate) fn writable(&self, place: usize, columns: &Columns) -> Result<(), NotWritable> {
        match self.rule(place).map(|rule| &rule.condition) {
            Some(Condition::Always) | None => Ok(()),
            Some(Condition::Node(node)) => residual::writable(&self.nodes, *node, columns),
            Some(Condition::Outside(why)) => Err(NotWritable(why.clone())),
        }
    }

    /// Whether the scope of the rule at a place lets it be about a thing of a type.
    pub(crate) fn could_be_about(&self, place: usize, kind: &str) -> bool {
        match self.rule(place).and_then(Compiled::scope).map(|scope| &scope.resource) {
            Some(Reach::Is(only) | Reach::IsIn(only, _)) => **only == *kind,
            Some(Reach::Eq(uid)) => *uid.kind == *kind,
            Some(Reach::Any | Reach::In(_)) | None => true,
        }
    }

    /// Places of the rules that stock Cedar evaluates, and why.
    pub(crate) fn outside(&self) -> impl Iterator<Item = (usize, &str)> {
        self.rules.iter().enumerate().filter_map(|(place, rule)| match &rule.condition {
            Condition::Outside(why) => Some((place, &**why)),
            _ => None,
        })
    }
}

impl Compiled {
    fn new(nodes: &mut Nodes, rule: &Rule) -> Self {
        let (scope, condition) = match compile::scope(rule) {
            Ok(scope) => (Some(scope), compile::condition(nodes, &rule.tree.clauses)),
            Err(why) => (None, Err(why)),
        };
        let condition = match condition {
            Ok(None) => Condition::Always,
            Ok(Some(node)) => Condition::Node(node),
            Err(why) => Condition::Outside(why),
        };
        let own = match (&scope, &condition) {
            (Some(Scope { principal: Reach::Any, .. }), Condition::Always) => false,
            (Some(Scope { principal: Reach::Any, .. }), Condition::Node(node)) => nodes.is_own(*node),
            _ => true,
        };
        let shared_conditions = match &condition {
            Condition::Always => true,
            Condition::Node(node) => !nodes.is_own(*node),
            Condition::Outside(_) => false,
        };
        // Two for the scope.
        let steps = match &condition {
            Condition::Always => 2,
            Condition::Node(node) => nodes.get(*node).map_or(2, |entry| entry.steps.saturating_add(2)),
            Condition::Outside(_) => STOCK_STEPS,
        };
        Self { scope, condition, own, shared_conditions, steps }
    }

    /// Most steps of one decision that it takes.
    pub(crate) const fn steps(&self) -> u64 {
        if self.own { self.steps.saturating_mul(PRINCIPALS) } else { self.steps }
    }

    /// The scope; `None` if only stock Cedar can say whether it holds.
    pub(crate) const fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// Whether its outcome can differ between the principals of one request.
    pub(crate) const fn is_own(&self) -> bool {
        self.own
    }

    /// Whether its conditions are the same for every principal, whatever its scope says.
    pub(crate) const fn has_shared_conditions(&self) -> bool {
        self.shared_conditions
    }

    /// Whether stock Cedar evaluates it.
    pub(crate) const fn is_outside(&self) -> bool {
        matches!(self.condition, Condition::Outside(_))
    }

    /// For which rows its conditions hold, and for which they have no answer, once its scope holds.
    pub(crate) fn residual<'v>(
        &'v self,
        run: &mut Run<'v>,
        columns: &Columns,
    ) -> Result<Residual, NotWritable> {
        match &self.condition {
            Condition::Always => Ok(Residual::of(true)),
            Condition::Node(node) => residual::residual(run, *node, columns),
            Condition::Outside(why) => Err(NotWritable(why.clone())),
        }
    }

    /// What comes of it once its scope holds; `None` if only stock Cedar can say.
    pub(crate) fn outcome<'v>(&'v self, run: &mut Run<'v>) -> Option<Outcome> {
        let node = match &self.condition {
            Condition::Always => return Some(Outcome::Satisfied),
            Condition::Node(node) => *node,
            Condition::Outside(_) => return None,
        };
        match run.test(node) {
            Ok(true) => Some(Outcome::Satisfied),
            Ok(false) => Some(Outcome::NotSatisfied),
            Err(fault) => fault.text().map(|text| Outcome::Error(text.into())),
        }
    }
}
