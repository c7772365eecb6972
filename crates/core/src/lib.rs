//! The vocabulary of Cordon: the nouns that every other crate speaks.
//!
//! This crate never does I/O, never reads a clock, and never decides anything.
//! Its three most important types are [`Request`] (who wants to do what, to what, under which
//! circumstances), [`Judgement`] (the full answer) and [`Value`] (typed data that can be unknown).

pub mod cbor;
pub mod ed25519;
pub mod json;

mod action;
mod assurance;
mod capability;
mod chain;
mod context;
mod digest;
mod encoding;
mod exact;
mod facts;
mod id;
mod judgement;
mod kill;
mod label;
mod limits;
mod manifest;
mod obligation;
mod posture;
mod precondition;
mod request;
mod resource;
mod risk;
mod row;
mod spiffe;
mod time;
mod value;

pub use action::{Action, ActionName, Class, ClassKind, Effect, InvalidName};
pub use assurance::Assurance;
pub use capability::{Bound, Capability, CapabilityBlock, Caveat, Party, Unmet};
pub use chain::{Chain, EmptyChain, HOPS_MAX, InvalidHops, Principal, PrincipalKind, Role};
pub use context::Context;
pub use digest::{Digest, Hasher, InvalidDigest};
pub use encoding::{Encode, ShapeError};
pub use exact::ExactBytes;
pub use facts::{Ambiguity, Facts, SessionFacts};
pub use id::{ApprovalId, CallId, Entropy, Id, IdKind, InvalidId, KillId, RecordId, SessionId};
pub use judgement::{GatheredAge, Judgement, Reason, ReasonKind, RuleRef, Verdict, combine};
pub use kill::{KillOrder, KillOrigin, KillSwitch, KillTarget};
pub use label::{Integrity, Marking};
pub use limits::Limits;
pub use manifest::{CallLimits, OutputLabel, ToolManifest, Validator, ValidatorKind};
pub use obligation::{Obligation, ObligationKind, join_obligations};
pub use posture::{Posture, PostureState, Restraint};
pub use precondition::{Gathered, Precondition, ReadArgument, Taken, TakenKind};
pub use request::Request;
pub use resource::{Resource, ResourceKind};
pub use risk::{Risk, RiskLevel, RiskPart, Signal, SignalKind, Signals};
pub use row::{Comparison, RowPredicate, RowValue, like};
pub use spiffe::{InvalidSpiffeId, SpiffeId, is_trust_domain};
pub use time::{Duration, Timestamp};
pub use value::{Decimal, Record, UnknownReason, Value};
