//! What has to be known before a tool may be called: governed reads, made just before.

use std::collections::BTreeMap;

use crate::cbor::Cbor;
use crate::json::{Node, quote};
use crate::{ActionName, Encode, Record, ShapeError, Timestamp, Value};

/// A read that a manifest wants made before its tool is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// Its name in `context.preconditions`.
    pub name: Box<str>,
    /// The tool that reads it; of the same server, with effect `read`.
    pub tool: ActionName,
    /// The arguments of the read.
    pub arguments: BTreeMap<Box<str>, ReadArgument>,
    /// What is taken out of the result.
    pub take: BTreeMap<Box<str>, Taken>,
    /// How old it may be when the call is decided and when it leaves, in milliseconds.
    pub max_age_ms: u32,
}

/// One argument of a governed read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadArgument {
    /// The value of an argument of the call (JSON Pointer).
    From(Box<str>),
    /// This text.
    Text(Box<str>),
    /// This number.
    Long(i64),
    /// This truth value.
    Bool(bool),
}

/// One value that is taken out of the result of a governed read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Where it is in the structured result (JSON Pointer).
    pub at: Box<str>,
    /// What it has to be.
    pub kind: TakenKind,
}

/// What a value that is taken has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenKind {
    /// Text.
    Text,
    /// A whole number.
    Long,
    /// True or false.
    Bool,
}

impl TakenKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Text, Self::Long, Self::Bool];

    /// The kind as written in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Long => "long",
            Self::Bool => "bool",
        }
    }
}

impl Precondition {
    /// The arguments of the read for a call with `arguments`, as canonical JSON; `None` when the call
    /// does not have exactly one value where an argument comes from.
    pub fn arguments_for(&self, arguments: &Node) -> Option<String> {
        let mut parts = Vec::with_capacity(self.arguments.len());
        for (name, argument) in &self.arguments {
            let value = match argument {
                ReadArgument::From(pointer) => match arguments.select(pointer).as_slice() {
                    [one] => one.canonical(),
                    _ => return None,
                },
                ReadArgument::Text(text) => quote(text),
                ReadArgument::Long(number) => number.to_string(),
                ReadArgument::Bool(truth) => truth.to_string(),
            };
            parts.push(format!("{}:{value}", quote(name)));
        }
        Some(format!("{{{}}}", parts.join(",")))
    }

    /// What is taken out of a structured result; `None` when any of it is missing or something else.
    pub fn taken(&self, result: &Node) -> Option<Record> {
        let value = |taken: &Taken| {
            let found = result.select(&taken.at);
            let [one] = found.as_slice() else { return None };
            Some(match taken.kind {
                TakenKind::Text => Value::text(one.as_text()?),
                TakenKind::Long => Value::Long(one.as_i64()?),
                TakenKind::Bool => Value::Bool(one.as_bool()?),
            })
        };
        self.take.iter().map(|(name, taken)| Some((name.clone(), value(taken)?))).collect()
    }
}

/// What was gathered before a decision, by the names of the preconditions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gathered {
    /// A record of values for each; one that failed is not in it.
    pub values: Record,
    /// When each was read.
    pub at: BTreeMap<Box<str>, Timestamp>,
}

impl Gathered {
    /// Whether nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// How old one is, in milliseconds; `None` if it was not gathered.
    pub fn age_ms(&self, name: &str, now: Timestamp) -> Option<u64> {
        let at = self.at.get(name).filter(|_| self.values.contains_key(name))?;
        Some(now.as_micros().saturating_sub(at.as_micros()) / 1_000)
    }
}

/// `[{name: record}, [* [name, at in microseconds]]]`.
impl Encode for Gathered {
    fn to_cbor(&self) -> Cbor {
        let times =
            self.at.iter().map(|(name, at)| Cbor::Array(vec![(&**name).into(), at.as_micros().into()]));
        Cbor::Array(vec![self.values.to_cbor(), Cbor::Array(times.collect())])
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let Some([values, Cbor::Array(times)]) = cbor.as_array() else {
            return Err(ShapeError("what was gathered, and when"));
        };
        let time = |pair: &Cbor| match pair.as_array() {
            Some([Cbor::Text(name), Cbor::Uint(at)]) => Ok((name.clone(), Timestamp::from_micros(*at))),
            _ => Err(ShapeError("a name and a time")),
        };
        let at = times.iter().map(time).collect::<Result<_, _>>()?;
        Ok(Self { values: Record::from_cbor(values)?, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn node(text: &str) -> Node {
        crate::json::parse(text.as_bytes(), &Limits::DEFAULT).unwrap()
    }

    fn precondition() -> Precondition {
        Precondition {
            name: "customer".into(),
            tool: "crm/status".parse().unwrap(),
            arguments: BTreeMap::from([
                ("id".into(), ReadArgument::From("/order/customer".into())),
                ("view".into(), ReadArgument::Text("short".into())),
            ]),
            take: BTreeMap::from([
                ("status".into(), Taken { at: "/status".into(), kind: TakenKind::Text }),
                ("open".into(), Taken { at: "/orders/open".into(), kind: TakenKind::Long }),
            ]),
            max_age_ms: 5_000,
        }
    }

    #[test]
    fn the_read_is_about_what_the_call_is_about() {
        let arguments = |text| precondition().arguments_for(&node(text));
        let want = r#"{"id":7,"view":"short"}"#;
        assert_eq!(arguments(r#"{"order":{"customer":7},"amount":1}"#).as_deref(), Some(want));
        assert_eq!(arguments(r#"{"order":{}}"#), None);
    }

    #[test]
    fn what_is_missing_or_something_else_is_not_taken() {
        let taken = |text| precondition().taken(&node(text)).is_some();
        assert!(taken(r#"{"status":"active","orders":{"open":2},"more":[]}"#));
        assert!(!taken(r#"{"status":"active","orders":{}}"#));
        assert!(!taken(r#"{"status":"active","orders":{"open":"2"}}"#));
        assert!(!taken(r#"{"status":null,"orders":{"open":2}}"#));
    }

    #[test]
    fn what_was_gathered_comes_back_and_has_an_age() {
        let values = Record::from([("customer".into(), Value::Record(Record::new()))]);
        let at = BTreeMap::from([
            ("customer".into(), Timestamp::from_micros(5_000)),
            ("lost".into(), Timestamp::from_micros(1)),
        ]);
        let gathered = Gathered { values, at };
        assert_eq!(Gathered::from_cbor(&gathered.to_cbor()), Ok(gathered.clone()));
        assert_eq!(gathered.age_ms("customer", Timestamp::from_micros(8_999)), Some(3));
        assert_eq!(gathered.age_ms("lost", Timestamp::from_micros(9)), None, "a read that failed has no age");
    }
}
