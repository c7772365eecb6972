//! Salted field commitments: the entry proves the value, and destroying the opening erases it.

use std::fmt;

use cordon_core::cbor::Cbor;
use cordon_core::{Digest, Hasher};

use crate::FieldId;

/// A commitment to one field's value:
/// `SHA-256("cordon/fc/v1" || field number, 2 bytes big endian || salt, 32 bytes || value)`, where the
/// value is deterministic CBOR.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commitment(Digest);

impl Commitment {
    /// The commitment to an encoded value under a salt.
    pub fn to(field: FieldId, salt: &[u8; 32], encoded: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(b"cordon/fc/v1").update(&field.code().to_be_bytes()).update(salt).update(encoded);
        Self(hasher.finish())
    }

    /// Wraps 32 bytes that are already a commitment.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Digest::from_bytes(bytes))
    }

    /// The raw 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.hex())
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What turns a commitment back into its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// The field.
    pub field: FieldId,
    /// The salt.
    pub salt: [u8; 32],
    /// The value, as deterministic CBOR.
    pub encoded: Vec<u8>,
}

impl Opening {
    /// The commitment that this opens.
    pub fn commitment(&self) -> Commitment {
        Commitment::to(self.field, &self.salt, &self.encoded)
    }

    /// The value; none if the bytes are not deterministic CBOR.
    pub fn value(&self) -> Option<Cbor> {
        Cbor::decode(&self.encoded).ok()
    }
}

/// Shows the field and the size, never the value.
impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opening({}, {} bytes)", self.field, self.encoded.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salt_field_and_value_all_bind() {
        let opening =
            Opening { field: FieldId::PromptText, salt: [1; 32], encoded: Cbor::from("hi").encode() };
        let others = [
            Opening { field: FieldId::PromptHash, ..opening.clone() },
            Opening { salt: [2; 32], ..opening.clone() },
            Opening { encoded: Cbor::from("ho").encode(), ..opening.clone() },
        ];
        for other in others {
            assert_ne!(opening.commitment(), other.commitment());
        }
        assert!(!format!("{opening:?}").contains("hi"));
    }
}
