//! The tamper-evident log as mathematics: entries, tree, frames, checkpoints, proofs.
//!
//! This crate never does I/O, never reads a clock and has no randomness of its own; the formats are
//! written down in `spec/ledger.md`. Its three most important types are [`Draft`] (what is to be
//! recorded), [`Receipt`] (what its author gets back) and [`Entry`] (what the log keeps).

mod commitment;
mod draft;
mod entry;
mod field;
mod kind;
mod receipt;
mod scan;
mod tree;
mod value;

pub use commitment::{Commitment, Opening};
pub use draft::{Draft, DraftError, ENTRY_BYTES_MAX};
pub use entry::{Body, Entry, EntryFault, Item, Link, Outline, locate};
pub use field::{AbsentReason, Exposure, FieldId};
pub use kind::{AdminSubject, ApprovalStep, Kind, SessionStep};
pub use receipt::{Level, Receipt};
pub use tree::{empty_root, leaf_hash, node_hash};
pub use value::{
    DataEdge, EnforcementDecision, ExecutionGraph, PolicyVersion, RuleReason, SignatureState, Span,
};
