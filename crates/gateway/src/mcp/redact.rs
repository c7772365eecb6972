//! The `redact` and `mask` obligations: named fields of a result are removed or replaced.
//!
//! Fields are found in structured content, in `_meta`, and in texts that are themselves JSON. A part
//! of a result in which a field could stand unseen (prose, an image, a file) makes the whole result
//! unfit to be shown.

use std::collections::BTreeSet;

use cordon_core::json::{self, Kind, Node, fold, quote};
use cordon_core::{Limits, Obligation, ObligationKind};
use cordon_wire::mcp::{Message, Splice};

/// The fields that a result must not show.
#[derive(Debug, Default)]
pub(crate) struct Veil {
    gone: Vec<Field>,
    masked: Vec<Field>,
}

/// One field by name, at any depth and in any letter case, or by JSON Pointer from the top of a value.
#[derive(Debug)]
enum Field {
    Name(String),
    Pointer(Vec<String>),
}

/// A field could stand where it would not be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be searched for the fields that must not be shown")]
pub(crate) struct Opaque(&'static str);

const MASK: &str = "\"***\"";
/// How deep JSON inside of texts inside of JSON is followed.
const NESTING_MAX: u8 = 4;

/// Members of content whose text says what a part is and carries none of it.
const HARMLESS: &[&str] = &[
    "type",
    "role",
    "mimeType",
    "uri",
    "resultType",
    "cacheScope",
    "lastModified",
    "audience",
    "taskId",
    "status",
    "createdAt",
    "lastUpdatedAt",
];

impl Veil {
    /// The fields that these obligations hide.
    pub(crate) fn of(obligations: &[Obligation]) -> Self {
        let mut veil = Self::default();
        for obligation in obligations {
            match &obligation.kind {
                ObligationKind::Redact { fields } => veil.gone.extend(parse(fields)),
                ObligationKind::Mask { fields } => veil.masked.extend(parse(fields)),
                _ => {}
            }
        }
        veil
    }

    /// Whether nothing is hidden.
    pub(crate) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.masked.is_empty()
    }

    /// The changes that hide the fields in the answer `message`.
    pub(crate) fn hide(&self, message: &Message, limits: &Limits) -> Result<Splice, Opaque> {
        let Some(result) = message.result() else { return Err(Opaque("an error's text")) };
        let mut work = Work { veil: self, bytes: message.bytes(), limits, splice: Splice::new() };
        work.protocol(result)?;
        Ok(work.splice)
    }
}

fn parse(fields: &BTreeSet<Box<str>>) -> impl Iterator<Item = Field> {
    fields.iter().map(|field| match field.strip_prefix('/') {
        Some(tokens) => Field::Pointer(
            tokens.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect(),
        ),
        None => Field::Name(fold(field)),
    })
}

struct Work<'w> {
    veil: &'w Veil,
    bytes: &'w [u8],
    limits: &'w Limits,
    splice: Splice,
}

impl Work<'_> {
    /// Walks what the protocol defines: results, content blocks, messages.
    fn protocol(&mut self, node: &Node) -> Result<(), Opaque> {
        for item in node.items() {
            self.part(item)?;
        }
        for (name, member) in node.members() {
            match (&**name, member.kind()) {
                ("structuredContent" | "_meta", _) => self.value(member)?,
                ("text", Kind::Text(text)) => {
                    let hidden = self.text(text, 0)?.ok_or(Opaque("a text that is not JSON"))?;
                    self.splice = std::mem::take(&mut self.splice).replace(member.span(), quote(&hidden));
                }
                ("blob" | "data", Kind::Text(_)) => return Err(Opaque("a file or an image")),
                (name, Kind::Text(_)) if !HARMLESS.contains(&name) => {
                    return Err(Opaque("a text of the result"));
                }
                _ => self.protocol(member)?,
            }
        }
        Ok(())
    }

    fn part(&mut self, item: &Node) -> Result<(), Opaque> {
        match item.kind() {
            Kind::Text(_) => Err(Opaque("a text of the result")),
            _ => self.protocol(item),
        }
    }

    /// Replaces one value by itself without the hidden fields.
    fn value(&mut self, node: &Node) -> Result<(), Opaque> {
        let mut out = String::new();
        self.write(node, self.bytes, &mut Vec::new(), 0, &mut out)?;
        self.splice = std::mem::take(&mut self.splice).replace(node.span(), out);
        Ok(())
    }

    /// The text without the hidden fields, if it is a JSON object or array.
    fn text(&self, text: &str, nesting: u8) -> Result<Option<String>, Opaque> {
        if !text.trim_start().starts_with(['{', '[']) {
            return Ok(None);
        }
        if nesting >= NESTING_MAX {
            return Err(Opaque("JSON inside of JSON inside of JSON"));
        }
        let Ok(node) = json::parse(text.as_bytes(), self.limits) else { return Ok(None) };
        let mut out = String::new();
        self.write(&node, text.as_bytes(), &mut Vec::new(), nesting.saturating_add(1), &mut out)?;
        Ok(Some(out))
    }

    fn write(
        &self,
        node: &Node,
        bytes: &[u8],
        path: &mut Vec<String>,
        nesting: u8,
        out: &mut String,
    ) -> Result<(), Opaque> {
        let children: Vec<(Option<&str>, &Node)> = match node.kind() {
            Kind::Object(members) => members.iter().map(|(name, node)| (Some(&**name), node)).collect(),
            Kind::Array(items) => items.iter().map(|node| (None, node)).collect(),
            Kind::Text(text) => {
                match self.text(text, nesting)? {
                    Some(hidden) => out.push_str(&quote(&hidden)),
                    None => out.push_str(std::str::from_utf8(node.raw(bytes)).unwrap_or_default()),
                }
                return Ok(());
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => {
                out.push_str(std::str::from_utf8(node.raw(bytes)).unwrap_or_default());
                return Ok(());
            }
        };
        let (open, close) = if node.is_object() { ('{', '}') } else { ('[', ']') };
        out.push(open);
        let mut first = true;
        for (position, (name, child)) in children.into_iter().enumerate() {
            path.push(name.map_or_else(|| position.to_string(), str::to_owned));
            if !hits(&self.veil.gone, path, name) {
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                if let Some(name) = name {
                    out.push_str(&quote(name));
                    out.push(':');
                }
                if hits(&self.veil.masked, path, name) {
                    out.push_str(MASK);
                } else {
                    self.write(child, bytes, path, nesting, out)?;
                }
            }
            path.pop();
        }
        out.push(close);
        Ok(())
    }
}

fn hits(fields: &[Field], path: &[String], name: Option<&str>) -> bool {
    fields.iter().any(|field| match field {
        Field::Name(wanted) => name.is_some_and(|name| fold(name) == *wanted),
        Field::Pointer(tokens) => {
            tokens.len() == path.len()
                && tokens.iter().zip(path).all(|(token, have)| token == "*" || token == have)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(redact: &[&str], mask: &[&str], result: &str) -> Result<String, Opaque> {
        let set = |fields: &[&str]| fields.iter().map(|field| Box::from(*field)).collect();
        let obligations = [
            Obligation { kind: ObligationKind::Redact { fields: set(redact) }, rules: Vec::new() },
            Obligation { kind: ObligationKind::Mask { fields: set(mask) }, rules: Vec::new() },
        ];
        let bytes = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let message = Message::parse(bytes.into_bytes(), &Limits::DEFAULT).unwrap();
        let splice = Veil::of(&obligations).hide(&message, &Limits::DEFAULT)?;
        let hidden = message.spliced(&splice).unwrap();
        Ok(hidden.result().unwrap().to_string())
    }

    #[test]
    fn a_field_goes_wherever_json_stands_and_its_neighbour_stays() {
        let hidden = check(
            &["ssn"],
            &["/card"],
            r#"{"content":[{"type":"text","text":"{\"ssn\":1,\"name\":\"a\",\"in\":\"{\\\"SSN\\\":2}\"}"}],
                "structuredContent":{"ssn":1.50,"card":"4111","deep":[{"Ssn":3,"card":"kept"}],"n":1.50},"_meta":{"ssn":4}}"#,
        );
        let hidden = hidden.unwrap();
        assert!(!hidden.to_lowercase().contains("ssn"), "{hidden}");
        assert!(hidden.contains(r#""n":1.50"#) && hidden.contains(r#""card":"***""#), "{hidden}");
        assert!(hidden.contains(r#""card":"kept""#) && hidden.contains(r#"\"name\":\"a\""#), "{hidden}");
    }

    #[test]
    fn what_cannot_be_searched_is_not_shown() {
        for result in [
            r#"{"content":[{"type":"text","text":"his ssn is 1"}]}"#,
            r#"{"content":[{"type":"text","text":"{\"a\":1,\"a\":2}"}]}"#,
            r#"{"content":[{"type":"image","data":"aGk=","mimeType":"image/png"}]}"#,
            r#"{"content":[{"type":"resource","resource":{"uri":"x:/","blob":"aGk="}}]}"#,
            r#"{"content":[],"note":"ssn 1"}"#,
        ] {
            assert!(check(&["ssn"], &[], result).is_err(), "{result}");
        }
        assert!(check(&["ssn"], &[], r#"{"content":[{"type":"text","text":"[1,2]"}]}"#).is_ok());
    }
}
