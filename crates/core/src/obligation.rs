//! What must be done if an action goes ahead.

use std::collections::BTreeSet;

use crate::{RowPredicate, RuleRef, Verdict};

/// One obligation and the rules that asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligation {
    /// What must be done.
    pub kind: ObligationKind,
    /// The rules that asked for it.
    pub rules: Vec<RuleRef>,
}

/// The closed vocabulary of obligations; each has a join that keeps the stricter of two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ObligationKind {
    /// People of a role must approve the call.
    Approve {
        /// The role of the approvers.
        role: Box<str>,
        /// How many different approvers.
        quorum: u32,
    },
    /// Named fields of the result are removed.
    Redact {
        /// Field names or JSON Pointers.
        fields: BTreeSet<Box<str>>,
    },
    /// Named fields of the result are replaced.
    Mask {
        /// Field names or JSON Pointers.
        fields: BTreeSet<Box<str>>,
    },
    /// Only rows that satisfy every one of these conditions are returned.
    RowFilter {
        /// Conditions in words of the enforcement point's own, all of which hold.
        conditions: BTreeSet<Box<str>>,
        /// Conditions on columns, all of which hold.
        rows: BTreeSet<RowPredicate>,
    },
    /// At most this many rows are returned.
    MaxRows {
        /// The bound.
        limit: u64,
    },
    /// At most this many bytes are returned.
    MaxBytes {
        /// The bound.
        limit: u64,
    },
    /// At most this many calls in a window.
    Rate {
        /// Calls.
        limit: u64,
        /// The window in seconds.
        window_s: u64,
    },
    /// At most this much may be spent in a window.
    Budget {
        /// Units.
        limit: u64,
        /// The window in seconds.
        window_s: u64,
    },
    /// The call runs at least in this isolation tier.
    Sandbox {
        /// The tier: `process`, `wasm`, `container`, `microvm` or `attested`.
        tier: Box<str>,
    },
    /// Connections only to these hosts.
    Egress {
        /// The permitted hosts.
        hosts: BTreeSet<Box<str>>,
    },
    /// The call is simulated.
    DryRun,
    /// The call is logged at this level.
    Log {
        /// The level.
        level: Box<str>,
    },
    /// Somebody is told.
    Notify {
        /// Whom.
        to: BTreeSet<Box<str>>,
    },
    /// The session is watched more closely.
    Monitor,
    /// Capability classes are taken away.
    Revoke {
        /// The classes.
        classes: BTreeSet<Box<str>>,
    },
    /// The session loses the network.
    NetworkOff,
    /// One tool is disabled for the session.
    DisableTool {
        /// The tools.
        tools: BTreeSet<Box<str>>,
    },
    /// The session may not delegate.
    BlockDelegation,
    /// Credentials in use are replaced.
    RotateCredentials,
    /// The session may only read.
    ReadOnly,
    /// The session is cut off from everything.
    Isolate,
    /// The session is ended.
    Terminate,
}

impl ObligationKind {
    /// The `type` in JSON and in `@obligation("…")`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Approve { .. } => "approve",
            Self::Redact { .. } => "redact",
            Self::Mask { .. } => "mask",
            Self::RowFilter { .. } => "row_filter",
            Self::MaxRows { .. } => "max_rows",
            Self::MaxBytes { .. } => "max_bytes",
            Self::Rate { .. } => "rate",
            Self::Budget { .. } => "budget",
            Self::Sandbox { .. } => "sandbox",
            Self::Egress { .. } => "egress",
            Self::DryRun => "dry_run",
            Self::Log { .. } => "log",
            Self::Notify { .. } => "notify",
            Self::Monitor => "monitor",
            Self::Revoke { .. } => "revoke",
            Self::NetworkOff => "network_off",
            Self::DisableTool { .. } => "disable_tool",
            Self::BlockDelegation => "block_delegation",
            Self::RotateCredentials => "rotate_credentials",
            Self::ReadOnly => "read_only",
            Self::Isolate => "isolate",
            Self::Terminate => "terminate",
        }
    }

    /// Every name in the vocabulary.
    pub const NAMES: &'static [&'static str] = &[
        "approve",
        "redact",
        "mask",
        "row_filter",
        "max_rows",
        "max_bytes",
        "rate",
        "budget",
        "sandbox",
        "egress",
        "dry_run",
        "log",
        "notify",
        "monitor",
        "revoke",
        "network_off",
        "disable_tool",
        "block_delegation",
        "rotate_credentials",
        "read_only",
        "isolate",
        "terminate",
    ];

    /// Whether it narrows what the session may do, whatever the verdict is.
    pub const fn is_containing(&self) -> bool {
        matches!(
            self,
            Self::Revoke { .. }
                | Self::NetworkOff
                | Self::DisableTool { .. }
                | Self::BlockDelegation
                | Self::RotateCredentials
                | Self::ReadOnly
                | Self::Isolate
                | Self::Terminate
        )
    }

    /// The verdict it calls for by itself.
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Approve { .. } => Verdict::Ask,
            _ => Verdict::Allow,
        }
    }

    /// Joins with another of the same type into the stricter of both; `None` when both must stand.
    pub fn join(&self, other: &Self) -> Option<Self> {
        let union = |a: &BTreeSet<Box<str>>, b: &BTreeSet<Box<str>>| a.union(b).cloned().collect();
        let stricter_tier = |a: &str, b: &str| {
            const TIERS: [&str; 5] = ["process", "wasm", "container", "microvm", "attested"];
            // An unknown tier is stricter than any known one: it cannot be met, so it refuses.
            let rank = |tier: &str| TIERS.iter().position(|t| *t == tier).unwrap_or(TIERS.len());
            if rank(a) >= rank(b) { a.into() } else { b.into() }
        };
        Some(match (self, other) {
            (Self::Approve { role: a, quorum: n }, Self::Approve { role: b, quorum: m }) if a == b => {
                Self::Approve { role: a.clone(), quorum: *n.max(m) }
            }
            (Self::Redact { fields: a }, Self::Redact { fields: b }) => Self::Redact { fields: union(a, b) },
            (Self::Mask { fields: a }, Self::Mask { fields: b }) => Self::Mask { fields: union(a, b) },
            (Self::RowFilter { conditions: a, rows: v }, Self::RowFilter { conditions: b, rows: w }) => {
                Self::RowFilter { conditions: union(a, b), rows: v.union(w).cloned().collect() }
            }
            (Self::MaxRows { limit: a }, Self::MaxRows { limit: b }) => Self::MaxRows { limit: *a.min(b) },
            (Self::MaxBytes { limit: a }, Self::MaxBytes { limit: b }) => Self::MaxBytes { limit: *a.min(b) },
            (Self::Rate { limit: a, window_s: v }, Self::Rate { limit: b, window_s: w }) if v == w => {
                Self::Rate { limit: *a.min(b), window_s: *v }
            }
            (Self::Budget { limit: a, window_s: v }, Self::Budget { limit: b, window_s: w }) if v == w => {
                Self::Budget { limit: *a.min(b), window_s: *v }
            }
            (Self::Sandbox { tier: a }, Self::Sandbox { tier: b }) => {
                Self::Sandbox { tier: stricter_tier(a, b) }
            }
            (Self::Egress { hosts: a }, Self::Egress { hosts: b }) => {
                Self::Egress { hosts: a.intersection(b).cloned().collect() }
            }
            (Self::Notify { to: a }, Self::Notify { to: b }) => Self::Notify { to: union(a, b) },
            (Self::Revoke { classes: a }, Self::Revoke { classes: b }) => {
                Self::Revoke { classes: union(a, b) }
            }
            (Self::DisableTool { tools: a }, Self::DisableTool { tools: b }) => {
                Self::DisableTool { tools: union(a, b) }
            }
            (a, b) if a == b => a.clone(),
            _ => return None,
        })
    }
}

/// Joins obligations, most restrictive first by type; the result does not depend on the order given.
pub fn join_obligations(obligations: impl IntoIterator<Item = Obligation>) -> Vec<Obligation> {
    let mut joined: Vec<Obligation> = Vec::new();
    for next in obligations {
        let twin = joined.iter_mut().find_map(|have| have.kind.join(&next.kind).map(|kind| (have, kind)));
        match twin {
            Some((have, kind)) => {
                have.kind = kind;
                have.rules.extend(next.rules);
                have.rules.sort();
                have.rules.dedup();
            }
            None => joined.push(next),
        }
    }
    joined.sort_by(|a, b| a.kind.cmp(&b.kind));
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(kind: ObligationKind) -> Obligation {
        Obligation { kind, rules: Vec::new() }
    }

    #[test]
    fn joining_keeps_the_stricter_and_does_not_depend_on_order() {
        let obligations = [
            one(ObligationKind::MaxRows { limit: 10 }),
            one(ObligationKind::Approve { role: "approver".into(), quorum: 1 }),
            one(ObligationKind::MaxRows { limit: 3 }),
            one(ObligationKind::Approve { role: "approver".into(), quorum: 2 }),
            one(ObligationKind::Sandbox { tier: "microvm".into() }),
            one(ObligationKind::Sandbox { tier: "process".into() }),
            one(ObligationKind::Approve { role: "finance".into(), quorum: 1 }),
        ];
        let forward = join_obligations(obligations.clone());
        let backward = join_obligations(obligations.into_iter().rev());
        assert_eq!(forward, backward);
        assert_eq!(
            forward.into_iter().map(|o| o.kind).collect::<Vec<_>>(),
            [
                ObligationKind::Approve { role: "approver".into(), quorum: 2 },
                ObligationKind::Approve { role: "finance".into(), quorum: 1 },
                ObligationKind::MaxRows { limit: 3 },
                ObligationKind::Sandbox { tier: "microvm".into() },
            ]
        );
    }
}
