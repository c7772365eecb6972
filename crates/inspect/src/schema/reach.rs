//! What a schema refers to and what it can cost, found before it is used.

use std::collections::{BTreeSet, HashMap};

use cordon_core::json::{Kind, Node};

use super::number::is_held;
use super::{SchemaError, SchemaLimits};

/// Dialects and the addresses of their meta-schemas, which are built in.
pub(super) const DIALECTS: &[(&str, jsonschema::Draft)] = &[
    ("json-schema.org/draft/2020-12/schema", jsonschema::Draft::Draft202012),
    ("json-schema.org/draft/2019-09/schema", jsonschema::Draft::Draft201909),
    ("json-schema.org/draft-07/schema", jsonschema::Draft::Draft7),
    ("json-schema.org/draft-06/schema", jsonschema::Draft::Draft6),
];

/// The dialect that `uri` names, with `http` or `https`, with or without an empty fragment.
pub(super) fn dialect(uri: &str) -> Option<jsonschema::Draft> {
    let uri = uri.strip_suffix('#').unwrap_or(uri);
    let uri = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"))?;
    DIALECTS.iter().find_map(|(known, draft)| (*known == uri).then_some(*draft))
}

/// A schema document and how to find one's way in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document<'s> {
    pub(super) root: &'s Node,
}

/// Keywords whose value is a schema for a part of the value.
const PARTS: &[&str] = &[
    "additionalProperties",
    "propertyNames",
    "items",
    "additionalItems",
    "contains",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
];
/// Keywords whose value is a list of schemas for parts of the value.
const PART_LISTS: &[&str] = &["prefixItems", "items"];
/// Keywords whose value names schemas for parts of the value, or schemas that others refer to.
const PART_MAPS: &[&str] = &["properties", "patternProperties", "$defs", "definitions"];

impl<'s> Document<'s> {
    /// The schemas that `schema` applies to the same value, `$ref` followed. Cost: the number given.
    pub(super) fn same_value(self, schema: &'s Node) -> Vec<&'s Node> {
        let mut found = Vec::new();
        if let Some(target) = schema.get("$ref").and_then(Node::as_text).and_then(|to| self.resolve(to)) {
            found.push(target);
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            found.extend(schema.get(keyword).map_or(&[][..], Node::items));
        }
        for keyword in ["if", "then", "else", "not"] {
            found.extend(schema.get(keyword));
        }
        for keyword in ["dependentSchemas", "dependencies"] {
            found.extend(schema.get(keyword).map_or(&[][..], Node::members).iter().map(|(_, inner)| inner));
        }
        found
    }

    fn parts(self, schema: &'s Node) -> Vec<&'s Node> {
        let mut found = Vec::new();
        found.extend(PARTS.iter().filter_map(|keyword| schema.get(keyword)));
        for keyword in PART_LISTS {
            found.extend(schema.get(keyword).map_or(&[][..], Node::items));
        }
        for keyword in PART_MAPS {
            found.extend(schema.get(keyword).map_or(&[][..], Node::members).iter().map(|(_, inner)| inner));
        }
        found
    }

    /// The schema that a reference within the document names.
    fn resolve(self, reference: &str) -> Option<&'s Node> {
        let fragment = reference.strip_prefix('#')?;
        if fragment.is_empty() {
            return Some(self.root);
        }
        match decode(fragment)?.strip_prefix('/') {
            Some(tokens) => tokens.split('/').try_fold(self.root, |node, token| {
                let token = token.replace("~1", "/").replace("~0", "~");
                match node.kind() {
                    Kind::Array(items) => items.get(index(&token)?),
                    _ => node.get(&token),
                }
            }),
            None => self.anchor(self.root, fragment),
        }
    }

    fn anchor(self, node: &'s Node, name: &str) -> Option<&'s Node> {
        let own = node.get("$anchor").and_then(Node::as_text) == Some(name)
            || node.get("$id").and_then(Node::as_text).and_then(|id| id.strip_prefix('#')) == Some(name);
        if own {
            return Some(node);
        }
        let within = node.members().iter().map(|(_, inner)| inner).chain(node.items());
        within.into_iter().find_map(|inner| self.anchor(inner, name))
    }
}

/// An array index as RFC 6901 writes it.
fn index(token: &str) -> Option<usize> {
    let plain = token.bytes().all(|b| b.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    if plain { token.parse().ok() } else { None }
}

/// A URI fragment without percent-encoding.
fn decode(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Refuses a schema that reaches outside of itself, turns in a circle on one value, or can cost more
/// than the limits allow.
pub(super) fn check(document: Document<'_>, limits: &SchemaLimits) -> Result<(), SchemaError> {
    let mut seen = BTreeSet::new();
    let mut queue = vec![document.root];
    let mut patterns = 0usize;
    let mut costs = Costs { document, limits, known: HashMap::new() };
    while let Some(schema) = queue.pop() {
        if !seen.insert(schema.span().start) {
            continue;
        }
        if !schema.is_object() && schema.as_bool().is_none() {
            continue;
        }
        keywords(document, schema)?;
        patterns = patterns.saturating_add(count_patterns(schema, limits)?);
        if patterns > limits.patterns_max {
            return Err(SchemaError::TooMany { what: "patterns", max: limits.patterns_max });
        }
        costs.of(schema, 0)?;
        queue.extend(document.same_value(schema));
        queue.extend(document.parts(schema));
    }
    numbers(document.root)
}

fn keywords(document: Document<'_>, schema: &Node) -> Result<(), SchemaError> {
    for keyword in ["$dynamicRef", "$recursiveRef"] {
        if schema.get(keyword).is_some() {
            return Err(SchemaError::Unsupported { keyword });
        }
    }
    let is_root = std::ptr::eq(schema, document.root);
    match schema.get("$id").map(Node::as_text) {
        // An identifier inside a schema changes what every reference below it means.
        Some(Some(id)) if !is_root && !id.starts_with('#') => {
            return Err(SchemaError::Unsupported { keyword: "$id inside a schema" });
        }
        Some(None) => return Err(SchemaError::Unsupported { keyword: "$id that is not text" }),
        _ => {}
    }
    if !is_root && schema.get("$schema").is_some() {
        return Err(SchemaError::Unsupported { keyword: "$schema inside a schema" });
    }
    match schema.get("$ref") {
        None => Ok(()),
        Some(node) => match node.as_text() {
            Some(to) if document.resolve(to).is_some() || dialect(to).is_some() => Ok(()),
            Some(to) => Err(SchemaError::Reference(to.chars().take(200).collect::<String>().into())),
            None => Err(SchemaError::Reference("one that is not text".into())),
        },
    }
}

fn count_patterns(schema: &Node, limits: &SchemaLimits) -> Result<usize, SchemaError> {
    let own = schema.get("pattern").and_then(Node::as_text);
    let named =
        schema.get("patternProperties").map_or(&[][..], Node::members).iter().map(|(name, _)| &**name);
    let mut count = 0usize;
    for pattern in own.into_iter().chain(named) {
        if pattern.len() > limits.pattern_bytes_max {
            return Err(SchemaError::TooMany { what: "bytes in a pattern", max: limits.pattern_bytes_max });
        }
        count = count.saturating_add(1);
    }
    Ok(count)
}

/// Numbers in a schema are limits; one that would be rounded would be another limit.
fn numbers(node: &Node) -> Result<(), SchemaError> {
    match node.kind() {
        Kind::Number(text) if !is_held(text) => {
            Err(SchemaError::Number(text.chars().take(80).collect::<String>().into()))
        }
        Kind::Array(items) => items.iter().try_for_each(numbers),
        Kind::Object(members) => members.iter().try_for_each(|(_, inner)| numbers(inner)),
        _ => Ok(()),
    }
}

/// How many schemas each schema applies to one value.
struct Costs<'s, 'l> {
    document: Document<'s>,
    limits: &'l SchemaLimits,
    /// By position: the cost, or nothing while it is being found.
    known: HashMap<usize, Option<(u32, u16)>>,
}

impl<'s> Costs<'s, '_> {
    /// The cost and the height of `schema`, `depth` steps below the first on the same value.
    fn of(&mut self, schema: &'s Node, depth: u16) -> Result<(u32, u16), SchemaError> {
        let at = schema.span().start;
        match self.known.get(&at) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => return Err(SchemaError::Circular),
            None => {}
        }
        if depth >= self.limits.height_max {
            return Err(SchemaError::TooMany {
                what: "schemas inside each other on one value",
                max: self.limits.height_max.into(),
            });
        }
        self.known.insert(at, None);
        let (mut cost, mut height) = (1u32, 0u16);
        for inner in self.document.same_value(schema) {
            let (more, below) = self.of(inner, depth.saturating_add(1))?;
            cost = cost.saturating_add(more);
            height = height.max(below);
        }
        let height = height.saturating_add(1);
        if cost > self.limits.cost_max || height > self.limits.height_max {
            return Err(SchemaError::TooMany {
                what: "schemas applied to one value",
                max: self.limits.cost_max as usize,
            });
        }
        self.known.insert(at, Some((cost, height)));
        Ok((cost, height))
    }
}
