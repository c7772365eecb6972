//! The types of a tool's arguments, as far as its input schema tells them.

use std::collections::BTreeMap;

use cordon_core::json::{self, Node};
use cordon_core::{Decimal, Limits, Precondition, Record, Taken, TakenKind, Value};

/// The type of one argument.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ArgType {
    Bool,
    Long,
    Decimal,
    Text,
    Set(Box<ArgType>),
    Record(BTreeMap<Box<str>, Member>),
    /// The schema leaves it open, or says more than the policy language can.
    Open,
}

/// One member of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) kind: ArgType,
    pub(crate) required: bool,
}

/// Deepest nesting that is typed; below it everything is open.
const DEPTH_MAX: u16 = 16;

/// Most `$ref` steps in one schema, so that reading it is bounded.
const STEPS_MAX: u32 = 10_000;

impl ArgType {
    /// The type of a tool's arguments; open without a schema of an object with properties.
    pub(crate) fn of_input(schema: Option<&str>) -> Self {
        let Some(text) = schema else { return Self::Open };
        match json::parse(text.as_bytes(), &Limits::DEFAULT) {
            Ok(root) => Types { root: &root, steps: 0 }.of(&root, 0).0,
            Err(_) => Self::Open,
        }
    }

    /// The type of what these preconditions gather; open without any.
    pub(crate) fn of_preconditions(preconditions: &[Precondition]) -> Self {
        if preconditions.is_empty() {
            return Self::Open;
        }
        let taken = |taken: &Taken| match taken.kind {
            TakenKind::Text => Self::Text,
            TakenKind::Long => Self::Long,
            TakenKind::Bool => Self::Bool,
        };
        let member = |kind| Member { kind, required: true };
        let of = |one: &Precondition| {
            let members = one.take.iter().map(|(name, value)| (name.clone(), member(taken(value))));
            (one.name.clone(), member(Self::Record(members.collect())))
        };
        Self::Record(preconditions.iter().map(of).collect())
    }

    /// Whether any part of it is open.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Set(item) => item.is_open(),
            Self::Record(members) => members.values().any(|member| member.kind.is_open()),
            Self::Bool | Self::Long | Self::Decimal | Self::Text => false,
        }
    }

    /// The value as the type has it: a whole number is a decimal where the schema says `number`.
    pub(crate) fn typed(&self, value: Value) -> Value {
        match (self, value) {
            (Self::Decimal, Value::Long(number)) => number
                .checked_mul(10_000)
                .map_or(Value::Long(number), |size| Value::Decimal(Decimal::from_ten_thousandths(size))),
            (Self::Set(item), Value::Set(values)) => {
                Value::Set(values.into_iter().map(|value| item.typed(value)).collect())
            }
            (Self::Record(_), Value::Record(record)) => Value::Record(self.typed_record(record)),
            (_, value) => value,
        }
    }

    /// As [`Self::typed`], for the members of a record.
    pub(crate) fn typed_record(&self, record: Record) -> Record {
        let Self::Record(members) = self else { return record };
        record
            .into_iter()
            .map(|(name, value)| {
                let value = match members.get(&name) {
                    Some(member) => member.kind.typed(value),
                    None => value,
                };
                (name, value)
            })
            .collect()
    }
}

struct Types<'n> {
    root: &'n Node,
    steps: u32,
}

impl<'n> Types<'n> {
    /// The type and whether `null` is allowed, too.
    fn of(&mut self, schema: &'n Node, depth: u16) -> (ArgType, bool) {
        self.steps = self.steps.saturating_add(1);
        if depth >= DEPTH_MAX || self.steps > STEPS_MAX {
            return (ArgType::Open, true);
        }
        let deeper = depth.saturating_add(1);
        if let Some(target) = schema.get("$ref") {
            let found = target.as_text().and_then(|text| text.strip_prefix('#'));
            let found = found.and_then(|pointer| self.root.select(pointer).into_iter().next());
            return found.map_or((ArgType::Open, true), |found| self.of(found, deeper));
        }
        if ["anyOf", "oneOf", "allOf", "not", "if"].iter().any(|name| schema.get(name).is_some()) {
            return (ArgType::Open, true);
        }
        let (name, nullable) = match schema.get("type") {
            Some(one) if one.as_text().is_some() => (one.as_text(), false),
            Some(many) => {
                let names: Vec<_> = many.items().iter().filter_map(Node::as_text).collect();
                match names.as_slice() {
                    [one, "null"] | ["null", one] => (Some(*one), true),
                    [one] => (Some(*one), false),
                    _ => (None, true),
                }
            }
            None => {
                let texts = schema.get("enum").map(Node::items).unwrap_or_default();
                let all = !texts.is_empty() && texts.iter().all(|item| item.as_text().is_some());
                (all.then_some("string"), false)
            }
        };
        let kind = match name {
            Some("string") => ArgType::Text,
            Some("integer") => ArgType::Long,
            Some("number") => ArgType::Decimal,
            Some("boolean") => ArgType::Bool,
            Some("array") => match schema.get("items") {
                Some(items) if schema.get("prefixItems").is_none() => {
                    // Items that may be null are left out of the set.
                    match self.of(items, deeper).0 {
                        ArgType::Open => ArgType::Open,
                        item => ArgType::Set(Box::new(item)),
                    }
                }
                _ => ArgType::Open,
            },
            Some("object") => self.object(schema, deeper),
            _ => ArgType::Open,
        };
        (kind, nullable)
    }

    fn object(&mut self, schema: &'n Node, depth: u16) -> ArgType {
        let Some(properties) = schema.get("properties") else {
            // An object that says it has no members has none; any other may have any.
            let closed = schema.get("additionalProperties").and_then(Node::as_bool) == Some(false);
            return if closed { ArgType::Record(BTreeMap::new()) } else { ArgType::Open };
        };
        let required: Vec<_> = schema
            .get("required")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter_map(Node::as_text)
            .collect();
        let members = properties.members().iter().map(|(name, node)| {
            let (kind, nullable) = self.of(node, depth);
            (name.clone(), Member { kind, required: !nullable && required.contains(&&**name) })
        });
        ArgType::Record(members.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(schema: &str) -> (ArgType, bool) {
        let text = format!(
            r##"{{"type":"object","properties":{{"x":{schema}}},"required":["x"],"$defs":{{"a":{{"type":"string"}},"l":{{"$ref":"#/$defs/l"}}}}}}"##
        );
        let ArgType::Record(mut members) = ArgType::of_input(Some(&text)) else { panic!("{text}") };
        let member = members.remove("x").unwrap();
        (member.kind, member.required)
    }

    #[test]
    fn arguments_have_the_type_their_schema_says_or_are_open() {
        for (schema, want) in [
            (r#"{"type":"string"}"#, (ArgType::Text, true)),
            (r#"{"type":"integer"}"#, (ArgType::Long, true)),
            (r#"{"type":"number"}"#, (ArgType::Decimal, true)),
            (r#"{"type":"boolean"}"#, (ArgType::Bool, true)),
            (r#"{"type":["string","null"]}"#, (ArgType::Text, false)),
            (r#"{"type":["string","integer"]}"#, (ArgType::Open, false)),
            (r#"{"enum":["a","b"]}"#, (ArgType::Text, true)),
            (r#"{"enum":["a",1]}"#, (ArgType::Open, true)),
            (r#"{"type":"array","items":{"type":"string"}}"#, (ArgType::Set(Box::new(ArgType::Text)), true)),
            (r#"{"type":"array"}"#, (ArgType::Open, true)),
            (r#"{"type":"object"}"#, (ArgType::Open, true)),
            (r#"{"anyOf":[]}"#, (ArgType::Open, false)),
            (r##"{"$ref":"#/$defs/a"}"##, (ArgType::Text, true)),
            (r##"{"$ref":"#/$defs/l"}"##, (ArgType::Open, false)),
            (r#"{"$ref":"https://example.com/s"}"#, (ArgType::Open, false)),
            ("true", (ArgType::Open, true)),
        ] {
            assert_eq!(member(schema), want, "{schema}");
        }
        assert_eq!(ArgType::of_input(None), ArgType::Open);
        assert_eq!(ArgType::of_input(Some("{")), ArgType::Open);
        assert!(!ArgType::of_input(Some(r#"{"type":"object","additionalProperties":false}"#)).is_open());
    }

    #[test]
    fn whole_numbers_become_decimals_where_the_schema_says_number() {
        let kind = ArgType::of_input(Some(r#"{"type":"object","properties":{"p":{"type":"number"}}}"#));
        let typed =
            kind.typed_record(Record::from([("p".into(), Value::Long(2)), ("q".into(), Value::Long(2))]));
        assert_eq!(typed["p"], Value::Decimal(Decimal::from_ten_thousandths(20_000)));
        assert_eq!(typed["q"], Value::Long(2));
    }
}
