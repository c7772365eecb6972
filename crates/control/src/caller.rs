//! Who calls the API, as the listener established it.

/// What a caller may do, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallerRole {
    /// Looks at the approval that its own call waits for. Never approves, releases or reads tokens.
    Agent,
    /// Also asks for decisions.
    Pep,
    /// Everything that a person at this machine may do.
    Operator,
}

impl CallerRole {
    /// The role as written in refusals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Pep => "pep",
            Self::Operator => "operator",
        }
    }
}

/// An authenticated caller; the listener puts it into the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What it may do.
    pub role: CallerRole,
    /// Who it is, as records name the author of a change.
    pub name: Box<str>,
}
