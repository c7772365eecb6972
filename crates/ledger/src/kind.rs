//! What a record is about.

use std::fmt;

/// A step in the life of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApprovalStep {
    /// A call is held and people are asked.
    Asked,
    /// A person said yes.
    Granted,
    /// A person said no.
    Denied,
    /// The approved call ran.
    Spent,
    /// Time ran out first.
    Expired,
}

/// What an administrative change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdminSubject {
    /// A policy bundle.
    Bundle,
    /// A tool's manifest.
    Manifest,
    /// A key or the set of trusted keys.
    Key,
    /// The configuration.
    Config,
    /// A tool whose definition changed is withheld.
    ToolQuarantined,
    /// A tool's present definition is accepted.
    ToolApproved,
    /// What enforces from now on.
    Enforcer,
    /// A kill switch is turned.
    Kill,
    /// A kill switch is lifted.
    Unkill,
}

/// A step in the life of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionStep {
    /// It began.
    Opened,
    /// It ended; its counter may be forgotten.
    Closed,
    /// Something was taken from it.
    Contained,
    /// What was taken from it was given back.
    Released,
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The first entry of a log: its origin and its first key.
    Genesis,
    /// A judgement on one attempted action.
    Decision,
    /// What came of a permitted action.
    Result,
    /// A step in the life of an approval.
    Approval(ApprovalStep),
    /// An administrative change.
    Admin(AdminSubject),
    /// A step in the life of a session.
    Session(SessionStep),
    /// The log was opened after it had not been closed.
    Recovery,
    /// The log's key gave way to another.
    KeyRotation,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Genesis,
        Self::Decision,
        Self::Result,
        Self::Approval(ApprovalStep::Asked),
        Self::Approval(ApprovalStep::Granted),
        Self::Approval(ApprovalStep::Denied),
        Self::Approval(ApprovalStep::Spent),
        Self::Approval(ApprovalStep::Expired),
        Self::Admin(AdminSubject::Bundle),
        Self::Admin(AdminSubject::Manifest),
        Self::Admin(AdminSubject::Key),
        Self::Admin(AdminSubject::Config),
        Self::Admin(AdminSubject::ToolQuarantined),
        Self::Admin(AdminSubject::ToolApproved),
        Self::Admin(AdminSubject::Enforcer),
        Self::Admin(AdminSubject::Kill),
        Self::Admin(AdminSubject::Unkill),
        Self::Session(SessionStep::Opened),
        Self::Session(SessionStep::Closed),
        Self::Session(SessionStep::Contained),
        Self::Session(SessionStep::Released),
        Self::Recovery,
        Self::KeyRotation,
    ];

    /// The registered number.
    pub const fn code(self) -> u64 {
        match self {
            Self::Genesis => 1,
            Self::Decision => 2,
            Self::Result => 3,
            Self::Recovery => 4,
            Self::KeyRotation => 5,
            Self::Approval(ApprovalStep::Asked) => 16,
            Self::Approval(ApprovalStep::Granted) => 17,
            Self::Approval(ApprovalStep::Denied) => 18,
            Self::Approval(ApprovalStep::Spent) => 19,
            Self::Approval(ApprovalStep::Expired) => 20,
            Self::Admin(AdminSubject::Bundle) => 32,
            Self::Admin(AdminSubject::Manifest) => 33,
            Self::Admin(AdminSubject::Key) => 34,
            Self::Admin(AdminSubject::Config) => 35,
            Self::Admin(AdminSubject::ToolQuarantined) => 36,
            Self::Admin(AdminSubject::ToolApproved) => 37,
            Self::Admin(AdminSubject::Enforcer) => 38,
            Self::Admin(AdminSubject::Kill) => 39,
            Self::Admin(AdminSubject::Unkill) => 40,
            Self::Session(SessionStep::Opened) => 48,
            Self::Session(SessionStep::Closed) => 49,
            Self::Session(SessionStep::Contained) => 50,
            Self::Session(SessionStep::Released) => 51,
        }
    }

    /// The kind with this registered number.
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }

    /// The kind as written in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::Decision => "decision",
            Self::Result => "result",
            Self::Recovery => "recovery",
            Self::KeyRotation => "key_rotation",
            Self::Approval(ApprovalStep::Asked) => "approval.asked",
            Self::Approval(ApprovalStep::Granted) => "approval.granted",
            Self::Approval(ApprovalStep::Denied) => "approval.denied",
            Self::Approval(ApprovalStep::Spent) => "approval.spent",
            Self::Approval(ApprovalStep::Expired) => "approval.expired",
            Self::Admin(AdminSubject::Bundle) => "admin.bundle",
            Self::Admin(AdminSubject::Manifest) => "admin.manifest",
            Self::Admin(AdminSubject::Key) => "admin.key",
            Self::Admin(AdminSubject::Config) => "admin.config",
            Self::Admin(AdminSubject::ToolQuarantined) => "admin.tool_quarantined",
            Self::Admin(AdminSubject::ToolApproved) => "admin.tool_approved",
            Self::Admin(AdminSubject::Enforcer) => "admin.enforcer",
            Self::Admin(AdminSubject::Kill) => "admin.kill",
            Self::Admin(AdminSubject::Unkill) => "admin.unkill",
            Self::Session(SessionStep::Opened) => "session.opened",
            Self::Session(SessionStep::Closed) => "session.closed",
            Self::Session(SessionStep::Contained) => "session.contained",
            Self::Session(SessionStep::Released) => "session.released",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_one_number_and_one_name() {
        let codes: BTreeSet<u64> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!((codes.len(), names.len()), (Kind::ALL.len(), Kind::ALL.len()));
        for kind in Kind::ALL {
            assert_eq!(Kind::from_code(kind.code()), Some(*kind));
        }
        assert_eq!(Kind::from_code(0), None);
    }
}
