//! The proof that the guard allowed exactly this call and that the ledger holds the record.

use std::fmt;

use cordon_core::{CallId, ExactBytes, Judgement, Obligation};
use cordon_ledger::Receipt;

use crate::observe::Pending;

/// Proof that the guard allowed exactly this call and that the ledger holds the record.
///
/// A permit has no public constructor, cannot be cloned, and is consumed by spending it:
///
/// ```compile_fail
/// let forged = cordon_guard::Permit { call: Vec::<u8>::new() };
/// ```
#[must_use = "an unspent permit is a call that never ran"]
pub struct Permit<C> {
    pub(crate) call: C,
    pub(crate) pending: Pending,
    pub(crate) judgement: Judgement,
}

impl<C: ExactBytes> Permit<C> {
    /// Spends the permit: what was judged is what runs. The second part takes what came of it.
    pub fn spend(self) -> (C, Pending) {
        let Self { call, pending, .. } = self;
        (call, pending.sent())
    }

    /// What must be done while the call runs and with its result.
    pub fn obligations(&self) -> &[Obligation] {
        &self.judgement.obligations
    }

    /// The judgement that allowed it.
    pub fn judgement(&self) -> &Judgement {
        &self.judgement
    }

    /// The call's identifier.
    pub fn id(&self) -> CallId {
        self.pending.id()
    }

    /// The receipt of the decision's record.
    pub fn receipt(&self) -> &Receipt {
        self.pending.receipt()
    }

    /// How long a result may take, in milliseconds.
    pub fn timeout_ms(&self) -> u32 {
        self.pending.limits().timeout_ms
    }
}

impl<C> fmt::Debug for Permit<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("call", &self.pending.id()).finish_non_exhaustive()
    }
}
