//! Which schemas can be used, and what is said of the others.

use cordon_inspect::{Schema, SchemaLimits};

use crate::check;

fn refused(schema: &str, want: &str) {
    let error = Schema::compile(schema.as_bytes(), &SchemaLimits::default()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(want), "{schema}: {error}");
}

#[test]
fn references_within_the_schema_are_followed() {
    for reference in ["#/$defs/a", "#/%24defs/a", "#anchored"] {
        let text = format!(
            r##"{{"properties":{{"x":{{"$ref":"{reference}"}}}},"$defs":{{"a":{{"$anchor":"anchored","type":"string"}}}}}}"##
        );
        check(&text, r#"{"x":"t"}"#, "ok");
        check(&text, r#"{"x":1}"#, "`/x`: it is of the wrong type, expected string");
    }
    let tree = r##"{"type":"object","properties":{"next":{"$ref":"#"}},"additionalProperties":false}"##;
    check(tree, r#"{"next":{"next":{}}}"#, "ok");
    check(tree, r#"{"next":{"nxt":{}}}"#, "`/next`: it has members that the schema does not declare");
}

#[test]
fn references_that_leave_the_schema_are_refused_and_named() {
    for to in [
        "https://example.com/s.json",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "other.json",
        "other.json#/a",
        "//example.com/s",
        "#/nowhere",
        "#/$defs/a/0",
        "#missing",
        "",
    ] {
        refused(&format!(r#"{{"properties":{{"x":{{"$ref":"{to}"}}}},"$defs":{{"a":{{}}}}}}"#), to);
    }
    refused(r#"{"items":{"allOf":[{"$ref":7}]}}"#, "not text");
}

#[test]
fn the_built_in_meta_schemas_may_be_referred_to() {
    let text = r#"{"properties":{"schema":{"$ref":"https://json-schema.org/draft/2020-12/schema"}}}"#;
    check(text, r#"{"schema":{"type":"string"}}"#, "ok");
    assert!(crate::schema(text).validate(&crate::node(r#"{"schema":{"type":7}}"#)).is_err());
}

#[test]
fn a_name_that_looks_like_a_keyword_is_only_a_name() {
    check(r#"{"properties":{"$ref":{"type":"string"}}}"#, r#"{"$ref":"https://example.com"}"#, "ok");
    check(r#"{"enum":[{"$ref":"https://example.com"}]}"#, r#"{"$ref":"https://example.com"}"#, "ok");
    check(
        r#"{"properties":{"pattern":{"type":"string"},"$id":{"type":"string"}}}"#,
        r#"{"pattern":"("}"#,
        "ok",
    );
}

#[test]
fn dialects_that_are_not_built_in_are_refused() {
    refused(r#"{"$schema":"https://example.com/mine"}"#, "https://example.com/mine");
    refused(r#"{"$schema":"http://json-schema.org/draft-04/schema#"}"#, "draft-04");
    refused(r#"{"$schema":7}"#, "not text");
    let draft7 = r##"{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"a":{"type":"integer"}},
        "properties":{"x":{"$ref":"#/definitions/a"}},"items":[{"type":"string"}]}"##;
    check(draft7, r#"{"x":1}"#, "ok");
    check(draft7, "[1]", "`/0`: it is of the wrong type, expected string");
    check(
        r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","items":{"type":"string"}}"#,
        r#"["a"]"#,
        "ok",
    );
}

#[test]
fn schemas_that_would_mean_something_else_below_are_refused() {
    refused(r##"{"$defs":{"a":{"$id":"https://example.com/a","$ref":"#/b"}}}"##, "$id inside");
    refused(
        r#"{"properties":{"a":{"$schema":"http://json-schema.org/draft-07/schema#"}}}"#,
        "$schema inside",
    );
    refused(r##"{"$dynamicRef":"#x"}"##, "$dynamicRef");
    check(
        r##"{"$id":"https://example.com/tool","properties":{"x":{"$ref":"#/$defs/a"}},"$defs":{"a":{"type":"null"}}}"##,
        r#"{"x":null}"#,
        "ok",
    );
}

#[test]
fn malformed_schemas_are_refused_with_their_place() {
    refused("[]", "`true` or `false`");
    refused("{", "byte 1");
    refused(r#"{"type":"object","type":"array"}"#, "occurs twice");
    refused(r#"{"properties":{"a":{"type":"strnig"}}}"#, "/properties/a/type");
    refused(r#"{"properties":{"a":{"pattern":"("}}}"#, "/properties/a/pattern");
    refused(r#"{"minimum":9007199254740993.0}"#, "9007199254740993.0");
    check("true", "7", "ok");
    check("false", "7", "`the value`: nothing is permitted here");
}
