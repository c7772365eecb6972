//! An approver's answer, as the bytes that the approver signs.

use cordon_core::cbor::Cbor;
use cordon_core::{ApprovalId, Digest, Timestamp};

/// What an approver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// The call may run once.
    Grant,
    /// The call may not run.
    Deny,
}

impl Answer {
    /// The answer as written in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Deny => "deny",
        }
    }
}

/// An approver's answer to one approval, bound to exactly what was shown.
// INVARIANT: the signature covers every field, so that an answer cannot be moved to another
// approval, another call or another approver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ballot {
    /// The approval that is answered.
    pub approval: ApprovalId,
    /// Digest of principals, session, tool, arguments and bundle of the held call.
    pub binding: Digest,
    /// The answer.
    pub answer: Answer,
    /// The name of the approver's key.
    pub approver: Box<str>,
    /// When the approver signed.
    pub at: Timestamp,
}

impl Ballot {
    /// The bytes that the approver's Ed25519 key signs: deterministic CBOR of
    /// `["cordon/ballot/v1", approval, binding, answer, approver, at]`.
    pub fn signing_bytes(&self) -> Vec<u8> {
        Cbor::Array(vec![
            "cordon/ballot/v1".into(),
            Cbor::bytes(*self.approval.as_bytes()),
            Cbor::bytes(*self.binding.as_bytes()),
            self.answer.as_str().into(),
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
        let ballot = Ballot {
            approval: ApprovalId::from_bytes([1; 16]),
            binding: Digest::of(b"call"),
            answer: Answer::Deny,
            approver: "alice".into(),
            at: Timestamp::from_micros(7),
        };
        let others = [
            Ballot { approval: ApprovalId::from_bytes([2; 16]), ..ballot.clone() },
            Ballot { binding: Digest::of(b"another call"), ..ballot.clone() },
            Ballot { answer: Answer::Grant, ..ballot.clone() },
            Ballot { approver: "mallory".into(), ..ballot.clone() },
            Ballot { at: Timestamp::from_micros(8), ..ballot.clone() },
        ];
        for other in others {
            assert_ne!(ballot.signing_bytes(), other.signing_bytes());
        }
    }
}
