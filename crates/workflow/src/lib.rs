//! Durable workflows and approvals as state machines: `apply(state, event, now)`.
//!
//! This crate never waits, sends, sleeps or stores; drivers do the effects. Its three most important
//! types are [`Approval`] (what was asked and how far it got), [`Event`] (what happened to it) and
//! [`Ballot`] (an approver's signed answer).

mod approval;
mod ballot;
mod lift;

pub use approval::{Approval, ApprovalKind, Event, Progress, Requirement, Terms, Vote};
pub use ballot::{Answer, Ballot};
pub use lift::{Lift, LiftOf};
