//! Kill switches: what is switched off, for whom, and by what.

use std::fmt;
use std::str::FromStr;

use crate::cbor::Cbor;
use crate::{Class, Effect, Encode, InvalidName, PrincipalKind, Request, ShapeError};

/// What a kill switch switches off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KillTarget {
    /// A capability class, or a part of one.
    Class(Class),
    /// An effect and every effect that is harder to take back.
    Effect(Effect),
}

impl fmt::Display for KillTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => class.fmt(f),
            Self::Effect(effect) => effect.fmt(f),
        }
    }
}

impl FromStr for KillTarget {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let effect = text.strip_prefix("effect:").unwrap_or(text).parse().map(Self::Effect);
        effect.or_else(|_| text.parse().map(Self::Class)).map_err(|_| {
            let expected = "a capability class (`money.move`), a part of one (`data.read:orders`) or an effect \
                            (`read`, `write`, `irreversible`)";
            InvalidName::new(expected, text)
        })
    }
}

/// Who turned a switch, which says how it is lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KillOrigin {
    /// A person at this node; an approver lifts it.
    Order,
    /// A signed kill bundle; a newer one lifts it.
    Bundle {
        /// The bundle's epoch.
        epoch: u64,
    },
    /// The switches that were kept cannot be read, so that everything is off.
    Unreadable,
}

/// What is to be switched off, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KillOrder {
    /// The class, the part of one, or the effect.
    pub target: KillTarget,
    /// For this agent only.
    pub agent: Option<Box<str>>,
    /// In this tenant only.
    pub tenant: Option<Box<str>>,
}

/// One thing that is switched off, everywhere on the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KillSwitch {
    /// What is off.
    pub target: KillTarget,
    /// For this agent only.
    pub agent: Option<Box<str>>,
    /// In this tenant only.
    pub tenant: Option<Box<str>>,
    /// Who turned it.
    pub origin: KillOrigin,
}

impl KillSwitch {
    /// Whether the request is switched off.
    ///
    /// An agent counts wherever it stands in the chain. An action that nobody declared is in every
    /// class, every part of one, and irreversible.
    pub fn covers(&self, request: &Request) -> bool {
        let agent = self.agent.as_deref().is_none_or(|agent| {
            request.chain.members().any(|(_, who)| who.kind == PrincipalKind::Agent && *who.id == *agent)
        });
        let tenant = self.tenant.as_deref().is_none_or(|tenant| *request.resource.tenant == *tenant);
        agent
            && tenant
            && match &self.target {
                KillTarget::Class(class) => request.action.counts_as(class, &request.resource),
                KillTarget::Effect(effect) => request.action.effect() >= *effect,
            }
    }

    /// The switch as the command line takes it: `money.move --agent billing`.
    pub fn arguments(&self) -> String {
        let mut text = self.target.to_string();
        for (flag, value) in [("--agent", &self.agent), ("--tenant", &self.tenant)] {
            if let Some(value) = value {
                text.push_str(&format!(" {flag} {value}"));
            }
        }
        text
    }
}

impl fmt::Display for KillSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.target)?;
        if let Some(agent) = &self.agent {
            write!(f, " for agent `{agent}`")?;
        }
        self.tenant.as_ref().map_or(Ok(()), |tenant| write!(f, " in tenant `{tenant}`"))
    }
}

/// `[target, agent or null, tenant or null, origin]`; the origin is `"order"`, `"unreadable"` or a bundle's
/// epoch.
impl Encode for KillSwitch {
    fn to_cbor(&self) -> Cbor {
        let optional = |text: &Option<Box<str>>| text.as_deref().map_or(Cbor::Null, Cbor::from);
        let origin = match self.origin {
            KillOrigin::Order => "order".into(),
            KillOrigin::Unreadable => "unreadable".into(),
            KillOrigin::Bundle { epoch } => epoch.into(),
        };
        let target = self.target.to_string();
        Cbor::Array(vec![target.as_str().into(), optional(&self.agent), optional(&self.tenant), origin])
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let optional = |cbor: &Cbor| match cbor {
            Cbor::Null => Ok(None),
            Cbor::Text(text) => Ok(Some(text.clone())),
            _ => Err(ShapeError("a name or nothing")),
        };
        let Some([Cbor::Text(target), agent, tenant, origin]) = cbor.as_array() else {
            return Err(ShapeError("a kill switch of four parts"));
        };
        let origin = match origin {
            Cbor::Uint(epoch) => KillOrigin::Bundle { epoch: *epoch },
            Cbor::Text(text) if &**text == "order" => KillOrigin::Order,
            Cbor::Text(text) if &**text == "unreadable" => KillOrigin::Unreadable,
            _ => return Err(ShapeError("the origin of a kill switch")),
        };
        let target = target.parse().map_err(|_| ShapeError("what a kill switch switches off"))?;
        Ok(Self { target, agent: optional(agent)?, tenant: optional(tenant)?, origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Chain, Context, Principal, Resource};

    fn request(agent: &str, action: Action, resource: Resource) -> Request {
        let agent = Principal::new(PrincipalKind::Agent, agent);
        let owner = Principal::new(PrincipalKind::User, "ann");
        let chain = Chain::new(Some(owner), Some(agent), None).unwrap();
        Request { chain, action, resource, context: Context::default() }
    }

    /// Whether the switch `written` as on the command line covers an action of these classes.
    fn covers(written: &str, classes: &str, effect: Effect, resource: (&str, &str)) -> bool {
        let mut words = written.split(' ');
        let target = words.next().unwrap().parse().unwrap();
        let mut switch = KillSwitch { target, agent: None, tenant: None, origin: KillOrigin::Order };
        while let Some(flag) = words.next() {
            let value = words.next().map(Into::into);
            if flag == "--agent" { switch.agent = value } else { switch.tenant = value }
        }
        let name = "shop/act".parse().unwrap();
        let action = match classes {
            "undeclared" => Action::undeclared(name),
            classes => {
                let classes = classes.split(' ').filter(|class| !class.is_empty());
                Action::declared(name, classes.map(|class| class.parse().unwrap()), effect)
            }
        };
        switch.covers(&request("bot", action, Resource::new(resource.0, resource.1, "acme")))
    }

    const TOOL: (&str, &str) = ("Tool", "shop/act");

    #[test]
    fn a_class_covers_its_parts_and_no_other_class() {
        assert!(covers("data.read", "data.read", Effect::Read, TOOL));
        assert!(covers("data.read", "data.read:orders", Effect::Read, TOOL));
        assert!(!covers("data.read", "data.write", Effect::Write, TOOL));
        assert!(!covers("data.read", "", Effect::Read, TOOL));
    }

    #[test]
    fn a_part_covers_what_declares_it_and_what_is_named_like_it() {
        assert!(covers("data.read:orders", "data.read:orders", Effect::Read, TOOL));
        assert!(covers("data.read:orders", "data.read", Effect::Read, ("Table", "shop.orders")));
        assert!(covers("data.read:orders", "data.read", Effect::Read, ("Document", "shop/Orders")));
        assert!(covers("data.read:orders", "data.read", Effect::Read, ("Table", "orders")));
        assert!(!covers("data.read:orders", "data.read:customers", Effect::Read, TOOL));
        assert!(!covers("data.read:orders", "data.read:customers", Effect::Read, ("Table", "orders")));
        assert!(!covers("data.read:orders", "data.read", Effect::Read, ("Table", "preorders")));
        assert!(!covers("data.read:orders", "data.read", Effect::Read, TOOL));
        assert!(!covers("data.read:orders", "data.write", Effect::Write, ("Table", "orders")));
    }

    #[test]
    fn an_effect_covers_what_is_harder_to_take_back() {
        assert!(covers("irreversible", "money.move", Effect::Irreversible, TOOL));
        assert!(!covers("irreversible", "data.write", Effect::Write, TOOL));
        assert!(covers("write", "money.move", Effect::Irreversible, TOOL));
        assert!(!covers("write", "data.read", Effect::Read, TOOL));
        assert!(covers("read", "", Effect::Read, TOOL), "everything");
    }

    #[test]
    fn what_nobody_declared_is_covered_by_every_switch() {
        for switch in ["admin", "data.read:orders", "read", "irreversible"] {
            assert!(covers(switch, "undeclared", Effect::Read, TOOL), "{switch}");
        }
    }

    #[test]
    fn an_agent_and_a_tenant_bound_a_switch() {
        let check = |switch| covers(switch, "admin", Effect::Read, TOOL);
        assert!(check("admin --agent bot") && check("admin --tenant acme"));
        assert!(check("admin --agent bot --tenant acme"));
        assert!(!check("admin --agent ann"), "a user is no agent");
        assert!(!check("admin --agent bo") && !check("admin --tenant other"));
        assert!(!check("admin --agent bot --tenant other"));
    }

    #[test]
    fn targets_parse_as_they_are_written() {
        for text in ["money.move", "data.read:orders", "read", "irreversible"] {
            assert_eq!(text.parse::<KillTarget>().map(|target| target.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("effect:write".parse(), Ok(KillTarget::Effect(Effect::Write)));
        for text in ["", "money", "reads", "effect:", "data.read:", "everything"] {
            assert!(text.parse::<KillTarget>().is_err(), "{text}");
        }
    }
}
