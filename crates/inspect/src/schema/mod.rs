//! JSON Schema (2020-12, and 2019-09, draft-07 and draft-06 where `$schema` says so) for the
//! arguments and the results of tools.
//!
//! A schema comes from a server and may be hostile: it must not reach outside of itself, and neither
//! compiling it nor using it on a hostile value may take long. Sizes, references and costs are
//! checked before it is compiled; using it counts steps. Numbers are never rounded: a value with a
//! number that neither 64 bits nor a double hold exactly is a violation.

mod number;
mod probe;
mod reach;
mod typed;

use std::fmt;

use cordon_core::json::{self, JsonError, Kind, Node};
use cordon_core::{Limits, Record};
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{PatternOptions, Validator};

use crate::Violation;
pub(crate) use number::Exact;
use probe::{Budget, Form, Probe};
use reach::Document;

/// Bounds on compiling and using one schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaLimits {
    /// Largest schema, in bytes.
    pub bytes_max: usize,
    /// Deepest nesting of the schema's own text.
    pub depth_max: u16,
    /// Most JSON values in the schema's text.
    pub nodes_max: u32,
    /// Most schemas that apply to one value, each counted as often as it applies.
    pub cost_max: u32,
    /// Most schemas inside each other that apply to one value.
    pub height_max: u16,
    /// Most patterns.
    pub patterns_max: usize,
    /// Longest pattern, in bytes.
    pub pattern_bytes_max: usize,
    /// Most steps that checking one value may take.
    pub steps_max: u64,
    /// Most violations that are reported.
    pub violations_max: usize,
}

impl SchemaLimits {
    /// The defaults: schemas of 256 KiB, 48 levels, 50,000 values and 100 patterns; 1,000 schemas on
    /// one value, 16 inside each other; 4,000,000 steps for one value; 8 violations.
    pub const DEFAULT: Self = Self {
        bytes_max: 256 << 10,
        depth_max: 48,
        nodes_max: 50_000,
        cost_max: 1_000,
        height_max: 16,
        patterns_max: 100,
        pattern_bytes_max: 4 << 10,
        steps_max: 4_000_000,
        violations_max: 8,
    };
}

impl Default for SchemaLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A schema that cannot be used; whatever it should have checked is to be refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The text is not one well-formed JSON value within the limits.
    #[error("the schema is not acceptable JSON: {0}")]
    Json(#[from] JsonError),
    /// The value is neither an object nor a truth value.
    #[error("a schema is a JSON object, `true` or `false`")]
    NotASchema,
    /// The dialect is not one of those that are built in.
    #[error("the schema dialect `{0}` is not supported, expected 2020-12, 2019-09, draft-07 or draft-06")]
    Dialect(Box<str>),
    /// A reference leads outside of the schema, or nowhere.
    #[error("`$ref` `{0}` does not name a part of this schema, and nothing is fetched")]
    Reference(Box<str>),
    /// A keyword that is not supported.
    #[error("the keyword `{keyword}` is not supported")]
    Unsupported {
        /// The keyword.
        keyword: &'static str,
    },
    /// Schemas that apply each other to the same value without end.
    #[error("the schema refers to itself without going into the value")]
    Circular,
    /// A bound is exceeded.
    #[error("the schema has more than {max} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The most.
        max: usize,
    },
    /// A number that would be rounded.
    #[error("the number `{0}` in the schema cannot be held exactly")]
    Number(Box<str>),
    /// The validator refused it: a keyword of the wrong type, an impossible pattern.
    #[error("the schema is not valid at `{at}`: {problem}")]
    Invalid {
        /// Where in the schema, as a JSON Pointer.
        at: Box<str>,
        /// What is wrong.
        problem: Box<str>,
    },
}

/// A compiled schema.
pub struct Schema {
    root: Node,
    validator: Validator<Form>,
    limits: SchemaLimits,
    byte_cost: u64,
}

/// What a byte of text costs in sixteenths of a step: little for patterns that run in linear time,
/// much where a pattern may go back and forth.
const LINEAR_BYTE_COST: u64 = 1;
const BACKTRACKING_BYTE_COST: u64 = 16 * 256;
/// How often one pattern may go back on one text.
const BACKTRACKS_MAX: usize = 10_000;
/// Most memory for one compiled pattern, in bytes.
const PATTERN_PROGRAM_BYTES_MAX: usize = 2 << 20;

impl Schema {
    /// Compiles the JSON Schema `text`.
    pub fn compile(text: &[u8], limits: &SchemaLimits) -> Result<Self, SchemaError> {
        let json_limits = Limits {
            message_bytes_max: limits.bytes_max,
            depth_max: limits.depth_max,
            nodes_max: limits.nodes_max,
            ..Limits::DEFAULT
        };
        let root = json::parse(text, &json_limits)?;
        if !root.is_object() && root.as_bool().is_none() {
            return Err(SchemaError::NotASchema);
        }
        let draft = match root.get("$schema") {
            None => jsonschema::Draft::Draft202012,
            Some(node) => {
                let uri = node.as_text().unwrap_or("one that is not text");
                reach::dialect(uri)
                    .ok_or_else(|| SchemaError::Dialect(uri.chars().take(200).collect::<String>().into()))?
            }
        };
        reach::check(Document { root: &root }, limits)?;
        let value: serde_json::Value = serde_json::from_slice(text)
            .map_err(|error| SchemaError::Invalid { at: "".into(), problem: error.to_string().into() })?;
        let (validator, byte_cost) = build(&value, draft)?;
        Ok(Self { root, validator, limits: *limits, byte_cost })
    }

    /// Checks `value`; the violations are bounded in number and never repeat the value.
    ///
    /// A member whose name differs from a declared one only by letter case is a violation too: a
    /// server that ignores case would take it for the declared one, which the policy never saw.
    pub fn validate(&self, value: &Node) -> Result<(), Vec<Violation>> {
        let mut found = Vec::new();
        check_numbers(value, "", &mut found);
        if !found.is_empty() {
            return Err(found);
        }
        let budget = Budget::new(self.limits.steps_max, self.byte_cost);
        let probe = Probe::Value(value, &budget);
        if !self.validator.is_valid(probe.clone()) && !budget.is_spent() {
            self.explain(probe, &mut found);
        }
        if budget.is_spent() {
            let steps = self.limits.steps_max.to_string();
            return Err(vec![Violation::new(
                "",
                "checking it takes too many steps",
                &format!("at most {steps} steps"),
            )]);
        }
        typed::letter_case(Document { root: &self.root }, value, &self.limits, &mut found);
        found.truncate(self.limits.violations_max);
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// The members of `value` typed by the schema, for policies: `number` is a decimal, `integer` a
    /// long (also when written `5.0`), everything else as [`cordon_core::Value::from_json`] has it. A
    /// number that does not fit its type is unknown. Nothing for a value that is not an object.
    pub fn typed(&self, value: &Node) -> Record {
        typed::record(Document { root: &self.root }, value, &self.limits)
    }

    fn explain(&self, probe: Probe<'_>, found: &mut Vec<Violation>) {
        for error in self.validator.iter_errors(probe).take(self.limits.violations_max) {
            let (message, expected) = describe(error.kind());
            found.push(Violation::new(error.instance_path().as_str(), message, &expected));
        }
        if found.is_empty() {
            found.push(Violation::new("", "it does not fit the schema", ""));
        }
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("bytes", &self.root.span().len()).finish_non_exhaustive()
    }
}

/// Compiles with patterns that run in linear time, or, where one needs to look around, with a bound on
/// how often it may go back.
fn build(
    schema: &serde_json::Value,
    draft: jsonschema::Draft,
) -> Result<(Validator<Form>, u64), SchemaError> {
    let options = || {
        jsonschema::options_for::<Form>()
            .with_draft(draft)
            .offline()
            .should_validate_formats(true)
            // Checking this one would compile a pattern that the caller wrote.
            .with_format("regex", |_| true)
            .with_format("date-time", typed::is_date_time)
            .with_format("time", typed::is_time)
    };
    let linear = PatternOptions::regex()
        .size_limit(PATTERN_PROGRAM_BYTES_MAX)
        .dfa_size_limit(PATTERN_PROGRAM_BYTES_MAX);
    if let Ok(validator) = options().with_pattern_options(linear).build(schema) {
        return Ok((validator, LINEAR_BYTE_COST));
    }
    let bounded = PatternOptions::fancy_regex()
        .backtrack_limit(BACKTRACKS_MAX)
        .size_limit(PATTERN_PROGRAM_BYTES_MAX)
        .dfa_size_limit(PATTERN_PROGRAM_BYTES_MAX);
    match options().with_pattern_options(bounded).build(schema) {
        Ok(validator) => Ok((validator, BACKTRACKING_BYTE_COST)),
        Err(error) => Err(SchemaError::Invalid {
            at: error.instance_path().as_str().chars().take(200).collect::<String>().into(),
            problem: error.to_string().chars().take(300).collect::<String>().into(),
        }),
    }
}

/// Numbers that would be rounded; at most 8, after which the value is refused anyway.
fn check_numbers(node: &Node, path: &str, found: &mut Vec<Violation>) {
    match node.kind() {
        Kind::Number(text) if found.len() < 8 && !number::is_held(text) => {
            found.push(Violation::new(
                path,
                "the number cannot be held exactly",
                "at most 15 digits, or a whole number of 64 bits",
            ));
        }
        Kind::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                if needs_check(item) {
                    check_numbers(item, &format!("{path}/{n}"), found);
                }
            }
        }
        Kind::Object(members) => {
            for (name, member) in members {
                if needs_check(member) {
                    check_numbers(member, &format!("{path}/{}", escape(name)), found);
                }
            }
        }
        _ => {}
    }
}

/// Whether a value is or holds a number at all; most do not, and their paths need not be written.
fn needs_check(node: &Node) -> bool {
    match node.kind() {
        Kind::Number(text) => text.parse::<i64>().is_err(),
        Kind::Array(items) => !items.is_empty(),
        Kind::Object(members) => !members.is_empty(),
        _ => false,
    }
}

/// A member name as a JSON Pointer token.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What is wrong and what was expected, in the schema's words and never in the value's.
fn describe(kind: &ValidationErrorKind) -> (&'static str, String) {
    use ValidationErrorKind as K;
    match kind {
        K::AdditionalItems { limit } => ("it has too many items", format!("at most {limit}")),
        K::MaxItems { limit } => ("it has too many items", format!("at most {limit}")),
        K::MinItems { limit } => ("it has too few items", format!("at least {limit}")),
        K::AdditionalProperties { .. } | K::UnevaluatedProperties { .. } => {
            ("it has members that the schema does not declare", String::new())
        }
        K::UnevaluatedItems { .. } => ("it has items that the schema does not declare", String::new()),
        K::AnyOf { .. } | K::OneOfNotValid { .. } => ("it fits none of the permitted forms", String::new()),
        K::OneOfMultipleValid { .. } => {
            ("it fits more than one of the permitted forms", "exactly one".to_owned())
        }
        K::BacktrackLimitExceeded { .. } | K::RegexEngineFailure { .. } => {
            ("matching its pattern takes too many steps", String::new())
        }
        K::Constant { expected_value } => ("it is another value", expected_value.to_string()),
        K::Contains => ("it has no item of the kind that it must have", String::new()),
        K::Enum { options } => ("it is not one of the permitted values", options.to_string()),
        K::ExclusiveMaximum { limit } => ("it is too large", format!("less than {limit}")),
        K::Maximum { limit } => ("it is too large", format!("at most {limit}")),
        K::ExclusiveMinimum { limit } => ("it is too small", format!("more than {limit}")),
        K::Minimum { limit } => ("it is too small", format!("at least {limit}")),
        K::MultipleOf { multiple_of } => ("it is not a multiple", format!("a multiple of {multiple_of}")),
        K::FalseSchema => ("nothing is permitted here", String::new()),
        K::Format { format } => ("it is not of the right format", format!("`{format}`")),
        K::MaxLength { limit } => ("it is too long", format!("at most {limit} characters")),
        K::MinLength { limit } => ("it is too short", format!("at least {limit} characters")),
        K::MaxProperties { limit } => ("it has too many members", format!("at most {limit}")),
        K::MinProperties { limit } => ("it has too few members", format!("at least {limit}")),
        K::Not { .. } => ("it is of a form that is not permitted", String::new()),
        K::Pattern { pattern } => ("it does not match the pattern", format!("`{pattern}`")),
        K::PropertyNames { .. } => ("a member's name is not permitted", String::new()),
        K::Required { property } => ("a required member is missing", property.to_string()),
        K::Type { kind: TypeKind::Single(kind) } => ("it is of the wrong type", kind.to_string()),
        K::Type { kind: TypeKind::Multiple(kinds) } => {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.to_string()).collect();
            ("it is of the wrong type", kinds.join(" or "))
        }
        K::UniqueItems => ("two of its items are the same", String::new()),
        _ => ("it does not fit the schema", String::new()),
    }
}
