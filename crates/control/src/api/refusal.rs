//! Why a request was not carried out, as `{"error": {"code", "message"}}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cordon_guard::GuardError;
use serde_json::json;

use crate::CallerRole;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    /// A refusal with this status, stable code and text.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// Nobody says who calls.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "send `Authorization: Bearer` with a token of this node",
        )
    }

    /// The caller may not do this.
    pub fn role(have: CallerRole, least: CallerRole) -> Self {
        let message =
            format!("this needs the role `{}`, and the caller has `{}`", least.as_str(), have.as_str());
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// The request cannot be understood.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "malformed", message)
    }

    /// Something the node needs does not work.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }
}

impl From<GuardError> for Refusal {
    fn from(error: GuardError) -> Self {
        let (status, code) = match &error {
            GuardError::Store(_) | GuardError::Ledger(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            GuardError::KillsNotLifted(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            GuardError::UnknownSession(_)
            | GuardError::UnknownApproval(_)
            | GuardError::UnknownTool(_)
            | GuardError::UnknownKill(_)
            | GuardError::NotContained(_) => (StatusCode::NOT_FOUND, "unknown"),
            GuardError::Ballot(_) => (StatusCode::FORBIDDEN, "ballot"),
            GuardError::Binding(_)
            | GuardError::Unchanged { .. }
            | GuardError::LiftBinding
            | GuardError::KillOfBundle(_)
            | GuardError::Terminated(_) => (StatusCode::CONFLICT, "conflict"),
            GuardError::TooManySessions(_) | GuardError::TooManyKills(_) | GuardError::TooManyWaiting(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "limit")
            }
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "malformed"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        (self.status, Json(body)).into_response()
    }
}
