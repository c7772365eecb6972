//! Which rows may be read: a condition on the columns of one row, and the same in SQL.

use std::fmt::Write as _;

use crate::json::quote;
use crate::{Decimal, Record, Value};

/// A condition on one row. It always holds or does not: where a column is null, a comparison with it
/// does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RowPredicate {
    /// All of them; without any, every row.
    All(Vec<Self>),
    /// One of them; without any, no row.
    Any(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// The column is not null.
    Present(Box<str>),
    /// The column compares so with a value.
    Compare(Box<str>, Comparison, RowValue),
    /// The first column compares so with the second.
    CompareColumns(Box<str>, Comparison, Box<str>),
    /// The column is one of the values.
    OneOf(Box<str>, Vec<RowValue>),
    /// The column is a text made of these parts, with any text between one and the next.
    Like(Box<str>, Vec<Box<str>>),
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// They are the same.
    Equal,
    /// The first is less.
    Less,
    /// The first is less, or the same.
    AtMost,
    /// The first is more.
    More,
    /// The first is more, or the same.
    AtLeast,
}

/// A value that a column is compared with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Long(i64),
    /// A number with four digits after the point.
    Decimal(Decimal),
    /// A text.
    Text(Box<str>),
}

impl Comparison {
    /// The comparison in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Less => "less",
            Self::AtMost => "at_most",
            Self::More => "more",
            Self::AtLeast => "at_least",
        }
    }

    const fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
        }
    }

    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::More => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }
}

impl RowValue {
    /// The scalar that a value is; none for any other.
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Long(number) => Self::Long(*number),
            Value::Decimal(number) => Self::Decimal(*number),
            Value::Text(text) => Self::Text(text.clone()),
            // A column that refers to an entity holds its identifier.
            Value::Entity(_, id) => Self::Text(id.clone()),
            _ => return None,
        })
    }

    /// The value as JSON; a decimal is a text.
    pub fn to_json(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Long(number) => number.to_string(),
            Self::Decimal(number) => quote(&number.to_string()),
            Self::Text(text) => quote(text),
        }
    }
}

impl RowPredicate {
    /// Every row.
    pub const EVERY: Self = Self::All(Vec::new());
    /// No row.
    pub const NONE: Self = Self::Any(Vec::new());

    /// Every row, or none.
    pub const fn of(holds: bool) -> Self {
        if holds { Self::EVERY } else { Self::NONE }
    }

    /// All of `parts`, without what says nothing.
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept: Vec<Self> = Vec::new();
        for part in parts {
            match part {
                Self::All(inner) => kept.extend(inner),
                part => kept.push(part),
            }
        }
        kept.sort();
        kept.dedup();
        if kept.iter().any(|part| *part == Self::NONE || kept.binary_search(&part.clone().negated()).is_ok())
        {
            return Self::NONE;
        }
        single(kept).unwrap_or_else(Self::All)
    }

    /// One of `parts`, without what says nothing.
    pub fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept: Vec<Self> = Vec::new();
        for part in parts {
            match part {
                Self::Any(inner) => kept.extend(inner),
                part => kept.push(part),
            }
        }
        kept.sort();
        kept.dedup();
        if kept.iter().any(|part| *part == Self::EVERY || kept.binary_search(&part.clone().negated()).is_ok())
        {
            return Self::EVERY;
        }
        single(kept).unwrap_or_else(Self::Any)
    }

    /// The opposite.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            Self::All(parts) if parts.is_empty() => Self::NONE,
            Self::Any(parts) if parts.is_empty() => Self::EVERY,
            other => Self::Not(Box::new(other)),
        }
    }

    /// How many conditions it is made of.
    pub fn size(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().fold(1, |sum, part| sum.saturating_add(part.size()))
            }
            Self::Not(inner) => inner.size().saturating_add(1),
            Self::OneOf(_, values) => values.len().saturating_add(1),
            _ => 1,
        }
    }

    /// Whether a row satisfies it; a column that is missing is null.
    pub fn holds(&self, row: &Record) -> bool {
        let value = |column: &str| row.get(column).and_then(RowValue::of);
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(row)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(row)),
            Self::Not(inner) => !inner.holds(row),
            Self::Present(column) => row.contains_key(column),
            Self::Compare(column, op, with) => {
                value(column).is_some_and(|value| comparable(&value, with) && op.holds(value.cmp(with)))
            }
            Self::CompareColumns(one, op, other) => value(one)
                .zip(value(other))
                .is_some_and(|(one, other)| comparable(&one, &other) && op.holds(one.cmp(&other))),
            Self::OneOf(column, values) => value(column).is_some_and(|value| values.contains(&value)),
            Self::Like(column, parts) => match value(column) {
                Some(RowValue::Text(text)) => like(parts, &text),
                _ => false,
            },
        }
    }

    /// The condition in SQL, with the values of its parameters `$1`, `$2` and so on.
    ///
    /// It is true or false, never null, so that it can stand in a larger condition.
    pub fn to_sql(&self) -> (String, Vec<RowValue>) {
        let (mut text, mut values) = (String::new(), Vec::new());
        self.write_sql(&mut text, &mut values);
        (text, values)
    }

    fn write_sql(&self, out: &mut String, values: &mut Vec<RowValue>) {
        match self {
            Self::All(parts) => join(out, values, parts, " AND ", "TRUE"),
            Self::Any(parts) => join(out, values, parts, " OR ", "FALSE"),
            Self::Not(inner) => {
                out.push_str("NOT ");
                inner.write_sql(out, values);
            }
            Self::Present(column) => {
                let _ = write!(out, "({} IS NOT NULL)", name(column));
            }
            Self::Compare(column, op, value) => {
                values.push(value.clone());
                let (column, op) = (name(column), op.sql());
                let _ = write!(out, "({column} IS NOT NULL AND {column} {op} ${})", values.len());
            }
            Self::CompareColumns(one, op, other) => {
                let (one, op, other) = (name(one), op.sql(), name(other));
                let _ = write!(out, "({one} IS NOT NULL AND {other} IS NOT NULL AND {one} {op} {other})");
            }
            Self::OneOf(column, list) if list.is_empty() => {
                let _ = write!(out, "({} IS NOT NULL AND FALSE)", name(column));
            }
            Self::OneOf(column, list) => {
                let column = name(column);
                let _ = write!(out, "({column} IS NOT NULL AND {column} IN (");
                for (at, value) in list.iter().enumerate() {
                    values.push(value.clone());
                    let comma = if at > 0 { ", " } else { "" };
                    let _ = write!(out, "{comma}${}", values.len());
                }
                out.push_str("))");
            }
            Self::Like(column, parts) => {
                let escaped: Vec<String> = parts.iter().map(|part| escape(part)).collect();
                values.push(RowValue::Text(escaped.join("%").into()));
                let column = name(column);
                let _ = write!(out, "({column} IS NOT NULL AND {column} LIKE ${} ESCAPE '!')", values.len());
            }
        }
    }

    /// The condition as JSON.
    pub fn to_json(&self) -> String {
        let list = |parts: &[Self]| parts.iter().map(Self::to_json).collect::<Vec<_>>().join(",");
        match self {
            Self::All(parts) => format!(r#"{{"all":[{}]}}"#, list(parts)),
            Self::Any(parts) => format!(r#"{{"any":[{}]}}"#, list(parts)),
            Self::Not(inner) => format!(r#"{{"not":{}}}"#, inner.to_json()),
            Self::Present(column) => format!(r#"{{"column":{},"is":"present"}}"#, quote(column)),
            Self::Compare(column, op, value) => {
                format!(
                    r#"{{"column":{},"is":"{}","value":{}}}"#,
                    quote(column),
                    op.as_str(),
                    value.to_json()
                )
            }
            Self::CompareColumns(one, op, other) => {
                format!(r#"{{"column":{},"is":"{}","other":{}}}"#, quote(one), op.as_str(), quote(other))
            }
            Self::OneOf(column, values) => {
                let values: Vec<String> = values.iter().map(RowValue::to_json).collect();
                format!(r#"{{"column":{},"is":"one_of","values":[{}]}}"#, quote(column), values.join(","))
            }
            Self::Like(column, parts) => {
                let parts: Vec<String> = parts.iter().map(|part| quote(part)).collect();
                format!(r#"{{"column":{},"is":"like","parts":[{}]}}"#, quote(column), parts.join(","))
            }
        }
    }
}

/// The only one of a list, or the list.
fn single(mut list: Vec<RowPredicate>) -> Result<RowPredicate, Vec<RowPredicate>> {
    match list.pop() {
        Some(only) if list.is_empty() => Ok(only),
        Some(last) => {
            list.push(last);
            Err(list)
        }
        None => Err(list),
    }
}

fn comparable(one: &RowValue, other: &RowValue) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// Whether `text` is made of the parts, with any text between one and the next.
///
/// Bytes are enough: no part of one character is another in UTF-8.
pub fn like(parts: &[Box<str>], text: &str) -> bool {
    let [first, rest @ ..] = parts else { return text.is_empty() };
    let [middle @ .., last] = rest else { return text == &**first };
    let Some(mut open) = text.strip_prefix(&**first) else { return false };
    for part in middle {
        match open.split_once(&**part) {
            Some((_, after)) => open = after,
            None => return false,
        }
    }
    open.ends_with(&**last)
}

fn join(out: &mut String, values: &mut Vec<RowValue>, parts: &[RowPredicate], word: &str, empty: &str) {
    if parts.is_empty() {
        out.push_str(empty);
        return;
    }
    out.push('(');
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push_str(word);
        }
        part.write_sql(out, values);
    }
    out.push(')');
}

/// A column's name as SQL quotes one.
fn name(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

/// A text of which LIKE takes every character as it stands.
fn escape(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(column: &str, text: &str) -> RowPredicate {
        RowPredicate::Compare(column.into(), Comparison::Equal, RowValue::Text(text.into()))
    }

    fn row(members: &[(&str, Value)]) -> Record {
        members.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    #[test]
    fn a_condition_on_a_null_does_not_hold_and_its_opposite_does() {
        let eu = equal("region", "eu");
        assert!(eu.holds(&row(&[("region", Value::text("eu"))])));
        assert!(!eu.holds(&row(&[("region", Value::text("us"))])));
        assert!(!eu.holds(&row(&[])));
        assert!(eu.negated().holds(&row(&[])));
    }

    #[test]
    fn what_says_nothing_is_left_out_and_what_contradicts_itself_holds_for_no_row() {
        let (a, b) = (equal("a", "x"), equal("b", "y"));
        assert_eq!(RowPredicate::all([a.clone(), RowPredicate::EVERY, a.clone()]), a);
        assert_eq!(RowPredicate::all([a.clone(), b.clone(), a.clone().negated()]), RowPredicate::NONE);
        assert_eq!(RowPredicate::any([a.clone(), b.clone(), a.clone().negated()]), RowPredicate::EVERY);
        assert_eq!(RowPredicate::any([RowPredicate::NONE, b.clone()]), b);
        assert_eq!(RowPredicate::any([]), RowPredicate::NONE);
        assert_eq!(RowPredicate::all([]), RowPredicate::EVERY);
    }

    #[test]
    fn sql_takes_every_value_as_a_parameter_and_quotes_every_name() {
        let like = RowPredicate::Like("na\"me".into(), vec!["50%_!".into(), "".into()]);
        let list = RowPredicate::OneOf("n".into(), vec![RowValue::Long(1), RowValue::Long(2)]);
        let (sql, values) =
            RowPredicate::all([like, list, equal("t", "'; DROP TABLE t; --").negated()]).to_sql();
        assert!(!sql.contains("DROP"), "{sql}");
        for part in [
            r#"("na""me" IS NOT NULL AND "na""me" LIKE $"#,
            "ESCAPE '!')",
            r#"("n" IS NOT NULL AND "n" IN ($"#,
            r#"NOT ("t" IS NOT NULL AND "t" = $"#,
        ] {
            assert!(sql.contains(part), "{sql}");
        }
        assert!(values.contains(&RowValue::Text("50!%!_!!%".into())), "{values:?}");
        assert_eq!(values.len(), 4);
        assert_eq!(RowPredicate::NONE.to_sql().0, "FALSE");
    }

    #[test]
    fn a_condition_in_json_is_json() {
        let condition = RowPredicate::any([equal("a\"", "x\n"), RowPredicate::Present("b".into()).negated()]);
        let node = crate::json::parse(condition.to_json().as_bytes(), &crate::Limits::DEFAULT).unwrap();
        assert_eq!(node.get("any").unwrap().items().len(), 2);
    }
}
