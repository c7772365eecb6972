//! Asking a person: the approval that a binding has is found, or asked for once.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use cordon_core::{
    ApprovalId, Digest, Duration, Judgement, ObligationKind, Principal, Request, Role, SessionId, Timestamp,
};
use cordon_workflow::{Approval, ApprovalKind, Requirement, Terms};

use crate::guard::Shared;
use crate::ports::{Draw, Shown, StoreDown};

/// What a person is asked.
pub(crate) struct Question<'q> {
    /// What an answer is bound to.
    pub(crate) binding: Digest,
    /// The session, or what stands in its place: its waiting approvals are counted.
    pub(crate) session: SessionId,
    /// Who may not answer.
    pub(crate) requesters: BTreeSet<Box<str>>,
    pub(crate) request: &'q Request,
    /// The judgement that asks.
    pub(crate) judgement: &'q Judgement,
    /// The arguments, as JSON text for approvers.
    pub(crate) arguments: Box<str>,
}

/// What came of asking.
pub(crate) enum Found {
    /// It was asked for before and is not settled.
    Known(Approval),
    /// It is asked for now.
    Asked(Approval),
    /// So many of the session's approvals wait already that no other is asked for.
    Full(u32),
}

impl Shared {
    /// The unsettled approval for a binding, asking for one if there is none.
    pub(crate) fn find_or_ask(&self, question: Question<'_>, now: Timestamp) -> Result<Found, StoreDown> {
        let _one_at_a_time = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(approval) = self.store.approval_for(question.binding, now)? {
            return Ok(Found::Known(approval));
        }
        let most = self.limits.approvals_waiting_max;
        if self.store.approvals_waiting(question.session, now)? >= most {
            return Ok(Found::Full(most));
        }
        let requirement = |kind: &ObligationKind| match kind {
            ObligationKind::Approve { role, quorum } => {
                Some(Requirement { role: role.clone(), quorum: *quorum })
            }
            _ => None,
        };
        let obligations = &question.judgement.obligations;
        let shown = question.shown();
        let approval = Approval::ask(Terms {
            id: ApprovalId::new(now, &mut Draw(&*self.random)),
            kind: ApprovalKind::Call,
            binding: question.binding,
            session: question.session,
            requirements: obligations.iter().filter_map(|one| requirement(&one.kind)).collect(),
            requesters: question.requesters,
            asked: now,
            expires: now.plus(Duration::from_secs(u64::from(self.limits.approval_s))),
        });
        self.store.insert_approval(&approval, &shown)?;
        Ok(Found::Asked(approval))
    }
}

impl Question<'_> {
    fn shown(&self) -> Shown {
        let Self { request, judgement, .. } = self;
        let principal = |(role, who): (Role, &Principal)| {
            format!("{} {}:{}", role.as_str(), who.kind.as_str(), who.id).into()
        };
        let reasons = judgement.reasons.iter();
        Shown {
            action: request.action.name().as_str().into(),
            resource: format!("{} {}", request.resource.kind.as_str(), request.resource.id).into(),
            principals: request.chain.members().map(principal).collect(),
            arguments: self.arguments.clone(),
            reasons: reasons.map(|reason| format!("{} [{}]", reason.message, reason.rule).into()).collect(),
            bundle: judgement.bundle,
        }
    }
}
