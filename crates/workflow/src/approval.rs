//! One held call and the people who may let it run: asked, answered, spent once.

use std::collections::BTreeSet;

use cordon_core::{ApprovalId, Digest, SessionId, Timestamp};

use crate::Answer;

/// What is being approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApprovalKind {
    /// One exact call.
    Call,
}

impl ApprovalKind {
    /// The kind as written in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
        }
    }
}

/// How many different people of one role must say yes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The role.
    pub role: Box<str>,
    /// How many.
    pub quorum: u32,
}

/// What was asked.
// INVARIANT: terms never change after the approval was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The approval's name.
    pub id: ApprovalId,
    /// What is being approved.
    pub kind: ApprovalKind,
    /// Digest of principals, session, tool, arguments and bundle of the held call.
    pub binding: Digest,
    /// The session the call belongs to.
    pub session: SessionId,
    /// Whom it must not be answered by: the identifiers of the requesting agent and its delegates.
    pub requesters: BTreeSet<Box<str>>,
    /// Who must say yes.
    pub requirements: Vec<Requirement>,
    /// When it was asked.
    pub asked: Timestamp,
    /// When an unanswered or unspent approval ends.
    pub expires: Timestamp,
}

/// One person's yes, with the roles that it counts for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vote {
    /// The approver's name.
    pub by: Box<str>,
    /// The approver's roles.
    pub roles: BTreeSet<Box<str>>,
}

/// How far an approval got; the last three absorb every further event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Not enough people have said yes.
    Pending {
        /// Who has.
        votes: BTreeSet<Vote>,
    },
    /// Enough people have said yes; the call may run once.
    Granted {
        /// Who did.
        votes: BTreeSet<Vote>,
    },
    /// Somebody said no.
    Refused {
        /// Who.
        by: Box<str>,
    },
    /// The call ran.
    Spent {
        /// Who had said yes.
        votes: BTreeSet<Vote>,
    },
    /// Time ran out first.
    Expired,
}

impl Progress {
    /// The progress as written in records and answers.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Granted { .. } => "granted",
            Self::Refused { .. } => "denied",
            Self::Spent { .. } => "spent",
            Self::Expired => "expired",
        }
    }
}

/// What can happen to an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An approver answered; the signature was already verified.
    Answered {
        /// Who, with which roles.
        vote: Vote,
        /// What.
        answer: Answer,
    },
    /// The identical call came back and takes the grant.
    Spent,
    /// Time passed.
    Tick,
}

/// One approval: what was asked, and how far it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// What was asked.
    pub terms: Terms,
    /// How far it got.
    pub progress: Progress,
}

impl Approval {
    /// A freshly asked approval.
    pub fn ask(terms: Terms) -> Self {
        Self { terms, progress: Progress::Pending { votes: BTreeSet::new() } }
    }

    /// The approval after `event` at `now`. Settled approvals, late answers, answers of the
    /// requester and second answers of one person change nothing.
    #[must_use]
    pub fn apply(self, event: Event, now: Timestamp) -> Self {
        let Self { terms, progress } = self;
        let late = terms.expires <= now;
        let progress = match (progress, event) {
            (Progress::Pending { .. } | Progress::Granted { .. }, _) if late => Progress::Expired,
            (Progress::Pending { mut votes }, Event::Answered { vote, answer }) => {
                if terms.requesters.contains(&vote.by) {
                    Progress::Pending { votes }
                } else if answer == Answer::Deny {
                    Progress::Refused { by: vote.by }
                } else {
                    if votes.iter().all(|have| have.by != vote.by) {
                        votes.insert(vote);
                    }
                    if terms.met(&votes) { Progress::Granted { votes } } else { Progress::Pending { votes } }
                }
            }
            // A no after enough people said yes still stops a call that has not run.
            (Progress::Granted { .. }, Event::Answered { vote, answer: Answer::Deny })
                if !terms.requesters.contains(&vote.by) =>
            {
                Progress::Refused { by: vote.by }
            }
            (Progress::Granted { votes }, Event::Spent) => Progress::Spent { votes },
            (progress, _) => progress,
        };
        Self { terms, progress }
    }
}

impl Terms {
    /// Whether these votes satisfy every requirement; no requirement at all is never satisfied.
    fn met(&self, votes: &BTreeSet<Vote>) -> bool {
        !self.requirements.is_empty()
            && self.requirements.iter().all(|requirement| {
                let yes = votes.iter().filter(|vote| vote.roles.contains(&requirement.role)).count();
                u32::try_from(yes).is_ok_and(|yes| yes >= requirement.quorum.max(1))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(requirements: &[(&str, u32)]) -> Terms {
        Terms {
            id: ApprovalId::from_bytes([1; 16]),
            kind: ApprovalKind::Call,
            binding: Digest::of(b"call"),
            session: SessionId::from_bytes([2; 16]),
            requesters: BTreeSet::from(["agent-7".into()]),
            requirements: requirements
                .iter()
                .map(|(role, quorum)| Requirement { role: (*role).into(), quorum: *quorum })
                .collect(),
            asked: Timestamp::from_micros(0),
            expires: Timestamp::from_micros(100),
        }
    }

    /// Applies events written `name:role:grant`, `name:role:deny`, `spend` at times 1, 2, 3, …
    fn check(requirements: &[(&str, u32)], events: &[&str], want: &str) {
        let mut approval = Approval::ask(terms(requirements));
        for (at, event) in (1..).zip(events) {
            let (event, at) = match event.split(':').collect::<Vec<_>>()[..] {
                ["spend"] => (Event::Spent, at),
                ["late", ..] => (Event::Tick, 100),
                [by, role, answer] => {
                    let vote = Vote { by: by.into(), roles: BTreeSet::from([role.into()]) };
                    let answer = if answer == "grant" { Answer::Grant } else { Answer::Deny };
                    (Event::Answered { vote, answer }, at)
                }
                _ => panic!("{event}"),
            };
            approval = approval.apply(event, Timestamp::from_micros(at));
        }
        assert_eq!(approval.progress.as_str(), want, "{events:?}");
    }

    #[test]
    fn a_grant_is_spent_once_and_only_after_enough_people_said_yes() {
        let one: &[_] = &[("approver", 1)];
        check(one, &[], "pending");
        check(one, &["spend"], "pending");
        check(one, &["ann:approver:grant"], "granted");
        check(one, &["ann:approver:grant", "spend"], "spent");
        check(one, &["ann:approver:grant", "spend", "ann:approver:grant", "spend"], "spent");
        check(one, &["ann:visitor:grant"], "pending");
        check(one, &["agent-7:approver:grant"], "pending");
        check(&[], &["ann:approver:grant"], "pending");
        check(&[("approver", 0)], &["ann:visitor:grant"], "pending");
    }

    #[test]
    fn a_quorum_counts_different_people_of_each_role() {
        let two: &[_] = &[("approver", 2)];
        check(two, &["ann:approver:grant", "ann:approver:grant"], "pending");
        check(two, &["ann:approver:grant", "bob:approver:grant"], "granted");
        let roles: &[_] = &[("approver", 1), ("finance", 1)];
        check(roles, &["ann:approver:grant", "bob:approver:grant"], "pending");
        check(roles, &["ann:approver:grant", "cy:finance:grant"], "granted");
    }

    #[test]
    fn one_no_settles_it_even_after_a_yes_and_a_settled_approval_stays() {
        let one: &[_] = &[("approver", 1)];
        check(one, &["ann:approver:deny", "bob:approver:grant"], "denied");
        check(one, &["ann:approver:grant", "bob:approver:deny", "spend"], "denied");
        check(one, &["ann:approver:grant", "agent-7:approver:deny", "spend"], "spent");
    }

    #[test]
    fn time_ends_what_was_not_answered_or_not_spent_but_not_what_was_spent() {
        let one: &[_] = &[("approver", 1)];
        check(one, &["late"], "expired");
        check(one, &["ann:approver:grant", "late", "spend"], "expired");
        check(one, &["ann:approver:grant", "spend", "late"], "spent");
        check(one, &["late", "ann:approver:grant"], "expired");
    }
}
