//! Who acts: the owner, the agent, and the user it acts for.

use crate::Record;

/// What kind of actor a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A service identity that runs a model.
    Agent,
    /// A group of people.
    Team,
}

impl PrincipalKind {
    /// The name of its entity type in policies, without the namespace.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Agent => "Agent",
            Self::Team => "Team",
        }
    }
}

/// One actor and what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// What kind of actor.
    pub kind: PrincipalKind,
    /// Its identifier, unique within its kind and tenant.
    pub id: Box<str>,
    /// Attributes from its credential or from signed data.
    pub attributes: Record,
    /// The teams it belongs to.
    pub teams: Vec<Box<str>>,
}

impl Principal {
    /// An actor of which only the name is known.
    pub fn new(kind: PrincipalKind, id: impl Into<Box<str>>) -> Self {
        Self { kind, id: id.into(), attributes: Record::new(), teams: Vec::new() }
    }
}

/// The part that a principal plays in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Who answers for the agent.
    Owner,
    /// The agent's own service identity.
    Agent,
    /// The user the agent acts for.
    OnBehalfOf,
}

impl Role {
    /// The role as written in reasons and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Agent => "agent",
            Self::OnBehalfOf => "on_behalf_of",
        }
    }
}

/// The principals of one request; each of them must be permitted.
// INVARIANT: at least one principal is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    owner: Option<Principal>,
    agent: Option<Principal>,
    on_behalf_of: Option<Principal>,
}

/// A chain names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request names at least one of owner, agent and user")]
pub struct EmptyChain;

impl Chain {
    /// The chain of the principals that are named.
    pub fn new(
        owner: Option<Principal>,
        agent: Option<Principal>,
        on_behalf_of: Option<Principal>,
    ) -> Result<Self, EmptyChain> {
        if owner.is_none() && agent.is_none() && on_behalf_of.is_none() {
            return Err(EmptyChain);
        }
        Ok(Self { owner, agent, on_behalf_of })
    }

    /// Who answers for the agent.
    pub fn owner(&self) -> Option<&Principal> {
        self.owner.as_ref()
    }

    /// The agent's own service identity.
    pub fn agent(&self) -> Option<&Principal> {
        self.agent.as_ref()
    }

    /// The user the agent acts for.
    pub fn on_behalf_of(&self) -> Option<&Principal> {
        self.on_behalf_of.as_ref()
    }

    /// The named principals with their roles, owner first.
    pub fn members(&self) -> impl Iterator<Item = (Role, &Principal)> {
        [
            (Role::Owner, self.owner.as_ref()),
            (Role::Agent, self.agent.as_ref()),
            (Role::OnBehalfOf, self.on_behalf_of.as_ref()),
        ]
        .into_iter()
        .filter_map(|(role, principal)| principal.map(|principal| (role, principal)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_nobody_cannot_be_made() {
        assert_eq!(Chain::new(None, None, None), Err(EmptyChain));
        let agent = Principal::new(PrincipalKind::Agent, "a");
        assert!(Chain::new(None, Some(agent), None).is_ok());
    }
}
