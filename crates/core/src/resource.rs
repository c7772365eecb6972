//! What is acted on.

use std::collections::BTreeSet;

use crate::{Marking, Record};

/// The types of resource that Cordon's vocabulary names; a bundle's schema may add others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKind(Box<str>);

impl ResourceKind {
    /// A tool on an MCP server.
    pub const TOOL: &'static str = "Tool";
    /// An MCP server as a whole.
    pub const SERVER: &'static str = "Server";
    /// An MCP resource, named by its URI.
    pub const DOCUMENT: &'static str = "Document";
    /// An MCP prompt.
    pub const PROMPT: &'static str = "Prompt";

    /// The kind with the given entity type name, without the namespace.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self(name.into())
    }

    /// The entity type name, without the namespace.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One thing acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its type.
    pub kind: ResourceKind,
    /// Its identifier within its type and tenant.
    pub id: Box<str>,
    /// The tenant it belongs to.
    pub tenant: Box<str>,
    /// The markings it carries.
    pub markings: BTreeSet<Marking>,
    /// Its other attributes.
    pub attributes: Record,
}

impl Resource {
    /// A resource of which only type and name are known.
    pub fn new(kind: impl Into<Box<str>>, id: impl Into<Box<str>>, tenant: impl Into<Box<str>>) -> Self {
        Self {
            kind: ResourceKind::new(kind),
            id: id.into(),
            tenant: tenant.into(),
            markings: BTreeSet::new(),
            attributes: Record::new(),
        }
    }

    /// Whether its identifier is `name`, or ends with it behind `/`, `.` or `:`; letter case aside.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let Some(start) = self.id.len().checked_sub(name.len()) else { return false };
        let tail = self.id.get(start..).is_some_and(|tail| tail.eq_ignore_ascii_case(name));
        let before = self.id.get(..start).and_then(|before| before.chars().next_back());
        tail && before.is_none_or(|c| matches!(c, '/' | '.' | ':'))
    }
}
