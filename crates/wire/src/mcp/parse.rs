//! One message: JSON-RPC 2.0 as the Model Context Protocol narrows it, and its exact bytes.

use std::fmt;
use std::hash::{Hash, Hasher};

use cordon_core::json::{self, Node};
use cordon_core::{Digest, ExactBytes, Limits};

use super::canonical;
use super::{Problem, Refusal, Splice};

/// One message with the bytes it came in; what is forwarded is what was judged.
// INVARIANT: `root` is the parse of `bytes`, so every span in it points into them.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    bytes: Box<[u8]>,
    root: Node,
    kind: Kind,
    limits: Limits,
}

/// What kind of message it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Asks for an answer.
    Request {
        /// The id to answer.
        id: RequestId,
        /// The method as sent.
        method: Box<str>,
    },
    /// Asks for nothing.
    Notification {
        /// The method as sent.
        method: Box<str>,
    },
    /// Answers a request.
    Result {
        /// The request's id.
        id: RequestId,
    },
    /// Answers a request with an error.
    Error {
        /// The request's id; nothing where the other side could not read it.
        id: Option<RequestId>,
    },
}

/// A request's id: equal by value, echoed as it was written.
#[derive(Debug, Clone)]
pub struct RequestId {
    value: IdValue,
    raw: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum IdValue {
    Text(Box<str>),
    Whole(i64),
}

/// The members by which a client answers what a server asked for, on the repeated request
/// (multi round-trip requests, 2026-07-28).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry<'m> {
    /// The server's opaque state: passed on unchanged, never shown.
    pub state: Option<&'m str>,
    /// The answers by the server's own keys.
    pub responses: Vec<(&'m str, &'m Node)>,
}

impl Message {
    /// Reads one message that fills the whole of `bytes`.
    pub fn parse(bytes: impl Into<Box<[u8]>>, limits: &Limits) -> Result<Self, Refusal> {
        let bytes = bytes.into();
        let root = json::parse(&bytes, limits).map_err(|error| Refusal::from(Problem::Json(error)))?;
        if matches!(root.kind(), json::Kind::Array(_)) {
            return Err(Problem::Batch.into());
        }
        if !root.is_object() {
            return Err(Problem::NotAnObject.into());
        }
        let id = root.get("id").and_then(|node| RequestId::read(node, &bytes, limits).ok());
        let kind = classify(&root, &bytes, limits).map_err(|problem| Refusal { id, problem })?;
        Ok(Self { bytes, root, kind, limits: *limits })
    }

    /// What kind of message it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The exact bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The exact bytes, given away.
    pub fn into_bytes(self) -> Box<[u8]> {
        self.bytes
    }

    /// The message as a tree of positions in its bytes.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The id of a request or of an answer.
    pub fn id(&self) -> Option<&RequestId> {
        match &self.kind {
            Kind::Request { id, .. } | Kind::Result { id } => Some(id),
            Kind::Error { id } => id.as_ref(),
            Kind::Notification { .. } => None,
        }
    }

    /// The method of a request or a notification.
    pub fn method(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request { method, .. } | Kind::Notification { method } => Some(method),
            Kind::Result { .. } | Kind::Error { .. } => None,
        }
    }

    /// The parameters, if there are any.
    pub fn params(&self) -> Option<&Node> {
        self.root.get("params")
    }

    /// The parameter `name`.
    pub fn param(&self, name: &str) -> Option<&Node> {
        self.params()?.get(name)
    }

    /// The member `key` of `params._meta`.
    pub fn meta(&self, key: &str) -> Option<&Node> {
        self.param("_meta")?.get(key)
    }

    /// The arguments of a `tools/call` or `prompts/get`; `null` counts as none.
    pub fn arguments(&self) -> Option<&Node> {
        self.param("arguments").filter(|node| !node.is_null())
    }

    /// The result that this message answers with.
    pub fn result(&self) -> Option<&Node> {
        self.root.get("result")
    }

    /// The error that this message answers with.
    pub fn error(&self) -> Option<&Node> {
        self.root.get("error")
    }

    /// The token under which the sender wants to hear of progress, as it was written.
    pub fn progress_token(&self) -> Option<&str> {
        let token = self.meta("progressToken")?;
        (token.as_text().is_some() || token.as_i64().is_some()).then(|| self.raw(token))
    }

    /// The text of one of this message's nodes, as it was written.
    pub fn raw(&self, node: &Node) -> &str {
        std::str::from_utf8(node.raw(&self.bytes)).unwrap_or_default()
    }

    /// What a client sends along when it repeats a request that the server wanted input for.
    pub fn retry(&self) -> Option<Retry<'_>> {
        let responses = self.param("inputResponses");
        let state = self.param("requestState");
        if responses.is_none() && state.is_none() {
            return None;
        }
        let responses = responses.map_or(&[][..], Node::members);
        Some(Retry {
            state: state.and_then(Node::as_text),
            responses: responses.iter().map(|(key, node)| (&**key, node)).collect(),
        })
    }

    /// The digest of what the message asks for: method and parameters in canonical form, without
    /// `_meta` and without what answers a server's questions. A repeated request has the digest of
    /// the first, whatever its id.
    pub fn call_digest(&self) -> Digest {
        let mut text = String::from("cordon/call/v1\n");
        text.push_str(self.method().unwrap_or_default());
        text.push('\n');
        if let Some(params) = self.params() {
            text.push_str(&canonical::without(params, &["_meta", "inputResponses", "requestState"]));
        }
        Digest::of(text.as_bytes())
    }

    /// The digest of the arguments in canonical form (names sorted, numbers as written); the same
    /// for no arguments, `null` and `{}`.
    pub fn arguments_digest(&self) -> Digest {
        let arguments = self.arguments().map_or_else(|| "{}".to_owned(), Node::canonical);
        Digest::of(format!("cordon/arguments/v1\n{arguments}").as_bytes())
    }

    /// Paths of objects in the parameters in which two names differ only by letter case: a reader
    /// that ignores case (Go's `encoding/json` does) sees one value where others see another.
    pub fn look_alikes(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(params) = self.params() {
            canonical::look_alikes(params, "/params", &mut found);
        }
        found
    }

    /// The message with some of its bytes replaced, read again.
    pub fn spliced(&self, splice: &Splice) -> Result<Self, Refusal> {
        Self::parse(splice.apply(&self.bytes), &self.limits)
    }

    /// The message with another id; every other byte stays.
    pub fn with_id(&self, id: &RequestId) -> Result<Self, Refusal> {
        let node = self.root.get("id").ok_or(Problem::Rewrite("there is no `id` to replace"))?;
        self.spliced(&Splice::new().replace(node.span(), id.as_json()))
    }

    /// The message with another progress token, given as JSON; every other byte stays.
    pub fn with_progress_token(&self, token: &str) -> Result<Self, Refusal> {
        let node = self
            .meta("progressToken")
            .or_else(|| self.param("progressToken"))
            .ok_or(Problem::Rewrite("there is no `progressToken` to replace"))?;
        self.spliced(&Splice::new().replace(node.span(), token))
    }

    /// The message with another `params.name`; every other byte stays.
    pub fn with_name(&self, name: &str) -> Result<Self, Refusal> {
        let node = self.param("name").ok_or(Problem::Rewrite("there is no `params.name` to replace"))?;
        self.spliced(&Splice::new().replace(node.span(), json::quote(name)))
    }

    /// The same message without line breaks, as the stdio transport needs it. Line breaks stand only
    /// between tokens, so each becomes one space and every position stays.
    #[must_use]
    pub fn on_one_line(mut self) -> Self {
        for byte in &mut self.bytes {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        self
    }
}

impl ExactBytes for Message {
    fn exact_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Shows the kind and the size, never the content.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl RequestId {
    /// The id that is the whole number `value`.
    pub fn whole(value: i64) -> Self {
        Self { value: IdValue::Whole(value), raw: value.to_string().into() }
    }

    /// The id that is the text `value`.
    pub fn text(value: &str) -> Self {
        Self { value: IdValue::Text(value.into()), raw: json::quote(value).into() }
    }

    /// The id as JSON, as it was written.
    pub fn as_json(&self) -> &str {
        &self.raw
    }

    pub(super) fn read(node: &Node, bytes: &[u8], limits: &Limits) -> Result<Self, Problem> {
        let raw = std::str::from_utf8(node.raw(bytes)).unwrap_or_default();
        let value = match (node.as_text(), node.as_i64()) {
            // The written form is bounded too: `\u0061` is six bytes for one.
            (Some(text), _) if raw.len() <= limits.name_bytes_max => Some(IdValue::Text(text.into())),
            (None, Some(whole)) => Some(IdValue::Whole(whole)),
            _ => None,
        };
        value.map(|value| Self { value, raw: raw.into() }).ok_or_else(|| Problem::Id {
            max: limits.name_bytes_max,
            got: raw.chars().take(40).collect::<String>().into(),
        })
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
impl Eq for RequestId {}
impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

const ENVELOPE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

/// Names of parameters that decide what a message does, in any method.
const PARAMS: &[&str] = &[
    "_meta",
    "name",
    "uri",
    "arguments",
    "ref",
    "argument",
    "context",
    "cursor",
    "task",
    "taskId",
    "requestId",
    "progressToken",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "level",
    "notifications",
    "inputRequests",
    "inputResponses",
    "requestState",
    "mode",
    "url",
    "message",
    "messages",
    "systemPrompt",
    "tools",
    "includeContext",
    "requestedSchema",
];

/// Names in a result that decide what happens next, or what a model sees.
const RESULT: &[&str] = &[
    "_meta",
    "resultType",
    "inputRequests",
    "requestState",
    "task",
    "taskId",
    "status",
    "result",
    "error",
    "content",
    "structuredContent",
    "isError",
    "contents",
    "messages",
    "tools",
    "resources",
    "resourceTemplates",
    "prompts",
    "capabilities",
    "instructions",
];

fn classify(root: &Node, bytes: &[u8], limits: &Limits) -> Result<Kind, Problem> {
    canonical::letter_case(root, ENVELOPE)?;
    match root.get("jsonrpc") {
        Some(node) if node.as_text() == Some("2.0") => {}
        Some(node) => {
            return Err(Problem::JsonRpc(node.to_string().chars().take(40).collect::<String>().into()));
        }
        None => return Err(Problem::JsonRpc("nothing".into())),
    }
    let id = || match root.get("id") {
        Some(node) => RequestId::read(node, bytes, limits),
        None => Err(Problem::Id { max: limits.name_bytes_max, got: "nothing".into() }),
    };
    match (root.get("method"), root.get("result"), root.get("error")) {
        (Some(method), None, None) => {
            let method = method_text(method, limits)?;
            root.get("params").map_or(Ok(()), check_params)?;
            match root.get("id") {
                None => Ok(Kind::Notification { method }),
                Some(_) => Ok(Kind::Request { id: id()?, method }),
            }
        }
        (None, Some(result), None) => {
            check_result(result)?;
            no_params(root)?;
            Ok(Kind::Result { id: id()? })
        }
        (None, None, Some(error)) => {
            check_error(error)?;
            no_params(root)?;
            // Only the error for a message whose id could not be read has none.
            let id = root.get("id").filter(|node| !node.is_null()).map(|_| id()).transpose()?;
            Ok(Kind::Error { id })
        }
        (None, None, None) => Err(Problem::Shape("none of them")),
        (None, Some(_), Some(_)) => Err(Problem::Shape("both `result` and `error`")),
        (Some(_), _, _) => Err(Problem::Shape("`method` beside `result` or `error`")),
    }
}

fn method_text(node: &Node, limits: &Limits) -> Result<Box<str>, Problem> {
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    match node.as_text() {
        Some(text) if text.len() <= limits.name_bytes_max && visible(text) => Ok(text.into()),
        _ => Err(Problem::Method(limits.name_bytes_max)),
    }
}

/// Whether parameters, of a message or of an embedded request, can be read in one way only.
pub(super) fn check_params(params: &Node) -> Result<(), Problem> {
    if !params.is_object() {
        return Err(Problem::Type { name: "params", expected: "an object" });
    }
    canonical::letter_case(params, PARAMS)?;
    match params.get("_meta") {
        Some(meta) if !meta.is_object() && !meta.is_null() => {
            Err(Problem::Type { name: "params._meta", expected: "an object" })
        }
        Some(meta) => canonical::letter_case(meta, &["progressToken", super::era::VERSION_KEY]),
        None => Ok(()),
    }
}

fn no_params(root: &Node) -> Result<(), Problem> {
    match root.get("params") {
        Some(_) => Err(Problem::Shape("`params` beside `result` or `error`")),
        None => Ok(()),
    }
}

fn check_result(result: &Node) -> Result<(), Problem> {
    if !result.is_object() {
        return Err(Problem::Type { name: "result", expected: "an object" });
    }
    canonical::letter_case(result, RESULT)
}

fn check_error(error: &Node) -> Result<(), Problem> {
    canonical::letter_case(error, &["code", "message", "data"])?;
    if error.get("code").and_then(Node::as_i64).is_none() {
        return Err(Problem::Type { name: "error.code", expected: "a whole number" });
    }
    match error.get("message").and_then(Node::as_text) {
        Some(_) => Ok(()),
        None => Err(Problem::Type { name: "error.message", expected: "text" }),
    }
}
