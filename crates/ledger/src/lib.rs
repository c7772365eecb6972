//! The tamper-evident log as mathematics: entries, tree, frames, checkpoints, proofs.
//!
//! This crate never does I/O, never reads a clock and has no randomness of its own; the formats are
//! written down in `spec/ledger.md`. Its three most important types are [`Draft`] (what is to be
//! recorded), [`Receipt`] (what its author gets back) and [`Replay`] (the check of a whole log, frame
//! by frame).

mod commitment;
mod draft;
mod entry;
mod evidence;
mod fault;
mod field;
mod frame;
mod kind;
mod note;
mod proof;
mod receipt;
mod replay;
mod scan;
mod sessions;
mod tile;
mod tree;
mod value;

pub use commitment::{Commitment, Opening};
pub use draft::{Draft, DraftError, ENTRY_BYTES_MAX};
pub use entry::{Body, Entry, EntryFault, Item, Link, Outline, locate};
pub use evidence::{EntryProof, EvidenceError};
pub use fault::{Fault, FaultKind};
pub use field::{AbsentReason, Exposure, FieldId};
pub use frame::{
    FRAME_BYTES_MAX, Frame, HEADER_BYTES, Header, HeaderError, Placed, SECTOR_BYTES, Tail, encode_frame,
    frame_extent, judge_tail, placed_bytes,
};
pub use kind::{AdminSubject, ApprovalStep, Kind, SessionStep};
pub use note::{
    Checkpoint, InvalidNoteKey, InvalidOrigin, LogKey, NoteError, NoteKey, Origin, SignedCheckpoint,
};
pub use proof::{
    ProofError, ProofRefused, prove_consistency, prove_inclusion, verify_consistency, verify_inclusion,
};
pub use receipt::{Level, Receipt};
pub use replay::{KeyTerm, Replay, Seen, handover};
pub use sessions::Sessions;
pub use tile::{
    Bundle, TILE_WIDTH, Tile, TileBuilder, TileError, TileNodes, TileSource, bundle_entries, bundle_entry,
    tile_hashes,
};
pub use tree::{Frontier, MemoryTree, Nodes, empty_root, leaf_hash, node_hash, root_of};
pub use value::{
    DataEdge, EnforcementDecision, ExecutionGraph, PolicyVersion, RuleReason, ShadowVerdict, SignatureState,
    Span,
};
