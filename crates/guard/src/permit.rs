//! The proof that the guard allowed exactly this call and that the ledger holds the record.

use std::fmt;

use cordon_core::{CallId, ExactBytes, Facts, Judgement, Obligation, Request};
use cordon_ledger::Receipt;

use crate::authorize::{outdated, withdrawn};
use crate::denial::Denial;
use crate::observe::{Failure, Pending};
use crate::readings::Rested;

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
    pub(crate) judged: Box<Judged>,
}

/// What a permit was judged on, to look at it again where something was taken away meanwhile.
pub(crate) struct Judged {
    /// How many narrowings there were before anything was looked at.
    pub(crate) narrowings: u64,
    pub(crate) request: Request,
    pub(crate) facts: Facts,
    /// What was read for it.
    pub(crate) rests: Vec<Rested>,
}

impl<C: ExactBytes> Permit<C> {
    /// Spends the permit: what was judged is what runs. The second part takes what came of it.
    ///
    /// Fails when what a precondition read is too old or changed meanwhile, or when a kill switch, a narrower posture or the session's end took the call away since it
    /// was judged. A call that is given out here began before any narrowing that it did not see.
    pub fn spend(self) -> Result<(C, Pending), Box<Denial>> {
        let Self { call, pending, judged, judgement } = self;
        let Some(inner) = pending.inner() else { return Ok((call, pending)) };
        let leaving = inner.shared.gate.enter();
        if inner.shared.gate.narrowings() != judged.narrowings
            && let Some(denial) = withdrawn(inner, &judged, judgement.bundle)
        {
            drop(leaving);
            pending.failed(Failure::Withdrawn);
            return Err(Box::new(denial));
        }
        if let Some(denial) = outdated(inner, &judged, judgement.bundle) {
            drop(leaving);
            pending.failed(Failure::Withdrawn);
            return Err(Box::new(denial));
        }
        Ok((call, pending.sent(Some(leaving))))
    }

    /// Spends the permit of a message that goes along with another, or that stays here.
    pub fn spend_along(self) -> Result<Pending, Box<Denial>> {
        self.spend().map(|(_, mut pending)| {
            pending.departed();
            pending
        })
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
