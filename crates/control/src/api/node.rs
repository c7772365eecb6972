//! The node itself: how it is, its policies, keys and ledger, and decisions for others.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};

use super::{OPENAPI, Refusal, Shared, Who};
use crate::view::{ConsoleView, KeysView, LedgerView, PolicyView, RotatedView, StatusView};

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

pub(super) async fn status(State(node): Shared) -> Json<StatusView> {
    Json(node.status())
}

pub(super) async fn policy(State(node): Shared) -> Json<PolicyView> {
    Json(node.policy())
}

pub(super) async fn reload(State(node): Shared, Extension(who): Who) -> Result<Json<PolicyView>, Refusal> {
    let refused = |why| Refusal::new(StatusCode::CONFLICT, "bundle", why);
    node.reload(&who.name).await.map(Json).map_err(refused)
}

pub(super) async fn keys(State(node): Shared) -> Json<KeysView> {
    Json(node.keys())
}

pub(super) async fn rotate(State(node): Shared) -> Result<Json<RotatedView>, Refusal> {
    node.rotate().await.map(Json).map_err(Refusal::unavailable)
}

pub(super) async fn console(State(node): Shared) -> Result<Json<ConsoleView>, Refusal> {
    node.console().map(Json).map_err(Refusal::unavailable)
}

pub(super) async fn ledger(State(node): Shared) -> Result<Json<LedgerView>, Refusal> {
    node.ledger().await.map(Json).map_err(Refusal::unavailable)
}

pub(super) async fn decide(State(node): Shared, Extension(who): Who, body: Bytes) -> Response {
    let answered = node.decide(&body, &who).await;
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], answered.body).into_response()
}
