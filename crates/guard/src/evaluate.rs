//! Decisions that run nothing: for decision points of others, and for what a caller may see.

use std::collections::BTreeSet;

use cordon_core::{Judgement, Request};
use cordon_ledger::{Level, Receipt};

use crate::attempt::Attempt;
use crate::authorize::gather_visible;
use crate::guard::{Guard, GuardError};
use crate::record;
use crate::shadow;

/// A recorded judgement that hands out nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated {
    /// The full answer.
    pub judgement: Judgement,
    /// Its record.
    pub receipt: Receipt,
}

impl Guard {
    /// Judges and records a request of somebody else's enforcement point, which can carry out the
    /// `supported` obligations.
    pub async fn evaluate(
        &self,
        request: &Request,
        supported: BTreeSet<&'static str>,
    ) -> Result<Evaluated, GuardError> {
        let now = self.now();
        let policies = self.policies();
        let kills = self.shared.kills.covering(request);
        let facts = cordon_core::Facts { supported, kills, ..cordon_core::Facts::default() };
        let judgement = cordon_pdp::decide(&policies.set, request, &facts, now);
        let shadow = shadow::judge(&self.shared, request, &facts, now);
        let asked = record::Asked { request, facts: &facts, arguments: None, now, shadow: shadow.as_ref() };
        let draft = record::evaluated(&self.shared, &policies, asked, &judgement);
        let receipt = self.shared.ledger.append(draft, Level::Durable).await?;
        Ok(Evaluated { judgement, receipt })
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
