//! Typed data that policies read: present, absent, or unknown.

use std::collections::BTreeMap;
use std::fmt;

use crate::json::{Kind, Node};

/// Named values; a missing name is an absent value.
pub type Record = BTreeMap<Box<str>, Value>;

/// A number with four digits after the point, as in Cedar's `decimal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i64);

impl Decimal {
    /// The number `ten_thousandths / 10 000`.
    pub const fn from_ten_thousandths(ten_thousandths: i64) -> Self {
        Self(ten_thousandths)
    }

    /// The number times 10 000.
    pub const fn ten_thousandths(self) -> i64 {
        self.0
    }

    /// Reads a plain decimal such as `-12.5`; no exponent, at most four digits after the point.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        if !plain(whole) || !plain(fraction) || fraction.len() > 4 {
            return None;
        }
        let scale = 10i64.checked_pow(u32::try_from(4usize.checked_sub(fraction.len())?).ok()?)?;
        let size = whole
            .parse::<i64>()
            .ok()?
            .checked_mul(10_000)?
            .checked_add(fraction.parse::<i64>().ok()?.checked_mul(scale)?)?;
        Some(Self(if negative { size.checked_neg()? } else { size }))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.unsigned_abs();
        write!(f, "{}{}.{:04}", if self.0 < 0 { "-" } else { "" }, size / 10_000, size % 10_000)
    }
}

/// Why a value is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnknownReason {
    /// It was cut off at a limit.
    Truncated,
    /// It could not be parsed, or has no exact counterpart in the policy language.
    Unparsed,
    /// Its source is older than it may be.
    Stale,
    /// Its source did not answer.
    Unavailable,
}

impl UnknownReason {
    /// The reason as written in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Unparsed => "unparsed",
            Self::Stale => "stale",
            Self::Unavailable => "unavailable",
        }
    }
}

/// One value that a policy may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Long(i64),
    /// A number with up to four digits after the point.
    Decimal(Decimal),
    /// Text.
    Text(Box<str>),
    /// An unordered collection.
    Set(Vec<Value>),
    /// Named values.
    Record(Record),
    /// A reference to an entity: its type without namespace, and its identifier.
    Entity(Box<str>, Box<str>),
    /// There is a value, and what it is could not be established.
    Unknown(UnknownReason),
}

impl Value {
    /// Text.
    pub fn text(text: impl Into<Box<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A set of texts.
    pub fn texts<T: Into<Box<str>>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::Set(texts.into_iter().map(Self::text).collect())
    }

    /// The value of a JSON node without help from a schema: whole numbers are `Long`, other plain
    /// decimals are `Decimal`, and a number that is neither is unknown. `null` is absent (`None`).
    pub fn from_json(node: &Node) -> Option<Self> {
        Some(match node.kind() {
            Kind::Null => return None,
            Kind::Bool(value) => Self::Bool(*value),
            Kind::Number(text) => text
                .parse::<i64>()
                .map(Self::Long)
                .ok()
                .or_else(|| Decimal::parse(text).map(Self::Decimal))
                .unwrap_or(Self::Unknown(UnknownReason::Unparsed)),
            Kind::Text(text) => Self::Text(text.clone()),
            Kind::Array(items) => Self::Set(items.iter().filter_map(Self::from_json).collect()),
            Kind::Object(members) => Self::Record(
                members
                    .iter()
                    .filter_map(|(name, node)| Some((name.clone(), Self::from_json(node)?)))
                    .collect(),
            ),
        })
    }

    /// Whether this value, or any value inside it, is unknown.
    pub fn has_unknown(&self) -> bool {
        match self {
            Self::Unknown(_) => true,
            Self::Set(items) => items.iter().any(Self::has_unknown),
            Self::Record(record) => record.values().any(Self::has_unknown),
            Self::Bool(_) | Self::Long(_) | Self::Decimal(_) | Self::Text(_) | Self::Entity(..) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        for (text, size) in [("12.5", 125_000), ("-0.0001", -1), ("7", 70_000)] {
            assert_eq!(Decimal::parse(text), Some(Decimal::from_ten_thousandths(size)), "{text}");
        }
        for text in ["1e3", "0.00001", "", ".", "1.", "99999999999999999999", "+1"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert_eq!(Decimal::from_ten_thousandths(-1).to_string(), "-0.0001");
    }
}
