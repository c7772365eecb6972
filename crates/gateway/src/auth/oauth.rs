//! An OAuth 2.1 resource server: access tokens are JWTs (RFC 9068) of one issuer, for this resource.

use std::collections::BTreeSet;

use cordon_core::{Chain, Principal, PrincipalKind, Timestamp};
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use super::AuthError;
use super::jwks::{Jwks, JwksSource};
use super::metadata::Metadata;
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
    /// The issuer's keys cannot be had.
    #[error(transparent)]
    Jwks(#[from] super::JwksError),
}

/// Checks access tokens.
#[derive(Debug)]
pub struct OAuth {
    options: OAuthOptions,
    jwks: Jwks,
}

/// The claims that are read. Everything else in a token means nothing here.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: Option<String>,
    client_id: Option<String>,
    azp: Option<String>,
    scope: Option<String>,
    aud: Audience,
    exp: u64,
    nbf: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// What may sign a token. A symmetric algorithm would make every public key a secret.
const ALGORITHMS: &[Algorithm] = &[Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

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
        let jwks = Jwks::new(options.jwks.clone())?;
        Ok(Self { options, jwks })
    }

    /// Whom `token` stands for at `now`.
    pub(super) async fn caller(&self, token: &str, now: Timestamp) -> Result<Caller, AuthError> {
        let invalid = AuthError::Invalid;
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid("it is not a signed token"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(invalid("its algorithm is not accepted"));
        }
        if !header.typ.as_deref().is_some_and(is_access_token) {
            return Err(invalid("its `typ` is not that of an access token"));
        }
        if header.crit.is_some() {
            return Err(invalid("it has critical extensions"));
        }
        // Where a key comes from is configured; `jwk`, `jku`, `x5u` and `x5c` in a token mean nothing.
        let key = self.jwks.key(header.kid.as_deref(), header.alg, now).await?;
        let mut validation = Validation::new(header.alg);
        // Times are compared below, with the clock that everything else is judged by.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
            .map_err(|_| invalid("its signature or its claims are not right"))?
            .claims;
        self.check(&claims, now)?;
        self.chain(claims)
    }

    fn check(&self, claims: &Claims, now: Timestamp) -> Result<(), AuthError> {
        let invalid = AuthError::Invalid;
        if claims.iss != *self.options.issuer {
            return Err(invalid("it was issued by somebody else"));
        }
        let audience = match &claims.aud {
            Audience::One(one) => std::slice::from_ref(one),
            Audience::Several(several) => several,
        };
        if !audience.iter().any(|audience| self.is_audience(audience)) {
            return Err(invalid("it is for another resource"));
        }
        let leeway = self.options.leeway_s;
        if claims.exp.saturating_add(leeway) <= now.as_secs() {
            return Err(invalid("it has expired"));
        }
        if claims.nbf.is_some_and(|nbf| nbf > now.as_secs().saturating_add(leeway)) {
            return Err(invalid("it is not valid yet"));
        }
        let have: BTreeSet<&str> = claims.scope.as_deref().unwrap_or_default().split(' ').collect();
        match self.options.scopes.iter().find(|scope| !have.contains(&***scope)) {
            Some(_) => Err(AuthError::Scope(self.options.scopes.join(" ").into())),
            None => Ok(()),
        }
    }

    fn is_audience(&self, audience: &str) -> bool {
        if !self.options.audiences.is_empty() {
            return self.options.audiences.iter().any(|known| **known == *audience);
        }
        let path = audience.strip_prefix(&*self.options.origin);
        path.is_some_and(|path| matches!(path, "" | "/" | "/mcp") || path.starts_with("/mcp/"))
    }

    fn chain(&self, claims: Claims) -> Result<Caller, AuthError> {
        let agent = claims.client_id.or(claims.azp).filter(|id| !id.is_empty());
        let user = claims.sub.filter(|id| !id.is_empty());
        let agent = agent.or_else(|| user.clone()).ok_or(AuthError::Invalid("it names nobody"))?;
        // A token that a client got for itself speaks for no user.
        let user = user.filter(|user| *user != agent).map(|id| Principal::new(PrincipalKind::User, id));
        let agent = Principal::new(PrincipalKind::Agent, agent);
        let chain = Chain::new(Some(self.options.owner.clone()), Some(agent), user)
            .map_err(|_| AuthError::Invalid("it names nobody"))?;
        let scopes = claims.scope.unwrap_or_default();
        Ok(Caller {
            role: CallerRole::Agent,
            chain,
            tenant: self.options.tenant.clone(),
            scopes: scopes.split(' ').filter(|scope| !scope.is_empty()).map(Box::from).collect(),
        })
    }

    pub(super) fn metadata(&self, path: &str) -> Metadata {
        Metadata {
            origin: self.options.origin.clone(),
            path: path.into(),
            issuer: self.options.issuer.clone(),
            scopes: self.options.scopes.clone(),
        }
    }
}

/// `at+jwt` (RFC 9068 §2.1); with or without `application/`, in any letter case. `JWT` alone is what
/// identity tokens and many other things say.
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "at+jwt")
}

/// `https`, or `http` to this machine.
fn is_safe_url(url: &str) -> bool {
    crate::mcp::Endpoint::new(url, None).is_ok() && !url.contains(['"', '\\', ' ', '<', '>'])
}
