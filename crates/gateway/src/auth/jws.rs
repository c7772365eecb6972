//! A signed token in its compact form (RFC 7515 §7.1), read strictly before anything in it counts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cordon_core::Limits;
use cordon_core::json::{self, Node};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::AuthError;

/// A token as it was sent; nothing in it is believed yet.
pub(super) struct Jws<'t> {
    header: Node,
    claims: Node,
    signed: &'t str,
    signature: &'t str,
}

/// What may sign a token. A symmetric algorithm would make every public key a secret.
pub(super) const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("RS256", Algorithm::RS256),
    ("PS256", Algorithm::PS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

/// Bounds on header and claims: small, shallow, without duplicate names.
const LIMITS: Limits =
    Limits { message_bytes_max: 16 << 10, depth_max: 24, nodes_max: 2_000, name_bytes_max: 256 };

const KID_BYTES_MAX: usize = 256;

impl<'t> Jws<'t> {
    pub(super) fn parse(token: &'t str) -> Result<Self, AuthError> {
        let unsigned = AuthError::Invalid("it is not a signed token");
        let (signed, signature) = token.rsplit_once('.').ok_or(unsigned.clone())?;
        let (header, claims) = signed.split_once('.').ok_or(unsigned.clone())?;
        if signature.is_empty() || claims.contains('.') {
            return Err(unsigned);
        }
        Ok(Self { header: object(header)?, claims: object(claims)?, signed, signature })
    }

    /// The algorithm that the header names, if it is one of `accepted`.
    pub(super) fn algorithm(&self, accepted: &[Algorithm]) -> Result<Algorithm, AuthError> {
        let name = self.header.get("alg").and_then(Node::as_text);
        let found =
            ALGORITHMS.iter().find(|(known, _)| Some(*known) == name).map(|(_, algorithm)| *algorithm);
        found
            .filter(|algorithm| accepted.contains(algorithm))
            .ok_or(AuthError::Invalid("its algorithm is not accepted"))
    }

    /// The media type, lower case and without `application/` (RFC 7515 §4.1.9).
    pub(super) fn media_type(&self) -> Option<String> {
        let text = self.header.get("typ")?.as_text()?.to_ascii_lowercase();
        Some(text.strip_prefix("application/").unwrap_or(&text).to_owned())
    }

    /// The name of its key; where keys come from is configured, so `jwk`, `jku`, `x5u` and `x5c` mean
    /// nothing.
    pub(super) fn key_id(&self) -> Result<Option<&str>, AuthError> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(node) => {
                let kid = node.as_text().filter(|kid| (1..=KID_BYTES_MAX).contains(&kid.len()));
                kid.map(Some).ok_or(AuthError::Invalid("the name of its key is not one"))
            }
        }
    }

    /// Whether it has extensions that must be understood (RFC 7515 §4.1.11, RFC 7797); none is.
    pub(super) fn is_extended(&self) -> bool {
        ["crit", "b64", "zip"].iter().any(|name| self.header.get(name).is_some())
    }

    /// The issuer that it names, before anything was checked: only to choose whose rules apply.
    pub(super) fn claimed_issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Node::as_text)
    }

    /// The claims, once the signature holds.
    pub(super) fn verify(&self, key: &DecodingKey, algorithm: Algorithm) -> Result<&Node, AuthError> {
        let held = jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), key, algorithm);
        match held {
            Ok(true) => Ok(&self.claims),
            _ => Err(AuthError::Invalid("its signature does not hold")),
        }
    }
}

fn object(part: &str) -> Result<Node, AuthError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok();
    let node = bytes.and_then(|bytes| json::parse(&bytes, &LIMITS).ok());
    node.filter(Node::is_object).ok_or(AuthError::Invalid("a part of it cannot be read"))
}
