//! Running a program: one walk over the nodes of a rule, with nothing allocated on the way.

use super::Program;
use super::fault::{self, Fault};
use super::input::{Found, Inputs, Judged, Seen};
use super::node::{Binary, MEMO_MAX, Member, NO_MEMO, Node, NodeId, Nodes, Uid, Unary, Var};
use super::scope::{Reach, Scope};
use super::value::{Entity, Items, Val, contains, equal, meets, subset};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// One run over one request.
#[derive(Debug)]
pub(crate) struct Run<'v> {
    program: &'v Program,
    inputs: &'v Inputs<'v>,
    /// Groups that the action is in.
    groups: &'v [Box<str>],
    judged: Option<&'v Judged<'v>>,
    shared: [Answer; MEMO_MAX as usize],
    own: [Answer; MEMO_MAX as usize],
}

/// What is remembered of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Open,
    No,
    Yes,
}

type Tested = Result<bool, Fault>;
pub(super) type Valued<'v> = Result<Val<'v>, Fault>;

impl<'v> Run<'v> {
    /// A run in which the action is in `groups`.
    pub(crate) fn new(program: &'v Program, inputs: &'v Inputs<'v>, groups: &'v [Box<str>]) -> Self {
        let open = [Answer::Open; MEMO_MAX as usize];
        Self { program, inputs, groups, judged: None, shared: open, own: open }
    }

    /// Turns to one principal.
    pub(crate) fn turn_to(&mut self, judged: &'v Judged<'v>) {
        self.judged = Some(judged);
        self.own = [Answer::Open; MEMO_MAX as usize];
    }

    /// Whether the scope holds, the action apart.
    pub(crate) fn reaches(&self, scope: &'v Scope) -> bool {
        self.reach(&scope.principal, Entity::Principal) && self.reach(&scope.resource, Entity::Resource)
    }

    /// Whether the action is in the scope.
    pub(crate) fn covers(&self, scope: &Scope) -> bool {
        let action = self.inputs.request().action.name().as_str();
        match &scope.actions {
            None => true,
            Some(names) if scope.exact => names.iter().all(|name| **name == *action),
            Some(names) => names.iter().any(|name| **name == *action || self.groups.contains(name)),
        }
    }

    fn reach(&self, reach: &'v Reach, entity: Entity<'v>) -> bool {
        match reach {
            Reach::Any => true,
            Reach::Eq(uid) => self.is(entity, uid),
            Reach::In(uid) => self.is_in(entity, uid),
            Reach::Is(kind) => *self.name(entity).0 == **kind,
            Reach::IsIn(kind, uid) => *self.name(entity).0 == **kind && self.is_in(entity, uid),
        }
    }

    fn name(&self, entity: Entity<'v>) -> (&'v str, &'v str) {
        let request = self.inputs.request();
        match entity {
            Entity::Principal => self.judged.map_or(("", ""), Judged::name),
            Entity::Action => ("Action", request.action.name().as_str()),
            Entity::Resource => (request.resource.kind.as_str(), &request.resource.id),
            Entity::Named(uid) => (&uid.kind, &uid.id),
        }
    }

    fn is(&self, entity: Entity<'v>, uid: &Uid) -> bool {
        self.name(entity) == (&*uid.kind, &*uid.id)
    }

    fn found(&self, entity: Entity<'v>) -> Option<Found<'v, 'v>> {
        match entity {
            Entity::Principal => self.judged.map(Found::Principal),
            Entity::Action => Some(Found::Action),
            Entity::Resource => Some(Found::Resource),
            Entity::Named(uid) => self.inputs.resolve(uid),
        }
    }

    fn is_in(&self, entity: Entity<'v>, uid: &Uid) -> bool {
        if self.is(entity, uid) {
            return true;
        }
        match self.found(entity) {
            Some(Found::Principal(judged)) => *uid.kind == *"Team" && judged.is_in_team(&uid.id),
            Some(Found::Action) => *uid.kind == *"Action" && self.groups.contains(&uid.id),
            Some(Found::Resource) => *uid.kind == *"Server" && self.inputs.server() == Some(&uid.id),
            None => false,
        }
    }

    /// The value of a node if it is a text; nothing for what is absent or of another type.
    pub(crate) fn text(&self, id: NodeId) -> Option<&'v str> {
        let program = self.program;
        let val = match &program.nodes.get(id)?.node {
            Node::Member(member) => self.inputs.member(*member, self.judged),
            Node::Attr(of, name) => match program.nodes.get(*of)?.node {
                Node::Var(Var::Resource) => self.inputs.of_resource(name),
                Node::Member(member) => match self.inputs.member(member, self.judged)? {
                    Val::Record(record) => record.get(name).and_then(Val::of),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        match val {
            Some(Val::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether a node holds; an error if it is not a question or has no answer.
    pub(crate) fn test(&mut self, id: NodeId) -> Tested {
        let program = self.program;
        let entry = program.nodes.get(id).ok_or_else(Fault::left_to_stock)?;
        if entry.memo == NO_MEMO {
            return self.test_node(&entry.node);
        }
        let memo = if entry.own { &self.own } else { &self.shared };
        match memo.get(usize::from(entry.memo)) {
            Some(Answer::Yes) => return Ok(true),
            Some(Answer::No) => return Ok(false),
            _ => {}
        }
        let answer = self.test_node(&entry.node)?;
        let memo = if entry.own { &mut self.own } else { &mut self.shared };
        if let Some(slot) = memo.get_mut(usize::from(entry.memo)) {
            *slot = if answer { Answer::Yes } else { Answer::No };
        }
        Ok(answer)
    }

    fn test_node(&mut self, node: &'v Node) -> Tested {
        match node {
            Node::And(parts) => {
                for part in parts {
                    if !self.test(*part)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Node::Or(parts) => {
                for part in parts {
                    if self.test(*part)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Node::Not(of) => Ok(!self.test(*of)?),
            Node::If(cond, then, other) => {
                let branch = if self.test(*cond)? { then } else { other };
                self.test(*branch)
            }
            Node::Binary(op, left, right) if op.is_question() => {
                let left = self.value(*left)?;
                let right = self.value(*right)?;
                self.relation(*op, left, right)
            }
            Node::HasMember(member, rest) => match self.inputs.member(*member, self.judged) {
                None => Ok(false),
                Some(val) => self.has(val, rest),
            },
            Node::Has(of, path) => {
                let val = self.value(*of)?;
                self.has(val, path)
            }
            Node::Is(of, kind) => match self.value(*of)? {
                Val::Entity(entity) => Ok(*self.name(entity).0 == **kind),
                other => Err(fault::type_error(&self.seen(), fault::ENTITY, other)),
            },
            Node::Like(of, pattern) => match self.value(*of)? {
                Val::Text(text) => Ok(pattern.matches(text)),
                other => Err(fault::type_error(&self.seen(), "string", other)),
            },
            Node::Unary(Unary::IsEmpty, of) => match self.value(*of)? {
                Val::Set(items) => Ok(items.len() == 0),
                other => Err(fault::type_error(&self.seen(), "set", other)),
            },
            _ => match self.value_node(node)? {
                Val::Bool(answer) => Ok(answer),
                other => Err(fault::type_error(&self.seen(), "bool", other)),
            },
        }
    }

    /// The program's nodes.
    pub(super) const fn nodes(&self) -> &'v Nodes {
        &self.program.nodes
    }

    /// The value of a node, or why it has none.
    pub(super) fn value(&mut self, id: NodeId) -> Valued<'v> {
        let program = self.program;
        match program.nodes.get(id).map(|entry| &entry.node) {
            None => Err(Fault::left_to_stock()),
            Some(node) if node.is_question() => self.test(id).map(Val::Bool),
            Some(node) => self.value_node(node),
        }
    }

    /// The value of a node that is not a question by itself.
    fn value_node(&mut self, node: &'v Node) -> Valued<'v> {
        match node {
            Node::Const(value) => Ok(Val::constant(value)),
            Node::Var(Var::Principal) => Ok(Val::Entity(Entity::Principal)),
            Node::Var(Var::Action) => Ok(Val::Entity(Entity::Action)),
            Node::Var(Var::Resource) => Ok(Val::Entity(Entity::Resource)),
            Node::Member(member) => {
                self.inputs.member(*member, self.judged).ok_or_else(|| fault::no_member(member.name()))
            }
            Node::Attr(of, name) => {
                let val = self.value(*of)?;
                self.attribute(val, name)
            }
            Node::If(cond, then, other) => {
                let branch = if self.test(*cond)? { then } else { other };
                self.value(*branch)
            }
            Node::Unary(op, of) => {
                let val = self.value(*of)?;
                self.unary(*op, val)
            }
            Node::Binary(op, left, right) => {
                let left = self.value(*left)?;
                let right = self.value(*right)?;
                self.arithmetic(*op, left, right)
            }
            // The others are questions, which `value` and `test_node` have answered.
            _ => Err(Fault::left_to_stock()),
        }
    }

    pub(super) fn seen(&self) -> Seen<'v, 'v> {
        Seen { inputs: self.inputs, judged: self.judged }
    }

    /// An attribute of an entity of the request; an error if there is no such entity.
    fn of_entity(&self, entity: Entity<'v>, name: &str) -> Result<Option<Val<'v>>, Fault> {
        match self.found(entity) {
            Some(Found::Principal(judged)) => Ok(self.inputs.of_principal(judged, name)),
            Some(Found::Resource) => Ok(self.inputs.of_resource(name)),
            Some(Found::Action) => Ok(None),
            None => Err(fault::no_entity(self.name(entity))),
        }
    }

    fn attribute(&self, val: Val<'v>, name: &str) -> Valued<'v> {
        match val {
            Val::Record(record) => record.get(name).and_then(Val::of).ok_or_else(|| fault::no_member(name)),
            Val::Entity(entity) => {
                self.of_entity(entity, name)?.ok_or_else(|| fault::no_attribute(self.name(entity), name))
            }
            other => Err(fault::type_error(&self.seen(), fault::RECORD_OR_ENTITY, other)),
        }
    }

    fn has(&self, val: Val<'v>, path: &[Box<str>]) -> Tested {
        let mut val = val;
        for name in path {
            let next = match val {
                Val::Record(record) => record.get(name).and_then(Val::of),
                Val::Entity(entity) if self.found(entity).is_none() => None,
                Val::Entity(entity) => self.of_entity(entity, name)?,
                other => return Err(fault::type_error(&self.seen(), fault::RECORD_OR_ENTITY, other)),
            };
            match next {
                None => return Ok(false),
                Some(next) => val = next,
            }
        }
        Ok(true)
    }

    fn relation(&self, op: Binary, left: Val<'v>, right: Val<'v>) -> Tested {
        let seen = self.seen();
        let set = |val: Val<'v>| match val {
            Val::Set(items) => Ok(items),
            other => Err(fault::type_error(&seen, "set", other)),
        };
        Ok(match op {
            Binary::Eq => equal(&seen, left, right)?,
            Binary::Less | Binary::LessEq => {
                let order = self.order(left, right)?;
                if op == Binary::Less { order.is_lt() } else { order.is_le() }
            }
            Binary::In => return self.membership(left, right),
            Binary::Contains => contains(&seen, set(left)?, right)?,
            Binary::ContainsAll => {
                let (left, right) = (set(left)?, set(right)?);
                subset(&seen, right, left)?
            }
            Binary::ContainsAny => {
                let (left, right) = (set(left)?, set(right)?);
                meets(&seen, left, right)?
            }
            _ => {
                let decimal = |val: Val<'v>| match val {
                    Val::Decimal(size) => Ok(size),
                    other => Err(fault::type_error(&seen, "decimal", other)),
                };
                let (left, right) = (decimal(left)?, decimal(right)?);
                match op {
                    Binary::DecimalLess => left < right,
                    Binary::DecimalLessEq => left <= right,
                    Binary::DecimalGreater => left > right,
                    Binary::DecimalGreaterEq => left >= right,
                    _ => return Err(Fault::left_to_stock()),
                }
            }
        })
    }

    fn order(&self, left: Val<'v>, right: Val<'v>) -> Result<std::cmp::Ordering, Fault> {
        let wrong = |expected, val| Err(fault::type_error(&self.seen(), expected, val));
        match (left, right) {
            (Val::Long(a), Val::Long(b))
            | (Val::Datetime(a), Val::Datetime(b))
            | (Val::Duration(a), Val::Duration(b)) => Ok(a.cmp(&b)),
            (Val::Long(_), other) | (other, Val::Long(_)) => wrong("long", other),
            (Val::Datetime(_), other) => wrong("datetime", other),
            (Val::Duration(_), other) => wrong("duration", other),
            (other, Val::Datetime(_)) => wrong("datetime", other),
            (other, Val::Duration(_)) => wrong("duration", other),
            _ => Err(Fault::left_to_stock()),
        }
    }

    fn membership(&self, left: Val<'v>, right: Val<'v>) -> Tested {
        let Val::Entity(entity) = left else {
            return Err(fault::type_error(&self.seen(), fault::ENTITY, left));
        };
        let within = |group: Val<'v>| match group {
            Val::Entity(Entity::Named(uid)) => Ok(self.is_in(entity, uid)),
            // Nothing is in a principal, in the resource or in the action but they themselves, unless
            // they are a team or a server.
            Val::Entity(_) => Err(Fault::left_to_stock()),
            other => Err(fault::type_error(&self.seen(), fault::SET_OR_ENTITY, other)),
        };
        match right {
            Val::Set(Items::Consts(groups)) => {
                if groups.iter().any(|group| !matches!(group, super::node::Const::Entity(_))) {
                    return Err(Fault::left_to_stock());
                }
                let mut groups = groups.iter();
                groups.try_fold(false, |found, group| Ok(found || within(Val::constant(group))?))
            }
            Val::Set(items) if items.len() > 0 => Err(Fault::left_to_stock()),
            Val::Set(_) => Ok(false),
            other => within(other),
        }
    }

    fn unary(&self, op: Unary, val: Val<'v>) -> Valued<'v> {
        let wrong = |expected| Err(fault::type_error(&self.seen(), expected, val));
        let duration = || match val {
            Val::Duration(millis) => Ok(millis),
            other => Err(fault::type_error(&self.seen(), "duration", other)),
        };
        Ok(match op {
            Unary::Neg => match val {
                Val::Long(number) => Val::Long(number.checked_neg().ok_or_else(Fault::left_to_stock)?),
                _ => return wrong("long"),
            },
            Unary::ToDate => match val {
                Val::Datetime(millis) => {
                    let date = millis.checked_sub(millis.rem_euclid(DAY_MS));
                    Val::Datetime(date.ok_or_else(Fault::left_to_stock)?)
                }
                _ => return wrong("datetime"),
            },
            Unary::ToTime => match val {
                Val::Datetime(millis) => Val::Duration(millis.rem_euclid(DAY_MS)),
                _ => return wrong("datetime"),
            },
            Unary::ToMilliseconds => Val::Long(duration()?),
            Unary::ToSeconds => Val::Long(duration()? / 1_000),
            Unary::ToMinutes => Val::Long(duration()? / 60_000),
            Unary::ToHours => Val::Long(duration()? / 3_600_000),
            Unary::ToDays => Val::Long(duration()? / DAY_MS),
            Unary::IsEmpty => return Err(Fault::left_to_stock()),
        })
    }

    fn arithmetic(&self, op: Binary, left: Val<'v>, right: Val<'v>) -> Valued<'v> {
        let long = |val: Val<'v>| match val {
            Val::Long(number) => Ok(number),
            other => Err(fault::type_error(&self.seen(), "long", other)),
        };
        let datetime = |val: Val<'v>| match val {
            Val::Datetime(millis) => Ok(millis),
            other => Err(fault::type_error(&self.seen(), "datetime", other)),
        };
        let number = match op {
            Binary::Add | Binary::Sub | Binary::Mul => {
                let (a, b) = (long(left)?, long(right)?);
                let (number, word) = match op {
                    Binary::Add => (a.checked_add(b), "add"),
                    Binary::Sub => (a.checked_sub(b), "subtract"),
                    _ => (a.checked_mul(b), "multiply"),
                };
                number.map(Val::Long).ok_or_else(|| fault::overflow(word, a, b))?
            }
            Binary::Offset => {
                let from = datetime(left)?;
                let Val::Duration(by) = right else {
                    return Err(fault::type_error(&self.seen(), "duration", right));
                };
                Val::Datetime(from.checked_add(by).ok_or_else(Fault::left_to_stock)?)
            }
            Binary::DurationSince => {
                let span = datetime(left)?.checked_sub(datetime(right)?);
                Val::Duration(span.ok_or_else(Fault::left_to_stock)?)
            }
            _ => return Err(Fault::left_to_stock()),
        };
        Ok(number)
    }
}

impl Binary {
    /// Whether its result is true or false.
    const fn is_question(self) -> bool {
        !matches!(self, Self::Add | Self::Sub | Self::Mul | Self::Offset | Self::DurationSince)
    }
}

impl Node {
    /// Whether its result is always true or false, if it has one.
    const fn is_question(&self) -> bool {
        match self {
            Self::And(_) | Self::Or(_) | Self::Not(_) | Self::HasMember(..) | Self::Has(..) => true,
            Self::Is(..) | Self::Like(..) | Self::Unary(Unary::IsEmpty, _) => true,
            Self::Binary(op, ..) => op.is_question(),
            _ => false,
        }
    }
}

impl Member {
    /// Its name in the record it is a member of.
    const fn name(self) -> &'static str {
        match self {
            Self::Purpose => "purpose",
            Self::Project => "project",
            Self::Workflow => "workflow",
            Self::Task => "task",
            Self::Calls => "calls",
            Self::Integrity => "integrity",
            Self::Posture => "posture",
            Self::SessionId => "id",
            Self::Now => "now",
            Self::Region => "region",
            Self::Owner => "owner",
            Self::Agent => "agent",
            Self::OnBehalfOf => "on_behalf_of",
            Self::Via => "via",
            Self::Depth => "depth",
            Self::Role => "role",
            Self::Ambiguous => "ambiguous",
            Self::Args => "args",
            Self::Model => "model",
            Self::Asserted => "asserted",
            Self::Lineage => "lineage",
            Self::SessionMarkings => "markings",
            Self::RiskScore => "score",
            Self::RiskLevel => "level",
            Self::Risk(kind) => kind.as_str(),
            Self::Preconditions => "preconditions",
        }
    }
}
