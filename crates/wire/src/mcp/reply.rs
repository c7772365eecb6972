//! What a door answers by itself: refusals, denials, held calls, progress.

use cordon_core::json::quote;
use cordon_core::{Digest, Reason, Verdict};

use super::{Era, Refusal, RequestId, Version};

/// The bytes are not JSON (JSON-RPC 2.0).
pub const PARSE_ERROR: i64 = -32700;
/// The value is not a message (JSON-RPC 2.0).
pub const INVALID_REQUEST: i64 = -32600;
/// There is no such method (JSON-RPC 2.0).
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters do not fit the method (JSON-RPC 2.0).
pub const INVALID_PARAMS: i64 = -32602;
/// Something broke on this side (JSON-RPC 2.0).
pub const INTERNAL_ERROR: i64 = -32603;
/// A header contradicts the body (MCP 2026-07-28).
pub const HEADER_MISMATCH: i64 = -32020;
/// The client lacks a capability that the request needs (MCP 2026-07-28).
pub const MISSING_CAPABILITY: i64 = -32021;
/// The protocol version is not spoken here (MCP 2026-07-28).
pub const UNSUPPORTED_VERSION: i64 = -32022;

// MCP keeps -32020 to -32099 for itself and asks newcomers to leave -32000 to -32019 alone; JSON-RPC
// leaves everything outside of -32768 to -32000 to applications.

/// Cordon refused the action.
pub const DENIED: i64 = -31403;
/// The action waits for a person; the data names the approval.
pub const HELD: i64 = -31428;
/// The server did not answer as it should: too late, too much, not at all, or not understandable.
pub const UPSTREAM: i64 = -31502;
/// Cordon could not judge or record the action, so it did not happen.
pub const UNAVAILABLE: i64 = -31503;

/// Why a call may not run, or not yet, in the words that a model and a program can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial<'a> {
    /// One paragraph: what was refused, by which rule, what would make it possible, which record.
    pub text: &'a str,
    /// Deny, or ask while it is held.
    pub verdict: Verdict,
    /// The action, such as `mail/send`.
    pub action: &'a str,
    /// The rules that made it so.
    pub reasons: &'a [Reason],
    /// The policy bundle that was asked.
    pub bundle: Option<Digest>,
    /// The ledger record, where there is one.
    pub entry: Option<Entry<'a>>,
    /// The approval that a held call waits for.
    pub approval: Option<Approval<'a>>,
}

/// A ledger record as answers name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The record's identifier.
    pub id: &'a str,
    /// How safe it is: `accepted`, `durable`, ….
    pub level: &'a str,
    /// Its place in the log, once it has one.
    pub index: Option<u64>,
}

/// An approval that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approval<'a> {
    /// Its identifier.
    pub id: &'a str,
    /// When it ends (RFC 3339).
    pub expires: &'a str,
}

/// The error that answers the message behind `refusal`.
pub fn refused(refusal: &Refusal) -> Vec<u8> {
    let data = match &refusal.problem {
        super::Problem::UnsupportedVersion { requested } => {
            let supported: Vec<_> =
                Version::ALL.iter().rev().map(|version| quote(version.as_str())).collect();
            Some(format!(r#"{{"supported":[{}],"requested":{}}}"#, supported.join(","), quote(requested)))
        }
        _ => None,
    };
    error(refusal.id.as_ref(), refusal.code(), &refusal.to_string(), data.as_deref())
}

/// A JSON-RPC error; `data` is JSON. The answer to a message whose id could not be read has none
/// (2025-11-25 and later; readers that know the schema refuse `null`).
pub fn error(id: Option<&RequestId>, code: i64, message: &str, data: Option<&str>) -> Vec<u8> {
    let id = id.map(|id| format!(r#""id":{id},"#)).unwrap_or_default();
    let data = data.map(|data| format!(r#","data":{data}"#)).unwrap_or_default();
    format!(r#"{{"jsonrpc":"2.0",{id}"error":{{"code":{code},"message":{}{data}}}}}"#, quote(message))
        .into_bytes()
}

/// A JSON-RPC result; `result` is JSON.
pub fn result(id: &RequestId, result: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into_bytes()
}

/// The error that answers a denied or held call.
pub fn denied(id: &RequestId, denial: &Denial<'_>) -> Vec<u8> {
    let code = if denial.verdict == Verdict::Ask { HELD } else { DENIED };
    error(Some(id), code, denial.text, Some(&denial.data()))
}

/// The same as a tool's own answer with `isError`, for clients that show a model no errors; only for
/// `tools/call`.
pub fn denied_as_result(id: &RequestId, denial: &Denial<'_>, era: Era) -> Vec<u8> {
    let kind = match era {
        Era::Modern => r#""resultType":"complete","#,
        Era::Legacy => "",
    };
    let body = format!(
        r#"{{{kind}"content":[{{"type":"text","text":{}}}],"isError":true,"_meta":{{"cordon.dev/denial":{}}}}}"#,
        quote(denial.text),
        denial.data()
    );
    result(id, &body)
}

/// A progress notification under `token`, which is JSON as the client wrote it.
pub fn progress(token: &str, progress: u64, total: Option<u64>, message: &str) -> Vec<u8> {
    let total = total.map(|total| format!(r#","total":{total}"#)).unwrap_or_default();
    notification(
        "notifications/progress",
        &format!(r#"{{"progressToken":{token},"progress":{progress}{total},"message":{}}}"#, quote(message)),
    )
}

/// The notification by which an upstream is told that nobody waits for its answer any more.
pub fn cancelled(id: &RequestId, reason: &str) -> Vec<u8> {
    notification("notifications/cancelled", &format!(r#"{{"requestId":{id},"reason":{}}}"#, quote(reason)))
}

/// A notification; `params` is JSON.
pub fn notification(method: &str, params: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","method":{},"params":{params}}}"#, quote(method)).into_bytes()
}

impl Denial<'_> {
    /// The denial as JSON, for programs.
    pub fn data(&self) -> String {
        let reasons: Vec<_> = self.reasons.iter().map(reason).collect();
        let mut data = format!(
            r#"{{"verdict":"{}","action":{},"reasons":[{}]"#,
            self.verdict,
            quote(self.action),
            reasons.join(",")
        );
        if let Some(bundle) = &self.bundle {
            data.push_str(&format!(r#","bundle":"{bundle}""#));
        }
        if let Some(Entry { id, level, index }) = self.entry {
            let index = index.map(|index| format!(r#","index":{index}"#)).unwrap_or_default();
            data.push_str(&format!(r#","entry":{{"id":{},"level":{}{index}}}"#, quote(id), quote(level)));
        }
        if let Some(Approval { id, expires }) = self.approval {
            data.push_str(&format!(r#","approval":{{"id":{},"expires":{}}}"#, quote(id), quote(expires)));
        }
        data.push('}');
        data
    }
}

fn reason(reason: &Reason) -> String {
    let mut text = format!(
        r#"{{"kind":"{}","rule":{},"file":{},"line":{},"message":{}"#,
        reason.kind.as_str(),
        quote(&reason.rule.rule),
        quote(&reason.rule.file),
        reason.rule.line,
        quote(&reason.message)
    );
    if let Some(principal) = reason.principal {
        text.push_str(&format!(r#","principal":"{}""#, principal.as_str()));
    }
    if let Some(remedy) = &reason.remedy {
        text.push_str(&format!(r#","remedy":{}"#, quote(remedy)));
    }
    text.push('}');
    text
}
