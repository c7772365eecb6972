//! Obligations as a guard writes them: `{"type": …, "properties": {…}}`.

use std::collections::BTreeMap;

use cordon_core::ObligationKind;
use regorus::Value;

use crate::obligation;

/// Reads one value of `obligation`; the text says what is wrong and what was expected.
pub(super) fn read(value: &Value) -> Result<ObligationKind, String> {
    let Value::Object(members) = value else {
        return Err("an obligation is an object with `type` and `properties`".to_owned());
    };
    let mut annotations: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in members.iter_sorted() {
        match (name, value) {
            (Value::String(name), Value::String(kind)) if &**name == "type" => {
                annotations.insert("obligation".to_owned(), kind.to_string());
            }
            (Value::String(name), Value::Object(properties)) if &**name == "properties" => {
                for (name, value) in properties.iter_sorted() {
                    let name = name.as_string().map_err(|_| "the name of a property is text".to_owned())?;
                    if obligation::is_about_rule(name) || &**name == "obligation" {
                        return Err(format!("`{name}` is no property of an obligation"));
                    }
                    annotations.insert(name.to_string(), property(name, value)?);
                }
            }
            _ => {
                return Err("an obligation has `type`, which is text, and `properties`, an object".to_owned());
            }
        }
    }
    if !annotations.contains_key("obligation") {
        return Err("the obligation has no `type`".to_owned());
    }
    obligation::read(&annotations).map_err(|problem| problem.replace('@', ""))
}

/// Text, a whole number, or a list of texts.
fn property(name: &str, value: &Value) -> Result<String, String> {
    let items: Vec<&Value> = match value {
        Value::String(text) => return Ok(text.to_string()),
        Value::Number(_) => {
            let number = value.as_u64().map_err(|_| format!("`{name}` is not a whole number"))?;
            return Ok(number.to_string());
        }
        Value::Array(items) => items.iter().collect(),
        Value::Set(items) => items.iter_sorted().collect(),
        _ => return Err(format!("`{name}` is neither text nor a number nor a list of texts")),
    };
    let texts: Result<Vec<&str>, String> = items
        .into_iter()
        .map(|item| match item {
            Value::String(text) if !text.contains(',') => Ok(&**text),
            Value::String(text) => Err(format!("`{name}` has `{text}`, which has a comma in it")),
            _ => Err(format!("`{name}` is neither text nor a number nor a list of texts")),
        })
        .collect();
    Ok(texts?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, want: Result<&str, &str>) {
        match (read(&Value::from_json_str(json).unwrap()).map(|kind| format!("{kind:?}")), want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want),
            (Err(got), Err(want)) => assert!(got.contains(want), "{json}: {got}"),
            (got, want) => panic!("{json}: {got:?}, expected {want:?}"),
        }
    }

    #[test]
    fn an_obligation_is_one_of_the_vocabulary_with_its_properties() {
        check(r#"{"type":"monitor"}"#, Ok("Monitor"));
        check(r#"{"type":"monitor","properties":{}}"#, Ok("Monitor"));
        check(r#"{"type":"redact","properties":{"fields":["ssn"]}}"#, Ok("Redact { fields: {\"ssn\"} }"));
        check(r#"{"type":"max_rows","properties":{"limit":10}}"#, Ok("MaxRows { limit: 10 }"));
        check(r#"{"type":"aprove","properties":{"role":"x"}}"#, Err("did you mean `approve`?"));
        check(r#"{"type":"approve","properties":{"rol":"x"}}"#, Err("has no property `rol`"));
        check(r#"{"type":"approve"}"#, Err("needs `role"));
        check(r#"{"type":"redact","properties":{"fields":[]}}"#, Err("needs `fields"));
        check(r#"{"type":"redact","properties":{"fields":["a,b"]}}"#, Err("comma"));
        check(r#"{"type":"redact","properties":{"fields":null}}"#, Err("neither text"));
        check(r#"{"type":"max_rows","properties":{"limit":-1}}"#, Err("whole number"));
        check(r#"{"type":"max_rows","properties":{"limit":1.5}}"#, Err("whole number"));
        check(r#"{"type":"monitor","rules":[]}"#, Err("`type`, which is text"));
        check(r#"{"type":"monitor","properties":{"id":"x"}}"#, Err("no property of an obligation"));
        check(r#"{"properties":{}}"#, Err("has no `type`"));
        check(r#""monitor""#, Err("is an object"));
    }
}
