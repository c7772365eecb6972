//! An answer over HTTP, apart from the transport.

use cordon_core::json::quote;

/// An HTTP status and a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200 for every judgement.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A refusal to judge: `{"error": {"code", "message"}}`.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(r#"{{"error":{{"code":{},"message":{}}}}}"#, quote(code), quote(message));
        Self { status, body }
    }
}
