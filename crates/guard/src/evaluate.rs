//! Decisions that run nothing: for decision points of others, and for what a caller may see.

use std::collections::BTreeSet;

use cordon_core::json::Node;
use cordon_core::{ActionName, Facts, Judgement, Request, SessionId, Timestamp};
use cordon_ledger::{Level, Receipt};
use cordon_workflow::Approval;

use crate::attempt::Attempt;
use crate::authorize::gather_visible;
use crate::guard::{ActivePolicies, Guard, GuardError};
use crate::ports::{LedgerDown, PortFuture};
use crate::readings::Wanted;
use crate::record::{self, Answered};
use crate::risk::Observed;
use crate::shadow;

/// A recorded judgement that hands out nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated {
    /// The full answer.
    pub judgement: Judgement,
    /// Its record.
    pub receipt: Receipt,
}

/// A judgement that nobody has been told and that is not on record.
#[derive(Debug)]
pub struct Weighed {
    /// What was asked.
    pub request: Request,
    /// The full answer.
    pub judgement: Judgement,
    pub(crate) facts: Facts,
    pub(crate) now: Timestamp,
    /// The grant that was taken for it.
    pub(crate) spent: Option<Approval>,
}

impl Guard {
    /// Judges and records a request of somebody else's enforcement point, which can carry out the
    /// `supported` obligations.
    pub async fn evaluate(
        &self,
        request: Request,
        supported: BTreeSet<&'static str>,
    ) -> Result<Evaluated, GuardError> {
        let policies = self.policies();
        let weighed = self.weigh(&policies, request, supported);
        let receipt = self.note(&policies, &weighed).await?;
        Ok(Evaluated { judgement: weighed.judgement, receipt })
    }

    /// Judges a request under these policies. Nobody may be told that it is allowed before
    /// [`Guard::note`] has ended well.
    pub fn weigh(
        &self,
        policies: &ActivePolicies,
        request: Request,
        supported: BTreeSet<&'static str>,
    ) -> Weighed {
        let now = self.now();
        let kills = self.shared.kills.covering(&request);
        let observed = Observed {
            policies,
            request: &request,
            manifest: policies.set.manifest(request.action.name()),
            arguments: None,
            confidence: None,
            now,
        };
        let signals = observed.signals(&observed.destinations());
        let facts = Facts { supported, kills, signals, ..Facts::default() };
        let judgement = cordon_pdp::decide(&policies.set, &request, &facts, now);
        Weighed { request, judgement, facts, now, spent: None }
    }

    /// Hands a judgement to the ledger. Its place in the order is fixed when this returns; it is
    /// durable when the future has ended well.
    pub fn note(
        &self,
        policies: &ActivePolicies,
        weighed: &Weighed,
    ) -> PortFuture<Result<Receipt, LedgerDown>> {
        let answered = weighed.spent.as_ref().map_or(Answered::Told, Answered::Granted);
        let draft = self.draft(policies, weighed, answered);
        self.shared.ledger.append(draft, Level::Durable)
    }

    /// The record of a judgement and of what became of it.
    pub(crate) fn draft(
        &self,
        policies: &ActivePolicies,
        weighed: &Weighed,
        answered: Answered<'_>,
    ) -> cordon_ledger::Draft {
        let Weighed { request, judgement, facts, now, .. } = weighed;
        let shadow = shadow::judge(&self.shared, request, facts, *now);
        let asked = record::Asked { request, facts, arguments: None, now: *now, shadow: shadow.as_ref() };
        record::evaluated(&self.shared, policies, asked, judgement, answered)
    }

    /// The reads that have to be made before a call of a tool, because its manifest wants them and the
    /// session does not have them or has had them for long.
    pub fn wanted(&self, session: SessionId, tool: &ActionName, arguments: &Node) -> Vec<Wanted> {
        let policies = self.policies();
        let Some(manifest) =
            policies.set.manifest(tool).filter(|manifest| !manifest.preconditions.is_empty())
        else {
            return Vec::new();
        };
        let Ok(Some(live)) = self.shared.live(session) else { return Vec::new() };
        live.readings.wanted(manifest, arguments, self.now())
    }

    /// Whether the attempt could be allowed or held with some arguments; what fails this is not shown.
    pub fn could_allow(&self, attempt: &Attempt<'_>) -> bool {
        let policies = self.policies();
        let Ok(Some(live)) = self.shared.live(attempt.session) else { return false };
        gather_visible(self, attempt, &live, &policies).is_some_and(|(request, facts)| {
            cordon_pdp::could_allow(&policies.set, &request, &facts, self.now())
        })
    }
}
