//! The exact representation and the validator's own one give the same answers where both apply.

use cordon_inspect::{Schema, SchemaLimits};
use proptest::prelude::*;
use serde_json::{Value, json};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..4).prop_map(Value::from),
        prop_oneof![Just(0.5), Just(1.0), Just(-2.0), Just(2.5)].prop_map(Value::from),
        "[ab]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn schema() -> impl Strategy<Value = Value> {
    let names = prop_oneof![
        Just("null"),
        Just("boolean"),
        Just("integer"),
        Just("number"),
        Just("string"),
        Just("array"),
        Just("object")
    ];
    let leaf = prop_oneof![
        names.prop_map(|kind| json!({"type": kind})),
        value().prop_map(|value| json!({"const": value})),
        prop::collection::vec(value(), 1..4).prop_map(|values| json!({"enum": values})),
        (-2i64..3).prop_map(|limit| json!({"minimum": limit, "type": ["integer", "string"]})),
        (-2i64..3).prop_map(|limit| json!({"exclusiveMaximum": limit})),
        (0u8..3).prop_map(|length| json!({"minLength": length, "maxItems": length})),
        Just(json!({"multipleOf": 0.5})),
        Just(json!({"uniqueItems": true})),
        Just(json!({"pattern": "^a+b?$"})),
        Just(json!({"propertyNames": {"pattern": "^[ab]"}})),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({"allOf": list})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({"anyOf": list})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({"oneOf": list})),
            inner.clone().prop_map(|schema| json!({"not": schema})),
            inner.clone().prop_map(|schema| json!({"items": schema, "contains": true})),
            inner.clone().prop_map(|schema| json!({"prefixItems": [schema], "unevaluatedItems": false})),
            inner.clone().prop_map(|schema| json!({"properties": {"a": schema}, "required": ["a"]})),
            inner
                .clone()
                .prop_map(|schema| json!({"properties": {"b": true}, "additionalProperties": schema})),
            inner.clone().prop_map(
                |schema| json!({"if": schema, "then": {"type": "object"}, "unevaluatedProperties": false})
            ),
            inner.prop_map(|schema| json!({"$ref": "#/$defs/d", "$defs": {"d": schema}})),
        ]
    })
}

/// Moves nested `$defs` to the root under distinct names, so that `#/$defs/…` finds them.
fn lift(schema: &mut Value, defs: &mut serde_json::Map<String, Value>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(own)) = members.remove("$defs") {
                let name = format!("d{}", defs.len());
                defs.insert(name.clone(), Value::Null);
                let mut inner = own.into_iter().next().map(|(_, inner)| inner).unwrap_or(Value::Bool(true));
                lift(&mut inner, defs);
                defs.insert(name.clone(), inner);
                members.insert("$ref".into(), json!(format!("#/$defs/{name}")));
            }
            members
                .iter_mut()
                .filter(|(name, _)| !matches!(name.as_str(), "const" | "enum"))
                .for_each(|(_, inner)| lift(inner, defs));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| lift(inner, defs)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn both_representations_agree(mut schema in schema(), value in value()) {
        let mut defs = serde_json::Map::new();
        lift(&mut schema, &mut defs);
        schema.as_object_mut().unwrap().insert("$defs".into(), Value::Object(defs));
        let theirs = jsonschema::validator_for(&schema).unwrap().is_valid(&value);
        let ours = Schema::compile(schema.to_string().as_bytes(), &SchemaLimits::default()).unwrap();
        let ours = ours.validate(&crate::node(&value.to_string()));
        prop_assert_eq!(ours.is_ok(), theirs, "{} {} {:?}", schema, value, ours);
    }

    #[test]
    fn nothing_panics(schema in "[{}\\[\\],:\"a-z$#/0-9 ]{0,60}", value in value()) {
        if let Ok(schema) = Schema::compile(schema.as_bytes(), &SchemaLimits::default()) {
            let value = crate::node(&value.to_string());
            let _ = schema.validate(&value);
            let _ = schema.typed(&value);
        }
    }
}
