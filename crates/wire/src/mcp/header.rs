//! The HTTP headers that repeat what a body says (Streamable HTTP, 2026-07-28, "Request Metadata"):
//! checked against the body, and made anew when a body was rewritten.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cordon_core::json::{Kind as Json, Node, fold};

use super::era::VERSION_KEY;
use super::{Era, Kind, Message, Method, Problem, Refusal};

/// The protocol version.
pub const VERSION: &str = "MCP-Protocol-Version";
/// The method.
pub const METHOD: &str = "Mcp-Method";
/// The tool, prompt, resource or task.
pub const NAME: &str = "Mcp-Name";
/// Before the name of a header that repeats an argument.
pub const PARAM_PREFIX: &str = "Mcp-Param-";

const BASE64_PREFIX: &str = "=?base64?";
const BASE64_SUFFIX: &str = "?=";
/// Whole numbers that every JSON reader keeps exactly.
const SAFE_WHOLE_MAX: u64 = (1 << 53) - 1;

/// An argument that a tool's schema wants repeated in a header (`x-mcp-header`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// The header's name after `Mcp-Param-`.
    pub header: Box<str>,
    /// The names that lead from the arguments to the value.
    pub path: Vec<Box<str>>,
}

/// A schema asks for a header in a way that it may not; the tool is not to be offered over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`x-mcp-header` at `{at}`: {problem}")]
pub struct InvalidMirror {
    at: Box<str>,
    problem: &'static str,
}

/// Whether the headers of a request or notification agree with its body.
///
/// Modern requests need `MCP-Protocol-Version`, `Mcp-Method` and, where the method has a name,
/// `Mcp-Name`; every mirrored argument that has a value needs its header, and one without a value
/// must have none. In the legacy era these headers mean nothing to a server, so they may be absent,
/// and one that contradicts the body is refused. A header that occurs twice is refused.
pub fn check(
    message: &Message,
    era: Era,
    headers: &[(&str, &[u8])],
    mirrored: &[Mirrored],
) -> Result<(), Refusal> {
    agree(message, era, headers, mirrored)
        .map_err(|text| Refusal { id: message.id().cloned(), problem: Problem::Header(text.into()) })
}

fn agree(
    message: &Message,
    era: Era,
    headers: &[(&str, &[u8])],
    mirrored: &[Mirrored],
) -> Result<(), String> {
    let Some(method) = message.method() else { return Ok(()) };
    let needed = era == Era::Modern && matches!(message.kind(), Kind::Request { .. });
    if let Some(version) = message.meta(VERSION_KEY).and_then(Node::as_text) {
        compare(VERSION, plain(headers, VERSION)?, version, needed)?;
    } else if needed {
        return Err(format!("the body has no `_meta[\"{VERSION_KEY}\"]` to agree with `{VERSION}`"));
    }
    compare(METHOD, plain(headers, METHOD)?, method, needed)?;
    let source = Source::of(Method::named(method));
    match message.params().and_then(|params| source.value(params)) {
        Some(name) => compare(NAME, decoded(headers, NAME)?, name, needed && source.is_required())?,
        None if single(headers, NAME)?.is_some() => {
            return Err(format!("`{NAME}` is given and the body names nothing"));
        }
        None => {}
    }
    if Method::named(method) == Method::CallTool {
        for mirror in mirrored {
            mirror.agree(message, headers, era)?;
        }
    }
    Ok(())
}

/// The standard headers of a request or notification, made from its body; for a rewritten message.
pub fn standard(message: &Message, mirrored: &[Mirrored]) -> Vec<(String, String)> {
    let Some(method) = message.method() else { return Vec::new() };
    let mut headers = Vec::new();
    if let Some(version) = message.meta(VERSION_KEY).and_then(Node::as_text) {
        headers.push((VERSION.to_owned(), encode(version)));
    }
    headers.push((METHOD.to_owned(), method.to_owned()));
    let known = Method::named(method);
    if let Some(name) = message.params().and_then(|params| Source::of(known).value(params)) {
        headers.push((NAME.to_owned(), encode(name)));
    }
    if known == Method::CallTool {
        headers.extend(mirrored.iter().filter_map(|mirror| {
            let text = value_text(mirror.value(message)?)?;
            Some((format!("{PARAM_PREFIX}{}", mirror.header), encode(&text)))
        }));
    }
    headers
}

/// A value as a header carries it: as it is where that is safe, else in base64 between markers.
pub fn encode(value: &str) -> String {
    let safe = value.bytes().all(|b| b == b'\t' || (0x20..=0x7e).contains(&b));
    let marked = value.starts_with(BASE64_PREFIX) && value.ends_with(BASE64_SUFFIX);
    if safe && !marked && !value.is_empty() && value.trim_matches([' ', '\t']) == value {
        value.to_owned()
    } else {
        format!("{BASE64_PREFIX}{}{BASE64_SUFFIX}", STANDARD.encode(value))
    }
}

/// The value that a header carries; nothing where it has characters that a header may not have, or
/// base64 that is none.
pub fn decode(value: &[u8]) -> Option<String> {
    let text = visible(value)?;
    match text.strip_prefix(BASE64_PREFIX).and_then(|rest| rest.strip_suffix(BASE64_SUFFIX)) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(text.to_owned()),
    }
}

/// Which parameter `Mcp-Name` repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Name,
    Uri,
    Task,
    Any,
}

impl Source {
    const fn of(method: Method) -> Self {
        match method {
            Method::CallTool | Method::GetPrompt => Self::Name,
            Method::ReadResource => Self::Uri,
            Method::GetTask | Method::UpdateTask | Method::CancelTask => Self::Task,
            _ => Self::Any,
        }
    }

    /// Whether the core specification requires it; the tasks extension asks clients for it.
    const fn is_required(self) -> bool {
        matches!(self, Self::Name | Self::Uri)
    }

    fn value(self, params: &Node) -> Option<&str> {
        let text = |name| params.get(name).and_then(Node::as_text);
        match self {
            Self::Name => text("name"),
            Self::Uri => text("uri"),
            Self::Task => text("taskId"),
            Self::Any => text("name").or_else(|| text("uri")),
        }
    }
}

fn compare(header: &str, got: Option<String>, want: &str, needed: bool) -> Result<(), String> {
    let cut = |text: &str| text.chars().take(80).collect::<String>();
    match got {
        Some(got) if got == want => Ok(()),
        Some(got) => Err(format!("`{header}` is `{}` and the body says `{}`", cut(&got), cut(want))),
        None if needed => Err(format!("`{header}` is missing and the body says `{}`", cut(want))),
        None => Ok(()),
    }
}

/// The value of the header `name`, which may occur once at most.
fn single<'h>(headers: &[(&str, &'h [u8])], name: &str) -> Result<Option<&'h [u8]>, String> {
    let mut values =
        headers.iter().filter(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
    let value = values.next();
    if values.next().is_some() { Err(format!("`{name}` occurs twice")) } else { Ok(value) }
}

fn plain(headers: &[(&str, &[u8])], name: &str) -> Result<Option<String>, String> {
    single(headers, name)?
        .map(|value| {
            visible(value)
                .map(str::to_owned)
                .ok_or_else(|| format!("`{name}` has characters it may not have"))
        })
        .transpose()
}

fn decoded(headers: &[(&str, &[u8])], name: &str) -> Result<Option<String>, String> {
    single(headers, name)?
        .map(|value| decode(value).ok_or_else(|| format!("`{name}` is not a value that a header may have")))
        .transpose()
}

fn visible(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let text = text.trim_matches([' ', '\t']);
    text.bytes().all(|b| b == b'\t' || (0x20..=0x7e).contains(&b)).then_some(text)
}

impl Mirrored {
    /// Every argument that `schema`, a tool's `inputSchema`, wants repeated, in order.
    pub fn all(schema: &Node) -> Result<Vec<Self>, InvalidMirror> {
        let mut found = Vec::new();
        scan(schema, &mut Vec::new(), true, &mut found)?;
        let mut names: Vec<_> = found.iter().map(|mirror: &Self| fold(&mirror.header)).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(InvalidMirror { at: "/".into(), problem: "two arguments want the same header" });
        }
        Ok(found)
    }

    /// The argument's value in `message`; `null` counts as none.
    fn value<'m>(&self, message: &'m Message) -> Option<&'m Node> {
        let arguments = message.arguments()?;
        let value = self.path.iter().try_fold(arguments, |node, name| node.get(name))?;
        (!value.is_null()).then_some(value)
    }

    fn agree(&self, message: &Message, headers: &[(&str, &[u8])], era: Era) -> Result<(), String> {
        let name = format!("{PARAM_PREFIX}{}", self.header);
        let got = decoded(headers, &name)?;
        let argument = self.path.join(".");
        match (self.value(message), got) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(format!("`{name}` is given and the argument `{argument}` is not")),
            (Some(_), None) if era == Era::Legacy => Ok(()),
            (Some(_), None) => Err(format!("`{name}` is missing and the argument `{argument}` is given")),
            (Some(value), Some(got)) if same(value, &got) => Ok(()),
            (Some(_), Some(_)) => Err(format!("`{name}` differs from the argument `{argument}`")),
        }
    }
}

fn same(value: &Node, header: &str) -> bool {
    match value.kind() {
        Json::Number(text) => match (safe_whole(text), safe_whole(header)) {
            (Some(value), Some(header)) => value == header,
            _ => false,
        },
        _ => value_text(value).is_some_and(|text| text == header),
    }
}

/// The text of a value that may stand in a header; nothing for any other.
fn value_text(value: &Node) -> Option<String> {
    match value.kind() {
        Json::Text(text) => Some(text.to_string()),
        Json::Bool(value) => Some(value.to_string()),
        Json::Number(text) => safe_whole(text).map(|whole| whole.to_string()),
        _ => None,
    }
}

/// The whole number that `text` writes, with or without a fraction of zeros, within the safe range.
fn safe_whole(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let zeros = !fraction.is_empty() && fraction.bytes().all(|b| b == b'0');
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let whole: i64 = (zeros && plain).then(|| whole.parse().ok()).flatten()?;
    (whole.unsigned_abs() <= SAFE_WHOLE_MAX).then_some(whole)
}

/// Walks a schema; `reachable` while every step from the root was a name under `properties`.
fn scan(
    schema: &Node,
    path: &mut Vec<Box<str>>,
    reachable: bool,
    found: &mut Vec<Mirrored>,
) -> Result<(), InvalidMirror> {
    if let Some(header) = schema.get("x-mcp-header") {
        let fail = |problem| Err(InvalidMirror { at: path.join("/").into(), problem });
        let Some(name) = header.as_text().filter(|name| is_token(name)) else {
            return fail("the header's name is not a token of at most 64 characters");
        };
        if !reachable || path.is_empty() {
            return fail("only a value reached by `properties` alone may be repeated");
        }
        if !is_primitive(schema.get("type")) {
            return fail("only text, whole numbers and truth values may be repeated");
        }
        found.push(Mirrored { header: name.into(), path: path.clone() });
    }
    for (keyword, value) in schema.members() {
        match &**keyword {
            // Data, not schemas.
            "default" | "const" | "enum" | "examples" => {}
            "properties" => {
                for (name, property) in value.members() {
                    path.push(name.clone());
                    scan(property, path, reachable, found)?;
                    path.pop();
                }
            }
            "$defs" | "definitions" | "patternProperties" | "dependentSchemas" => {
                for (_, inner) in value.members() {
                    scan(inner, path, false, found)?;
                }
            }
            _ => {
                scan(value, path, false, found)?;
                for item in value.items() {
                    scan(item, path, false, found)?;
                }
            }
        }
    }
    Ok(())
}

/// RFC 9110 §5.1: `1*tchar`.
fn is_token(name: &str) -> bool {
    let tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(tchar)
}

fn is_primitive(kind: Option<&Node>) -> bool {
    let primitive = |node: &Node| matches!(node.as_text(), Some("string" | "integer" | "boolean"));
    match kind.map(|node| (node, node.items())) {
        Some((node, [])) => primitive(node),
        // A type that may be `null` beside one primitive.
        Some((_, items)) => {
            items.iter().filter(|item| primitive(item)).count() == 1
                && items.iter().all(|item| primitive(item) || item.as_text() == Some("null"))
        }
        None => false,
    }
}
