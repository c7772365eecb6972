//! What a schema says about the parts of a value: their types for policies, and their names.

use cordon_core::json::{Kind, Node, fold};
use cordon_core::{Decimal, Record, UnknownReason, Value};

use super::number::Exact;
use super::reach::Document;
use super::{SchemaLimits, escape};
use crate::Violation;

/// Schemas that may apply to one value, and how much work is left for finding them.
struct Guide<'s> {
    document: Document<'s>,
    left: u64,
}

impl<'s> Guide<'s> {
    fn new(document: Document<'s>, limits: &SchemaLimits) -> Self {
        Self { document, left: limits.steps_max }
    }

    fn spend(&mut self, steps: usize) -> bool {
        self.left = self.left.saturating_sub(u64::try_from(steps).unwrap_or(u64::MAX).saturating_add(1));
        self.left > 0
    }

    /// The schemas and every schema that they apply to the same value.
    fn widen(&mut self, schemas: &[&'s Node]) -> Vec<&'s Node> {
        let mut found: Vec<&'s Node> = Vec::new();
        let mut queue = schemas.to_vec();
        while let Some(schema) = queue.pop() {
            if !self.spend(found.len()) || found.iter().any(|have| std::ptr::eq(*have, schema)) {
                continue;
            }
            found.push(schema);
            queue.extend(self.document.same_value(schema));
        }
        found
    }

    /// The schemas that may apply to the member `name`.
    fn member(&mut self, wide: &[&'s Node], name: &str) -> Vec<&'s Node> {
        self.spend(wide.len());
        let of =
            |schema: &&'s Node| match schema.get("properties").and_then(|properties| properties.get(name)) {
                Some(declared) => vec![declared],
                None => {
                    let patterns = schema.get("patternProperties").map_or(&[][..], Node::members);
                    let more = schema.get("additionalProperties");
                    patterns.iter().map(|(_, inner)| inner).chain(more).collect()
                }
            };
        wide.iter().flat_map(of).collect()
    }

    /// The schemas that may apply to the item at `index`.
    fn item(&mut self, wide: &[&'s Node], index: usize) -> Vec<&'s Node> {
        self.spend(wide.len());
        let of = |schema: &&'s Node| {
            let first = schema.get("prefixItems").and_then(|list| list.items().get(index));
            let listed = schema.get("items").and_then(|list| list.items().get(index));
            let rest = schema.get("items").filter(|items| items.is_object());
            let more = schema.get("additionalItems").filter(|_| listed.is_none());
            let list: Vec<&'s Node> = match first {
                Some(first) => vec![first],
                None => listed.into_iter().chain(rest).chain(more).collect(),
            };
            list
        };
        wide.iter().flat_map(of).collect()
    }
}

/// The members of an object typed by the schema.
pub(super) fn record(document: Document<'_>, value: &Node, limits: &SchemaLimits) -> Record {
    let mut guide = Guide::new(document, limits);
    match typed(&mut guide, &[document.root], value) {
        Some(Value::Record(record)) => record,
        _ => Record::new(),
    }
}

fn typed<'s>(guide: &mut Guide<'s>, schemas: &[&'s Node], value: &Node) -> Option<Value> {
    if schemas.is_empty() {
        return Value::from_json(value);
    }
    if !guide.spend(0) {
        return Some(Value::Unknown(UnknownReason::Truncated));
    }
    match value.kind() {
        Kind::Number(text) => {
            let wide = guide.widen(schemas);
            Some(number(&wide, text).or_else(|| Value::from_json(value))?)
        }
        Kind::Array(items) => {
            let wide = guide.widen(schemas);
            let items = items.iter().enumerate();
            Some(Value::Set(
                items
                    .filter_map(|(n, item)| {
                        let inner = guide.item(&wide, n);
                        typed(guide, &inner, item)
                    })
                    .collect(),
            ))
        }
        Kind::Object(members) => {
            let wide = guide.widen(schemas);
            let mut record = Record::new();
            for (name, member) in members {
                let inner = guide.member(&wide, name);
                if let Some(value) = typed(guide, &inner, member) {
                    record.insert(name.clone(), value);
                }
            }
            Some(Value::Record(record))
        }
        Kind::Null | Kind::Bool(_) | Kind::Text(_) => Value::from_json(value),
    }
}

/// The number typed by what the schemas call it; nothing where they do not say.
fn number(schemas: &[&Node], text: &str) -> Option<Value> {
    let says = |wanted: &str| {
        schemas.iter().filter_map(|schema| schema.get("type")).any(|kind| {
            kind.as_text() == Some(wanted) || kind.items().iter().any(|kind| kind.as_text() == Some(wanted))
        })
    };
    let unknown = Value::Unknown(UnknownReason::Unparsed);
    let exact = Exact::parse(text);
    if says("number") {
        let plain = exact.and_then(|exact| exact.plain());
        return Some(plain.and_then(|plain| Decimal::parse(&plain)).map_or(unknown, Value::Decimal));
    }
    says("integer").then(|| exact.and_then(|exact| exact.as_i64()).map_or(unknown, Value::Long))
}

/// Members whose names differ from a declared one only by letter case.
pub(super) fn letter_case(
    document: Document<'_>,
    value: &Node,
    limits: &SchemaLimits,
    found: &mut Vec<Violation>,
) {
    let mut guide = Guide::new(document, limits);
    names(&mut guide, &[document.root], value, "", found);
    if guide.left == 0 && found.is_empty() {
        found.push(Violation::new("", "checking its names takes too many steps", ""));
    }
}

fn names<'s>(
    guide: &mut Guide<'s>,
    schemas: &[&'s Node],
    value: &Node,
    path: &str,
    found: &mut Vec<Violation>,
) {
    if schemas.is_empty() || found.len() >= 8 || !guide.spend(0) {
        return;
    }
    match value.kind() {
        Kind::Array(items) => {
            let wide = guide.widen(schemas);
            for (n, item) in items.iter().enumerate().filter(|(_, item)| has_parts(item)) {
                let inner = guide.item(&wide, n);
                names(guide, &inner, item, &format!("{path}/{n}"), found);
            }
        }
        Kind::Object(members) => {
            let wide = guide.widen(schemas);
            for (name, member) in members {
                if guide.left == 0 {
                    return;
                }
                if let Some(declared) = look_alike(guide, &wide, name) {
                    let message = "its name differs from a declared one only by letter case";
                    found.push(Violation::new(
                        &format!("{path}/{}", escape(name)),
                        message,
                        &format!("`{declared}`"),
                    ));
                }
                if has_parts(member) {
                    let inner = guide.member(&wide, name);
                    names(guide, &inner, member, &format!("{path}/{}", escape(name)), found);
                }
            }
        }
        _ => {}
    }
}

fn has_parts(node: &Node) -> bool {
    !node.members().is_empty() || !node.items().is_empty()
}

/// The declared name that `name` could be taken for, unless it is itself declared.
fn look_alike<'s>(guide: &mut Guide<'s>, wide: &[&'s Node], name: &str) -> Option<&'s str> {
    let declared = || {
        let properties = wide.iter().filter_map(|schema| schema.get("properties"));
        properties.flat_map(Node::members).map(|(declared, _)| &**declared)
    };
    let mut count = 0usize;
    for have in declared() {
        count = count.saturating_add(1);
        if have == name {
            return None;
        }
    }
    if !guide.spend(count) {
        return None;
    }
    let folded = fold(name);
    declared().find(|have| fold(have) == folded)
}

/// RFC 3339 `date-time`, the offset optional: many servers mean local time by the format.
pub(super) fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't', ' ']) else { return false };
    let midnight = format!("{date}T00:00:00Z");
    // The year of a birth or of a contract may lie before 1970, which timestamps do not reach.
    let shifted = date.get(..4).and_then(|year| year.parse::<u16>().ok()).map(|year| year < 1970);
    let is_date = match shifted {
        Some(true) => is_early_date(date),
        Some(false) => cordon_core::Timestamp::parse_rfc3339(&midnight).is_some(),
        None => false,
    };
    is_date && is_time(time)
}

/// A date before 1970, moved by whole cycles of the Gregorian calendar into the range of timestamps.
fn is_early_date(date: &str) -> bool {
    let Some((year, rest)) = date.split_once('-') else { return false };
    let moved = year.parse::<u32>().ok().filter(|_| year.len() == 4).map(|year| year.saturating_add(2_000));
    moved.is_some_and(|year| {
        cordon_core::Timestamp::parse_rfc3339(&format!("{year}-{rest}T00:00:00Z")).is_some()
    })
}

/// RFC 3339 `full-time`, the offset optional.
pub(super) fn is_time(text: &str) -> bool {
    let clock = text.strip_suffix(['Z', 'z']).or_else(|| {
        let (clock, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
        let offset = offset.strip_prefix(['+', '-'])?;
        let (hours, minutes) = offset.split_once(':')?;
        (two(hours)? < 24 && two(minutes)? < 60).then_some(clock)
    });
    let clock = clock.unwrap_or(text);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':').map(two);
    let whole = matches!(
        (parts.next(), parts.next(), parts.next(), parts.next()),
        (Some(Some(0..=23)), Some(Some(0..=59)), Some(Some(0..=60)), None)
    );
    whole && (1..=12).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit())
}

fn two(text: &str) -> Option<u8> {
    (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}
