//! The one enforcement path: gather facts, judge, hold for approval, record, and hand out a permit.
//!
//! This crate never knows a protocol, a socket or a database; it defines the ports that the edge
//! implements. Its three most important types are [`Guard`] (the path), [`Permit`] (proof that
//! exactly this call was allowed and that the ledger holds the record) and [`Outcome`] (permitted,
//! held, or denied).

mod access;
mod approvers;
mod asking;
mod attempt;
mod authorize;
mod backlog;
mod binding;
mod capabilities;
mod containment;
mod declared;
mod denial;
mod enforcer;
mod evaluate;
mod gate;
mod guard;
mod kills;
mod observe;
mod permit;
pub mod policy;
pub mod ports;
mod readings;
mod record;
pub mod replay;
mod restraint_records;
mod risk;
mod session;
mod shadow;
mod throttle;
mod tools;
mod watch;

pub use access::{Asking, Ungranted};
pub use approvers::{Approver, Approvers, BallotError};
pub use attempt::{Attempt, Operation, Trace};
pub use authorize::Outcome;
pub use capabilities::{Admitted, Grant, RefusedToken};
pub use containment::Standing;
pub use cordon_capability::{Proof, Subject, Token};
pub use denial::{Denial, Held};
pub use enforcer::{Enforcer, Quoted};
pub use evaluate::{Evaluated, Weighed};
pub use guard::{ActivePolicies, Guard, GuardError, GuardLimits, Ports};
pub use kills::{KILLS_MAX, Kill, KillsLoaded, Narrowed};
pub use observe::{Failure, Pending, Release, ResultKind, ResultSeen, ResultTerms, Settled};
pub use permit::Permit;
pub use readings::Wanted;
pub use record::AdminAct;
pub use session::{Opening, Session};
pub use shadow::ShadowPolicies;
pub use tools::{ListedTool, Quarantine, Tool};
