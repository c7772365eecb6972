//! An OAuth 2.1 resource server: access tokens are JWTs (RFC 9068) of one issuer, for this resource.

use cordon_core::{Assurance, Chain, Principal, Timestamp};
use jsonwebtoken::Algorithm;

use super::claims::{ClaimRule, Claims};
use super::jwks::{Jwks, JwksSource};
use super::jws::{ALGORITHMS, Jws};
use super::once::Once;
use super::{AuthError, Peer};
use crate::{Caller, CallerRole};

/// How tokens of an issuer are checked.
#[derive(Debug, Clone)]
pub struct OAuthOptions {
    /// The issuer, exactly as tokens name it.
    pub issuer: Box<str>,
    /// This node's public address (`https://host[:port]`), from which resources are named.
    pub origin: Box<str>,
    /// The audiences that tokens may have; empty means the resource's own identifiers under `origin`
    /// (`<origin>/mcp` and `<origin>/mcp/<server>`).
    pub audiences: Vec<Box<str>>,
    /// Where the issuer's keys are.
    pub jwks: JwksSource,
    /// The scopes that every token needs.
    pub scopes: Vec<Box<str>>,
    /// Who answers for the agents that call.
    pub owner: Principal,
    /// The tenant that callers belong to.
    pub tenant: Box<str>,
    /// How far clocks may be apart, in seconds; at most 60.
    pub leeway_s: u64,
    /// What else this issuer's tokens must be, and what their claims mean.
    pub rules: TokenRules,
}

/// What an issuer's tokens must be beyond signed, for this resource and alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// The media types (`typ`) that count, lower case, without `application/`.
    pub types: Vec<Box<str>>,
    /// The algorithms that count, of `RS256`, `PS256`, `ES256` and `EdDSA`.
    pub algorithms: Vec<Box<str>>,
    /// The oldest that a token may be, in seconds since it was issued.
    pub age_max_s: Option<u64>,
    /// Tokens count once, and only those issued from then on: what was used before is not known.
    pub once_since: Option<Timestamp>,
    /// The claims that become attributes.
    pub claims: Vec<ClaimRule>,
}

impl Default for TokenRules {
    /// Access tokens (RFC 9068 §2.1) of any accepted algorithm, as often as they are sent.
    fn default() -> Self {
        Self {
            types: vec!["at+jwt".into()],
            algorithms: ALGORITHMS.iter().map(|(name, _)| Box::from(*name)).collect(),
            age_max_s: None,
            once_since: None,
            claims: Vec::new(),
        }
    }
}

/// The options do not make a resource server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOauth {
    /// The issuer is not an address.
    #[error("the issuer `{0}` is not an `https` address")]
    Issuer(Box<str>),
    /// The origin is not an address without path.
    #[error("`{0}` is not an origin such as `https://cordon.example`")]
    Origin(Box<str>),
    /// The clocks may be too far apart.
    #[error("a leeway of {0} s is more than 60 s")]
    Leeway(u64),
    /// An algorithm is not one that may sign tokens.
    #[error("`{0}` may not sign tokens, expected `RS256`, `PS256`, `ES256` or `EdDSA`")]
    Algorithm(Box<str>),
    /// No token could be accepted.
    #[error("no {0} is accepted, so that no token could be")]
    Nothing(&'static str),
    /// The issuer's keys cannot be had.
    #[error(transparent)]
    Jwks(#[from] super::JwksError),
}

/// Checks access tokens.
#[derive(Debug)]
pub struct OAuth {
    options: OAuthOptions,
    algorithms: Vec<Algorithm>,
    jwks: Jwks,
    once: Once,
}

impl OAuth {
    /// A resource server with these options. Keys are fetched with the first token.
    pub fn new(mut options: OAuthOptions) -> Result<Self, InvalidOauth> {
        if !is_safe_url(&options.issuer) {
            return Err(InvalidOauth::Issuer(options.issuer));
        }
        if let Some(trimmed) = options.origin.strip_suffix('/') {
            options.origin = trimmed.into();
        }
        let path = options.origin.splitn(4, '/').nth(3);
        if !is_safe_url(&options.origin) || path.is_some() {
            return Err(InvalidOauth::Origin(options.origin));
        }
        if options.leeway_s > 60 {
            return Err(InvalidOauth::Leeway(options.leeway_s));
        }
        let mut algorithms = Vec::new();
        for name in &options.rules.algorithms {
            let found = ALGORITHMS.iter().find(|(known, _)| **known == **name);
            algorithms.push(found.ok_or_else(|| InvalidOauth::Algorithm(name.clone()))?.1);
        }
        match (algorithms.is_empty(), options.rules.types.is_empty()) {
            (true, _) => return Err(InvalidOauth::Nothing("algorithm")),
            (_, true) => return Err(InvalidOauth::Nothing("`typ`")),
            (false, false) => {}
        }
        let jwks = Jwks::new(options.jwks.clone())?;
        Ok(Self { options, algorithms, jwks, once: Once::default() })
    }

    /// The issuer whose tokens these rules are for.
    pub(super) fn issuer(&self) -> &str {
        &self.options.issuer
    }

    /// Whom a token of this issuer stands for at `now`, when `peer` shows it.
    pub(super) async fn caller(
        &self,
        token: &Jws<'_>,
        peer: Option<&Peer>,
        now: Timestamp,
    ) -> Result<Caller, AuthError> {
        let invalid = AuthError::Invalid;
        let algorithm = token.algorithm(&self.algorithms)?;
        let types = &self.options.rules.types;
        if !token.media_type().is_some_and(|found| types.iter().any(|known| **known == *found)) {
            return Err(invalid("its `typ` is not that of an access token"));
        }
        if token.is_extended() {
            return Err(invalid("it has critical extensions"));
        }
        let key = self.jwks.key(token.key_id()?, algorithm, now).await?;
        let claims = Claims(token.verify(&key, algorithm)?);
        let expires = self.check(&claims, now)?;
        is_bound_to(&claims, peer)?;
        let caller = self.caller_of(&claims, now)?;
        if let Some(since) = self.options.rules.once_since {
            let issued =
                claims.seconds("iat")?.ok_or(invalid("it may be used once only and has no `iat`"))?;
            if issued < since.as_secs() {
                return Err(invalid("it may be used once only, and whether it was is not known any more"));
            }
            self.once.take(claims.id()?, expires, now)?;
        }
        Ok(caller)
    }

    /// Issuer, audience, times and scopes; from when on the token counts nowhere.
    fn check(&self, claims: &Claims<'_>, now: Timestamp) -> Result<Timestamp, AuthError> {
        let invalid = AuthError::Invalid;
        if claims.text("iss")? != Some(self.issuer()) {
            return Err(invalid("it was issued by somebody else"));
        }
        if !claims.audiences()?.iter().any(|audience| self.is_audience(audience)) {
            return Err(invalid("it is for another resource"));
        }
        let (leeway, now) = (self.options.leeway_s, now.as_secs());
        let expires = claims.seconds("exp")?.ok_or(invalid("it does not say when it expires"))?;
        let expires = expires.saturating_add(leeway);
        if expires <= now {
            return Err(invalid("it has expired"));
        }
        let latest = now.saturating_add(leeway);
        if claims.seconds("nbf")?.is_some_and(|begins| begins > latest) {
            return Err(invalid("it is not valid yet"));
        }
        let issued = claims.seconds("iat")?;
        if issued.is_some_and(|issued| issued > latest) {
            return Err(invalid("it was issued in the future"));
        }
        if let Some(age_max_s) = self.options.rules.age_max_s {
            let issued = issued.ok_or(invalid("it does not say when it was issued"))?;
            if issued.saturating_add(age_max_s).saturating_add(leeway) <= now {
                return Err(invalid("it is too old"));
            }
        }
        let have = claims.scopes()?;
        if self.options.scopes.iter().any(|scope| !have.contains(&**scope)) {
            return Err(AuthError::Scope(self.options.scopes.join(" ").into()));
        }
        Ok(Timestamp::from_micros(expires.saturating_mul(1_000_000)))
    }

    fn is_audience(&self, audience: &str) -> bool {
        if !self.options.audiences.is_empty() {
            return self.options.audiences.iter().any(|known| **known == *audience);
        }
        let path = audience.strip_prefix(&*self.options.origin);
        path.is_some_and(|path| matches!(path, "" | "/" | "/mcp") || path.starts_with("/mcp/"))
    }

    fn caller_of(&self, claims: &Claims<'_>, now: Timestamp) -> Result<Caller, AuthError> {
        let (mut agent, via, mut user) = claims.parties(self.issuer())?;
        claims.describe(&self.options.rules.claims, &mut agent, user.as_mut(), now)?;
        let chain = Chain::new(Some(self.options.owner.clone()), Some(agent), user)
            .map_err(|_| AuthError::Invalid("it names nobody"))?
            .with_via(via)
            .map_err(|_| AuthError::Invalid("its work was passed on too often"))?;
        Ok(Caller {
            role: CallerRole::Agent,
            chain,
            tenant: self.options.tenant.clone(),
            scopes: claims.scopes()?.into_iter().map(Box::from).collect(),
            // One that is bound to a key was shown by the holder of that key (`is_bound_to`).
            assurance: match claims.0.get("cnf") {
                Some(_) => Assurance::Bound,
                None => Assurance::Credential,
            },
            capability: None,
        })
    }

    pub(super) fn options(&self) -> &OAuthOptions {
        &self.options
    }
}

/// Whether the one who shows the token holds what it is bound to (RFC 7800 §3): nothing, or the key of
/// the client's certificate (RFC 8705 §3.1). A binding that is not understood binds to somebody else.
fn is_bound_to(claims: &Claims<'_>, peer: Option<&Peer>) -> Result<(), AuthError> {
    let Some(bound) = claims.0.get("cnf") else { return Ok(()) };
    let thumbprint = match bound.members() {
        [(name, node)] if &**name == "x5t#S256" => node.as_text(),
        _ => None,
    };
    let shown = peer.map(|peer| super::base64url(peer.thumbprint().as_bytes()));
    match thumbprint.is_some() && thumbprint == shown.as_deref() {
        true => Ok(()),
        false => Err(AuthError::Invalid("it is bound to a key that was not shown")),
    }
}

/// `https`, or `http` to this machine.
fn is_safe_url(url: &str) -> bool {
    crate::mcp::Endpoint::new(url, None).is_ok() && !url.contains(['"', '\\', ' ', '<', '>'])
}
