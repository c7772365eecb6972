//! Access that a person may grant to a caller of somebody else's enforcement point: asked for by it,
//! answered by approvers, taken once by the identical request.

use cordon_core::cbor::Cbor;
use cordon_core::{ApprovalId, Digest, Encode as _, Judgement, SessionId, Verdict};
use cordon_ledger::Level;
use cordon_workflow::{Approval, Event, Progress};

use crate::asking::{Found, Question};
use crate::evaluate::Weighed;
use crate::guard::{ActivePolicies, Guard, GuardError};
use crate::record::Answered;

/// Why a grant that was shown does not let the request through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ungranted {
    /// There is no such approval of this requester.
    #[error("there is no approval `{0}` of this caller")]
    Unknown(ApprovalId),
    /// It is for another request, or under another bundle.
    #[error("approval `{0}` is for another request, or was given under another bundle")]
    OutOfScope(ApprovalId),
    /// Nobody has answered yet.
    #[error("approval `{0}` waits for an answer")]
    Pending(ApprovalId),
    /// It was refused, spent or has expired.
    #[error("approval `{id}` is {progress}")]
    Settled {
        /// The approval.
        id: ApprovalId,
        /// How far it got.
        progress: &'static str,
    },
    /// The store does not say.
    #[error(transparent)]
    Store(#[from] crate::ports::StoreDown),
}

/// Who asks, and for what exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking<'a> {
    /// A name of the caller that is no other caller's.
    pub requester: &'a str,
    /// Everything that was asked, as canonical text: what a policy cannot read differs here, too.
    pub exact: &'a str,
    /// The arguments, as JSON text for approvers.
    pub arguments: &'a str,
}

impl Weighed {
    /// What an approval of this request is bound to: who asked, everything that was asked, the bundle.
    pub fn binding(&self, asking: Asking<'_>) -> Digest {
        let parts = Cbor::Array(vec![
            "cordon/access/v1".into(),
            asking.requester.into(),
            asking.exact.into(),
            self.request.to_cbor(),
            Cbor::bytes(*self.judgement.bundle.as_bytes()),
        ]);
        Digest::of(&parts.encode())
    }

    /// The answer as it is told: what a grant was taken for is allowed.
    pub fn told(&self) -> Judgement {
        let verdict = if self.spent.is_some() { Verdict::Allow } else { self.judgement.verdict };
        Judgement { verdict, ..self.judgement.clone() }
    }
}

impl Guard {
    /// Asks for the approval that the judgement needs, or finds the one that was asked for already; it
    /// is on record when this returns. The judgement must be "ask".
    pub async fn request_access(
        &self,
        policies: &ActivePolicies,
        weighed: &Weighed,
        asking: Asking<'_>,
    ) -> Result<Approval, GuardError> {
        let Weighed { request, judgement, .. } = weighed;
        let question = Question {
            binding: weighed.binding(asking),
            session: desk(asking.requester),
            // Nobody who acts in the request answers it.
            requesters: request.chain.members().map(|(_, who)| who.id.clone()).collect(),
            request,
            judgement,
            arguments: asking.arguments.into(),
        };
        let (approval, fresh) = match self.shared.find_or_ask(question, self.now())? {
            Found::Known(approval) => (approval, false),
            Found::Asked(approval) => (approval, true),
            Found::Full(most) => return Err(GuardError::TooManyWaiting(most)),
        };
        if fresh {
            let draft = self.draft(policies, weighed, Answered::Held(&approval.terms));
            self.shared.ledger.append(draft, Level::Durable).await?;
        }
        Ok(approval)
    }

    /// The approval of this name, if this requester asked for it.
    pub fn requested(&self, id: ApprovalId, requester: &str) -> Result<Approval, GuardError> {
        let (approval, _) = self.approval(id)?;
        if approval.terms.session != desk(requester) {
            return Err(GuardError::UnknownApproval(id));
        }
        Ok(approval)
    }

    /// Takes the grant for the request that it was given for, once. What is denied stays denied.
    pub fn spend_grant(
        &self,
        weighed: &mut Weighed,
        id: ApprovalId,
        asking: Asking<'_>,
    ) -> Result<(), Ungranted> {
        if weighed.judgement.verdict == Verdict::Ask {
            weighed.spent = Some(self.take(weighed, id, asking)?);
        }
        Ok(())
    }

    fn take(&self, weighed: &Weighed, id: ApprovalId, asking: Asking<'_>) -> Result<Approval, Ungranted> {
        let now = self.now();
        let found = self.shared.store.approval(id)?.map(|(approval, _)| approval.apply(Event::Tick, now));
        let approval = found
            .filter(|approval| approval.terms.session == desk(asking.requester))
            .ok_or(Ungranted::Unknown(id))?;
        if approval.terms.binding != weighed.binding(asking) {
            return Err(Ungranted::OutOfScope(id));
        }
        match &approval.progress {
            Progress::Granted { .. } => {}
            Progress::Pending { .. } => return Err(Ungranted::Pending(id)),
            settled => return Err(Ungranted::Settled { id, progress: settled.as_str() }),
        }
        match self.shared.store.apply(id, Event::Spent, now)? {
            // Exactly one request sees the step from granted to spent.
            Some((before, after)) if before != after => {
                self.shared.watch.report(id, true);
                Ok(after)
            }
            _ => Err(Ungranted::Settled { id, progress: "spent" }),
        }
    }
}

/// What stands in the place of a session: the requests of one caller.
fn desk(requester: &str) -> SessionId {
    let digest = Digest::of(format!("cordon/access/v1|{requester}").as_bytes());
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    SessionId::from_bytes(bytes)
}
