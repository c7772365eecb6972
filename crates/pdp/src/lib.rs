//! Policies and the decision: one pure function over signed text.
//!
//! This crate never does I/O, never reads a clock, never draws randomness and never waits. It gives
//! the same judgement for the same arguments on any machine, in any year. What it does not fully
//! understand it refuses to load, and what it cannot judge it denies.
//! Its three most important types are [`PolicySource`] (the files somebody wrote), [`PolicySet`]
//! (what became of them) and [`VerifiedBundle`] (files that enough of the right people signed).

mod argument;
mod bound;
mod bundle;
mod cases;
mod cedar_text;
mod compile;
mod data;
mod decide;
mod declarers;
mod diagnostic;
mod engine;
mod explain;
mod few;
mod frame;
mod index;
mod invariant;
mod known;
mod looser;
mod manifest;
mod mention;
mod nearest;
mod needs;
mod obligation;
mod outline;
mod person;
mod policies;
mod preconditions;
mod principals;
mod probe;
mod program;
mod purposes;
mod rego;
mod resources;
mod restraint;
mod risk;
mod rows;
mod rule;
mod schema;
mod source;
mod space;
mod stock;
mod threats;
mod tree;
mod validate;
mod visible;

pub use bound::Bound;
pub use bundle::{
    ActivationError, Bundle, BundleError, BundleRole, BundleTerms, EPOCH_MAX, Freshness, InvalidThreshold,
    KILLS_FILE, LastAccepted, RoleTrust, Statement, Trust, VerifiedBundle, build_statement, parse_kills,
};
pub use cases::{TestOutcome, TestReport};
pub use decide::decide;
pub use declarers::Credential;
pub use diagnostic::{Diagnostic, Severity};
pub use explain::{Explanation, PrincipalExplanation, RuleExplanation, RuleKind, RuleOutcome, explain};
pub use invariant::{Breach, Demand, Invariant, Invariants, Searched};
pub use looser::{Compared, Looser, is_looser, looser};
pub use manifest::{manifest_from_json, manifest_to_toml, parse_manifests};
pub use nearest::{NearestPermission, PermissionPart};
pub use outline::RuleOutline;
pub use policies::{Compiled, Counts, PolicySet};
pub use probe::Probes;
pub use rego::{GuardFile, RegoVersion};
pub use restraint::restraints;
pub use risk::RiskModel;
pub use source::{ENVELOPE_FILE, FILE_BYTES_MAX, FILES_MAX, PolicySource, SOURCE_BYTES_MAX};
pub use threats::Threats;
pub use visible::could_allow;
