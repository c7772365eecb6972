//! Ed25519 keys and signatures (RFC 8032 §5.1), for bundles, approvals and the ledger's log.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{Digest, digest::hex};

/// A private key that signs; its text never shows the secret.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Ed25519KeyPair>,
    public: VerifyingKey,
}

/// A public key that checks signatures, written `ed25519:<base64 of 32 bytes>`.
// INVARIANT: the encoding is canonical and not of small order, so that no signature is valid under
// it for more than one message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey([u8; 32]);

/// A signature, written as the base64 of its 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 64]);

/// The text or the bytes are not a usable key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got `{got}`")]
pub struct InvalidKey {
    expected: &'static str,
    got: String,
}

/// The signature is not this key's over these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not this key's over these bytes")]
pub struct BadSignature;

impl SigningKey {
    /// The key that grows from a 32-byte secret seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, InvalidKey> {
        let unusable =
            || InvalidKey { expected: "a seed that makes an Ed25519 key", got: "32 secret bytes".to_owned() };
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| unusable())?;
        let public = <[u8; 32]>::try_from(pair.public_key().as_ref()).map_err(|_| unusable())?;
        Ok(Self { pair: Arc::new(pair), public: VerifyingKey::from_bytes(public)? })
    }

    /// The signature over `message`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(self.pair.sign(message).as_ref()) {
            *to = *from;
        }
        Signature(bytes)
    }

    /// The public half.
    pub const fn verifying_key(&self) -> VerifyingKey {
        self.public
    }
}

impl VerifyingKey {
    /// Wraps 32 bytes that are a public key; refuses encodings that are not canonical or of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidKey> {
        if is_weak(&bytes) {
            let expected = "a canonical Ed25519 public key that is not of small order";
            return Err(InvalidKey { expected, got: hex(&bytes) });
        }
        Ok(Self(bytes))
    }

    /// The raw 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks that `signature` is this key's over `message`.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, &signature.0).map_err(|_| BadSignature)
    }

    /// A short name for the key: the first 8 bytes of the SHA-256 of its bytes, in hex.
    pub fn id(&self) -> String {
        Digest::of(&self.0).hex().chars().take(16).collect()
    }
}

impl Signature {
    /// Wraps 64 bytes that claim to be a signature.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The raw 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

/// Whether a public key is written in a way that lets one signature fit several messages or keys.
fn is_weak(bytes: &[u8; 32]) -> bool {
    let mut y = *bytes;
    if let Some(last) = y.last_mut() {
        *last &= 0x7f; // the sign of x
    }
    let [low, middle @ .., high] = &y;
    let beyond_field = *low >= 0xed && *high == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    beyond_field || SMALL_ORDER.contains(&y)
}

/// The y coordinates of the eight points of small order (p − 1 is of order 2; 0 of order 4).
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
];

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id())
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifyingKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = text.strip_prefix("ed25519:").and_then(|body| STANDARD.decode(body).ok());
        bytes.and_then(|bytes| bytes.try_into().ok()).map_or_else(
            || {
                let expected = "`ed25519:` and the base64 of 32 bytes";
                Err(InvalidKey { expected, got: text.chars().take(80).collect() })
            },
            Self::from_bytes,
        )
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signature {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| InvalidKey {
            expected: "the base64 of a 64-byte signature",
            got: text.chars().take(100).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::unhex;

    /// RFC 8032 §7.1, test 2.
    #[test]
    fn the_published_vector_signs_and_verifies() {
        let seed = unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let key = SigningKey::from_seed(&seed).unwrap();
        assert_eq!(
            hex(key.verifying_key().as_bytes()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = key.sign(&[0x72]);
        assert_eq!(
            hex(signature.as_bytes()),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
             387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert_eq!(key.verifying_key().verify(&[0x72], &signature), Ok(()));
        assert_eq!(key.verifying_key().verify(&[0x73], &signature), Err(BadSignature));
        let mut bent = *signature.as_bytes();
        bent[63] ^= 1;
        assert_eq!(key.verifying_key().verify(&[0x72], &Signature::from_bytes(bent)), Err(BadSignature));
    }

    #[test]
    fn a_signature_with_the_group_order_added_is_refused() {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let mut bytes = *key.sign(b"m").as_bytes();
        let order: [u8; 32] =
            unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let mut carry = 0u16;
        for (byte, add) in bytes[32..].iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(add);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        assert_eq!(key.verifying_key().verify(b"m", &Signature::from_bytes(bytes)), Err(BadSignature));
    }

    #[test]
    fn weak_and_misspelled_keys_are_refused() {
        let key = SigningKey::from_seed(&[1; 32]).unwrap().verifying_key();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key.id().len(), 16);
        for y in SMALL_ORDER {
            assert!(VerifyingKey::from_bytes(y).is_err());
            let mut other_sign = y;
            other_sign[31] |= 0x80;
            assert!(VerifyingKey::from_bytes(other_sign).is_err());
        }
        let mut beyond = [0xff; 32];
        beyond[0] = 0xee;
        assert!(VerifyingKey::from_bytes(beyond).is_err());
        for text in ["", "ed25519:", "ed25519:AAAA", &key.to_string().replace("ed25519:", "ED25519:")] {
            assert!(text.parse::<VerifyingKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.verifying_key().id()));
    }
}
