//! The people whose signed answers count.

use std::collections::{BTreeMap, BTreeSet};

use cordon_core::ed25519::{Signature, VerifyingKey};
use cordon_workflow::{Ballot, Lift, Vote};

/// One approver: a named key and the roles it counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// The public key.
    pub key: VerifyingKey,
    /// The roles.
    pub roles: BTreeSet<Box<str>>,
}

/// The approvers whom this node trusts, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Approvers(BTreeMap<Box<str>, Approver>);

/// An answer does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BallotError {
    /// Nobody of that name is trusted.
    #[error("no approver `{0}` is trusted here; add the key under [trust.approvers] in cordon.toml")]
    UnknownApprover(Box<str>),
    /// The signature does not match.
    #[error("the signature is not `{0}`'s over what was shown")]
    Signature(Box<str>),
    /// The approver may not give back what was taken.
    #[error("`{0}` has not the role `approver`, which releasing and lifting need")]
    Role(Box<str>),
    /// The approver is the agent whose session it is.
    #[error("`{0}` is the session's own agent, and cannot release itself")]
    Requester(Box<str>),
}

/// The role that may give back what was taken.
const LIFTING_ROLE: &str = "approver";

impl Approvers {
    /// The registry of these approvers.
    pub fn new(approvers: impl IntoIterator<Item = (Box<str>, Approver)>) -> Self {
        Self(approvers.into_iter().collect())
    }

    /// The names and roles, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Approver)> {
        self.0.iter().map(|(name, approver)| (&**name, approver))
    }

    /// The vote that a ballot is, if its approver signed it.
    pub fn verify(&self, ballot: &Ballot, signature: &Signature) -> Result<Vote, BallotError> {
        let approver = self
            .0
            .get(&ballot.approver)
            .ok_or_else(|| BallotError::UnknownApprover(ballot.approver.clone()))?;
        approver
            .key
            .verify(&ballot.signing_bytes(), signature)
            .map_err(|_| BallotError::Signature(ballot.approver.clone()))?;
        Ok(Vote { by: ballot.approver.clone(), roles: approver.roles.clone() })
    }

    /// Whether an approver who may give back what was taken signed this.
    pub fn verify_lift(&self, lift: &Lift, signature: &Signature) -> Result<(), BallotError> {
        let name = &lift.approver;
        let approver = self.0.get(name).ok_or_else(|| BallotError::UnknownApprover(name.clone()))?;
        if approver.key.verify(&lift.signing_bytes(), signature).is_err() {
            return Err(BallotError::Signature(name.clone()));
        }
        if approver.roles.contains(LIFTING_ROLE) { Ok(()) } else { Err(BallotError::Role(name.clone())) }
    }
}
