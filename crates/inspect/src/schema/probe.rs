//! A value as the schema validator sees it: exact numbers, and a budget of steps after which it
//! sees nothing more.

use std::borrow::Cow;
use std::cell::Cell;

use cordon_core::json::{Kind, Node};
use jsonschema::JsonType;
use jsonschema::json::{Array, Json, JsonNumber, Node as Probed, NodeIdentity, Object};
use serde_json::{Number, Value};

use super::number::Exact;

/// The representation in which values are validated.
pub(super) enum Form {}

/// How many steps are left. Steps are counted, never timed, so a slow machine answers the same.
#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<u64>,
    /// What one byte of text costs when a pattern may read it, in sixteenths of a step.
    byte_cost: u64,
}

impl Budget {
    pub(super) fn new(steps: u64, byte_cost: u64) -> Self {
        Self { left: Cell::new(steps), byte_cost }
    }

    /// Whether the budget was used up, so that what was found means nothing.
    pub(super) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    fn spend(&self, steps: u64) -> bool {
        self.left.set(self.left.get().saturating_sub(steps.saturating_add(1)));
        self.left.get() > 0
    }

    fn read(&self, text: &str) -> bool {
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.spend(bytes.saturating_mul(self.byte_cost) / 16)
    }
}

/// A value, or a member's name where names are validated.
#[derive(Clone)]
pub(super) enum Probe<'a> {
    Value(&'a Node, &'a Budget),
    Name(&'a str),
}

impl<'a> Probe<'a> {
    fn kind(&self) -> Option<&'a Kind> {
        match self {
            Self::Value(node, budget) if budget.spend(0) => Some(node.kind()),
            _ => None,
        }
    }
}

impl Json for Form {
    type Node<'a> = Probe<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = ();

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>((): &mut (), string: &str, f: impl FnOnce(Probe<'_>) -> T) -> T {
        f(Probe::Name(string))
    }
}

impl<'a> Probed<'a, Form> for Probe<'a> {
    type Object = Members<'a>;
    type Array = Items<'a>;
    type Number = Num<'a>;

    fn as_object(&self) -> Option<Members<'a>> {
        match (self, self.kind()) {
            (Self::Value(_, budget), Some(Kind::Object(members))) => Some(Members(members, budget)),
            _ => None,
        }
    }

    fn as_array(&self) -> Option<Items<'a>> {
        match (self, self.kind()) {
            (Self::Value(_, budget), Some(Kind::Array(items))) => Some(Items(items, budget)),
            _ => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        match (self, self.kind()) {
            (Self::Value(_, budget), Some(Kind::Text(text))) => {
                budget.read(text).then_some(Cow::Borrowed(text))
            }
            (Self::Name(name), _) => Some(Cow::Borrowed(name)),
            _ => None,
        }
    }

    fn as_number(&self) -> Option<Num<'a>> {
        match self.kind() {
            Some(Kind::Number(text)) => Some(Num(text)),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self.kind() {
            Some(Kind::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        self.json_type() == JsonType::Null
    }

    fn json_type(&self) -> JsonType {
        match (self, self.kind()) {
            (Self::Name(_), _) | (_, Some(Kind::Text(_))) => JsonType::String,
            (_, Some(Kind::Bool(_))) => JsonType::Boolean,
            (_, Some(Kind::Number(_))) => JsonType::Number,
            (_, Some(Kind::Array(_))) => JsonType::Array,
            (_, Some(Kind::Object(_))) => JsonType::Object,
            (_, Some(Kind::Null) | None) => JsonType::Null,
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match self {
            Self::Value(node, budget) => equal(node, expected, budget),
            Self::Name(name) => expected.as_str() == Some(name),
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(match self {
            Self::Value(node, budget) => to_value(node, budget),
            Self::Name(name) => Value::String((*name).to_owned()),
        })
    }

    fn identity(&self) -> Option<NodeIdentity> {
        match self {
            Self::Value(node, _) => Some(NodeIdentity::new(std::ptr::from_ref::<Node>(node).addr())),
            Self::Name(_) => None,
        }
    }
}

/// The members of an object.
pub(super) struct Members<'a>(&'a [(Box<str>, Node)], &'a Budget);

impl<'a> Object<'a, Form> for Members<'a> {
    type Node = Probe<'a>;
    type MemberName = &'a str;
    type MembersIter = MembersIter<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &Box<str>) -> Option<Probe<'a>> {
        let steps = u64::try_from(self.0.len() / 16).unwrap_or(u64::MAX);
        if !self.1.spend(steps) {
            return None;
        }
        self.0.iter().find(|(name, _)| name == key).map(|(_, node)| Probe::Value(node, self.1))
    }

    fn members(&self) -> MembersIter<'a> {
        MembersIter(self.0.iter(), self.1)
    }
}

/// The members of an object, one by one, while there is a budget.
pub(super) struct MembersIter<'a>(std::slice::Iter<'a, (Box<str>, Node)>, &'a Budget);

impl<'a> Iterator for MembersIter<'a> {
    type Item = (&'a str, Probe<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, node) = self.0.next()?;
        self.1.read(name).then_some((name, Probe::Value(node, self.1)))
    }
}

/// The items of an array.
pub(super) struct Items<'a>(&'a [Node], &'a Budget);

impl<'a> Array<'a, Form> for Items<'a> {
    type Node = Probe<'a>;
    type ElementsIter = ItemsIter<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> ItemsIter<'a> {
        ItemsIter(self.0.iter(), self.1)
    }
}

/// The items of an array, one by one, while there is a budget.
pub(super) struct ItemsIter<'a>(std::slice::Iter<'a, Node>, &'a Budget);

impl<'a> Iterator for ItemsIter<'a> {
    type Item = Probe<'a>;

    fn next(&mut self) -> Option<Probe<'a>> {
        let node = self.0.next()?;
        self.1.spend(0).then_some(Probe::Value(node, self.1))
    }
}

/// A number by its text. What reaches the validator is held exactly by a double or 64 bits.
pub(super) struct Num<'a>(&'a str);

impl JsonNumber for Num<'_> {
    fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }
    fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }
    fn as_f64(&self) -> Option<f64> {
        self.0.parse().ok().filter(|double: &f64| double.is_finite())
    }
    fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0)
    }
    fn to_number(&self) -> Cow<'_, Number> {
        Cow::Owned(number(self.0))
    }
    fn is_integer(&self) -> bool {
        Exact::parse(self.0).is_some_and(|exact| exact.is_whole())
    }
}

fn number(text: &str) -> Number {
    serde_json::from_str(text).unwrap_or_else(|_| Number::from(0))
}

fn to_value(node: &Node, budget: &Budget) -> Value {
    if !budget.spend(0) {
        return Value::Null;
    }
    match node.kind() {
        Kind::Null => Value::Null,
        Kind::Bool(value) => Value::Bool(*value),
        Kind::Number(text) => Value::Number(number(text)),
        Kind::Text(text) => Value::String(text.to_string()),
        Kind::Array(items) => Value::Array(items.iter().map(|item| to_value(item, budget)).collect()),
        Kind::Object(members) => Value::Object(
            members.iter().map(|(name, node)| (name.to_string(), to_value(node, budget))).collect(),
        ),
    }
}

/// JSON Schema's equality: numbers by value, objects whatever their order.
fn equal(node: &Node, expected: &Value, budget: &Budget) -> bool {
    if !budget.spend(0) {
        return false;
    }
    match (node.kind(), expected) {
        (Kind::Null, Value::Null) => true,
        (Kind::Bool(have), Value::Bool(want)) => have == want,
        (Kind::Text(have), Value::String(want)) => **have == **want,
        (Kind::Number(have), Value::Number(want)) => {
            match (Exact::parse(have), Exact::parse(&want.to_string())) {
                (Some(have), Some(want)) => have == want,
                _ => false,
            }
        }
        (Kind::Array(have), Value::Array(want)) => {
            have.len() == want.len() && have.iter().zip(want).all(|(have, want)| equal(have, want, budget))
        }
        (Kind::Object(have), Value::Object(want)) => {
            have.len() == want.len()
                && have
                    .iter()
                    .all(|(name, have)| want.get(&**name).is_some_and(|want| equal(have, want, budget)))
        }
        _ => false,
    }
}
