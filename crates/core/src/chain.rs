//! Who acts: the owner, the agent, the user it acts for, and the agents that passed the work on.

use std::collections::BTreeMap;

use crate::{Record, Timestamp, UnknownReason, Value};

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
    /// From when on an attribute is too old to be known; attributes without an entry do not age.
    pub stale_from: BTreeMap<Box<str>, Timestamp>,
    /// The teams it belongs to.
    pub teams: Vec<Box<str>>,
}

impl Principal {
    /// An actor of which only the name is known.
    pub fn new(kind: PrincipalKind, id: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            id: id.into(),
            attributes: Record::new(),
            stale_from: BTreeMap::new(),
            teams: Vec::new(),
        }
    }

    /// The principal as it is known at `now`: an attribute that is too old is unknown, never absent.
    pub fn at(mut self, now: Timestamp) -> Self {
        for (name, stale_from) in &self.stale_from {
            if *stale_from <= now {
                self.attributes.insert(name.clone(), Value::Unknown(UnknownReason::Stale));
            }
        }
        self
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
    /// An agent that passed the work on to the one that acts.
    Via,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Agent, Self::OnBehalfOf, Self::Via];
}

impl Role {
    /// The role as written in reasons and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Agent => "agent",
            Self::OnBehalfOf => "on_behalf_of",
            Self::Via => "via",
        }
    }
}

/// Most agents through which work may be passed on.
pub const HOPS_MAX: usize = 8;

/// The principals of one request; each of them must be permitted.
// INVARIANT: at least one principal is named; hops only lead to an agent, and are at most `HOPS_MAX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    owner: Option<Principal>,
    agent: Option<Principal>,
    on_behalf_of: Option<Principal>,
    via: Vec<Principal>,
}

/// A chain names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request names at least one of owner, agent and user")]
pub struct EmptyChain;

/// The agents that passed the work on do not make a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHops {
    /// Nobody acts at their end.
    #[error("work that was passed on is done by an agent, and none is named")]
    NoAgent,
    /// There are more than [`HOPS_MAX`].
    #[error("work may be passed on at most {HOPS_MAX} times, got {0}")]
    TooMany(usize),
}

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
        Ok(Self { owner, agent, on_behalf_of, via: Vec::new() })
    }

    /// The chain with the agents that passed the work on, the last one first. Each of them must be
    /// permitted, too: passing work on never widens what may be done.
    pub fn with_via(mut self, via: Vec<Principal>) -> Result<Self, InvalidHops> {
        if self.agent.is_none() && !via.is_empty() {
            return Err(InvalidHops::NoAgent);
        }
        if via.len() > HOPS_MAX {
            return Err(InvalidHops::TooMany(via.len()));
        }
        self.via = via;
        Ok(self)
    }

    /// The chain as its principals are known at `now` ([`Principal::at`]).
    pub fn at(self, now: Timestamp) -> Self {
        let Self { owner, agent, on_behalf_of, via } = self;
        let one = |principal: Option<Principal>| principal.map(|principal| principal.at(now));
        Self {
            owner: one(owner),
            agent: one(agent),
            on_behalf_of: one(on_behalf_of),
            via: via.into_iter().map(|principal| principal.at(now)).collect(),
        }
    }

    /// Whether both name the same principals and say the same of them, however long that holds.
    pub fn is_like(&self, other: &Self) -> bool {
        let said = |chain: &Self| {
            let mut chain = chain.clone();
            let Self { owner, agent, on_behalf_of, via } = &mut chain;
            for principal in [owner, agent, on_behalf_of].into_iter().flatten().chain(via) {
                principal.stale_from.clear();
            }
            chain
        };
        said(self) == said(other)
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

    /// The agents that passed the work on, the last one first.
    pub fn via(&self) -> &[Principal] {
        &self.via
    }

    /// The named principals with their roles, owner first, those that passed the work on last.
    pub fn members(&self) -> impl Iterator<Item = (Role, &Principal)> {
        [
            (Role::Owner, self.owner.as_ref()),
            (Role::Agent, self.agent.as_ref()),
            (Role::OnBehalfOf, self.on_behalf_of.as_ref()),
        ]
        .into_iter()
        .filter_map(|(role, principal)| principal.map(|principal| (role, principal)))
        .chain(self.via.iter().map(|principal| (Role::Via, principal)))
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

    #[test]
    fn work_is_passed_on_to_an_agent_and_not_without_end() {
        let agent = |id: &str| Principal::new(PrincipalKind::Agent, id);
        let acting = Chain::new(None, Some(agent("a")), None).unwrap();
        let hops = |n: usize| (0..n).map(|n| agent(&n.to_string())).collect::<Vec<_>>();
        assert_eq!(acting.clone().with_via(hops(HOPS_MAX)).unwrap().members().count(), HOPS_MAX + 1);
        assert_eq!(acting.with_via(hops(HOPS_MAX + 1)), Err(InvalidHops::TooMany(HOPS_MAX + 1)));
        let user = Chain::new(None, None, Some(Principal::new(PrincipalKind::User, "u"))).unwrap();
        assert_eq!(user.clone().with_via(hops(1)), Err(InvalidHops::NoAgent));
        assert!(user.with_via(Vec::new()).is_ok());
    }

    #[test]
    fn an_attribute_that_is_too_old_is_unknown_and_one_that_is_not_stays() {
        let mut user = Principal::new(PrincipalKind::User, "u");
        user.attributes.insert("groups".into(), Value::texts(["finance"]));
        user.attributes.insert("level".into(), Value::Long(3));
        user.stale_from.insert("groups".into(), Timestamp::from_micros(10));
        assert_eq!(user.clone().at(Timestamp::from_micros(9)), user);
        let old = user.clone().at(Timestamp::from_micros(10));
        assert_eq!(old.attributes["groups"], Value::Unknown(UnknownReason::Stale));
        assert_eq!(old.attributes["level"], Value::Long(3));
        // An attribute that the issuer left out ages into unknown, too: nobody knows that it is absent.
        user.attributes.remove("groups");
        assert!(user.at(Timestamp::from_micros(10)).attributes["groups"].has_unknown());
    }
}
