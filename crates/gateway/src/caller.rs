//! Who calls, as a credential or the operating system says; never as a message says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use cordon_core::{Assurance, Capability, Chain, Digest, Encode as _, Principal, Record, Role, Timestamp};
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
    /// How surely it is known who calls.
    pub assurance: Assurance,
    /// The capability token that it shows, where it shows one: it only narrows.
    pub capability: Option<Arc<Capability>>,
}

/// The obligations that the doors of this crate carry out, beside those of the guard itself.
pub const SUPPORTED: &[&str] = &["log", "mask", "max_bytes", "monitor", "notify", "rate", "redact"];

/// The request names somebody whom the caller's credential does not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request names {role} `{got}`, whom the credential does not speak for")]
pub struct Mismatch {
    /// The part in the chain.
    pub role: &'static str,
    /// Who is named.
    pub got: Box<str>,
}

impl Caller {
    /// The principals of a request that names `asked`. An agent's credential is for its own principals:
    /// whoever it names must be one of them in the same part, and those whom it leaves out count, too.
    /// Enforcement points and operators speak for their own callers.
    pub fn speaks_for(&self, asked: Chain) -> Result<Chain, Mismatch> {
        if self.role != CallerRole::Agent {
            return Ok(asked);
        }
        for (role, principal) in asked.members() {
            let same = |(own, known): (Role, &Principal)| {
                own == role && known.kind == principal.kind && known.id == principal.id
            };
            if !self.chain.members().any(same) {
                return Err(Mismatch { role: role.as_str(), got: principal.id.clone() });
            }
        }
        Ok(self.chain.clone())
    }

    /// A name that is the same for the same role, tenant and principals of whom the same is known, and
    /// for no others.
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
            // What else is known of them: a session goes on only while that is the same.
            if !principal.attributes.is_empty() {
                part(&Digest::of(&principal.attributes.to_cbor().encode()).hex());
            }
        }
        if let Some(last) = self.capability.as_ref().and_then(|shown| shown.blocks.last()) {
            part("capability");
            part(&last.id.hex());
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
            declared: BTreeMap::new(),
            tools: None,
            supported: SUPPORTED.iter().copied().collect(),
            assurance: self.assurance,
            capability: self.capability.clone(),
            key: Some(format!("mcp|{}:{server}|{}", server.len(), self.key()).into()),
            expires,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_core::{PrincipalKind, Value};

    fn caller(owner: &str, agent: &str) -> Caller {
        let owner = Principal::new(PrincipalKind::User, owner);
        let agent = Principal::new(PrincipalKind::Agent, agent);
        let chain = Chain::new(Some(owner), Some(agent), None).unwrap();
        Caller {
            role: CallerRole::Agent,
            chain,
            tenant: "default".into(),
            scopes: BTreeSet::new(),
            assurance: Assurance::Local,
            capability: None,
        }
    }

    #[test]
    fn an_agent_speaks_for_its_own_principals_and_for_no_others() {
        let own = caller("ann", "bot");
        let named = |role: PrincipalKind, id: &str| Some(Principal::new(role, id));
        let agent = Chain::new(None, named(PrincipalKind::Agent, "bot"), None).unwrap();
        assert_eq!(own.speaks_for(agent), Ok(own.chain.clone()), "whom it leaves out counts, too");
        for wrong in [
            Chain::new(None, named(PrincipalKind::Agent, "other"), None).unwrap(),
            Chain::new(named(PrincipalKind::User, "bob"), named(PrincipalKind::Agent, "bot"), None).unwrap(),
            Chain::new(None, named(PrincipalKind::Agent, "bot"), named(PrincipalKind::User, "ann")).unwrap(),
            Chain::new(named(PrincipalKind::Team, "ann"), None, None).unwrap(),
        ] {
            assert!(own.speaks_for(wrong.clone()).is_err(), "{wrong:?}");
            let pep = Caller { role: CallerRole::Pep, ..own.clone() };
            assert_eq!(pep.speaks_for(wrong.clone()), Ok(wrong));
        }
    }

    #[test]
    fn no_choice_of_names_makes_two_callers_one() {
        let key = caller("a", "b").key();
        assert_eq!(key, caller("a", "b").key());
        let mut finance = caller("a", "b");
        let mut agent = finance.chain.agent().unwrap().clone();
        agent.attributes.insert("groups".into(), Value::texts(["finance"]));
        finance.chain = Chain::new(finance.chain.owner().cloned(), Some(agent), None).unwrap();
        assert_ne!(key, finance.key(), "what is known of them counts");
        for other in [caller("a", "c"), caller("b", "a"), caller("a|5:agent", "b"), caller("", "ab")] {
            assert_ne!(key, other.key());
        }
    }
}
