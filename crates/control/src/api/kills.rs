//! Kill switches: list, turn, lift, load a bundle.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use cordon_core::KillId;
use cordon_guard::Guard;
use cordon_workflow::LiftOf;

use super::body::strict;
use super::{Refusal, Shared, Who};
use crate::view::{
    KillBundleView, KillOrderView, KillView, KillsLoadedView, LiftView, LiftedView, NarrowedView,
};

/// How long an answer waits for calls that are just leaving; the narrowing itself waits for nothing.
const DEPARTURE_MAX: Duration = Duration::from_millis(5);

pub(super) async fn list(State(node): Shared) -> Json<Vec<KillView>> {
    Json(node.guard().kills().iter().map(Into::into).collect())
}

pub(super) async fn kill(
    State(node): Shared,
    Extension(who): Who,
    body: Bytes,
) -> Result<Json<NarrowedView<KillView>>, Refusal> {
    let order = strict::<KillOrderView>(&body)?.order().map_err(Refusal::malformed)?;
    let narrowed = node.guard().kill(order, &who.name)?;
    Ok(Json(NarrowedView::new(&narrowed, departed(node.guard()).await)))
}

pub(super) async fn lift(
    State(node): Shared,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<LiftedView<KillView>>, Refusal> {
    let id: KillId =
        id.parse().map_err(|error: cordon_core::InvalidId| Refusal::malformed(error.to_string()))?;
    let (lift, signature) = strict::<LiftView>(&body)?.lift(LiftOf::Kill(id)).map_err(Refusal::malformed)?;
    let (kill, receipt) = node.guard().unkill(&lift, &signature).await?;
    Ok(Json(LiftedView { lifted: (&kill).into(), entry: (&receipt).into() }))
}

pub(super) async fn load(State(node): Shared, body: Bytes) -> Result<Json<KillsLoadedView>, Refusal> {
    let bundle: KillBundleView = strict(&body)?;
    Ok(Json(node.load_kills(bundle).await?))
}

/// Whether every call that was just leaving has left.
pub(super) async fn departed(guard: &Guard) -> bool {
    tokio::time::timeout(DEPARTURE_MAX, guard.departed()).await.is_ok()
}
