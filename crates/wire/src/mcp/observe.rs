//! Every text in a message that a model could come to see.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cordon_core::Digest;
use cordon_core::json::{Kind as Json, Node};

use super::{Kind, Message};

/// What part of a message a text stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextKind {
    /// Text meant to be read: content, prompt messages, resource text.
    Content,
    /// A value inside structured content.
    Structured,
    /// A value inside `_meta`.
    Meta,
    /// A name of a member that the protocol does not define.
    Name,
    /// A URI.
    Uri,
    /// Base64: an image, a sound, a file.
    Blob,
    /// An error's message or data.
    Error,
    /// A name, title, description, instruction or schema text of something offered.
    Description,
    /// Anything else.
    Other,
}

/// One text and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed<'m> {
    /// Where, as a JSON Pointer (RFC 6901) into the message.
    pub path: &'m str,
    /// The text, decoded from JSON.
    pub text: &'m str,
    /// What part of the message it stands in.
    pub kind: TextKind,
}

impl Observed<'_> {
    /// The bytes behind a blob; nothing for any other text, or where it is not base64.
    pub fn decoded(&self) -> Option<Vec<u8>> {
        (self.kind == TextKind::Blob).then(|| STANDARD.decode(self.text).ok()).flatten()
    }
}

/// Calls `see` with every text and every undefined member name in `message` (its result, its error
/// or its parameters), in order, and gives the digest of the exact bytes.
pub fn observe(message: &Message, mut see: impl FnMut(Observed<'_>)) -> Digest {
    let (root, start, kind) = match message.kind() {
        Kind::Result { .. } => (message.result(), "/result", TextKind::Other),
        Kind::Error { .. } => (message.error(), "/error", TextKind::Error),
        Kind::Request { .. } | Kind::Notification { .. } => (message.params(), "/params", TextKind::Other),
    };
    if let Some(root) = root {
        let mut walk = Walk { path: start.to_owned(), see: &mut see };
        walk.value(root, kind);
    }
    // Members that the protocol does not define stand in the bytes that are passed on.
    for (name, node) in message.root().members() {
        if !["jsonrpc", "id", "method", "params", "result", "error"].contains(&&**name) {
            let mut walk = Walk { path: format!("/{}", escape(name)), see: &mut see };
            walk.name(name);
            walk.value(node, TextKind::Other);
        }
    }
    Digest::of(message.bytes())
}

/// Every text in `message`, joined to owned values; for callers that need them more than once.
pub fn texts(message: &Message) -> Vec<(String, String, TextKind)> {
    let mut found = Vec::new();
    observe(message, |seen| found.push((seen.path.to_owned(), seen.text.to_owned(), seen.kind)));
    found
}

/// A member name as a JSON Pointer token.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Member names that the protocol defines, in any result, content block, item or error.
// INVARIANT: sorted, so that a name is found by halving.
const DEFINED: &[&str] = &[
    "_meta",
    "action",
    "annotations",
    "arguments",
    "audience",
    "blob",
    "cacheScope",
    "capabilities",
    "code",
    "completion",
    "content",
    "contents",
    "createdAt",
    "cursor",
    "data",
    "description",
    "error",
    "hasMore",
    "icons",
    "inputRequests",
    "inputSchema",
    "instructions",
    "isError",
    "lastModified",
    "lastUpdatedAt",
    "level",
    "logger",
    "message",
    "messages",
    "method",
    "mimeType",
    "mode",
    "model",
    "name",
    "nextCursor",
    "notifications",
    "outputSchema",
    "params",
    "pollInterval",
    "pollIntervalMs",
    "priority",
    "progress",
    "progressToken",
    "prompts",
    "protocolVersion",
    "reason",
    "requestId",
    "requestState",
    "requestedSchema",
    "required",
    "resource",
    "resourceTemplates",
    "resources",
    "result",
    "resultType",
    "role",
    "roots",
    "serverInfo",
    "size",
    "sizes",
    "src",
    "status",
    "statusMessage",
    "stopReason",
    "structuredContent",
    "supportedVersions",
    "systemPrompt",
    "task",
    "taskId",
    "text",
    "theme",
    "title",
    "tools",
    "total",
    "ttl",
    "ttlMs",
    "type",
    "uri",
    "uriTemplate",
    "url",
    "values",
    "version",
];

struct Walk<'s> {
    path: String,
    see: &'s mut dyn FnMut(Observed<'_>),
}

impl Walk<'_> {
    fn value(&mut self, node: &Node, kind: TextKind) {
        match node.kind() {
            Json::Text(text) => (self.see)(Observed { path: &self.path, text, kind }),
            Json::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    self.within(&n.to_string(), |walk| walk.value(item, kind));
                }
            }
            Json::Object(members) => {
                for (name, member) in members {
                    self.within(&escape(name), |walk| {
                        if matches!(kind, TextKind::Structured | TextKind::Meta)
                            || DEFINED.binary_search(&&**name).is_err()
                        {
                            walk.name(name);
                        }
                        walk.value(member, inner(kind, name));
                    });
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    fn name(&mut self, name: &str) {
        (self.see)(Observed { path: &self.path, text: name, kind: TextKind::Name });
    }

    fn within(&mut self, token: &str, then: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(token);
        then(self);
        self.path.truncate(length);
    }
}

/// What the member `name` of a value of kind `outer` is. Nothing leaves structured content, `_meta`
/// or an error by being called something else.
fn inner(outer: TextKind, name: &str) -> TextKind {
    match (outer, name) {
        (TextKind::Structured | TextKind::Meta | TextKind::Error, _) => outer,
        (_, "_meta") => TextKind::Meta,
        (_, "structuredContent") => TextKind::Structured,
        (_, "error") => TextKind::Error,
        (_, "text" | "message" | "systemPrompt" | "statusMessage" | "values" | "reason") => TextKind::Content,
        (_, "uri" | "url" | "uriTemplate" | "src") => TextKind::Uri,
        (_, "blob" | "data") => TextKind::Blob,
        (
            _,
            "name" | "title" | "description" | "instructions" | "inputSchema" | "outputSchema"
            | "requestedSchema",
        ) => TextKind::Description,
        (TextKind::Description, _) => TextKind::Description,
        _ => TextKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defined_names_are_sorted_and_distinct() {
        assert!(DEFINED.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
