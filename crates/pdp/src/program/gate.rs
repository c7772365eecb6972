//! What must hold before a rule can: rules that a request does not meet are not evaluated.
//!
//! A rule stands under keys if without all of them it certainly does not hold, and certainly does
//! not err: a rule that errs has to be seen. A key is an equality with a text, which one look into a
//! table answers for any number of rules, or a question that is put once for all rules under it.

use std::collections::HashMap;

use cordon_core::PrincipalKind;
use smallvec::SmallVec;

use super::Program;
use super::eval::Run;
use super::input::Judged;
use super::node::{Binary, Const, Member, Node, NodeId, Nodes, Uid, Unary, Var};

/// A condition without which a rule does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// The value of a node is this text.
    Text(NodeId, Box<str>),
    /// The node holds.
    Node(NodeId),
}

/// Rules of one list by their keys.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    /// Rules without a key.
    always: Vec<usize>,
    texts: Vec<(NodeId, ByText)>,
    nodes: Vec<(NodeId, Vec<usize>)>,
    /// Rules that name a principal in their scope, by type and identifier.
    people: HashMap<Box<str>, ByText>,
    /// Rules that name a team in their scope.
    teams: ByText,
}

type ByText = HashMap<Box<str>, Vec<usize>>;

/// Places of the rules that a request may meet; one may be in it twice.
pub(crate) type Places = SmallVec<[usize; 16]>;

/// Shorter lists are evaluated as a whole: that takes no longer than looking for keys.
// Tests look for keys wherever there are any.
const RULES_MIN: usize = if cfg!(test) { 1 } else { 4 };

/// Most keys of one rule.
const KEYS_MAX: usize = 4;

impl Gates {
    /// The keys of the rules at `places`; `None` if they do not help.
    pub(crate) fn new(program: &Program, places: &[usize]) -> Option<Self> {
        if places.len() < RULES_MIN {
            return None;
        }
        let mut gates = Self::default();
        for place in places {
            gates.add(program, *place);
        }
        (gates.always.len() < places.len()).then_some(gates)
    }

    /// Adds the rules that the request may meet, but for those about named principals.
    pub(crate) fn met<'v>(&'v self, run: &mut Run<'v>, places: &mut Places) {
        places.extend_from_slice(&self.always);
        for (node, texts) in &self.texts {
            let rules = run.text(*node).and_then(|text| texts.get(text));
            places.extend(rules.into_iter().flatten().copied());
        }
        for (node, rules) in &self.nodes {
            // A question without an answer is left to the rules, which say so.
            if !matches!(run.test(*node), Ok(false)) {
                places.extend_from_slice(rules);
            }
        }
    }

    /// Whether any rule is about a named principal.
    pub(crate) fn names_principals(&self) -> bool {
        !self.people.is_empty()
    }

    /// Adds the rules about one principal, or about a team that it is in.
    pub(crate) fn of_principal(&self, judged: &Judged<'_>, places: &mut Places) {
        let (kind, id) = judged.name();
        let own = self.people.get(kind).and_then(|ids| ids.get(id));
        places.extend(own.into_iter().flatten().copied());
        if !self.teams.is_empty() {
            let teams = judged.all_teams().filter_map(|team| self.teams.get(team));
            places.extend(teams.flatten().copied());
        }
    }

    fn add(&mut self, program: &Program, place: usize) {
        let rule = program.rule(place);
        if let Some(Uid { kind, id }) = rule.and_then(|rule| rule.scope()?.principal.key()) {
            if **kind == *PrincipalKind::Team.as_str() {
                self.teams.entry(id.clone()).or_default().push(place);
            }
            // A team may act itself.
            let ids = self.people.entry(kind.clone()).or_default();
            ids.entry(id.clone()).or_default().push(place);
            return;
        }
        let Some(keys) = rule.and_then(|rule| program.keys(rule)) else {
            self.always.push(place);
            return;
        };
        for key in keys {
            match key {
                Key::Text(node, text) => {
                    let texts = match self.texts.iter().position(|(known, _)| *known == node) {
                        Some(found) => found,
                        None => {
                            self.texts.push((node, HashMap::new()));
                            self.texts.len().saturating_sub(1)
                        }
                    };
                    if let Some((_, texts)) = self.texts.get_mut(texts) {
                        texts.entry(text).or_default().push(place);
                    }
                }
                Key::Node(node) => match self.nodes.iter_mut().find(|(known, _)| *known == node) {
                    Some((_, rules)) => rules.push(place),
                    None => self.nodes.push((node, vec![place])),
                },
            }
        }
    }
}

/// What is certain of a node where it stands: with the members that were asked for before it.
#[derive(Debug, Clone)]
struct Sure<'n> {
    nodes: &'n Nodes,
    present: Vec<&'n Node>,
}

/// The type of a value that is certainly there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Long,
    Text,
    Datetime,
    Duration,
    Entity,
    /// A set whose members are texts, or written in the rule.
    Set,
    /// Of any type.
    Any,
}

/// The keys of a condition: without one of them it is false, and no error.
pub(super) fn keys(nodes: &Nodes, condition: NodeId) -> Option<Vec<Key>> {
    let sure = Sure { nodes, present: Vec::new() };
    match &nodes.get(condition)?.node {
        // What comes after a part that may err cannot hide the error.
        Node::And(parts) => sure.clone().best(parts),
        _ => sure.keys(condition),
    }
}

impl<'n> Sure<'n> {
    fn node(&self, id: NodeId) -> Option<&'n Node> {
        self.nodes.get(id).filter(|entry| !entry.own).map(|entry| &entry.node)
    }

    /// The keys of a question that is certainly answered.
    fn keys(&self, id: NodeId) -> Option<Vec<Key>> {
        if !self.answers(id) {
            return None;
        }
        match self.node(id)? {
            Node::Const(Const::Bool(false)) => Some(Vec::new()),
            Node::Const(_) => None,
            Node::Binary(Binary::Eq, left, right) => {
                let text = self.text_key(*left, *right).or_else(|| self.text_key(*right, *left));
                Some(vec![text.unwrap_or(Key::Node(id))])
            }
            Node::And(parts) => self.clone().best(parts),
            Node::Or(parts) => {
                let mut all = Vec::new();
                for part in parts {
                    all.extend(self.keys(*part)?);
                }
                Some(if all.len() > KEYS_MAX { vec![Key::Node(id)] } else { all })
            }
            _ => Some(vec![Key::Node(id)]),
        }
    }

    /// The keys of the part that says most, of those before which nothing can err.
    fn best(mut self, parts: &'n [NodeId]) -> Option<Vec<Key>> {
        let mut best: Option<(u32, Vec<Key>)> = None;
        for part in parts {
            let Some(node) = self.node(*part).filter(|_| self.answers(*part)) else { break };
            if let Some(keys) = self.keys(*part) {
                let worth = self.worth(&keys);
                if best.as_ref().is_none_or(|(most, _)| worth > *most) {
                    best = Some((worth, keys));
                }
            }
            self.present.push(node);
        }
        best.map(|(_, keys)| keys)
    }

    /// Texts tell most rules apart; else the question that most rules put.
    fn worth(&self, keys: &[Key]) -> u32 {
        let of = |key: &Key| match key {
            Key::Text(..) => u32::MAX,
            Key::Node(id) => match self.nodes.get(*id) {
                Some(entry) if matches!(entry.node, Node::HasMember(..) | Node::Has(..)) => 0,
                Some(entry) => entry.uses(),
                None => 0,
            },
        };
        keys.iter().map(of).min().unwrap_or(u32::MAX)
    }

    fn text_key(&self, value: NodeId, text: NodeId) -> Option<Key> {
        match (self.node(value)?, self.node(text)?) {
            (Node::Member(_) | Node::Attr(..), Node::Const(Const::Text(text))) => {
                Some(Key::Text(value, text.clone()))
            }
            _ => None,
        }
    }

    /// Whether the question certainly has an answer.
    fn answers(&self, id: NodeId) -> bool {
        let Some(node) = self.node(id) else { return false };
        match node {
            Node::Const(Const::Bool(_)) => true,
            Node::HasMember(Member::Args | Member::Model | Member::Asserted, path) => path.len() <= 1,
            Node::HasMember(_, path) => path.is_empty(),
            Node::Has(of, path) => path.len() == 1 && self.is_open(*of),
            Node::And(parts) => {
                let mut inner = self.clone();
                parts.iter().all(|part| {
                    let answers = inner.answers(*part);
                    inner.present.extend(inner.node(*part));
                    answers
                })
            }
            Node::Or(parts) => parts.iter().all(|part| self.answers(*part)),
            Node::Not(of) => self.answers(*of),
            Node::If(cond, then, other) => [cond, then, other].into_iter().all(|part| self.answers(*part)),
            Node::Is(of, _) => self.kind(*of) == Some(Kind::Entity),
            Node::Like(of, _) => self.kind(*of) == Some(Kind::Text),
            Node::Unary(Unary::IsEmpty, of) => self.kind(*of) == Some(Kind::Set),
            Node::Binary(op, left, right) => self.relates(*op, *left, *right),
            _ => false,
        }
    }

    fn relates(&self, op: Binary, left: NodeId, right: NodeId) -> bool {
        let Some((a, b)) = self.kind(left).zip(self.kind(right)) else { return false };
        match op {
            Binary::Eq => a.is_plain() || b.is_plain(),
            Binary::Less | Binary::LessEq => {
                a == b && matches!(a, Kind::Long | Kind::Datetime | Kind::Duration)
            }
            Binary::Contains => a == Kind::Set && b.is_plain(),
            Binary::In => {
                let named = match self.node(right) {
                    Some(Node::Const(Const::Entity(_))) => true,
                    Some(Node::Const(Const::Set(items))) => {
                        items.iter().all(|item| matches!(item, Const::Entity(_)))
                    }
                    _ => false,
                };
                a == Kind::Entity && named
            }
            _ => false,
        }
    }

    /// The type of a value that is certainly there.
    fn kind(&self, id: NodeId) -> Option<Kind> {
        let node = self.node(id)?;
        Some(match node {
            Node::Const(value) => match value {
                Const::Bool(_) => Kind::Bool,
                Const::Long(_) => Kind::Long,
                Const::Text(_) => Kind::Text,
                Const::Datetime(_) => Kind::Datetime,
                Const::Duration(_) => Kind::Duration,
                Const::Entity(_) => Kind::Entity,
                Const::Set(_) => Kind::Set,
                Const::Decimal(_) => return None,
            },
            Node::Var(_) => Kind::Entity,
            Node::Member(member) => match member {
                Member::Calls | Member::Integrity | Member::Depth => Kind::Long,
                Member::Posture => Kind::Text,
                Member::Now => Kind::Datetime,
                Member::Via | Member::Ambiguous => Kind::Set,
                Member::Args | Member::Model | Member::Asserted => return None,
                _ if self.present.contains(&&Node::HasMember(*member, [].into())) => Kind::Text,
                _ => return None,
            },
            Node::Attr(of, name) => match (self.node(*of)?, &**name) {
                (Node::Var(Var::Resource), "id" | "tenant") => Kind::Text,
                (Node::Var(Var::Resource), "markings") => Kind::Set,
                (owner, name) if self.is_open(*of) && self.was_asked(*of, owner, name) => Kind::Any,
                _ => return None,
            },
            _ if self.answers(id) => Kind::Bool,
            _ => return None,
        })
    }

    /// Whether anything may be asked of it, and no answer is an error.
    fn is_open(&self, id: NodeId) -> bool {
        let node = self.node(id);
        matches!(node, Some(Node::Var(Var::Resource)))
            || matches!(node, Some(Node::Member(Member::Args | Member::Model | Member::Asserted)))
    }

    /// Whether it was asked before whether `owner` has the attribute.
    fn was_asked(&self, of: NodeId, owner: &Node, name: &str) -> bool {
        let is_name = |path: &[Box<str>]| path.len() == 1 && path.iter().all(|first| **first == *name);
        self.present.iter().any(|node| match (node, owner) {
            (Node::Has(asked, path), _) => *asked == of && is_name(path),
            (Node::HasMember(asked, path), Node::Member(member)) => asked == member && is_name(path),
            _ => false,
        })
    }
}

impl Kind {
    /// Whether comparing it with anything is one step and no error.
    const fn is_plain(self) -> bool {
        !matches!(self, Self::Set | Self::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PolicySet, PolicySource};

    /// The keys of the conditions of one rule: texts as they are, questions as `?`.
    fn keys_of(condition: &str) -> Option<Vec<String>> {
        let text = format!("@id(\"x\") forbid(principal, action, resource) when {{ {condition} }};");
        let source: PolicySource = [("permissions/p.cedar", text.as_bytes())].into_iter().collect();
        let set = PolicySet::unchecked(&source).unwrap();
        let program = &set.inner().program;
        let keys = program.keys(program.rule(0).unwrap())?;
        let shown = keys.into_iter().map(|key| match key {
            Key::Text(_, text) => text.into(),
            Key::Node(_) => "?".to_owned(),
        });
        Some(shown.collect())
    }

    #[test]
    fn a_rule_has_keys_only_where_it_can_neither_hold_nor_err_without_them() {
        let texts = |texts: &[&str]| Some(texts.iter().map(ToString::to_string).collect::<Vec<_>>());
        for (condition, want) in [
            ("context has purpose && context.purpose == \"a\"", texts(&["a"])),
            ("context has purpose && \"a\" == context.purpose && context.args.n > 3", texts(&["a"])),
            // Without the question before it, a missing purpose is an error that must be seen.
            ("context.purpose == \"a\"", None),
            ("context.args.n > 3 && context has purpose && context.purpose == \"a\"", None),
            ("context has task && context.purpose == \"a\"", texts(&["?"])),
            ("context has purpose && !(context.purpose == \"a\")", texts(&["?"])),
            ("resource.tenant == \"a\" || resource.id == \"b\"", texts(&["a", "b"])),
            ("resource.tenant == \"a\" || context.args.n > 3", None),
            ("context.args has to && context.args.to == \"a\"", texts(&["a"])),
            ("context.args has cc && context.args.to == \"a\"", texts(&["?"])),
            ("context.session.integrity < 3", texts(&["?"])),
            ("context.session.integrity < \"3\"", None),
            ("context.session.posture == \"normal\"", texts(&["normal"])),
            ("principal.id == \"a\" && resource.tenant == \"a\"", None),
            ("resource.tenant == \"a\" && principal.level > 3", texts(&["a"])),
            ("resource.markings.contains(\"pii\")", texts(&["?"])),
            ("context.args.set.contains(\"pii\")", None),
            ("false", texts(&[])),
            ("true", None),
            ("(if context has purpose then true else context.args.n > 1) && resource.tenant == \"a\"", None),
        ] {
            assert_eq!(keys_of(condition), want, "{condition}");
        }
    }
}
