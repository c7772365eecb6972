//! Why a rule could not be evaluated, in the words of stock Cedar.
//!
//! Both engines say the same, so that a judgement does not depend on which of them made it. Where
//! the words are long or depend on more than is at hand, the rule is left to stock Cedar.

use super::value::{LeftToStock, Names, Val};
use crate::cedar_text::NAMESPACE;

/// What went wrong in one rule.
// INVARIANT: empty means that stock Cedar is asked; every other text is what it would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault(Box<str>);

/// Cedar's name for any entity.
pub(super) const ENTITY: &str = "(entity of type `any_entity_type`)";
/// What has attributes.
pub(super) const RECORD_OR_ENTITY: &str = "one of [record, (entity of type `any_entity_type`)]";
/// What something can be in.
pub(super) const SET_OR_ENTITY: &str = "one of [set, (entity of type `any_entity_type`)]";

impl Fault {
    /// Stock Cedar is asked.
    pub(crate) fn left_to_stock() -> Self {
        Self("".into())
    }

    /// What went wrong; `None` if stock Cedar is asked.
    pub(crate) fn text(self) -> Option<Box<str>> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

impl From<LeftToStock> for Fault {
    fn from(_: LeftToStock) -> Self {
        Self::left_to_stock()
    }
}

/// `context` or another record has no member of this name.
#[cold]
pub(super) fn no_member(name: &str) -> Fault {
    Fault(format!("record does not have the attribute `{name}`").into())
}

/// An entity has no attribute of this name.
#[cold]
pub(super) fn no_attribute(entity: (&str, &str), name: &str) -> Fault {
    Fault(format!("`{}` does not have the attribute `{name}`", whole(entity)).into())
}

/// Nothing is known of an entity.
#[cold]
pub(super) fn no_entity(entity: (&str, &str)) -> Fault {
    Fault(format!("entity `{}` does not exist", whole(entity)).into())
}

/// A value of another type.
#[cold]
pub(super) fn type_error(names: &impl Names, expected: &str, got: Val<'_>) -> Fault {
    let got = match got {
        Val::Bool(_) => "bool",
        Val::Long(_) => "long",
        Val::Decimal(_) => "decimal",
        Val::Datetime(_) => "datetime",
        Val::Duration(_) => "duration",
        Val::Text(_) => "string",
        Val::Set(_) => "set",
        Val::Record(_) => "record",
        Val::Entity(entity) => {
            let kind = names.name(entity).0;
            let text = format!("type error: expected {expected}, got (entity of type `{NAMESPACE}::{kind}`)");
            return Fault(text.into());
        }
    };
    Fault(format!("type error: expected {expected}, got {got}").into())
}

/// A sum, difference or product that is too large.
#[cold]
pub(super) fn overflow(word: &str, left: i64, right: i64) -> Fault {
    Fault(format!("integer overflow while attempting to {word} the values `{left}` and `{right}`").into())
}

/// An entity as Cedar prints it.
fn whole((kind, id): (&str, &str)) -> String {
    format!("{NAMESPACE}::{kind}::\"{}\"", id.escape_debug())
}
