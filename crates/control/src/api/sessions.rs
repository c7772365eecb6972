//! Sessions: list, show, contain, release, kill, close.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use cordon_core::{Posture, PostureState, SessionId};
use cordon_workflow::LiftOf;

use super::body::strict;
use super::kills::departed;
use super::{Refusal, Shared, Who};
use crate::view::{ClosedView, ContainView, LiftView, LiftedView, NarrowedView, PostureView, SessionView};

/// Most sessions in one answer.
const MOST: u32 = 1_000;

pub(super) async fn list(State(node): Shared) -> Result<Json<Vec<SessionView>>, Refusal> {
    let guard = node.guard();
    let now = guard.now();
    let sessions = guard.sessions(MOST)?;
    let standings = guard.standings(u32::MAX)?;
    let view = |session| SessionView::new(session, now, standings.get(&session.id));
    Ok(Json(sessions.iter().map(view).collect()))
}

pub(super) async fn show(State(node): Shared, Path(id): Path<String>) -> Result<Json<SessionView>, Refusal> {
    let guard = node.guard();
    let session = guard.session(session_id(&id)?)?;
    let standing = guard.standing(session.id)?;
    Ok(Json(SessionView::new(&session, guard.now(), standing.as_ref())))
}

pub(super) async fn close(State(node): Shared, Path(id): Path<String>) -> Result<Json<ClosedView>, Refusal> {
    let id = session_id(&id)?;
    node.guard().close(id)?;
    Ok(Json(id.into()))
}

pub(super) async fn contain(
    State(node): Shared,
    Extension(who): Who,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<NarrowedView<PostureView>>, Refusal> {
    let id = session_id(&id)?;
    let posture = strict::<ContainView>(&body)?.posture().map_err(Refusal::malformed)?;
    let narrowed = node.guard().contain(id, &posture, &who.name)?;
    Ok(Json(NarrowedView::new(&narrowed, departed(node.guard()).await)))
}

pub(super) async fn kill(
    State(node): Shared,
    Extension(who): Who,
    Path(id): Path<String>,
) -> Result<Json<NarrowedView<PostureView>>, Refusal> {
    let posture = Posture::of_state(PostureState::Terminated);
    let narrowed = node.guard().contain(session_id(&id)?, &posture, &who.name)?;
    Ok(Json(NarrowedView::new(&narrowed, departed(node.guard()).await)))
}

pub(super) async fn release(
    State(node): Shared,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<LiftedView<PostureView>>, Refusal> {
    let of = LiftOf::Session(session_id(&id)?);
    let (lift, signature) = strict::<LiftView>(&body)?.lift(of).map_err(Refusal::malformed)?;
    let (standing, receipt) = node.guard().release(&lift, &signature).await?;
    Ok(Json(LiftedView { lifted: (&standing).into(), entry: (&receipt).into() }))
}

fn session_id(text: &str) -> Result<SessionId, Refusal> {
    text.parse().map_err(|error: cordon_core::InvalidId| Refusal::malformed(error.to_string()))
}
