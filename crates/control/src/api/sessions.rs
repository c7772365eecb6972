//! Sessions: list, show, close.

use axum::Json;
use axum::extract::{Path, State};
use cordon_core::SessionId;

use super::{Refusal, Shared};
use crate::view::{ClosedView, SessionView};

/// Most sessions in one answer.
const MOST: u32 = 1_000;

pub(super) async fn list(State(node): Shared) -> Result<Json<Vec<SessionView>>, Refusal> {
    let now = node.guard().now();
    let sessions = node.guard().sessions(MOST)?;
    Ok(Json(sessions.iter().map(|session| SessionView::new(session, now)).collect()))
}

pub(super) async fn show(State(node): Shared, Path(id): Path<String>) -> Result<Json<SessionView>, Refusal> {
    let session = node.guard().session(session_id(&id)?)?;
    Ok(Json(SessionView::new(&session, node.guard().now())))
}

pub(super) async fn close(State(node): Shared, Path(id): Path<String>) -> Result<Json<ClosedView>, Refusal> {
    let id = session_id(&id)?;
    node.guard().close(id)?;
    Ok(Json(id.into()))
}

fn session_id(text: &str) -> Result<SessionId, Refusal> {
    text.parse().map_err(|error: cordon_core::InvalidId| Refusal::malformed(error.to_string()))
}
