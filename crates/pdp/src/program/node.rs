//! The nodes of a program: expressions, each kept once however many rules hold it.

use std::collections::HashMap;

use cordon_core::SignalKind;

/// One node, by its place in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// An entity as policies name it: its type without namespace, and its identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Uid {
    pub(crate) kind: Box<str>,
    pub(crate) id: Box<str>,
}

/// A value that is written in a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Const {
    Bool(bool),
    Long(i64),
    /// In ten-thousandths.
    Decimal(i64),
    /// In milliseconds since the Unix epoch.
    Datetime(i64),
    /// In milliseconds.
    Duration(i64),
    Text(Box<str>),
    Entity(Uid),
    Set(Box<[Const]>),
}

/// A part of a request that is named without a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Var {
    Principal,
    Action,
    Resource,
}

/// A member of `context`, or of one of the records that Cordon itself puts there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Member {
    Purpose,
    Project,
    Workflow,
    Task,
    Calls,
    Integrity,
    Posture,
    SessionId,
    Now,
    Region,
    Owner,
    Agent,
    OnBehalfOf,
    Via,
    Depth,
    Role,
    Ambiguous,
    Args,
    Model,
    Asserted,
    Lineage,
    SessionMarkings,
    RiskScore,
    RiskLevel,
    Risk(SignalKind),
    Preconditions,
}

/// Methods of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unary {
    Neg,
    IsEmpty,
    ToDate,
    ToTime,
    ToMilliseconds,
    ToSeconds,
    ToMinutes,
    ToHours,
    ToDays,
}

/// Operations on two values, both of which are evaluated first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Binary {
    Eq,
    Less,
    LessEq,
    Add,
    Sub,
    Mul,
    In,
    Contains,
    ContainsAll,
    ContainsAny,
    Offset,
    DurationSince,
    DecimalLess,
    DecimalLessEq,
    DecimalGreater,
    DecimalGreaterEq,
}

/// A pattern of `like`, as the texts between its wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pattern(pub(super) Box<[Box<str>]>);

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Const(Const),
    Var(Var),
    Member(Member),
    Attr(NodeId, Box<str>),
    /// `node has a.b.c`
    Has(NodeId, Box<[Box<str>]>),
    /// Whether a member is there, and below it the path.
    HasMember(Member, Box<[Box<str>]>),
    /// All of them, in order, until one does not hold.
    And(Box<[NodeId]>),
    /// One of them, in order, until one holds.
    Or(Box<[NodeId]>),
    Not(NodeId),
    If(NodeId, NodeId, NodeId),
    Is(NodeId, Box<str>),
    Like(NodeId, Pattern),
    Unary(Unary, NodeId),
    Binary(Binary, NodeId, NodeId),
}

/// A node and what is known of it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) node: Node,
    /// Whether it can differ between the principals of one request.
    pub(crate) own: bool,
    /// Where its answer is remembered for the rest of the request; [`NO_MEMO`] if it is not.
    pub(crate) memo: u16,
    /// Most steps that it takes, with what it is made of.
    pub(crate) steps: u64,
    uses: u32,
}

/// The node's answer is not remembered.
pub(crate) const NO_MEMO: u16 = u16::MAX;

/// Answers that are remembered in one request: of nodes that are the same for every principal, and
/// of those that are not.
pub(crate) const MEMO_MAX: u16 = 128;

/// Every node of a program, each once.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    entries: Vec<Entry>,
    known: HashMap<Node, NodeId>,
}

impl NodeId {
    /// The place in the list.
    pub(crate) fn place(self) -> usize {
        self.0 as usize
    }
}

impl Entry {
    /// How often it occurs in rules and other nodes.
    pub(crate) const fn uses(&self) -> u32 {
        self.uses
    }
}

impl Nodes {
    /// The place of `node`, which is added if it is not there.
    pub(crate) fn add(&mut self, node: Node) -> NodeId {
        if let Some(id) = self.known.get(&node).copied() {
            if let Some(entry) = self.entries.get_mut(id.place()) {
                entry.uses = entry.uses.saturating_add(1);
            }
            return id;
        }
        let id = NodeId(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        let own = matches!(
            node,
            Node::Var(Var::Principal) | Node::Member(Member::Role) | Node::HasMember(Member::Role, _)
        ) || node.children().into_iter().any(|child| self.is_own(child));
        let below = node.children().into_iter().filter_map(|child| self.get(child));
        let steps = below.fold(node.steps(), |sum, child| sum.saturating_add(child.steps));
        self.entries.push(Entry { node: node.clone(), own, memo: NO_MEMO, steps, uses: 1 });
        self.known.insert(node, id);
        id
    }

    /// Whether the node can differ between the principals of one request.
    pub(crate) fn is_own(&self, id: NodeId) -> bool {
        self.get(id).is_none_or(|entry| entry.own)
    }

    /// The node at a place.
    pub(crate) fn get(&self, id: NodeId) -> Option<&Entry> {
        self.entries.get(id.place())
    }

    /// Gives the first nodes that occur more than once a place to be remembered at, and forgets what
    /// only building needed.
    pub(crate) fn finish(&mut self) {
        let (mut shared, mut own) = (0, 0);
        for entry in &mut self.entries {
            let next = if entry.own { &mut own } else { &mut shared };
            if entry.uses > 1 && entry.node.is_worth_remembering() && *next < MEMO_MAX {
                entry.memo = *next;
                *next = next.saturating_add(1);
            }
        }
        self.known = HashMap::new();
    }
}

impl Node {
    /// The nodes that it is made of.
    pub(crate) fn children(&self) -> Vec<NodeId> {
        match self {
            Self::Const(_) | Self::Var(_) | Self::Member(_) | Self::HasMember(..) => Vec::new(),
            Self::Attr(of, _)
            | Self::Has(of, _)
            | Self::Not(of)
            | Self::Is(of, _)
            | Self::Like(of, _)
            | Self::Unary(_, of) => vec![*of],
            Self::And(parts) | Self::Or(parts) => parts.to_vec(),
            Self::If(cond, then, other) => vec![*cond, *then, *other],
            Self::Binary(_, left, right) => vec![*left, *right],
        }
    }

    /// Steps of the node alone.
    fn steps(&self) -> u64 {
        let parts = match self {
            Self::Const(Const::Set(items)) => items.len(),
            Self::Like(_, Pattern(parts)) => parts.len(),
            Self::Has(_, path) | Self::HasMember(_, path) => path.len(),
            _ => 0,
        };
        u64::try_from(parts).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Whether it is a question, and one that costs more than looking its answer up.
    fn is_worth_remembering(&self) -> bool {
        match self {
            Self::And(_) | Self::Or(_) | Self::Not(_) | Self::Has(..) | Self::Like(..) | Self::Is(..) => true,
            Self::Binary(op, ..) => !matches!(
                op,
                Binary::Add | Binary::Sub | Binary::Mul | Binary::Offset | Binary::DurationSince
            ),
            _ => false,
        }
    }
}

impl Pattern {
    /// Whether `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        cordon_core::like(&self.0, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern(text.split('*').map(Into::into).collect())
    }

    #[test]
    fn a_wildcard_stands_for_any_text_and_each_part_is_used_once() {
        for (like, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "é", true),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*@example.com", "bob@example.com", true),
            ("*@example.com", "bob@example.com.evil", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("*ab*ab*", "ab", false),
            ("*ab*ab*", "abab", true),
            ("a**b", "ab", true),
        ] {
            assert_eq!(pattern(like).matches(text), want, "{like} {text}");
        }
    }

    #[test]
    fn a_node_is_kept_once_and_belongs_to_the_principal_if_a_part_of_it_does() {
        let mut nodes = Nodes::default();
        let purpose = nodes.add(Node::Member(Member::Purpose));
        assert_eq!(nodes.add(Node::Member(Member::Purpose)), purpose);
        let principal = nodes.add(Node::Var(Var::Principal));
        let shared = nodes.add(Node::Binary(Binary::Eq, purpose, purpose));
        let own = nodes.add(Node::Binary(Binary::Eq, purpose, principal));
        let role = nodes.add(Node::Member(Member::Role));
        let has_role = nodes.add(Node::HasMember(Member::Role, [].into()));
        assert_eq!(nodes.entries.len(), 6);
        assert!(!nodes.is_own(shared) && nodes.is_own(own) && nodes.is_own(role));
        assert!(nodes.is_own(has_role));
    }
}
