//! Who calls, as a credential or the operating system says; never as a message says.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use cordon_core::{Chain, Record, Timestamp};
use cordon_guard::Opening;

/// What a caller's credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallerRole {
    /// A person or a script that administers this node.
    Operator,
    /// Somebody else's enforcement point, which speaks for its own callers.
    Pep,
    /// An agent: it may act, and never approve, release or read tokens.
    Agent,
}

impl CallerRole {
    /// The role as written in records and file names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Pep => "pep",
            Self::Agent => "agent",
        }
    }
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What its credential is for.
    pub role: CallerRole,
    /// The principals that act; sessions need an owner and an agent.
    pub chain: Chain,
    /// The tenant it belongs to.
    pub tenant: Box<str>,
    /// The scopes that its credential carries.
    pub scopes: BTreeSet<Box<str>>,
}

/// The obligations that the doors of this crate carry out, beside those of the guard itself.
pub const SUPPORTED: &[&str] = &["log", "mask", "max_bytes", "monitor", "notify", "rate", "redact"];

impl Caller {
    /// A name that is the same for the same role, principals and tenant, and for no others.
    pub fn key(&self) -> String {
        let mut key = String::from(self.role.as_str());
        let mut part = |text: &str| {
            let _ = write!(key, "|{}:{text}", text.len());
        };
        part(&self.tenant);
        for (role, principal) in self.chain.members() {
            part(role.as_str());
            part(principal.kind.as_str());
            part(&principal.id);
        }
        key
    }

    /// What a session of this caller with `server` is opened with. The same caller and server find
    /// the same session again until it is closed or expires.
    pub fn opening(&self, server: &str, expires: Timestamp) -> Opening {
        Opening {
            chain: self.chain.clone(),
            tenant: self.tenant.clone(),
            purpose: None,
            project: None,
            workflow: None,
            task: None,
            model: Record::new(),
            supported: SUPPORTED.iter().copied().collect(),
            key: Some(format!("mcp|{}:{server}|{}", server.len(), self.key()).into()),
            expires,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_core::{Principal, PrincipalKind};

    fn caller(owner: &str, agent: &str) -> Caller {
        let owner = Principal::new(PrincipalKind::User, owner);
        let agent = Principal::new(PrincipalKind::Agent, agent);
        let chain = Chain::new(Some(owner), Some(agent), None).unwrap();
        Caller { role: CallerRole::Agent, chain, tenant: "default".into(), scopes: BTreeSet::new() }
    }

    #[test]
    fn no_choice_of_names_makes_two_callers_one() {
        let key = caller("a", "b").key();
        assert_eq!(key, caller("a", "b").key());
        for other in [caller("a", "c"), caller("b", "a"), caller("a|5:agent", "b"), caller("", "ab")] {
            assert_ne!(key, other.key());
        }
    }
}
