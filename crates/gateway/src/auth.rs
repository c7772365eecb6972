//! Who calls over HTTP: token files for one machine, OAuth 2.1 access tokens for the rest.
//!
//! The credential is read here and goes no further: a [`Caller`] carries none, so there is nothing
//! that could be passed to an upstream.

use std::sync::Arc;

use cordon_core::Timestamp;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};

use crate::Caller;

mod jwks;
mod metadata;
mod oauth;
mod tokens;

pub use jwks::{JwksError, JwksSource};
pub use metadata::{Metadata, WELL_KNOWN};
pub use oauth::{InvalidOauth, OAuth, OAuthOptions};
pub use tokens::{Token, TokenError, Tokens};

/// Tells who calls from the `Authorization` header, and only from that.
#[derive(Debug, Clone)]
pub struct Authenticator {
    tokens: Option<Arc<Tokens>>,
    oauth: Option<Arc<OAuth>>,
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
    pub fn new(tokens: Option<Tokens>, oauth: Option<OAuth>) -> Self {
        Self { tokens: tokens.map(Arc::new), oauth: oauth.map(Arc::new) }
    }

    /// Who sent these headers, at `now`.
    pub async fn authenticate(&self, headers: &HeaderMap, now: Timestamp) -> Result<Caller, AuthError> {
        let token = bearer(headers)?;
        if let Some(caller) = self.tokens.as_ref().and_then(|tokens| tokens.caller(token)) {
            return Ok(caller);
        }
        match &self.oauth {
            Some(oauth) => oauth.caller(token, now).await,
            None => Err(AuthError::Invalid("it is not one of this node's tokens")),
        }
    }

    /// What describes this resource to clients (RFC 9728), where tokens of an issuer are accepted.
    /// `path` is the path of the protected resource, such as `/mcp/mail`.
    pub fn metadata(&self, path: &str) -> Option<Metadata> {
        self.oauth.as_ref().map(|oauth| oauth.metadata(path))
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
