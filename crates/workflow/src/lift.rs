//! A person's word that something taken away is given back, as the bytes that the person signs.

use cordon_core::cbor::Cbor;
use cordon_core::{Digest, KillId, SessionId, Timestamp};

/// What is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LiftOf {
    /// A session is released from its posture.
    Session(SessionId),
    /// A kill switch is lifted.
    Kill(KillId),
}

impl LiftOf {
    /// The kind of thing as written in the signed bytes.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Kill(_) => "kill",
        }
    }

    const fn id(&self) -> &[u8; 16] {
        match self {
            Self::Session(id) => id.as_bytes(),
            Self::Kill(id) => id.as_bytes(),
        }
    }
}

/// An approver's word that something is given back, bound to exactly what was shown.
// INVARIANT: the signature covers every field, so that a word cannot be moved to another session,
// another switch, another posture or another approver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lift {
    /// What is given back.
    pub of: LiftOf,
    /// Digest of what was taken, as the approver was shown it.
    pub binding: Digest,
    /// The name of the approver's key.
    pub approver: Box<str>,
    /// When the approver signed.
    pub at: Timestamp,
}

impl Lift {
    /// The bytes that the approver's Ed25519 key signs: deterministic CBOR of
    /// `["cordon/lift/v1", kind, identifier, binding, approver, at]`.
    pub fn signing_bytes(&self) -> Vec<u8> {
        Cbor::Array(vec![
            "cordon/lift/v1".into(),
            self.of.as_str().into(),
            Cbor::bytes(*self.of.id()),
            Cbor::bytes(*self.binding.as_bytes()),
            (&*self.approver).into(),
            self.at.as_micros().into(),
        ])
        .encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_under_the_signature() {
        let lift = Lift {
            of: LiftOf::Session(SessionId::from_bytes([1; 16])),
            binding: Digest::of(b"posture"),
            approver: "alice".into(),
            at: Timestamp::from_micros(7),
        };
        let others = [
            Lift { of: LiftOf::Session(SessionId::from_bytes([2; 16])), ..lift.clone() },
            Lift { of: LiftOf::Kill(KillId::from_bytes([1; 16])), ..lift.clone() },
            Lift { binding: Digest::of(b"another"), ..lift.clone() },
            Lift { approver: "mallory".into(), ..lift.clone() },
            Lift { at: Timestamp::from_micros(8), ..lift.clone() },
        ];
        for other in others {
            assert_ne!(lift.signing_bytes(), other.signing_bytes());
        }
    }
}
