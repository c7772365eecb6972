//! Policies that are judged and recorded and never enforced.

use cordon_core::{Digest, Facts, Judgement, Request, Timestamp};
use cordon_pdp::PolicySet;

use crate::guard::{Guard, Shared};
use crate::replay::under;

/// Policies that every request is judged by too, for the record alone.
#[derive(Debug)]
pub struct ShadowPolicies {
    /// The compiled policies.
    pub set: PolicySet,
    /// The bundle's epoch; none for unsigned source.
    pub epoch: Option<u64>,
    /// From when on they are not judged any more.
    pub expires: Timestamp,
}

impl Guard {
    /// Judges by these policies too from now on, or by none. What they say is recorded beside each
    /// decision (`shadow`) and changes nothing: neither verdict nor obligations nor what is listed.
    pub fn set_shadow(&self, shadow: Option<ShadowPolicies>) {
        self.shared.shadow.store(shadow.map(Into::into));
    }

    /// The digest and epoch of the shadow policies, if there are any.
    pub fn shadow(&self) -> Option<(Digest, Option<u64>)> {
        self.shared.shadow.load().as_ref().map(|shadow| (shadow.set.digest(), shadow.epoch))
    }
}

/// What the shadow policies would have said.
pub(crate) fn judge(shared: &Shared, request: &Request, facts: &Facts, now: Timestamp) -> Option<Judgement> {
    let shadow = shared.shadow.load();
    let shadow = shadow.as_ref().filter(|shadow| now < shadow.expires)?;
    let (request, facts) = under(&shadow.set, request, facts);
    Some(cordon_pdp::decide(&shadow.set, &request, &facts, now))
}
