//! Sealing the openings of one record: each field by itself, under a key that only this record has.
//!
//! ```text
//! sealed = key id (8) | nonce (32) | { field (2) | length (4) | crc32c (4) | ciphertext and tag }
//! ```
//! The record's key is `HMAC-SHA256(data key, "cordon/seal/v1" || nonce)`, so that no two records share
//! one; within a record the AES-256-GCM nonce is the field's number. The associated data binds record
//! and field. Fields are sealed one by one so that one can be shown, or erased, without the others.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use cordon_core::{Digest, Entropy, RecordId};
use cordon_ledger::{FieldId, Opening};

const NONCE_BYTES: usize = 32;
const SALT_BYTES: usize = 32;

/// The 256-bit data key under which openings are sealed.
#[derive(Clone)]
pub struct OpeningKey {
    derive: hmac::Key,
    id: [u8; 8],
}

/// Sealed openings cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The bytes do not have the layout.
    #[error("the sealed openings were altered")]
    Layout,
    /// They are sealed under another key.
    #[error("the openings are sealed under another key")]
    OtherKey,
    /// A field's bytes were altered, or belong to another record or field.
    #[error("the sealed value of `{0}` was altered")]
    Field(FieldId),
    /// The cipher refused; it never does for inputs of this size.
    #[error("the openings could not be sealed")]
    Cipher,
}

impl OpeningKey {
    /// The key with these 32 bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        let derive = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let named = hmac::sign(&derive, b"cordon/seal/id/v1");
        let id = named.as_ref().first_chunk::<8>().copied().unwrap_or_default();
        Self { derive, id }
    }

    /// Seals a record's openings; empty if there are none.
    pub(super) fn seal(
        &self,
        record: RecordId,
        openings: &[Opening],
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        if openings.is_empty() {
            return Ok(Vec::new());
        }
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce);
        let key = self.record_key(&nonce)?;
        let content: usize = openings.iter().map(|opening| opening.encoded.len().saturating_add(58)).sum();
        let mut out = Vec::with_capacity(content.saturating_add(40));
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&nonce);
        let mut body = Vec::new();
        for Opening { field, salt, encoded } in openings {
            body.clear();
            body.extend_from_slice(salt);
            body.extend_from_slice(encoded);
            key.seal_in_place_append_tag(field_nonce(*field), bound(record, *field), &mut body)
                .map_err(|_| SealError::Cipher)?;
            out.extend_from_slice(&field.code().to_be_bytes());
            out.extend_from_slice(&u32::try_from(body.len()).map_err(|_| SealError::Cipher)?.to_be_bytes());
            out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
            out.extend_from_slice(&body);
        }
        Ok(out)
    }

    /// Opens every field of a record.
    pub(super) fn open(&self, record: RecordId, sealed: &[u8]) -> Result<Vec<Opening>, SealError> {
        if sealed.is_empty() {
            return Ok(Vec::new());
        }
        let parts = parse(sealed).ok_or(SealError::Layout)?;
        if parts.key != self.id {
            return Err(SealError::OtherKey);
        }
        let key = self.record_key(&parts.nonce)?;
        parts.fields.iter().map(|part| open_field(&key, record, part)).collect()
    }

    /// The first field, among those that are committed, whose sealed value does not open.
    pub(super) fn first_spoilt(&self, record: RecordId, sealed: &[u8], due: &[FieldId]) -> Option<FieldId> {
        let parts = walk(sealed);
        let key = self.record_key(&parts.nonce).ok()?;
        due.iter().enumerate().find_map(|(at, field)| {
            let part = parts.fields.get(at);
            let held = part.is_some_and(|part| {
                let open = open_field(&key, record, part);
                open.is_ok_and(|opening| opening.field == *field)
            });
            (!held).then_some(*field)
        })
    }

    fn record_key(&self, nonce: &[u8; NONCE_BYTES]) -> Result<LessSafeKey, SealError> {
        let mut context = hmac::Context::with_key(&self.derive);
        context.update(b"cordon/seal/v1");
        context.update(nonce);
        let key = UnboundKey::new(&AES_256_GCM, context.sign().as_ref()).map_err(|_| SealError::Cipher)?;
        Ok(LessSafeKey::new(key))
    }

    /// A short name for the key that gives nothing of it away.
    pub fn id(&self) -> String {
        Digest::of(&self.id).hex().chars().take(16).collect()
    }
}

impl fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpeningKey({})", self.id())
    }
}

/// The first committed field whose sealed bytes fail their checksum; needs no key.
pub(super) fn first_damaged(sealed: &[u8], due: &[FieldId]) -> Option<FieldId> {
    let parts = walk(sealed);
    due.iter().enumerate().find_map(|(at, field)| {
        let held = parts
            .fields
            .get(at)
            .is_some_and(|part| part.field == field.code() && crc32c::crc32c(part.body) == part.crc);
        (!held).then_some(*field)
    })
}

struct Parts<'b> {
    key: [u8; 8],
    nonce: [u8; NONCE_BYTES],
    fields: Vec<Part<'b>>,
    whole: bool,
}

struct Part<'b> {
    field: u16,
    crc: u32,
    body: &'b [u8],
}

fn parse(sealed: &[u8]) -> Option<Parts<'_>> {
    Some(walk(sealed)).filter(|parts| parts.whole)
}

/// As many fields as can be told apart.
fn walk(sealed: &[u8]) -> Parts<'_> {
    let mut rest = sealed;
    let mut parts = Parts { key: [0; 8], nonce: [0; NONCE_BYTES], fields: Vec::new(), whole: false };
    let mut step = || {
        (parts.key, rest) = rest.split_first_chunk::<8>().map(|(key, rest)| (*key, rest))?;
        (parts.nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().map(|(nonce, rest)| (*nonce, rest))?;
        while !rest.is_empty() {
            let (field, after) = rest.split_first_chunk::<2>()?;
            let (length, after) = after.split_first_chunk::<4>()?;
            let (crc, after) = after.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (body, after) = after.split_at_checked(length)?;
            let (field, crc) = (u16::from_be_bytes(*field), u32::from_be_bytes(*crc));
            parts.fields.push(Part { field, crc, body });
            rest = after;
        }
        Some(())
    };
    let whole = step().is_some();
    Parts { whole, ..parts }
}

fn open_field(key: &LessSafeKey, record: RecordId, part: &Part<'_>) -> Result<Opening, SealError> {
    let field = FieldId::from_code(u64::from(part.field)).ok_or(SealError::Layout)?;
    let mut body = part.body.to_vec();
    let plain = key
        .open_in_place(field_nonce(field), bound(record, field), &mut body)
        .map_err(|_| SealError::Field(field))?;
    let (salt, encoded) = plain.split_first_chunk::<SALT_BYTES>().ok_or(SealError::Field(field))?;
    Ok(Opening { field, salt: *salt, encoded: encoded.to_vec() })
}

fn field_nonce(field: FieldId) -> Nonce {
    let [high, low] = field.code().to_be_bytes();
    Nonce::assume_unique_for_key([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low])
}

fn bound(record: RecordId, field: FieldId) -> Aad<Vec<u8>> {
    let mut place = b"cordon/seal/v1".to_vec();
    place.extend_from_slice(record.as_bytes());
    place.extend_from_slice(&field.code().to_be_bytes());
    Aad::from(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemRandom;
    use cordon_guard::ports::Draw;

    const RECORD: RecordId = RecordId::from_bytes([5; 16]);

    fn openings() -> Vec<Opening> {
        let one = |field, text: &str| Opening { field, salt: [3; 32], encoded: text.as_bytes().to_vec() };
        vec![one(FieldId::PromptText, "canary prompt"), one(FieldId::Principals, "canary person")]
    }

    #[test]
    fn openings_open_for_their_record_under_their_key_only() {
        let key = OpeningKey::new(&[1; 32]);
        let sealed = key.seal(RECORD, &openings(), &mut Draw(&SystemRandom)).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_eq!(key.open(RECORD, &sealed), Ok(openings()));
        assert!(key.open(RecordId::from_bytes([6; 16]), &sealed).is_err());
        assert_eq!(OpeningKey::new(&[2; 32]).open(RECORD, &sealed), Err(SealError::OtherKey));
        let again = key.seal(RECORD, &openings(), &mut Draw(&SystemRandom)).unwrap();
        assert_ne!(sealed[8..], again[8..]);
    }

    #[test]
    fn every_changed_byte_is_found_and_the_field_is_named() {
        let key = OpeningKey::new(&[1; 32]);
        let due = [FieldId::PromptText, FieldId::Principals];
        let sealed = key.seal(RECORD, &openings(), &mut Draw(&SystemRandom)).unwrap();
        assert_eq!(first_damaged(&sealed, &due), None);
        assert_eq!(key.first_spoilt(RECORD, &sealed, &due), None);
        let second = sealed.len() - (10 + 32 + 13 + 16);
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone();
            bytes[at] ^= 4;
            let crc_only = (46..50).contains(&at) || (second + 6..second + 10).contains(&at);
            if !crc_only {
                assert!(key.open(RECORD, &bytes).is_err(), "byte {at}");
            }
            let expected = if at < second { FieldId::PromptText } else { FieldId::Principals };
            if at >= 40 {
                assert_eq!(first_damaged(&bytes, &due), Some(expected), "byte {at}");
            }
        }
    }
}
