//! What the claims of a verified token say: who acts, for whom, through whom, and what is known of
//! them (RFC 7519 §4, RFC 8693 §4.1).

use std::collections::BTreeSet;

use cordon_core::json::Node;
use cordon_core::{Duration, HOPS_MAX, Principal, PrincipalKind, Timestamp, UnknownReason, Value};

use super::AuthError;

/// Whose attribute a claim becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimOf {
    /// The user that is acted for.
    User,
    /// The agent that acts.
    Agent,
}

/// How old a claim may get before what it says is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimAge {
    /// The age, in seconds.
    pub max_s: u64,
    /// JSON Pointer to when the issuer looked the claim up, in seconds since 1970; without it, `iat`.
    pub since: Option<Box<str>>,
}

/// A claim that becomes an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRule {
    /// JSON Pointer to the claim.
    pub claim: Box<str>,
    /// Whose attribute it becomes.
    pub of: ClaimOf,
    /// The attribute's name.
    pub attribute: Box<str>,
    /// How old it may get; without it, it does not age.
    pub age: Option<ClaimAge>,
}

/// The claims of a token whose signature holds.
pub(super) struct Claims<'n>(pub(super) &'n Node);

/// Longest name of a principal.
const NAME_BYTES_MAX: usize = 1_024;
/// Longest identifier of a token.
const ID_BYTES_MAX: usize = 256;

const INVALID: fn(&'static str) -> AuthError = AuthError::Invalid;

impl<'n> Claims<'n> {
    /// A claim that is a text, or absent.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'n str>, AuthError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(node) => {
                let text = node.as_text().filter(|text| text.len() <= NAME_BYTES_MAX);
                text.map(Some).ok_or(INVALID("one of its claims is not a text"))
            }
        }
    }

    /// A claim that is a number of seconds since 1970; a fraction is cut off (RFC 7519 §2).
    pub(super) fn seconds(&self, name: &str) -> Result<Option<u64>, AuthError> {
        self.0.get(name).map(seconds).transpose()
    }

    /// The audiences (RFC 7519 §4.1.3).
    pub(super) fn audiences(&self) -> Result<Vec<&'n str>, AuthError> {
        let wrong = INVALID("its audience cannot be read");
        let node = self.0.get("aud").ok_or(wrong.clone())?;
        if let Some(one) = node.as_text() {
            return Ok(vec![one]);
        }
        let several: Option<Vec<_>> = node.items().iter().map(Node::as_text).collect();
        several.filter(|several| !several.is_empty()).ok_or(wrong)
    }

    /// The scopes.
    pub(super) fn scopes(&self) -> Result<BTreeSet<&'n str>, AuthError> {
        let scopes = self.text("scope")?.unwrap_or_default().split(' ');
        Ok(scopes.filter(|scope| !scope.is_empty()).collect())
    }

    /// The token's own identifier.
    pub(super) fn id(&self) -> Result<&'n str, AuthError> {
        let id = self.text("jti")?.filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()));
        id.ok_or(INVALID("it may be used once only and has no `jti`"))
    }

    /// The agent that acts, the agents that passed the work on (the last one first), and the user.
    ///
    /// With `act`, the outermost actor acts and the nested ones passed the work on; each of them must
    /// be permitted, so that nesting never widens. Without it, the client acts.
    pub(super) fn parties(
        &self,
        issuer: &str,
    ) -> Result<(Principal, Vec<Principal>, Option<Principal>), AuthError> {
        let subject = self.text("sub")?.filter(|id| !id.is_empty());
        let mut actors = actors(self.0.get("act"), issuer)?.into_iter();
        let (agent, via) = match actors.next() {
            Some(agent) => {
                if subject.is_none() {
                    return Err(INVALID("it names an actor and nobody whom it acts for"));
                }
                (agent, actors.map(agent_named).collect())
            }
            None => {
                let client = self.text("client_id")?.or(self.text("azp")?).filter(|id| !id.is_empty());
                (client.or(subject).ok_or(INVALID("it names nobody"))?, Vec::new())
            }
        };
        // A token that an agent got for itself speaks for no user.
        let user = subject.filter(|user| *user != agent).map(|id| Principal::new(PrincipalKind::User, id));
        Ok((agent_named(agent), via, user))
    }

    /// Adds what the rules take from the claims to agent and user.
    pub(super) fn describe(
        &self,
        rules: &[ClaimRule],
        agent: &mut Principal,
        user: Option<&mut Principal>,
        now: Timestamp,
    ) -> Result<(), AuthError> {
        let mut user = user;
        for rule in rules {
            let who = match rule.of {
                ClaimOf::Agent => &mut *agent,
                ClaimOf::User => match user.as_deref_mut() {
                    Some(user) => user,
                    None => continue,
                },
            };
            let found = match self.0.select(&rule.claim).as_slice() {
                [node] => Value::from_json(node),
                [] if self.is_elsewhere(&rule.claim) => Some(Value::Unknown(UnknownReason::Truncated)),
                [] => None,
                _ => Some(Value::Unknown(UnknownReason::Unparsed)),
            };
            who.attributes.extend(found.map(|value| (rule.attribute.clone(), value)));
            if let Some(age) = &rule.age {
                who.stale_from.insert(rule.attribute.clone(), self.stale_from(age, now)?);
            }
        }
        *agent = agent.clone().at(now);
        if let Some(user) = user {
            *user = user.clone().at(now);
        }
        Ok(())
    }

    /// When a claim becomes too old; at once where nobody says how old it is.
    fn stale_from(&self, age: &ClaimAge, now: Timestamp) -> Result<Timestamp, AuthError> {
        let since = match &age.since {
            Some(pointer) => self.0.select(pointer).first().map(|node| seconds(node)).transpose()?,
            None => self.seconds("iat")?,
        };
        let since = since.map(|since| since.min(now.as_secs()).saturating_mul(1_000_000));
        let since = since.map_or(Timestamp::from_micros(0), Timestamp::from_micros);
        Ok(since.plus(Duration::from_secs(if since.as_micros() == 0 { 0 } else { age.max_s })))
    }

    /// Whether the issuer left the claim out because it lies elsewhere (OpenID Connect Core §5.6.2).
    fn is_elsewhere(&self, pointer: &str) -> bool {
        let name = pointer.strip_prefix('/').unwrap_or(pointer);
        self.0.get("_claim_names").is_some_and(|names| names.get(name).is_some())
    }
}

fn agent_named(id: &str) -> Principal {
    Principal::new(PrincipalKind::Agent, id)
}

/// The actors, the one that acts first (RFC 8693 §4.1).
fn actors<'n>(act: Option<&'n Node>, issuer: &str) -> Result<Vec<&'n str>, AuthError> {
    let mut actors = Vec::new();
    let mut next = act;
    while let Some(act) = next {
        if actors.len() > HOPS_MAX {
            return Err(INVALID("its work was passed on too often"));
        }
        let name = act.get("sub").and_then(Node::as_text);
        let name = name.filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX);
        actors.push(name.ok_or(INVALID("one of its actors has no name"))?);
        // A name of another issuer could be anybody here.
        if act.get("iss").is_some_and(|iss| iss.as_text() != Some(issuer)) {
            return Err(INVALID("one of its actors is of another issuer"));
        }
        next = act.get("act");
    }
    Ok(actors)
}

fn seconds(node: &Node) -> Result<u64, AuthError> {
    let wrong = || INVALID("one of its times is not a number of seconds");
    let cordon_core::json::Kind::Number(text) = node.kind() else { return Err(wrong()) };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    whole.parse().map_err(|_| wrong())
}
