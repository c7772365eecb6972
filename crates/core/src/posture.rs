//! What a session may still do: its state, and everything that was taken from it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::cbor::Cbor;
use crate::{ActionName, Class, ClassKind, Effect, Encode, InvalidName, ObligationKind, Request, ShapeError};

/// How far a session is contained, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PostureState {
    /// Nothing was taken from it.
    #[default]
    Normal,
    /// It may do everything and is looked at more closely.
    Watched,
    /// Something was taken from it.
    Restricted,
    /// It may do nothing until a person releases it.
    Quarantined,
    /// It may do nothing any more.
    Terminated,
}

impl PostureState {
    /// Every state, mildest first.
    pub const ALL: &'static [Self] =
        &[Self::Normal, Self::Watched, Self::Restricted, Self::Quarantined, Self::Terminated];

    /// The state as written in policies, records and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Watched => "watched",
            Self::Restricted => "restricted",
            Self::Quarantined => "quarantined",
            Self::Terminated => "terminated",
        }
    }
}

impl fmt::Display for PostureState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PostureState {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::ALL
            .iter()
            .copied()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| InvalidName::new("a posture (`normal` … `terminated`)", text))
    }
}

/// Something that is taken from a session as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Restraint {
    /// Nothing leaves over the network: `net.egress`, `message.send`, hosts and SSH targets.
    NetworkOff,
    /// Nothing is delegated: `agent.delegate`, agents.
    BlockDelegation,
    /// Nothing is changed: only effect `read`.
    ReadOnly,
    /// Credentials are being replaced: `secret.use`, secrets.
    RotateCredentials,
}

impl Restraint {
    /// Every restraint.
    pub const ALL: &'static [Self] =
        &[Self::NetworkOff, Self::BlockDelegation, Self::ReadOnly, Self::RotateCredentials];

    /// The restraint as the obligation of the same name is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NetworkOff => "network_off",
            Self::BlockDelegation => "block_delegation",
            Self::ReadOnly => "read_only",
            Self::RotateCredentials => "rotate_credentials",
        }
    }

    /// The classes and resource types that it takes away, beside everything above effect `read` for
    /// [`Restraint::ReadOnly`].
    const fn takes(self) -> (&'static [ClassKind], &'static [&'static str]) {
        match self {
            Self::NetworkOff => (&[ClassKind::NetEgress, ClassKind::MessageSend], &["Host", "SshTarget"]),
            Self::BlockDelegation => (&[ClassKind::AgentDelegate], &["Agent"]),
            Self::ReadOnly => (&[], &[]),
            Self::RotateCredentials => (&[ClassKind::SecretUse], &["Secret"]),
        }
    }

    fn refuses(self, request: &Request) -> bool {
        let (classes, kinds) = self.takes();
        let class = |kind: &ClassKind| request.action.counts_as(&Class::whole(*kind), &request.resource);
        !request.action.is_declared()
            || kinds.contains(&request.resource.kind.as_str())
            || classes.iter().any(class)
            || (self == Self::ReadOnly && request.action.effect() > Effect::Read)
    }
}

impl FromStr for Restraint {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::ALL
            .iter()
            .copied()
            .find(|restraint| restraint.as_str() == text)
            .ok_or_else(|| InvalidName::new("a restraint (`network_off`, `read_only`, …)", text))
    }
}

/// What a session may still do. Postures only narrow by being joined; a person's release widens.
// INVARIANT: something is taken away only in state `restricted` or above.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Posture {
    state: PostureState,
    revoked: BTreeSet<Class>,
    disabled: BTreeSet<ActionName>,
    restraints: BTreeSet<Restraint>,
}

impl Posture {
    /// A posture of these parts; the state is at least what they amount to.
    pub fn new(
        state: PostureState,
        revoked: impl IntoIterator<Item = Class>,
        disabled: impl IntoIterator<Item = ActionName>,
        restraints: impl IntoIterator<Item = Restraint>,
    ) -> Self {
        let mut posture = Self {
            state,
            revoked: revoked.into_iter().collect(),
            disabled: disabled.into_iter().collect(),
            restraints: restraints.into_iter().collect(),
        };
        if !posture.revoked.is_empty() || !posture.disabled.is_empty() || !posture.restraints.is_empty() {
            posture.state = posture.state.max(PostureState::Restricted);
        }
        posture
    }

    /// A posture that is this state and nothing else.
    pub fn of_state(state: PostureState) -> Self {
        Self { state, ..Self::default() }
    }

    /// What an obligation narrows a session to; `None` for one that is not about the session.
    ///
    /// A class or a tool whose name is not understood isolates: something was to be taken away, and
    /// nobody knows what.
    pub fn of_obligation(kind: &ObligationKind) -> Option<Self> {
        let state = PostureState::Restricted;
        let restraint = |restraint| Self::new(state, [], [], [restraint]);
        let isolated = |_: InvalidName| Self::of_state(PostureState::Quarantined);
        Some(match kind {
            ObligationKind::Monitor => Self::of_state(PostureState::Watched),
            ObligationKind::Revoke { classes } => {
                let classes: Result<Vec<Class>, _> = classes.iter().map(|class| class.parse()).collect();
                classes.map_or_else(isolated, |classes| Self::new(state, classes, [], []))
            }
            ObligationKind::DisableTool { tools } => {
                let tools: Result<Vec<ActionName>, _> = tools.iter().map(|tool| tool.parse()).collect();
                tools.map_or_else(isolated, |tools| Self::new(state, [], tools, []))
            }
            ObligationKind::NetworkOff => restraint(Restraint::NetworkOff),
            ObligationKind::BlockDelegation => restraint(Restraint::BlockDelegation),
            ObligationKind::RotateCredentials => restraint(Restraint::RotateCredentials),
            ObligationKind::ReadOnly => restraint(Restraint::ReadOnly),
            ObligationKind::Isolate => Self::of_state(PostureState::Quarantined),
            ObligationKind::Terminate => Self::of_state(PostureState::Terminated),
            _ => return None,
        })
    }

    /// The state.
    pub fn state(&self) -> PostureState {
        self.state
    }

    /// The classes that were taken away.
    pub fn revoked(&self) -> &BTreeSet<Class> {
        &self.revoked
    }

    /// The tools that were taken away.
    pub fn disabled(&self) -> &BTreeSet<ActionName> {
        &self.disabled
    }

    /// What else was taken away.
    pub fn restraints(&self) -> &BTreeSet<Restraint> {
        &self.restraints
    }

    /// Whether it is as it was at the beginning.
    pub fn is_normal(&self) -> bool {
        self.state == PostureState::Normal
    }

    /// The narrower of both: everything that either takes away.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        Self {
            state: self.state.max(other.state),
            revoked: self.revoked.union(&other.revoked).cloned().collect(),
            disabled: self.disabled.union(&other.disabled).cloned().collect(),
            restraints: self.restraints.union(&other.restraints).copied().collect(),
        }
    }

    /// Why the posture refuses the request, in one clause; `None` when it does not.
    pub fn refusal(&self, request: &Request) -> Option<String> {
        if self.state < PostureState::Restricted {
            return None;
        }
        if self.state >= PostureState::Quarantined {
            return Some(format!("the session is {} and may do nothing", self.state));
        }
        let name = request.action.name();
        if self.disabled.contains(name) {
            return Some(format!("`{name}` is disabled for the session"));
        }
        if let Some(class) =
            self.revoked.iter().find(|class| request.action.counts_as(class, &request.resource))
        {
            return Some(format!("`{class}` is revoked from the session"));
        }
        let restraint = self.restraints.iter().find(|restraint| restraint.refuses(request))?;
        Some(match restraint {
            Restraint::NetworkOff => "the session has no network".to_owned(),
            Restraint::BlockDelegation => "the session may not delegate".to_owned(),
            Restraint::ReadOnly => "the session may only read".to_owned(),
            Restraint::RotateCredentials => "the session's credentials are being replaced".to_owned(),
        })
    }
}

/// `restricted, without data.write, mail/send, read_only`.
impl fmt::Display for Posture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)?;
        let revoked = self.revoked.iter().map(ToString::to_string);
        let parts: Vec<String> = revoked.chain(self.disabled.iter().map(ToString::to_string)).collect();
        if !parts.is_empty() {
            write!(f, ", without {}", parts.join(", "))?;
        }
        self.restraints.iter().try_for_each(|restraint| write!(f, ", {}", restraint.as_str()))
    }
}

/// `[state, [* class], [* tool], [* restraint]]`.
impl Encode for Posture {
    fn to_cbor(&self) -> Cbor {
        let texts = |texts: &mut dyn Iterator<Item = String>| {
            Cbor::Array(texts.map(|text| Cbor::Text(text.into())).collect())
        };
        Cbor::Array(vec![
            self.state.as_str().into(),
            texts(&mut self.revoked.iter().map(ToString::to_string)),
            texts(&mut self.disabled.iter().map(ToString::to_string)),
            texts(&mut self.restraints.iter().map(|restraint| restraint.as_str().to_owned())),
        ])
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        fn all<T: FromStr + Ord>(cbor: &Cbor) -> Result<BTreeSet<T>, ShapeError> {
            let items = cbor.as_array().ok_or(ShapeError("names"))?;
            let name = |item: &Cbor| item.as_text()?.parse().ok();
            items.iter().map(|item| name(item).ok_or(ShapeError("a name"))).collect()
        }
        let Some([Cbor::Text(state), revoked, disabled, restraints]) = cbor.as_array() else {
            return Err(ShapeError("a posture of four parts"));
        };
        let state = state.parse().map_err(|_| ShapeError("the state of a posture"))?;
        Ok(Self::new(state, all(revoked)?, all(disabled)?, all(restraints)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Chain, Context, Principal, PrincipalKind, Resource};

    fn request(name: &str, classes: &[&str], effect: Effect, kind: &str) -> Request {
        let agent = Principal::new(PrincipalKind::Agent, "bot");
        let classes = classes.iter().map(|class| class.parse().unwrap());
        Request {
            chain: Chain::new(None, Some(agent), None).unwrap(),
            action: Action::declared(name.parse().unwrap(), classes, effect),
            resource: Resource::new(kind, name, "acme"),
            context: Context::default(),
        }
    }

    fn of(kind: &ObligationKind) -> Posture {
        Posture::of_obligation(kind).unwrap()
    }

    fn refuses(posture: &Posture, name: &str, classes: &[&str], effect: Effect) -> bool {
        posture.refusal(&request(name, classes, effect, "Tool")).is_some()
    }

    #[test]
    fn each_obligation_takes_what_it_names_and_leaves_its_neighbour() {
        let revoke = of(&ObligationKind::Revoke { classes: BTreeSet::from(["data.write".into()]) });
        assert!(refuses(&revoke, "a/b", &["data.write"], Effect::Write));
        assert!(refuses(&revoke, "a/b", &["data.write:orders"], Effect::Write));
        assert!(!refuses(&revoke, "a/b", &["data.read"], Effect::Read));
        let disable = of(&ObligationKind::DisableTool { tools: BTreeSet::from(["a/b".into()]) });
        assert!(refuses(&disable, "a/b", &[], Effect::Read) && !refuses(&disable, "a/c", &[], Effect::Read));
        let network = of(&ObligationKind::NetworkOff);
        assert!(refuses(&network, "a/b", &["net.egress"], Effect::Read));
        assert!(refuses(&network, "a/b", &["message.send"], Effect::Irreversible));
        assert!(!refuses(&network, "a/b", &["data.read"], Effect::Read));
        assert!(network.refusal(&request("a/b", &[], Effect::Read, "Host")).is_some());
        let delegation = of(&ObligationKind::BlockDelegation);
        assert!(refuses(&delegation, "a/b", &["agent.delegate"], Effect::Write));
        assert!(!refuses(&delegation, "a/b", &["data.write"], Effect::Write));
        let read_only = of(&ObligationKind::ReadOnly);
        assert!(refuses(&read_only, "a/b", &["data.write"], Effect::Write));
        assert!(!refuses(&read_only, "a/b", &["data.read"], Effect::Read));
        let credentials = of(&ObligationKind::RotateCredentials);
        assert!(refuses(&credentials, "a/b", &["secret.use"], Effect::Read));
        assert!(!refuses(&credentials, "a/b", &["data.read"], Effect::Read));
        for cut in [ObligationKind::Isolate, ObligationKind::Terminate] {
            assert!(refuses(&of(&cut), "mcp/ping", &[], Effect::Read), "{cut:?}");
        }
        assert!(!refuses(&of(&ObligationKind::Monitor), "a/b", &["money.move"], Effect::Irreversible));
        assert_eq!(Posture::of_obligation(&ObligationKind::DryRun), None);
    }

    #[test]
    fn what_nobody_declared_is_refused_by_every_restraint() {
        let mut request = request("a/b", &[], Effect::Read, "Tool");
        request.action = Action::undeclared("a/b".parse().unwrap());
        for restraint in Restraint::ALL {
            let posture = Posture::new(PostureState::Normal, [], [], [*restraint]);
            assert!(posture.refusal(&request).is_some(), "{}", restraint.as_str());
        }
    }

    #[test]
    fn what_is_taken_away_makes_it_restricted_and_what_is_not_understood_isolates() {
        let posture = Posture::new(PostureState::Normal, ["admin".parse().unwrap()], [], []);
        assert_eq!(posture.state(), PostureState::Restricted);
        let odd = ObligationKind::Revoke { classes: BTreeSet::from(["everything".into()]) };
        assert_eq!(of(&odd).state(), PostureState::Quarantined);
    }

    #[test]
    fn joining_keeps_everything_that_either_takes_and_does_not_depend_on_order() {
        let a = of(&ObligationKind::ReadOnly);
        let b = of(&ObligationKind::Revoke { classes: BTreeSet::from(["admin".into()]) });
        let joined = a.join(&b);
        assert_eq!(joined, b.join(&a));
        assert_eq!(joined.join(&a), joined);
        assert_eq!(joined.to_string(), "restricted, without admin, read_only");
        assert_eq!(joined.join(&of(&ObligationKind::Terminate)).state(), PostureState::Terminated);
    }
}
