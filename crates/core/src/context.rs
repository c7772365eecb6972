//! The circumstances of a request.

use crate::Record;

/// The circumstances under which a request is made; each field is present, absent or, inside a
/// value, unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// What the work is for.
    pub purpose: Option<Box<str>>,
    /// The project it belongs to.
    pub project: Option<Box<str>>,
    /// The workflow it belongs to.
    pub workflow: Option<Box<str>>,
    /// The task it belongs to.
    pub task: Option<Box<str>>,
    /// The model that asked: `provider`, `name`, `version`.
    pub model: Record,
    /// The call's arguments, typed by the tool's schema.
    pub args: Record,
    /// Anything else that a caller asserted and the bundle lets it assert.
    pub asserted: Record,
}
