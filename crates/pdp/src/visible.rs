//! What a caller may see: what some arguments could make possible.

use cordon_core::{Facts, Request, Timestamp, Verdict};

use crate::PolicySet;

/// Whether the request could be allowed or held with some arguments.
pub fn could_allow(policies: &PolicySet, request: &Request, facts: &Facts, now: Timestamp) -> bool {
    crate::decide(policies, request, facts, now).verdict != Verdict::Deny
}
