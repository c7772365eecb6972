//! Proof that the holder's key is at hand, for one request and a short time (in the manner of RFC 9449).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cordon_core::ed25519::{Signature, SigningKey, VerifyingKey};
use cordon_core::{Digest, Timestamp};

use crate::Token;

/// What a proof is about: another request, another body or another token needs another proof.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'s> {
    /// The token that is used.
    pub token: &'s Token,
    /// The request's method, such as `POST`.
    pub method: &'s str,
    /// The request's path and query as they are sent.
    pub target: &'s str,
    /// SHA-256 of the request's body.
    pub body: Digest,
}

/// A signature of the holder over one request; as text `v1.<seconds>.<nonce>.<signature>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    at: u64,
    nonce: [u8; 16],
    signature: Signature,
}

/// A proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProof {
    /// It cannot be read.
    #[error("the proof is not `v1.<seconds>.<nonce>.<signature>`")]
    Unreadable,
    /// It was made too long ago, or is from the future.
    #[error("the proof is not of this time")]
    Time,
    /// The holder did not make it, or made it for something else.
    #[error("the proof is not the holder's, or is for another request")]
    Signature,
}

impl Proof {
    /// The holder's proof for a request at `now`; each needs a fresh `nonce`.
    pub fn new(holder: &SigningKey, subject: &Subject<'_>, nonce: [u8; 16], now: Timestamp) -> Self {
        let at = now.as_secs();
        Self { at, nonce, signature: holder.sign(&message(subject, at, &nonce)) }
    }

    /// Checks that `holder` made this proof for this request, `leeway_s` around `now`. Whether the
    /// proof was used before is for the caller to know, by its [`nonce`](Self::nonce).
    pub fn verify(
        &self,
        holder: &VerifyingKey,
        subject: &Subject<'_>,
        now: Timestamp,
        leeway_s: u64,
    ) -> Result<(), InvalidProof> {
        if self.at.abs_diff(now.as_secs()) > leeway_s {
            return Err(InvalidProof::Time);
        }
        let message = message(subject, self.at, &self.nonce);
        holder.verify(&message, &self.signature).map_err(|_| InvalidProof::Signature)
    }

    /// What makes this proof another than every other one of the same holder.
    pub fn nonce(&self) -> &[u8; 16] {
        &self.nonce
    }

    /// When it was made.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.at.saturating_mul(1_000_000))
    }
}

/// What is signed: each part with its length, so that none can be taken for another.
fn message(subject: &Subject<'_>, at: u64, nonce: &[u8; 16]) -> Vec<u8> {
    let mut message = b"cordon/capability/proof/v1\n".to_vec();
    let (token, at) = (subject.token.digest(), at.to_be_bytes());
    let parts: [&[u8]; 6] = [
        token.as_bytes(),
        subject.method.as_bytes(),
        subject.target.as_bytes(),
        subject.body.as_bytes(),
        &at,
        nonce,
    ];
    for part in parts {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        message.extend(length.to_be_bytes());
        message.extend(part);
    }
    message
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        write!(f, "v1.{}.{}.{}", self.at, text(&self.nonce), text(self.signature.as_bytes()))
    }
}

impl FromStr for Proof {
    type Err = InvalidProof;

    fn from_str(text: &str) -> Result<Self, InvalidProof> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(InvalidProof::Unreadable);
        let (version, at, nonce, signature) = (next()?, next()?, next()?, next()?);
        if version != "v1" || parts.next().is_some() || at.len() > 12 {
            return Err(InvalidProof::Unreadable);
        }
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidProof::Unreadable);
        Ok(Self {
            at: at.parse().map_err(|_| InvalidProof::Unreadable)?,
            nonce: bytes(nonce)?.as_slice().try_into().map_err(|_| InvalidProof::Unreadable)?,
            signature: crate::token::signature(&bytes(signature)?).ok_or(InvalidProof::Unreadable)?,
        })
    }
}
