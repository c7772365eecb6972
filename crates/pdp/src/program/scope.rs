//! The scope of a rule: whom, what and which thing it is about.

use super::node::Uid;

/// What a scope says about one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    Any,
    Eq(Uid),
    In(Uid),
    Is(Box<str>),
    IsIn(Box<str>, Uid),
}

/// The scope of a rule; whether it holds can always be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) principal: Reach,
    pub(crate) resource: Reach,
    /// Names of actions and groups; `None` is every action.
    pub(crate) actions: Option<Box<[Box<str>]>>,
    /// Whether it says `action ==`.
    pub(crate) exact: bool,
}

impl Reach {
    /// The entity without which it does not hold, neither for itself nor for what is in it.
    pub(crate) const fn key(&self) -> Option<&Uid> {
        match self {
            Self::Any | Self::Is(_) => None,
            Self::Eq(uid) | Self::In(uid) | Self::IsIn(_, uid) => Some(uid),
        }
    }
}
