//! The question put to the decision point.

use crate::{Action, Chain, Context, Resource};

/// Who wants to do what, to what, under which circumstances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who: owner, agent, and the user it acts for.
    pub chain: Chain,
    /// What is done.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// Under which circumstances.
    pub context: Context,
}
