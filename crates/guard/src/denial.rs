//! What a door shows when a call may not run, or not yet.

use std::fmt;

use cordon_core::{ApprovalId, CallId, Judgement, Timestamp};
use cordon_ledger::Receipt;

/// A refusal to show: what was refused, by which rules, what would make it possible, and the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The call's identifier.
    pub call: CallId,
    /// What was refused, such as `mail/send on Tool mail/send`.
    pub what: Box<str>,
    /// The full answer.
    pub judgement: Judgement,
    /// The record of the refusal; none when the ledger cannot be written.
    pub receipt: Option<Receipt>,
}

/// A call that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The call's identifier.
    pub call: CallId,
    /// What is held.
    pub what: Box<str>,
    /// The approval that was asked for.
    pub approval: ApprovalId,
    /// When the approval ends.
    pub expires: Timestamp,
    /// The full answer.
    pub judgement: Judgement,
    /// The record of the question; none when the ledger cannot be written.
    pub receipt: Option<Receipt>,
}

impl fmt::Display for Denial {
    /// One paragraph that a model and a person can act on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cordon refused {}.", self.what)?;
        explain(f, &self.judgement)?;
        entry(f, self.receipt.as_ref())
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cordon holds {} for approval {}, until {}.", self.what, self.approval, self.expires)?;
        explain(f, &self.judgement)?;
        f.write_str(" Once it is granted, send the identical call again.")?;
        entry(f, self.receipt.as_ref())
    }
}

fn explain(f: &mut fmt::Formatter<'_>, judgement: &Judgement) -> fmt::Result {
    for reason in &judgement.reasons {
        write!(f, " {} [rule {}].", reason.message, reason.rule)?;
        if let Some(remedy) = &reason.remedy {
            write!(f, " To make it possible: {remedy}.")?;
        }
    }
    Ok(())
}

fn entry(f: &mut fmt::Formatter<'_>, receipt: Option<&Receipt>) -> fmt::Result {
    match receipt {
        Some(receipt) => write!(f, " Ledger entry {}.", receipt.id),
        None => f.write_str(" The ledger could not be written."),
    }
}
