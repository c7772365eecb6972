//! How arguments reach policies.

use cordon_core::{Decimal, UnknownReason, Value};

use crate::{node, schema};

fn check(schema_text: &str, value: &str, path: &[&str], want: Option<Value>) {
    let record = schema(schema_text).typed(&node(value));
    let mut found = Some(Value::Record(record));
    for name in path {
        found = match found {
            Some(Value::Record(mut record)) => record.remove(*name),
            Some(Value::Set(mut items)) => name.parse().ok().map(|n: usize| items.remove(n)),
            _ => None,
        };
    }
    assert_eq!(found, want, "{schema_text} {value}");
}

fn decimal(text: &str) -> Option<Value> {
    Some(Value::Decimal(Decimal::parse(text).unwrap()))
}

#[test]
fn a_number_is_always_a_decimal_and_an_integer_always_a_long() {
    let amount = |kind: &str| format!(r#"{{"properties":{{"a":{{"type":{kind}}}}}}}"#);
    for (text, want) in [("5", "5"), ("5.25", "5.25"), ("5e2", "500"), ("-0.5", "-0.5"), ("1.50000", "1.5")] {
        check(&amount(r#""number""#), &format!(r#"{{"a":{text}}}"#), &["a"], decimal(want));
    }
    for text in ["0.00001", "1e300"] {
        check(
            &amount(r#""number""#),
            &format!(r#"{{"a":{text}}}"#),
            &["a"],
            Some(Value::Unknown(UnknownReason::Unparsed)),
        );
    }
    for text in ["5", "5.0", "50e-1"] {
        check(&amount(r#""integer""#), &format!(r#"{{"a":{text}}}"#), &["a"], Some(Value::Long(5)));
    }
    check(
        &amount(r#""integer""#),
        r#"{"a":9223372036854775808}"#,
        &["a"],
        Some(Value::Unknown(UnknownReason::Unparsed)),
    );
    check(&amount(r#"["integer","null"]"#), r#"{"a":7}"#, &["a"], Some(Value::Long(7)));
    check(&amount(r#"["integer","null"]"#), r#"{"a":null}"#, &["a"], None);
    check(&amount(r#"["integer","number"]"#), r#"{"a":7}"#, &["a"], decimal("7"));
    check("{}", r#"{"a":7}"#, &["a"], Some(Value::Long(7)));
    check("{}", r#"{"a":7.5}"#, &["a"], decimal("7.5"));
}

#[test]
fn types_are_found_through_references_forms_items_and_additional_members() {
    let text = r##"{"properties":{"to":{"type":"array","items":{"$ref":"#/$defs/p"}},"opt":{"anyOf":[{"type":"null"},{"type":"number"}]}},
        "additionalProperties":{"type":"number"},"patternProperties":{"^x":{"type":"number"}},
        "$defs":{"p":{"allOf":[{"properties":{"share":{"type":"number"}}}]}}}"##;
    check(text, r#"{"to":[{"share":1},{"share":2}]}"#, &["to", "1", "share"], decimal("2"));
    check(text, r#"{"opt":3}"#, &["opt"], decimal("3"));
    check(text, r#"{"other":3}"#, &["other"], decimal("3"));
    let tuple = r#"{"properties":{"t":{"prefixItems":[{"type":"number"},{"type":"integer"}],"items":{"type":"number"}}}}"#;
    check(
        tuple,
        r#"{"t":[1,2,3]}"#,
        &["t"],
        Some(Value::Set(vec![decimal("1").unwrap(), Value::Long(2), decimal("3").unwrap()])),
    );
    let draft7 = r#"{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"t":{"items":[{"type":"number"}],"additionalItems":{"type":"integer"}}}}"#;
    check(draft7, r#"{"t":[1,2]}"#, &["t"], Some(Value::Set(vec![decimal("1").unwrap(), Value::Long(2)])));
}

#[test]
fn what_is_not_an_object_has_no_members() {
    for text in ["[]", "7", "null", "\"x\""] {
        assert!(schema("{}").typed(&node(text)).is_empty());
    }
}
