//! The functions that a guard may call: a closed list.
//!
//! Nothing on it reads a clock, a random number, the network or the environment, and nothing on it
//! makes a value much larger than what it was given. Those that could are replaced by our own, which
//! stop at a limit.

use std::fmt::Write as _;

use regorus::{Engine, Value};

/// Functions of the Rego library that may be called.
const LIBRARY: &[&str] = &[
    "abs",
    "array.reverse",
    "array.slice",
    "ceil",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "indexof",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "lower",
    "max",
    "min",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "regex.match",
    "round",
    "sort",
    "split",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.reverse",
    "substring",
    "sum",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "upper",
];

/// Functions that stop at a limit, with how many values each takes.
const OWN: &[(&str, u8, Own)] = &[
    ("array.concat", 2, array_concat),
    ("concat", 2, concat),
    ("numbers.range", 2, range),
    ("replace", 3, replace),
    ("sprintf", 2, sprintf),
    ("to_number", 1, to_number),
];

type Own = fn(&[Value]) -> Result<Value, String>;

/// Longest text that one of our own functions makes, in bytes.
const TEXT_MAX: usize = 64 << 10;
/// Most items in a list that one of our own functions makes.
const ITEMS_MAX: usize = 10_000;
/// Longest text that is read as a number, in bytes.
const NUMBER_MAX: usize = 32;

/// Whether a guard may call the function.
pub(super) fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// Every function that a guard may call.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    LIBRARY.iter().copied().chain(OWN.iter().map(|(name, _, _)| *name))
}

/// Puts our own functions in place of those of the library.
pub(super) fn install(engine: &mut Engine) -> Result<(), String> {
    for (name, arity, own) in OWN {
        let own = *own;
        let call =
            move |values: Vec<Value>| own(&values).map_err(|problem| anyhow::anyhow!("`{name}`: {problem}"));
        engine
            .add_extension((*name).to_owned(), *arity, Box::new(call))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn items<'v>(value: Option<&'v Value>, what: &str) -> Result<Vec<&'v Value>, String> {
    match value {
        Some(Value::Array(items)) => Ok(items.iter().collect()),
        Some(Value::Set(items)) => Ok(items.iter_sorted().collect()),
        _ => Err(format!("{what} is not a list or a set")),
    }
}

fn text<'v>(value: Option<&'v Value>, what: &str) -> Result<&'v str, String> {
    match value {
        Some(Value::String(text)) => Ok(text),
        _ => Err(format!("{what} is not text")),
    }
}

fn bounded(text: String) -> Result<Value, String> {
    match text.len() > TEXT_MAX {
        true => Err(format!("the text would be longer than {TEXT_MAX} bytes")),
        false => Ok(Value::from(text)),
    }
}

fn array_concat(values: &[Value]) -> Result<Value, String> {
    let (Some(Value::Array(first)), Some(Value::Array(second))) = (values.first(), values.get(1)) else {
        return Err("both values must be lists".to_owned());
    };
    if first.len().saturating_add(second.len()) > ITEMS_MAX {
        return Err(format!("the list would have more than {ITEMS_MAX} items"));
    }
    Ok(Value::from(first.iter().chain(second.iter()).cloned().collect::<Vec<Value>>()))
}

fn concat(values: &[Value]) -> Result<Value, String> {
    let between = text(values.first(), "the separator")?;
    let mut out = String::new();
    for (place, item) in items(values.get(1), "the second value")?.into_iter().enumerate() {
        if place > 0 {
            out.push_str(between);
        }
        out.push_str(text(Some(item), "an item")?);
        if out.len() > TEXT_MAX {
            break;
        }
    }
    bounded(out)
}

fn replace(values: &[Value]) -> Result<Value, String> {
    let whole = text(values.first(), "the first value")?;
    let (old, new) = (text(values.get(1), "the second value")?, text(values.get(2), "the third value")?);
    let times = whole.matches(old).take(TEXT_MAX).count();
    if whole.len().saturating_add(times.saturating_mul(new.len())) > TEXT_MAX.max(whole.len()) {
        return Err(format!("the text would be longer than {TEXT_MAX} bytes"));
    }
    Ok(Value::from(whole.replace(old, new)))
}

fn range(values: &[Value]) -> Result<Value, String> {
    let whole = |value: Option<&Value>| value.and_then(|value| value.as_i64().ok());
    let (Some(from), Some(to)) = (whole(values.first()), whole(values.get(1))) else {
        return Err("both values must be whole numbers".to_owned());
    };
    if usize::try_from(from.abs_diff(to)).map_or(true, |wide| wide >= ITEMS_MAX) {
        return Err(format!("the list would have more than {ITEMS_MAX} items"));
    }
    let up = (from..=to).map(Value::from);
    let down = (to..from.saturating_add(1)).rev().map(Value::from);
    Ok(Value::from(if from <= to { up.collect::<Vec<_>>() } else { down.collect() }))
}

fn to_number(values: &[Value]) -> Result<Value, String> {
    match values.first() {
        Some(Value::Number(number)) => Ok(Value::Number(number.clone())),
        Some(Value::Bool(truth)) => Ok(Value::from(i64::from(*truth))),
        Some(Value::Null) => Ok(Value::from(0i64)),
        Some(Value::String(text)) => {
            let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.'));
            let short = (1..=NUMBER_MAX).contains(&text.len()) && plain;
            let number = short.then(|| Value::from_numeric_string(text).ok()).flatten();
            number.ok_or_else(|| format!("the text is not a plain number of at most {NUMBER_MAX} digits"))
        }
        _ => Err("the value is not a number and not text".to_owned()),
    }
}

/// `%s`, `%d`, `%v` and `%%`, as in OPA without widths: other verbs are an error.
fn sprintf(values: &[Value]) -> Result<Value, String> {
    let format = text(values.first(), "the format")?;
    let mut items = items(values.get(1), "the second value")?.into_iter();
    let mut out = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let mut verbs = after.chars();
        match verbs.next() {
            Some('%') => out.push('%'),
            Some('s' | 'd' | 'v') => {
                let item = items.next().ok_or("the format names more values than it is given")?;
                show(item, &mut out)?;
            }
            other => return Err(format!("`%{}` is not `%s`, `%d`, `%v` or `%%`", other.unwrap_or(' '))),
        }
        if out.len() > TEXT_MAX {
            break;
        }
        rest = verbs.as_str();
    }
    out.push_str(rest);
    bounded(out)
}

/// Writes a value as people read it: text without quotes, anything else as JSON.
pub(super) fn show(value: &Value, out: &mut String) -> Result<(), String> {
    if out.len() > TEXT_MAX {
        return Err(format!("the text would be longer than {TEXT_MAX} bytes"));
    }
    match value {
        Value::String(text) => out.push_str(text),
        other => json(other, out)?,
    }
    Ok(())
}

/// Writes a value as JSON, stopping at the limit; the members of a set are in order.
fn json(value: &Value, out: &mut String) -> Result<(), String> {
    if out.len() > TEXT_MAX {
        return Err(format!("the text would be longer than {TEXT_MAX} bytes"));
    }
    let mut list = |items: &mut dyn Iterator<Item = &Value>| {
        out.push('[');
        for (place, item) in items.enumerate() {
            if place > 0 {
                out.push_str(", ");
            }
            json(item, out)?;
        }
        out.push(']');
        Ok::<(), String>(())
    };
    match value {
        Value::Null | Value::Undefined => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(_) => out.push_str(&value.to_json_str().unwrap_or_default()),
        Value::String(text) => {
            let _ = write!(out, "{text:?}");
        }
        Value::Array(items) => list(&mut items.iter())?,
        Value::Set(items) => list(&mut items.iter_sorted())?,
        Value::Object(members) => {
            out.push('{');
            for (place, (name, item)) in members.iter_sorted().enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                json(name, out)?;
                out.push_str(": ");
                json(item, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, given: &str, want: Result<&str, &str>) {
        let Value::Array(values) = Value::from_json_str(given).unwrap() else { panic!("{given}") };
        let own = OWN.iter().find(|(known, _, _)| *known == name).unwrap().2;
        let want = want.map(|json| Value::from_json_str(json).unwrap());
        match (own(values.as_slice()), want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want, "{name}{given}"),
            (Err(got), Err(want)) => assert!(got.contains(want), "{name}{given}: {got}"),
            (got, want) => panic!("{name}{given}: {got:?}, expected {want:?}"),
        }
    }

    #[test]
    fn our_own_functions_answer_as_the_library_does_up_to_their_limits() {
        check("concat", r#"[", ", ["a", "b"]]"#, Ok(r#""a, b""#));
        check("concat", r#"[", ", [1]]"#, Err("is not text"));
        check(
            "sprintf",
            r#"["%s has %d of %v, 100%%", ["a", 2, {"x": [1, "y"]}]]"#,
            Ok(r#""a has 2 of {\"x\": [1, \"y\"]}, 100%""#),
        );
        check("sprintf", r#"["%s %s", ["a"]]"#, Err("more values than it is given"));
        check("sprintf", r#"["%99999999d", [1]]"#, Err("is not `%s`"));
        check("sprintf", r#"["%", [1]]"#, Err("is not `%s`"));
        check("replace", r#"["a-b-c", "-", "+"]"#, Ok(r#""a+b+c""#));
        check("numbers.range", "[1, 3]", Ok("[1,2,3]"));
        check("numbers.range", "[3, 1]", Ok("[3,2,1]"));
        check("numbers.range", "[0, 1000000000]", Err("more than 10000 items"));
        check("numbers.range", "[0.5, 1]", Err("whole numbers"));
        check("to_number", r#"["12.5"]"#, Ok("12.5"));
        check("to_number", r#"["1e999999999"]"#, Err("not a plain number"));
        check("array.concat", "[[1], [2]]", Ok("[1,2]"));
    }

    #[test]
    fn no_function_of_ours_makes_a_value_past_its_limit() {
        let long = "x".repeat(TEXT_MAX);
        let two = format!(r#"["", ["{long}", "{long}"]]"#);
        check("concat", &two, Err("longer than"));
        check("sprintf", &format!(r#"["%s%s", ["{long}", "{long}"]]"#), Err("longer than"));
        check("replace", &format!(r#"["{}", "", "{long}"]"#, "x".repeat(100)), Err("longer than"));
        let many = format!("[{}]", vec!["1"; ITEMS_MAX].join(","));
        check("array.concat", &format!("[{many}, [1]]"), Err("more than"));
    }
}
