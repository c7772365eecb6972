//! Held calls: list, show, and count a signed answer.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use cordon_core::ApprovalId;

use super::body::strict;
use super::{Refusal, Shared};
use crate::view::{AnsweredView, ApprovalView, BallotView};

/// Most approvals in one answer.
const MOST: u32 = 1_000;

pub(super) async fn list(State(node): Shared) -> Result<Json<Vec<ApprovalView>>, Refusal> {
    let approvals = node.guard().approvals(MOST)?;
    Ok(Json(approvals.iter().map(|(approval, shown)| ApprovalView::new(approval, shown)).collect()))
}

pub(super) async fn show(State(node): Shared, Path(id): Path<String>) -> Result<Json<ApprovalView>, Refusal> {
    let (approval, shown) = node.guard().approval(approval_id(&id)?)?;
    Ok(Json(ApprovalView::new(&approval, &shown)))
}

pub(super) async fn answer(
    State(node): Shared,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<AnsweredView>, Refusal> {
    let ballot: BallotView = strict(&body)?;
    let (ballot, signature) = ballot.ballot(approval_id(&id)?).map_err(Refusal::malformed)?;
    let (approval, receipt) = node.guard().answer(&ballot, &signature).await?;
    let (_, shown) = node.guard().approval(approval.terms.id)?;
    Ok(Json(AnsweredView {
        approval: ApprovalView::new(&approval, &shown),
        entry: receipt.as_ref().map(Into::into),
    }))
}

fn approval_id(text: &str) -> Result<ApprovalId, Refusal> {
    text.parse().map_err(|error: cordon_core::InvalidId| Refusal::malformed(error.to_string()))
}
