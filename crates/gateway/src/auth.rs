//! Who calls over HTTP: token files for one machine, OAuth 2.1 access tokens and client certificates
//! for the rest.
//!
//! The credential is read here and goes no further: a [`Caller`] carries none, so there is nothing
//! that could be passed to an upstream.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cordon_core::{Assurance, Chain, Principal, PrincipalKind, Timestamp};
use cordon_guard::policy::PolicySet;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};

use self::jws::Jws;
use crate::{Caller, CallerRole};

mod claims;
mod jwks;
mod jws;
mod metadata;
mod oauth;
mod once;
mod peer;
mod tokens;

pub use claims::{ClaimAge, ClaimOf, ClaimRule};
pub use jwks::{JwksError, JwksSource};
pub use metadata::{Metadata, WELL_KNOWN};
pub use oauth::{InvalidOauth, OAuth, OAuthOptions, TokenRules};
pub use peer::{InvalidPeer, Peer};
pub use tokens::{Token, TokenError, Tokens};

/// Tells who calls from the `Authorization` header and the client's certificate, and only from those.
#[derive(Debug, Clone)]
pub struct Authenticator {
    tokens: Option<Arc<Tokens>>,
    issuers: Arc<[OAuth]>,
    workloads: Option<Arc<Workloads>>,
}

/// Whose certificates name agents, and what is known of their callers beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workloads {
    /// The trust domain that the configured authorities may name workloads of.
    pub trust_domain: Box<str>,
    /// Who answers for the agents that call.
    pub owner: Principal,
    /// The tenant that callers belong to.
    pub tenant: Box<str>,
}

/// A caller is not who it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// There is no credential.
    #[error("no credential: send `Authorization: Bearer …`")]
    Missing,
    /// The credential is not one that counts here.
    #[error("the credential does not count here: {0}")]
    Invalid(&'static str),
    /// The credential is good and does not suffice.
    #[error("the credential lacks the scope `{0}`")]
    Scope(Box<str>),
    /// It cannot be told.
    #[error("credentials cannot be checked: {0}")]
    Unavailable(Box<str>),
}

impl Authenticator {
    /// Takes what at least one of these accepts. With neither, nobody is let in.
    pub fn new(tokens: Option<Tokens>, issuers: impl IntoIterator<Item = OAuth>) -> Self {
        Self { tokens: tokens.map(Arc::new), issuers: issuers.into_iter().collect(), workloads: None }
    }

    /// Also takes client certificates, once the TLS layer verified them.
    #[must_use]
    pub fn with_workloads(mut self, workloads: Workloads) -> Self {
        self.workloads = Some(Arc::new(workloads));
        self
    }

    /// The trust domain whose certificates count, where any do.
    pub fn trust_domain(&self) -> Option<&str> {
        self.workloads.as_ref().map(|workloads| &*workloads.trust_domain)
    }

    /// Who sent these headers, at `now`, over a connection whose other end is `peer`. Which workload is
    /// which agent is what the policies say.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Option<&Peer>,
        policies: &PolicySet,
        now: Timestamp,
    ) -> Result<Caller, AuthError> {
        let peer = peer.filter(|_| self.workloads.is_some());
        match (bearer(headers), peer) {
            (Err(AuthError::Missing), Some(peer)) => self.workload(peer, policies),
            (token, peer) => {
                let caller = self.bearer(token?, peer, now).await?;
                self.same_agent(&caller, peer, policies)?;
                Ok(caller)
            }
        }
    }

    async fn bearer(&self, token: &str, peer: Option<&Peer>, now: Timestamp) -> Result<Caller, AuthError> {
        if let Some(caller) = self.tokens.as_ref().and_then(|tokens| tokens.caller(token)) {
            return Ok(caller);
        }
        if self.issuers.is_empty() {
            return Err(AuthError::Invalid("it is not one of this node's tokens"));
        }
        let token = Jws::parse(token)?;
        let issuer = token.claimed_issuer();
        let rules = self.issuers.iter().find(|rules| Some(rules.issuer()) == issuer);
        rules.ok_or(AuthError::Invalid("it was issued by somebody else"))?.caller(&token, peer, now).await
    }

    /// The agent that runs as a workload. It acts for nobody.
    fn workload(&self, peer: &Peer, policies: &PolicySet) -> Result<Caller, AuthError> {
        let invalid = AuthError::Invalid;
        let workloads = self.workloads.as_ref().ok_or(AuthError::Missing)?;
        let agent = policies.agent_of(peer.workload()).ok_or(invalid("no agent runs as this workload"))?;
        let agent = Principal::new(PrincipalKind::Agent, agent);
        let chain = Chain::new(Some(workloads.owner.clone()), Some(agent), None)
            .map_err(|_| invalid("it names nobody"))?;
        let tenant = workloads.tenant.clone();
        let (role, assurance) = (CallerRole::Agent, Assurance::Bound);
        Ok(Caller { role, chain, tenant, scopes: [].into(), assurance, capability: None })
    }

    /// Certificate and token must be the same agent's: whoever got hold of a token of an agent that has
    /// a certificate cannot use it without that.
    fn same_agent(
        &self,
        caller: &Caller,
        peer: Option<&Peer>,
        policies: &PolicySet,
    ) -> Result<(), AuthError> {
        if self.workloads.is_none() {
            return Ok(());
        }
        let agent = caller.chain.agent().filter(|_| caller.role == CallerRole::Agent);
        let agent = agent.map(|agent| &*agent.id);
        let shown = peer.map(Peer::workload);
        if shown.and_then(|workload| policies.agent_of(workload)).is_some_and(|shown| Some(shown) != agent) {
            return Err(AuthError::Invalid("the certificate is another agent's"));
        }
        match agent.and_then(|agent| policies.workload_of(agent)) {
            Some(workload) if shown != Some(workload) => {
                Err(AuthError::Invalid("its agent has a certificate, which was not shown"))
            }
            _ => Ok(()),
        }
    }

    /// What describes this resource to clients (RFC 9728), where tokens of an issuer are accepted.
    /// `path` is the path of the protected resource, such as `/mcp/mail`.
    pub fn metadata(&self, path: &str) -> Option<Metadata> {
        let first = self.issuers.first()?.options();
        Some(Metadata {
            origin: first.origin.clone(),
            path: path.into(),
            issuers: self.issuers.iter().map(|rules| rules.issuer().into()).collect(),
            scopes: first.scopes.clone(),
        })
    }

    /// The `WWW-Authenticate` header that goes with `error` for the resource at `path`, and the HTTP
    /// status.
    pub fn challenge(&self, error: &AuthError, path: &str) -> (u16, HeaderValue) {
        let mut parts = Vec::new();
        let status = match error {
            AuthError::Missing => 401,
            AuthError::Invalid(_) => {
                parts.push(r#"error="invalid_token""#.to_owned());
                401
            }
            AuthError::Scope(scope) => {
                parts.push(r#"error="insufficient_scope""#.to_owned());
                parts.push(format!(r#"scope="{scope}""#));
                403
            }
            AuthError::Unavailable(_) => 503,
        };
        if let Some(metadata) = self.metadata(path) {
            parts.push(format!(r#"resource_metadata="{}""#, metadata.url()));
            if let (AuthError::Missing | AuthError::Invalid(_), Some(scope)) = (error, metadata.scope()) {
                parts.push(format!(r#"scope="{scope}""#));
            }
        }
        let value = format!("Bearer {}", parts.join(", "));
        let value = HeaderValue::from_str(value.trim_end());
        (status, value.unwrap_or_else(|_| HeaderValue::from_static("Bearer")))
    }
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The one bearer token in the headers (RFC 6750 §2.1); a second header is refused.
fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?;
    if values.next().is_some() {
        return Err(AuthError::Invalid("there are two"));
    }
    let text = value.to_str().map_err(|_| AuthError::Invalid("it is not visible text"))?;
    let (scheme, token) = text.split_once(' ').ok_or(AuthError::Missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Missing);
    }
    let token = token.trim_matches(' ');
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
    match !token.is_empty() && token.len() <= TOKEN_BYTES_MAX && token.bytes().all(plain) {
        true => Ok(token),
        false => Err(AuthError::Invalid("it is not a bearer token")),
    }
}

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 16 << 10;
