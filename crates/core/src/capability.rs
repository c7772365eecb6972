//! What a verified capability token allows: a closed vocabulary of caveats, each of which only narrows.

use std::collections::BTreeSet;
use std::fmt;

use crate::ed25519::VerifyingKey;
use crate::{Class, Digest, Facts, Record, Request, ResourceKind, Role, SessionId, Timestamp, Value};

/// One condition; a call goes through a token only if it meets every one in every block.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Caveat {
    /// Every class of the action is one of these, or a part of one.
    Classes(BTreeSet<Class>),
    /// The action is one of these, as `server/tool`.
    Tools(BTreeSet<Box<str>>),
    /// The resource is one of these, as `Kind:identifier`.
    Resources(BTreeSet<Box<str>>),
    /// The resource belongs to this tenant.
    Tenant(Box<str>),
    /// The call belongs to this session.
    Session(SessionId),
    /// The work is for this purpose.
    Purpose(Box<str>),
    /// This principal has this part; an agent acts, or passed the work on.
    Principal(Party, Box<str>),
    /// The token was passed on at most so often.
    MaxDepth(u32),
    /// It is before this time, in seconds since 1970.
    Expires(u64),
    /// Fewer calls than these were made with this block.
    Calls(u64),
    /// An argument, by JSON Pointer, is as the bound says.
    Argument(Box<str>, Bound),
}

/// The part of a principal that a caveat names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// Who answers for the agent.
    Owner,
    /// The agent that acts or that passed the work on.
    Agent,
    /// The user that is acted for.
    User,
}

impl Party {
    /// Every part.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Agent, Self::User];

    /// The part as written in tokens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Agent => "agent",
            Self::User => "user",
        }
    }

    fn includes(self, role: Role) -> bool {
        match self {
            Self::Owner => role == Role::Owner,
            Self::Agent => matches!(role, Role::Agent | Role::Via),
            Self::User => role == Role::OnBehalfOf,
        }
    }
}

/// What an argument may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// One of these texts.
    OneOf(BTreeSet<Box<str>>),
    /// A text that begins so.
    Prefix(Box<str>),
    /// A whole number, this or more.
    AtLeast(i64),
    /// A whole number, this or less.
    AtMost(i64),
}

/// One block of a token: what its author narrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapabilityBlock {
    /// Names the block, for revocation and for counting.
    pub id: Digest,
    /// The caveats of its author.
    pub caveats: Vec<Caveat>,
    /// Calls that were let through with this block before.
    pub used: u64,
}

/// A verified token: signed by this node's issuer, passed on by those it was bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// What the issuer granted, and then what each delegation narrowed. At least one.
    pub blocks: Vec<CapabilityBlock>,
    /// Who may use it: whoever holds the private key.
    pub holder: VerifyingKey,
}

/// The caveat that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet<'c> {
    /// The block, from 0 for the issuer's own.
    pub block: usize,
    /// The caveat; none if a token has no blocks at all.
    pub caveat: Option<&'c Caveat>,
}

impl Capability {
    /// How often the token was passed on.
    pub fn depth(&self) -> usize {
        self.blocks.len().saturating_sub(1)
    }

    /// The agent that the token was issued for.
    pub fn agent(&self) -> Option<&str> {
        self.blocks.first()?.caveats.iter().find_map(|caveat| match caveat {
            Caveat::Principal(Party::Agent, id) => Some(&**id),
            _ => None,
        })
    }

    /// The first caveat that the request does not meet.
    pub fn unmet(&self, request: &Request, facts: &Facts, now: Timestamp) -> Option<Unmet<'_>> {
        self.first_unmet(request, facts, now, |_| true)
    }

    /// The first caveat that the request does not meet, whatever its arguments will be.
    pub fn unmet_by_any(&self, request: &Request, facts: &Facts, now: Timestamp) -> Option<Unmet<'_>> {
        self.first_unmet(request, facts, now, |caveat| !matches!(caveat, Caveat::Argument(..)))
    }

    fn first_unmet(
        &self,
        request: &Request,
        facts: &Facts,
        now: Timestamp,
        counts: impl Fn(&Caveat) -> bool,
    ) -> Option<Unmet<'_>> {
        if self.blocks.is_empty() {
            return Some(Unmet { block: 0, caveat: None });
        }
        self.blocks.iter().enumerate().find_map(|(block, part)| {
            let unmet = part.caveats.iter().filter(|caveat| counts(caveat)).find(|caveat| {
                let case = Case { request, facts, now, depth: self.depth(), used: part.used };
                !case.meets(caveat)
            });
            unmet.map(|caveat| Unmet { block, caveat: Some(caveat) })
        })
    }
}

struct Case<'r> {
    request: &'r Request,
    facts: &'r Facts,
    now: Timestamp,
    depth: usize,
    used: u64,
}

impl Case<'_> {
    fn meets(&self, caveat: &Caveat) -> bool {
        let Request { chain, action, resource, context } = self.request;
        match caveat {
            Caveat::Classes(_)
            | Caveat::Tools(_)
            | Caveat::Resources(_)
            | Caveat::Calls(_)
            | Caveat::Argument(..)
                if self.is_about_server() =>
            {
                true
            }
            // An action of no class, or of classes that nobody knows, is not among any.
            Caveat::Classes(granted) => {
                let covers =
                    |class: &Class| granted.contains(class) || granted.contains(&Class::whole(class.kind()));
                action.is_declared() && !action.classes().is_empty() && action.classes().iter().all(covers)
            }
            Caveat::Tools(granted) => granted.contains(action.name().as_str()),
            Caveat::Resources(granted) => {
                granted.contains(format!("{}:{}", resource.kind.as_str(), resource.id).as_str())
            }
            Caveat::Tenant(tenant) => resource.tenant == *tenant,
            Caveat::Session(id) => self.facts.session.as_ref().is_some_and(|session| session.id == *id),
            Caveat::Purpose(purpose) => context.purpose.as_ref() == Some(purpose),
            Caveat::Principal(party, id) => {
                chain.members().any(|(role, principal)| party.includes(role) && principal.id == *id)
            }
            Caveat::MaxDepth(most) => u32::try_from(self.depth).is_ok_and(|depth| depth <= *most),
            Caveat::Expires(at) => self.now.as_secs() < *at,
            Caveat::Calls(most) => self.used < *most,
            Caveat::Argument(pointer, bound) => {
                select(&context.args, pointer).is_some_and(|value| bound.holds(value))
            }
        }
    }

    /// Whether this is a message of the protocol about the server as a whole, such as listing its
    /// tools: it calls none of them, so that what is said of calls does not apply.
    fn is_about_server(&self) -> bool {
        let Request { action, resource, .. } = self.request;
        action.name().as_str().starts_with("mcp/")
            && action.is_declared()
            && action.classes().is_empty()
            && action.effect() == crate::Effect::Read
            && resource.kind.as_str() == ResourceKind::SERVER
    }
}

impl Bound {
    /// Whether the value is as the bound says; of a value that is not known it is not.
    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::OneOf(texts), Value::Text(text)) => texts.contains(text),
            (Self::Prefix(prefix), Value::Text(text)) => text.starts_with(&**prefix),
            (Self::AtLeast(least), Value::Long(number)) => number >= least,
            (Self::AtMost(most), Value::Long(number)) => number <= most,
            _ => false,
        }
    }
}

/// The argument at a JSON Pointer (RFC 6901); pointers into sets name nothing.
fn select<'r>(args: &'r Record, pointer: &str) -> Option<&'r Value> {
    let mut names =
        pointer.strip_prefix('/')?.split('/').map(|name| name.replace("~1", "/").replace("~0", "~"));
    let mut value = args.get(names.next()?.as_str())?;
    for name in names {
        let Value::Record(record) = value else { return None };
        value = record.get(name.as_str())?;
    }
    Some(value)
}

impl fmt::Display for Caveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, what: &str, names: &mut dyn Iterator<Item = String>| {
            write!(
                f,
                "{what} in {{{}}}",
                names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
            )
        };
        match self {
            Self::Classes(set) => list(f, "class", &mut set.iter().map(ToString::to_string)),
            Self::Tools(set) => list(f, "tool", &mut set.iter().map(ToString::to_string)),
            Self::Resources(set) => list(f, "resource", &mut set.iter().map(ToString::to_string)),
            Self::Tenant(id) => write!(f, "tenant is {id:?}"),
            Self::Session(id) => write!(f, "session is {id}"),
            Self::Purpose(id) => write!(f, "purpose is {id:?}"),
            Self::Principal(party, id) => write!(f, "{} is {id:?}", party.as_str()),
            Self::MaxDepth(most) => write!(f, "depth <= {most}"),
            Self::Expires(at) => {
                write!(f, "time < {}", Timestamp::from_micros(at.saturating_mul(1_000_000)))
            }
            Self::Calls(most) => write!(f, "calls < {most}"),
            Self::Argument(at, Bound::OneOf(set)) => list(f, at, &mut set.iter().map(ToString::to_string)),
            Self::Argument(at, Bound::Prefix(prefix)) => write!(f, "{at} begins with {prefix:?}"),
            Self::Argument(at, Bound::AtLeast(least)) => write!(f, "{at} >= {least}"),
            Self::Argument(at, Bound::AtMost(most)) => write!(f, "{at} <= {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Chain, Context, Effect, Principal, PrincipalKind, Resource, UnknownReason};

    fn request(classes: &[&str]) -> Request {
        let agent = |id| Principal::new(PrincipalKind::Agent, id);
        let user = Principal::new(PrincipalKind::User, "uma");
        let classes = classes.iter().map(|class| class.parse().unwrap());
        Request {
            chain: Chain::new(None, Some(agent("writer")), Some(user))
                .unwrap()
                .with_via(vec![agent("planner")])
                .unwrap(),
            action: Action::declared("bank/pay".parse().unwrap(), classes, Effect::Write),
            resource: Resource::new("Tool", "bank/pay", "acme"),
            context: Context {
                purpose: Some("billing".into()),
                args: Record::from([
                    ("amount".into(), Value::Long(50)),
                    ("to".into(), Value::Record(Record::from([("iban".into(), Value::text("DE1"))]))),
                    ("cut".into(), Value::Unknown(UnknownReason::Truncated)),
                ]),
                ..Context::default()
            },
        }
    }

    fn texts(texts: &[&str]) -> BTreeSet<Box<str>> {
        texts.iter().map(|text| Box::from(*text)).collect()
    }

    fn meets(caveat: &Caveat, request: &Request) -> bool {
        let facts = Facts::default();
        Case { request, facts: &facts, now: Timestamp::from_micros(5_000_000), depth: 1, used: 3 }
            .meets(caveat)
    }

    #[test]
    fn each_caveat_lets_its_case_through_and_not_the_nearest_other() {
        let classes =
            |names: &[&str]| Caveat::Classes(names.iter().map(|name| name.parse().unwrap()).collect());
        let asked = request(&["money.move:sepa"]);
        let argument = |at: &str, bound| Caveat::Argument(at.into(), bound);
        for (yes, no) in [
            (classes(&["money.move"]), classes(&["money.move:card"])),
            (Caveat::Tools(texts(&["bank/pay"])), Caveat::Tools(texts(&["bank/pay2", "bank"]))),
            (
                Caveat::Resources(texts(&["Tool:bank/pay"])),
                Caveat::Resources(texts(&["bank/pay", "Server:bank"])),
            ),
            (Caveat::Tenant("acme".into()), Caveat::Tenant("Acme".into())),
            (Caveat::Purpose("billing".into()), Caveat::Purpose("bill".into())),
            (
                Caveat::Principal(Party::Agent, "planner".into()),
                Caveat::Principal(Party::User, "planner".into()),
            ),
            (Caveat::Principal(Party::User, "uma".into()), Caveat::Principal(Party::Owner, "uma".into())),
            (Caveat::MaxDepth(1), Caveat::MaxDepth(0)),
            (Caveat::Expires(6), Caveat::Expires(5)),
            (Caveat::Calls(4), Caveat::Calls(3)),
            (argument("/amount", Bound::AtMost(50)), argument("/amount", Bound::AtMost(49))),
            (argument("/amount", Bound::AtLeast(50)), argument("/amount", Bound::AtLeast(51))),
            (
                argument("/to/iban", Bound::OneOf(texts(&["DE1"]))),
                argument("/to", Bound::OneOf(texts(&["DE1"]))),
            ),
            (
                argument("/to/iban", Bound::Prefix("DE".into())),
                argument("/to/iban", Bound::Prefix("FR".into())),
            ),
            (argument("/amount", Bound::AtMost(50)), argument("/cut", Bound::AtMost(50))),
            (argument("/amount", Bound::AtMost(50)), argument("amount", Bound::AtMost(50))),
            (argument("/amount", Bound::AtMost(50)), argument("/absent", Bound::AtMost(50))),
        ] {
            assert!(meets(&yes, &asked), "{yes}");
            assert!(!meets(&no, &asked), "{no}");
        }
        assert!(!meets(&Caveat::Session(SessionId::from_bytes([1; 16])), &asked), "there is no session");
    }

    #[test]
    fn every_class_counts_and_an_action_of_no_or_unknown_class_is_not_covered() {
        let granted = Caveat::Classes(["data.read".parse().unwrap(), "money.move".parse().unwrap()].into());
        assert!(meets(&granted, &request(&["data.read", "money.move"])));
        assert!(!meets(&granted, &request(&["data.read", "message.send"])));
        assert!(!meets(&granted, &request(&[])));
        let all = Caveat::Classes(crate::ClassKind::ALL.iter().copied().map(Class::whole).collect());
        let undeclared = Request { action: Action::undeclared("bank/pay".parse().unwrap()), ..request(&[]) };
        assert!(!meets(&all, &undeclared));
        let list = |resource: Resource, effect| Request {
            action: Action::declared("mcp/tools/list".parse().unwrap(), [], effect),
            resource,
            ..request(&[])
        };
        assert!(meets(&granted, &list(Resource::new("Server", "bank", "acme"), Effect::Read)));
        assert!(!meets(&granted, &list(Resource::new("Server", "bank", "acme"), Effect::Write)));
        assert!(!meets(&granted, &list(Resource::new("Document", "bank/x", "acme"), Effect::Read)));
        assert!(!meets(&Caveat::Expires(5), &list(Resource::new("Server", "bank", "acme"), Effect::Read)));
    }

    #[test]
    fn a_token_of_no_blocks_allows_nothing() {
        let holder = crate::ed25519::SigningKey::from_seed(&[1; 32]).unwrap().verifying_key();
        let none = Capability { blocks: Vec::new(), holder };
        let now = Timestamp::from_micros(0);
        assert!(none.unmet(&request(&["data.read"]), &Facts::default(), now).is_some());
        let block = |caveats| CapabilityBlock { id: Digest::of(b"x"), caveats, used: 0 };
        let both = Capability {
            blocks: vec![block(vec![Caveat::MaxDepth(3)]), block(vec![Caveat::Expires(0)])],
            ..none
        };
        let unmet = both.unmet(&request(&["data.read"]), &Facts::default(), now).unwrap();
        assert_eq!((unmet.block, unmet.caveat), (1, Some(&Caveat::Expires(0))));
    }
}
