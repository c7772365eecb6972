//! The values that rules tell apart, as a finite space of requests about one action.
//!
//! Two requests that no comparison in the rules tells apart are judged alike, so one of each kind
//! stands for all: for a number that a rule compares with 5 the values 4, 5 and 6, for a text the one
//! that is named and another one, and nothing at all.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::pst::{
    BinaryOp, Clause, EntityOrSlot, EntityUID, Expr, Literal, PatternElem, PrincipalConstraint,
    ResourceConstraint, UnaryOp, Var,
};
use cordon_core::{Action, Decimal, Facts, Request, RiskLevel, Timestamp, Value};

use crate::cedar_text::NAMESPACE;
use crate::mention::chain;
use crate::probe::{Draw, Probe};
use crate::rule::Rule;

/// Most values of one thing that are told apart.
const VALUES_MAX: usize = 16;

/// Requests about one action.
#[derive(Debug)]
pub(crate) struct Space {
    action: Action,
    slots: Vec<Slot>,
}

/// One thing that rules ask about.
#[derive(Debug)]
struct Slot {
    place: Place,
    /// The first is the plain one: absent, or nobody in particular.
    choices: Vec<Choice>,
    /// Whether the request is of interest for what is chosen here.
    near: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Owner,
    Agent,
    User,
    Team,
    Resource,
    Path(Vec<Box<str>>),
}

#[derive(Debug, Clone, PartialEq)]
enum Choice {
    Plain,
    /// There is no such principal.
    Nobody,
    Entity(Box<str>, Box<str>),
    Value(Value),
}

impl Space {
    /// Requests about `action`, for whatever `near` and `far` rules ask about; where not all of them
    /// can be tried, those in which the near ones have a say are preferred.
    pub(crate) fn new<'r>(
        action: &Action,
        near: impl IntoIterator<Item = &'r Rule>,
        far: impl IntoIterator<Item = &'r Rule>,
    ) -> Self {
        let mut near_asks = Asks::default();
        near.into_iter().for_each(|rule| near_asks.rule(rule));
        let mut asks = near_asks.clone();
        far.into_iter().for_each(|rule| asks.rule(rule));
        let mut space = Self { action: action.clone(), slots: Vec::new() };
        space.principals(&asks, &near_asks);
        space.resources(&asks, &near_asks);
        for (path, values) in &asks.paths {
            let parts: Vec<&str> = path.iter().map(|part| &**part).collect();
            let values = match parts.as_slice() {
                // The score follows from the signals.
                ["context", "risk", "score"] => continue,
                ["context", "risk", "level"] => {
                    RiskLevel::ALL.iter().map(|level| Value::text(level.as_str())).collect()
                }
                _ if values.is_empty() => asks.anything(),
                _ => values.clone(),
            };
            let values = values.into_iter().take(VALUES_MAX).map(Choice::Value);
            let near = near_asks.paths.contains_key(path);
            space.slots.push(Slot {
                place: Place::Path(path.clone()),
                choices: [Choice::Plain].into_iter().chain(values).collect(),
                near,
            });
        }
        space
    }

    /// How many requests there are.
    pub(crate) fn size(&self) -> u128 {
        let choices = |slot: &Slot| u128::try_from(slot.choices.len()).unwrap_or(u128::MAX);
        self.slots.iter().fold(1u128, |size, slot| size.saturating_mul(choices(slot)))
    }

    /// The request at place `at` of `size`.
    pub(crate) fn nth(&self, mut at: u128) -> Option<(Request, Facts, Timestamp)> {
        self.made(|slot| {
            let choices = u128::try_from(slot.choices.len()).unwrap_or(1).max(1);
            let chosen = at.checked_rem(choices).unwrap_or_default();
            at = at.checked_div(choices).unwrap_or_default();
            usize::try_from(chosen).unwrap_or_default()
        })
    }

    /// Some request: what is near is mostly something in particular, what is far mostly plain.
    pub(crate) fn sample(&self, draw: &mut Draw) -> Option<(Request, Facts, Timestamp)> {
        self.made(|slot| {
            let plain =
                if slot.near { draw.number().is_multiple_of(5) } else { !draw.number().is_multiple_of(3) };
            let particular = draw.below(slot.choices.len().saturating_sub(1)).map(|at| at.saturating_add(1));
            if plain { 0 } else { particular.unwrap_or_default() }
        })
    }

    fn made(&self, mut choose: impl FnMut(&Slot) -> usize) -> Option<(Request, Facts, Timestamp)> {
        let mut probe = Probe::new(self.action.clone());
        for slot in &self.slots {
            if let Some(choice) = slot.choices.get(choose(slot)) {
                place(&mut probe, &slot.place, choice);
            }
        }
        probe.finish()
    }

    fn principals(&mut self, asks: &Asks, near: &Asks) {
        let of = |kind: &str| {
            let named = asks.entities.iter().filter(|(named, _)| &**named == kind).take(VALUES_MAX);
            named.map(|(kind, id)| Choice::Entity(kind.clone(), id.clone())).collect::<Vec<_>>()
        };
        for (place, kind, first) in [
            (Place::Owner, "User", &[Choice::Plain][..]),
            (Place::Agent, "Agent", &[Choice::Plain]),
            (Place::User, "User", &[Choice::Plain, Choice::Nobody]),
            (Place::Team, "Team", &[Choice::Plain]),
        ] {
            let choices: Vec<Choice> = first.iter().cloned().chain(of(kind)).collect();
            let near = near.entities.iter().any(|(named, _)| &**named == kind);
            if choices.len() > 1 {
                self.slots.push(Slot { place, choices, near });
            }
        }
    }

    fn resources(&mut self, asks: &Asks, near: &Asks) {
        let other = |kind: &str| !matches!(kind, "Action" | "User" | "Agent" | "Team" | "Server" | "Tool");
        let named = asks.entities.iter().filter(|(kind, _)| other(kind));
        let typed = asks.types.iter().filter(|kind| other(kind)).map(|kind| (kind.clone(), Box::from("any")));
        let things: BTreeSet<(Box<str>, Box<str>)> = named.cloned().chain(typed).take(VALUES_MAX).collect();
        let is_near =
            near.types.iter().chain(near.entities.iter().map(|(kind, _)| kind)).any(|kind| other(kind));
        let choices = things.into_iter().map(|(kind, id)| Choice::Entity(kind, id));
        let choices: Vec<Choice> = [Choice::Plain].into_iter().chain(choices).collect();
        if choices.len() > 1 {
            self.slots.push(Slot { place: Place::Resource, choices, near: is_near });
        }
    }
}

fn place(probe: &mut Probe, place: &Place, choice: &Choice) {
    match (place, choice) {
        (_, Choice::Plain) => {}
        (Place::Owner, Choice::Entity(_, id)) => probe.owner.id = id.clone(),
        (Place::Agent, Choice::Entity(_, id)) => probe.agent.id = id.clone(),
        (Place::User, Choice::Entity(_, id)) => {
            if let Some(user) = &mut probe.user {
                user.id = id.clone();
            }
        }
        (Place::User, Choice::Nobody) => probe.user = None,
        (Place::Team, Choice::Entity(kind, id)) => probe.entity(kind, id, 0),
        (Place::Resource, Choice::Entity(kind, id)) => probe.resource = Some((kind.clone(), id.clone())),
        (Place::Path(path), Choice::Value(value)) => probe.set(path, value.clone()),
        _ => {}
    }
}

/// What rules ask about.
#[derive(Debug, Clone, Default)]
struct Asks {
    /// Entities by type and identifier.
    entities: BTreeSet<(Box<str>, Box<str>)>,
    /// Types of things.
    types: BTreeSet<Box<str>>,
    /// Attribute paths with the values that are told apart.
    paths: BTreeMap<Vec<Box<str>>, Vec<Value>>,
    /// Every literal, for what is compared with no literal of its own.
    literals: Vec<Value>,
}

impl Asks {
    fn rule(&mut self, rule: &Rule) {
        match &rule.tree.principal {
            PrincipalConstraint::Eq(one)
            | PrincipalConstraint::In(one)
            | PrincipalConstraint::IsIn(_, one) => {
                self.slot(one);
            }
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => {}
        }
        match &rule.tree.resource {
            ResourceConstraint::Eq(one) | ResourceConstraint::In(one) => self.slot(one),
            ResourceConstraint::IsIn(kind, one) => {
                self.kind(&kind.to_string());
                self.slot(one);
            }
            ResourceConstraint::Is(kind) => self.kind(&kind.to_string()),
            ResourceConstraint::Any => {}
        }
        for Clause::When(condition) | Clause::Unless(condition) in &rule.tree.clauses {
            self.expr(condition);
        }
    }

    fn slot(&mut self, slot: &EntityOrSlot) {
        if let EntityOrSlot::Entity(uid) = slot {
            self.entity(uid);
        }
    }

    fn entity(&mut self, uid: &EntityUID) {
        self.entities.insert((bare(&uid.ty.to_string()), uid.eid.as_str().into()));
    }

    fn kind(&mut self, whole: &str) {
        self.types.insert(bare(whole));
    }

    fn expr(&mut self, expr: &Expr) {
        if let Some(path) = path(expr) {
            self.paths.entry(path).or_default();
            return;
        }
        match expr {
            Expr::BinaryOp { op, left, right } => {
                match (path(left), path(right)) {
                    (Some(path), _) => self.compare(path, *op, right, Side::Left),
                    (None, Some(path)) => self.compare(path, *op, left, Side::Right),
                    (None, None) => {}
                }
                self.expr(left);
                self.expr(right);
            }
            Expr::Like { expr, pattern } => {
                if let Some(path) = path(expr) {
                    let any: String = pattern.iter().map(matching).collect();
                    self.add(path, [Value::text(any), Value::text("~")]);
                }
                self.expr(expr);
            }
            Expr::UnaryOp { op, expr } => {
                if let (UnaryOp::Not, Some(path)) = (op, path(expr)) {
                    self.add(path, [Value::Bool(true), Value::Bool(false)]);
                }
                self.expr(expr);
            }
            Expr::Literal(literal) => self.literal(literal),
            Expr::Is { expr, entity_type, in_expr } => {
                self.kind(&entity_type.to_string());
                self.expr(expr);
                in_expr.iter().for_each(|inner| self.expr(inner));
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                [cond, then_expr, else_expr].into_iter().for_each(|part| self.expr(part));
            }
            Expr::GetAttr { expr, .. } | Expr::HasAttr { expr, .. } => self.expr(expr),
            Expr::Set(items) => items.iter().for_each(|item| self.expr(item)),
            Expr::Record(members) => members.values().for_each(|member| self.expr(member)),
            _ => {}
        }
    }

    fn literal(&mut self, literal: &Literal) {
        match literal {
            Literal::EntityUID(uid) => self.entity(uid),
            other => self.literals.extend(value(other)),
        }
    }

    /// Notes the values that a comparison of `path` tells apart.
    fn compare(&mut self, path: Vec<Box<str>>, op: BinaryOp, other: &Expr, side: Side) {
        let values: Vec<Value> = constants(other);
        match (op, side) {
            (BinaryOp::Contains | BinaryOp::ContainsAll | BinaryOp::ContainsAny, Side::Left) => {
                let each = values.iter().map(|value| Value::Set(vec![value.clone()]));
                let all = (values.len() > 1).then(|| Value::Set(values.clone()));
                let sets: Vec<Value> = each.chain(all).chain([Value::Set(Vec::new())]).collect();
                self.add(path, sets);
            }
            (BinaryOp::ContainsAll | BinaryOp::ContainsAny, Side::Right) => {
                self.add(path, [Value::Set(values), Value::Set(Vec::new())]);
            }
            (BinaryOp::And | BinaryOp::Or, _) => self.add(path, [Value::Bool(true), Value::Bool(false)]),
            _ => {
                let near: Vec<Value> = values.iter().flat_map(neighbours).collect();
                self.add(path, near);
            }
        }
    }

    fn add(&mut self, path: Vec<Box<str>>, values: impl IntoIterator<Item = Value>) {
        let known = self.paths.entry(path).or_default();
        for value in values {
            if !known.contains(&value) {
                known.push(value);
            }
        }
    }

    /// Values for what is compared with no literal: one of each kind, and every literal there is.
    fn anything(&self) -> Vec<Value> {
        let kinds = [Value::Bool(true), Value::Bool(false), Value::Long(1), Value::text("~")];
        kinds.into_iter().chain(self.literals.iter().cloned()).collect()
    }
}

/// On which side of a comparison the path stands.
#[derive(Debug, Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// The path `context.args.to`, `resource.owner` or `principal.level`, `has` taken for a dot.
fn path(expr: &Expr) -> Option<Vec<Box<str>>> {
    let (root, names) = chain(expr)?;
    let root = match root {
        Expr::Var(Var::Context) => "context",
        Expr::Var(Var::Principal) => "principal",
        Expr::Var(Var::Resource) => "resource",
        _ => return None,
    };
    Some([Box::from(root)].into_iter().chain(names).collect())
}

/// The constants in a literal or a set of literals.
fn constants(expr: &Expr) -> Vec<Value> {
    match expr {
        Expr::Literal(literal) => value(literal).into_iter().collect(),
        Expr::Set(items) => items.iter().flat_map(|item| constants(item)).collect(),
        Expr::UnaryOp { op: UnaryOp::Neg, expr } => constants(expr)
            .into_iter()
            .filter_map(|value| match value {
                Value::Long(number) => number.checked_neg().map(Value::Long),
                _ => None,
            })
            .collect(),
        Expr::UnaryOp { op: UnaryOp::Decimal, expr } => match &**expr {
            Expr::Literal(Literal::String(text)) => {
                Decimal::parse(text).map(Value::Decimal).into_iter().collect()
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn value(literal: &Literal) -> Option<Value> {
    Some(match literal {
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Long(number) => Value::Long(*number),
        Literal::String(text) => Value::text(text.as_str()),
        Literal::EntityUID(uid) => Value::Entity(bare(&uid.ty.to_string()), uid.eid.as_str().into()),
        _ => return None,
    })
}

/// A constant and what comparisons with it tell apart from it.
fn neighbours(value: &Value) -> Vec<Value> {
    match value {
        Value::Long(number) => {
            let steps = [Some(*number), number.checked_add(1), number.checked_sub(1)];
            steps.into_iter().flatten().map(Value::Long).collect()
        }
        Value::Decimal(number) => {
            let number = number.ten_thousandths();
            let steps = [Some(number), number.checked_add(1), number.checked_sub(1)];
            steps
                .into_iter()
                .flatten()
                .map(|step| Value::Decimal(Decimal::from_ten_thousandths(step)))
                .collect()
        }
        Value::Text(text) => vec![Value::Text(text.clone()), Value::text(format!("{text}~"))],
        Value::Bool(_) => vec![Value::Bool(true), Value::Bool(false)],
        other => vec![other.clone()],
    }
}

/// A character that matches an element of a pattern.
fn matching(element: &PatternElem) -> char {
    match element {
        PatternElem::Char(c) => *c,
        PatternElem::Wildcard => '~',
    }
}

/// A type's name without the namespace.
fn bare(whole: &str) -> Box<str> {
    whole.strip_prefix(NAMESPACE).and_then(|rest| rest.strip_prefix("::")).unwrap_or(whole).into()
}
