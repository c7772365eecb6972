//! Values while a program runs: borrowed from the request, the bundle and the program.
//!
//! Texts are compared as texts. There are no numbers that stand for them, so that two texts that no
//! rule names can never be taken for one another.

use std::collections::BTreeSet;

use cordon_core::{Ambiguity, Marking, Principal, Record, Value};

use super::node::{Const, Uid};

/// One value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Val<'v> {
    Bool(bool),
    Long(i64),
    Decimal(i64),
    Datetime(i64),
    Duration(i64),
    Text(&'v str),
    Entity(Entity<'v>),
    Set(Items<'v>),
    Record(&'v Record),
}

/// One entity.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entity<'v> {
    Principal,
    Action,
    Resource,
    /// One that a rule names.
    Named(&'v Uid),
}

/// The members of a set.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Items<'v> {
    Values(&'v [Value]),
    Consts(&'v [Const]),
    Markings(&'v BTreeSet<Marking>),
    /// The identifiers of principals.
    Principals(&'v [Principal]),
    Ambiguities(Ambiguities),
    Texts(&'v BTreeSet<Box<str>>),
}

/// Why it is not sure what the action would do, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ambiguities {
    pub(crate) no_manifest: bool,
    pub(crate) unparsed: bool,
    pub(crate) unknown_input: bool,
}

/// The answer is left to stock Cedar: it would take many steps, or only its words for it are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftToStock;

/// Most comparisons of members that comparing two sets may take.
const PAIRS_MAX: usize = 4_096;

impl Ambiguities {
    /// The set with one more member.
    pub(crate) fn add(&mut self, ambiguity: Ambiguity) {
        match ambiguity {
            Ambiguity::NoManifest => self.no_manifest = true,
            Ambiguity::Unparsed => self.unparsed = true,
            Ambiguity::UnknownInput => self.unknown_input = true,
        }
    }

    fn texts(self) -> impl Iterator<Item = &'static str> {
        [
            (self.no_manifest, Ambiguity::NoManifest),
            (self.unparsed, Ambiguity::Unparsed),
            (self.unknown_input, Ambiguity::UnknownInput),
        ]
        .into_iter()
        .filter(|(there, _)| *there)
        .map(|(_, ambiguity)| ambiguity.as_str())
    }
}

impl<'v> Val<'v> {
    /// A value of the request; `None` if it, or part of a set, is not known.
    // INVARIANT: the request was looked through, and it holds no entity and nests no deeper than
    // Cedar is given (`Inputs::new`).
    pub(crate) fn of(value: &'v Value) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Long(number) => Self::Long(*number),
            Value::Decimal(number) => Self::Decimal(number.ten_thousandths()),
            Value::Text(text) => Self::Text(text),
            Value::Set(items) if items.iter().any(Value::has_unknown) => return None,
            Value::Set(items) => Self::Set(Items::Values(items)),
            Value::Record(record) => Self::Record(record),
            Value::Entity(..) | Value::Unknown(_) => return None,
        })
    }

    /// A value that is written in a rule.
    pub(crate) fn constant(value: &'v Const) -> Self {
        match value {
            Const::Bool(value) => Self::Bool(*value),
            Const::Long(number) => Self::Long(*number),
            Const::Decimal(size) => Self::Decimal(*size),
            Const::Datetime(millis) => Self::Datetime(*millis),
            Const::Duration(millis) => Self::Duration(*millis),
            Const::Text(text) => Self::Text(text),
            Const::Entity(uid) => Self::Entity(Entity::Named(uid)),
            Const::Set(items) => Self::Set(Items::Consts(items)),
        }
    }

    /// Whether it has members of its own.
    pub(crate) const fn is_compound(self) -> bool {
        matches!(self, Self::Set(_) | Self::Record(_))
    }
}

impl<'v> Items<'v> {
    /// How many members it was given, those that are the same counted each time.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Values(items) => items.len(),
            Self::Consts(items) => items.len(),
            Self::Markings(items) => items.len(),
            Self::Principals(items) => items.len(),
            Self::Ambiguities(items) => items.texts().count(),
            Self::Texts(items) => items.len(),
        }
    }

    /// Whether `holds` is so for any member.
    pub(crate) fn any(
        self,
        mut holds: impl FnMut(Val<'v>) -> Result<bool, LeftToStock>,
    ) -> Result<bool, LeftToStock> {
        let mut check = |val: Option<Val<'v>>| match val {
            Some(val) => holds(val),
            None => Err(LeftToStock),
        };
        match self {
            Self::Values(items) => {
                for item in items {
                    if check(Val::of(item))? {
                        return Ok(true);
                    }
                }
            }
            Self::Consts(items) => {
                for item in items {
                    if check(Some(Val::constant(item)))? {
                        return Ok(true);
                    }
                }
            }
            Self::Markings(items) => {
                for item in items {
                    if check(Some(Val::Text(item.as_str())))? {
                        return Ok(true);
                    }
                }
            }
            Self::Principals(items) => {
                for item in items {
                    if check(Some(Val::Text(&item.id)))? {
                        return Ok(true);
                    }
                }
            }
            Self::Texts(items) => {
                for item in items {
                    if check(Some(Val::Text(item)))? {
                        return Ok(true);
                    }
                }
            }
            Self::Ambiguities(items) => {
                for item in items.texts() {
                    if check(Some(Val::Text(item)))? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}

/// Says what an entity of the request is called.
pub(crate) trait Names {
    /// Type without namespace, and identifier.
    fn name<'n>(&'n self, entity: Entity<'n>) -> (&'n str, &'n str);
}

/// Whether two values are the same, as Cedar has it: values of different types never are.
pub(crate) fn equal(names: &impl Names, left: Val<'_>, right: Val<'_>) -> Result<bool, LeftToStock> {
    Ok(match (left, right) {
        (Val::Text(a), Val::Text(b)) => a == b,
        (Val::Long(a), Val::Long(b))
        | (Val::Decimal(a), Val::Decimal(b))
        | (Val::Datetime(a), Val::Datetime(b))
        | (Val::Duration(a), Val::Duration(b)) => a == b,
        (Val::Bool(a), Val::Bool(b)) => a == b,
        (Val::Entity(a), Val::Entity(b)) => names.name(a) == names.name(b),
        (Val::Set(a), Val::Set(b)) => subset(names, a, b)? && subset(names, b, a)?,
        // Only stock Cedar compares records: nobody's policy is slow for that.
        (Val::Record(_), Val::Record(_)) => return Err(LeftToStock),
        _ => false,
    })
}

/// Whether a set has a member.
pub(crate) fn contains(names: &impl Names, set: Items<'_>, member: Val<'_>) -> Result<bool, LeftToStock> {
    if member.is_compound() {
        return Err(LeftToStock);
    }
    set.any(|item| equal(names, item, member))
}

/// Whether every member of `small` is in `large`.
pub(crate) fn subset(names: &impl Names, small: Items<'_>, large: Items<'_>) -> Result<bool, LeftToStock> {
    bounded(small, large)?;
    Ok(!small.any(|member| Ok(!contains(names, large, member)?))?)
}

/// Whether two sets have a member in common.
pub(crate) fn meets(names: &impl Names, left: Items<'_>, right: Items<'_>) -> Result<bool, LeftToStock> {
    bounded(left, right)?;
    left.any(|member| contains(names, right, member))
}

fn bounded(left: Items<'_>, right: Items<'_>) -> Result<(), LeftToStock> {
    match left.len().saturating_mul(right.len()) {
        0..=PAIRS_MAX => Ok(()),
        _ => Err(LeftToStock),
    }
}
