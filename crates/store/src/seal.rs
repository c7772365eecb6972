//! Sealing what can hold content before it reaches a disk.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use cordon_guard::ports::Random;

/// A 256-bit key that seals state at rest (AES-256-GCM-SIV, RFC 8452).
///
/// Random nonces are safe for far more messages than a node writes: repeating one reveals only
/// whether two messages are equal.
pub struct SealingKey(LessSafeKey);

/// The bytes were not sealed under this key for this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes do not open: another key, another place, or altered")]
pub struct Unsealable;

impl SealingKey {
    /// The key with these 32 bytes.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, Unsealable> {
        UnboundKey::new(&AES_256_GCM_SIV, bytes).map(LessSafeKey::new).map(Self).map_err(|_| Unsealable)
    }

    /// Seals `plain` for the place that `place` names: nonce, ciphertext, tag.
    pub fn seal(&self, place: &[u8], plain: &[u8], random: &dyn Random) -> Result<Vec<u8>, Unsealable> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        let mut body = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut body)
            .map_err(|_| Unsealable)?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens what [`SealingKey::seal`] sealed for the same place.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Unsealable)?;
        let mut body = body.to_vec();
        let plain = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place), &mut body)
            .map_err(|_| Unsealable)?
            .len();
        body.truncate(plain);
        Ok(body)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn sealed_bytes_open_only_under_their_key_and_in_their_place() {
        let key = SealingKey::new(&[1; 32]).unwrap();
        let sealed = key.seal(b"here", b"canary", &Fixed).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_eq!(key.open(b"here", &sealed).as_deref(), Ok(&b"canary"[..]));
        assert_eq!(key.open(b"there", &sealed), Err(Unsealable));
        assert_eq!(SealingKey::new(&[2; 32]).unwrap().open(b"here", &sealed), Err(Unsealable));
        let mut altered = sealed.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert_eq!(key.open(b"here", &altered), Err(Unsealable));
        assert_eq!(key.open(b"here", &[]), Err(Unsealable));
    }
}
