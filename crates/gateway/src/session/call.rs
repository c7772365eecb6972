//! The bodies of a call and of its result.

use cordon_core::json::Node;
use cordon_core::{ActionName, CallId};
use cordon_guard::{ResultKind, ResultSeen, Trace};

use super::opening::{InvalidBody, known, malformed, member, text};

/// One call that an enforcement point asks about.
#[derive(Debug)]
pub(super) struct Called<'b> {
    pub(super) tool: ActionName,
    pub(super) arguments: &'b Node,
    pub(super) confidence: Option<u16>,
    pub(super) trace: Trace,
}

/// What came of a call that the enforcement point ran.
#[derive(Debug)]
pub(super) struct Returned<'b> {
    pub(super) call: CallId,
    pub(super) seen: ResultSeen<'b>,
}

/// Reads `{tool, arguments, confidence?, traceparent?}`.
pub(super) fn call(body: &Node) -> Result<Called<'_>, InvalidBody> {
    known(body, &["arguments", "confidence", "tool", "traceparent"])?;
    let tool = text(body, "tool")?.and_then(|name| name.parse().ok());
    let Some(tool) = tool else { return malformed("tool", "a name such as `mail/send`") };
    let arguments = body.get("arguments").filter(|node| node.is_object());
    let Some(arguments) = arguments else { return malformed("arguments", "an object") };
    let confidence = match member(body, "confidence") {
        None => None,
        Some(node) => match node.as_i64().and_then(|value| u16::try_from(value).ok()) {
            Some(value) if value <= 1_000 => Some(value),
            _ => return malformed("confidence", "a whole number from 0 to 1000"),
        },
    };
    let trace = match text(body, "traceparent")? {
        None => Trace::default(),
        Some(text) => match Trace::parse(&text) {
            Some(trace) => trace,
            None => return malformed("traceparent", "a traceparent of version 00 (W3C Trace Context)"),
        },
    };
    Ok(Called { tool, arguments, confidence, trace })
}

/// Reads `{call, content | structured, is_error?}`; `bytes` is the body that `node` was read from.
pub(super) fn result<'b>(node: &'b Node, bytes: &'b [u8]) -> Result<Returned<'b>, InvalidBody> {
    known(node, &["call", "content", "is_error", "structured"])?;
    let call = text(node, "call")?.and_then(|id| id.parse().ok());
    let Some(call) = call else { return malformed("call", "the name of a call") };
    let is_error = match member(node, "is_error") {
        None => false,
        Some(flag) => match flag.as_bool() {
            Some(flag) => flag,
            None => return malformed("is_error", "true or false"),
        },
    };
    let (content, structured) = (node.get("content"), node.get("structured"));
    let part = match (content, structured) {
        (Some(part), None) | (None, Some(part)) => part,
        _ => return malformed("content", "either `content` or `structured`"),
    };
    let seen = ResultSeen { bytes: part.raw(bytes), structured, kind: ResultKind::of(is_error) };
    Ok(Returned { call, seen })
}
