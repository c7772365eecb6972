//! Headers that repeat the body.

use cordon_core::Limits;
use cordon_wire::mcp::header::{self, Mirrored};
use cordon_wire::mcp::{Era, Message};

use crate::{message, request};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;

fn mirrored(schema: &str) -> Result<Vec<Mirrored>, String> {
    let node = cordon_core::json::parse(schema.as_bytes(), &Limits::DEFAULT).unwrap();
    Mirrored::all(&node).map_err(|error| error.to_string())
}

fn agree(message: &Message, era: Era, headers: &[(&str, &str)], schema: &str, want: Result<(), &str>) {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let got = header::check(message, era, &headers, &mirrored(schema).unwrap());
    match (&got, want) {
        (Ok(()), Ok(())) => {}
        (Err(refusal), Err(want)) => {
            assert_eq!((refusal.code(), refusal.http_status()), (-32020, 400));
            assert!(refusal.to_string().contains(want), "{headers:?}: {refusal}");
        }
        _ => panic!("{headers:?}: {got:?}, wanted {want:?}"),
    }
}

fn call(arguments: &str) -> Message {
    request("tools/call", &format!(r#"{{"name":"add","arguments":{arguments},{META}}}"#))
}

const STANDARD: &[(&str, &str)] =
    &[("mcp-protocol-version", "2026-07-28"), ("MCP-METHOD", "tools/call"), ("Mcp-Name", "add")];

#[test]
fn modern_requests_need_headers_that_agree() {
    let call = call("{}");
    let check = |headers: &[(&str, &str)], want| agree(&call, Era::Modern, headers, "{}", want);
    check(STANDARD, Ok(()));
    check(&STANDARD[..2], Err("`Mcp-Name` is missing"));
    check(&STANDARD[1..], Err("`MCP-Protocol-Version` is missing"));
    check(&[STANDARD[0], STANDARD[2]], Err("`Mcp-Method` is missing"));
    let with = |n: usize, value: &'static str| {
        let mut headers = STANDARD.to_vec();
        headers[n].1 = value;
        headers
    };
    check(&with(2, "echo"), Err("`Mcp-Name` is `echo` and the body says `add`"));
    check(&with(2, "Add"), Err("`Mcp-Name`"));
    check(&with(2, "=?base64?YWRk?="), Ok(()));
    check(&with(2, "=?base64?ZWNobw==?="), Err("`Mcp-Name` is `echo`"));
    check(&with(2, "=?BASE64?YWRk?="), Err("`Mcp-Name`"));
    check(&with(2, "=?base64?***?="), Err("not a value that a header may have"));
    check(&with(2, "ädd"), Err("not a value that a header may have"));
    check(&with(2, " add\t"), Ok(()));
    check(&with(1, "tools/list"), Err("`Mcp-Method`"));
    check(&with(1, "=?base64?dG9vbHMvY2FsbA==?="), Err("`Mcp-Method`"));
    check(&with(0, "2025-11-25"), Err("`MCP-Protocol-Version`"));
    let mut twice = STANDARD.to_vec();
    twice.push(("mcp-name", "add"));
    check(&twice, Err("`Mcp-Name` occurs twice"));
}

#[test]
fn the_name_is_the_uri_the_task_or_nothing_by_the_method() {
    let check = |method: &str, params: &str, name: Option<&str>, want| {
        let message = request(method, &format!("{{{params}{META}}}"));
        let mut headers = vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)];
        headers.extend(name.map(|name| ("Mcp-Name", name)));
        agree(&message, Era::Modern, &headers, "{}", want);
    };
    check("resources/read", r#""uri":"file:///a","name":"b","#, Some("file:///a"), Ok(()));
    check("resources/read", r#""uri":"file:///a","name":"b","#, Some("b"), Err("`Mcp-Name`"));
    check("resources/read", r#""uri":"file:///a","#, None, Err("missing"));
    check("prompts/get", r#""name":"p","uri":"u","#, Some("p"), Ok(()));
    check("tasks/get", r#""taskId":"t","#, Some("t"), Ok(()));
    check("tasks/get", r#""taskId":"t","#, Some("u"), Err("`Mcp-Name`"));
    check("tasks/get", r#""taskId":"t","#, None, Ok(()));
    check("tools/list", "", None, Ok(()));
    check("tools/list", "", Some("add"), Err("names nothing"));
}

#[test]
fn in_the_legacy_era_these_headers_may_be_absent_and_may_not_contradict() {
    let call = request("tools/call", r#"{"name":"add","arguments":{"r":"eu"}}"#);
    let schema = r#"{"properties":{"r":{"type":"string","x-mcp-header":"R"}}}"#;
    let check = |headers: &[(&str, &str)], want| agree(&call, Era::Legacy, headers, schema, want);
    check(&[("MCP-Protocol-Version", "2025-11-25")], Ok(()));
    check(&[], Ok(()));
    check(&[("Mcp-Method", "tools/call"), ("Mcp-Name", "add"), ("Mcp-Param-R", "eu")], Ok(()));
    check(&[("Mcp-Method", "ping")], Err("`Mcp-Method`"));
    check(&[("Mcp-Name", "echo")], Err("`Mcp-Name`"));
    check(&[("Mcp-Param-R", "us")], Err("`Mcp-Param-R`"));
}

#[test]
fn arguments_that_are_repeated_in_headers_agree_with_the_body() {
    let schema = r#"{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"n":{"type":"integer","x-mcp-header":"N"},
        "b":{"type":["boolean","null"],"x-mcp-header":"B"},"o":{"type":"object","properties":{"deep":{"type":"string","x-mcp-header":"Deep"}}}}}"#;
    let check = |arguments: &str, more: &[(&'static str, &'static str)], want| {
        let headers: Vec<_> = STANDARD.iter().chain(more).copied().collect();
        agree(&call(arguments), Era::Modern, &headers, schema, want);
    };
    check("{}", &[], Ok(()));
    check(r#"{"region":"us-west1"}"#, &[("mcp-param-region", "us-west1")], Ok(()));
    check(r#"{"region":"us-west1"}"#, &[], Err("missing"));
    check(r#"{"region":"us-west1"}"#, &[("Mcp-Param-Region", "eu")], Err("differs"));
    check(r#"{"region":null}"#, &[], Ok(()));
    check(r#"{"region":null}"#, &[("Mcp-Param-Region", "null")], Err("is given"));
    check("{}", &[("Mcp-Param-Region", "eu")], Err("is given"));
    check(r#"{"region":"a"}"#, &[("Mcp-Param-Region", "a"), ("MCP-PARAM-REGION", "a")], Err("twice"));
    check(r#"{"region":" padded "}"#, &[("Mcp-Param-Region", "=?base64?IHBhZGRlZCA=?=")], Ok(()));
    check(r#"{"region":" padded "}"#, &[("Mcp-Param-Region", " padded ")], Err("differs"));
    check(r#"{"region":"Hello, 世界"}"#, &[("Mcp-Param-Region", "=?base64?SGVsbG8sIOS4lueVjA==?=")], Ok(()));
    check(
        r#"{"region":"=?base64?literal?="}"#,
        &[("Mcp-Param-Region", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=")],
        Ok(()),
    );
    check(r#"{"region":"=?base64?bGl0?="}"#, &[("Mcp-Param-Region", "=?base64?bGl0?=")], Err("differs"));
    check(r#"{"n":42}"#, &[("Mcp-Param-N", "42")], Ok(()));
    check(r#"{"n":42}"#, &[("Mcp-Param-N", "42.0")], Ok(()));
    check(r#"{"n":42.0}"#, &[("Mcp-Param-N", "42")], Ok(()));
    check(r#"{"n":42}"#, &[("Mcp-Param-N", "4.2e1")], Err("differs"));
    check(r#"{"n":9007199254740993}"#, &[("Mcp-Param-N", "9007199254740993")], Err("differs"));
    check(r#"{"n":"42"}"#, &[("Mcp-Param-N", "42")], Ok(()));
    check(r#"{"b":true}"#, &[("Mcp-Param-B", "true")], Ok(()));
    check(r#"{"b":true}"#, &[("Mcp-Param-B", "True")], Err("differs"));
    check(r#"{"o":{"deep":"x"}}"#, &[("Mcp-Param-Deep", "x")], Ok(()));
    check(r#"{"region":["us"]}"#, &[("Mcp-Param-Region", "us")], Err("differs"));
    check("{}", &[("Mcp-Param-Unknown", "x")], Ok(()));
}

#[test]
fn a_schema_may_only_mirror_what_can_be_found_without_doubt() {
    let refused = |schema: &str, want: &str| {
        let error = mirrored(schema).unwrap_err();
        assert!(error.contains(want), "{schema}: {error}");
    };
    let property = |extra: &str| format!(r#"{{"properties":{{"a":{{{extra}}}}}}}"#);
    for name in [
        r#""""#,
        r#""a b""#,
        r#""a:b""#,
        r#""a\r\nX-Evil: 1""#,
        r#""ä""#,
        "7",
        &format!("\"{}\"", "x".repeat(65)),
    ] {
        refused(&property(&format!(r#""type":"string","x-mcp-header":{name}"#)), "token");
    }
    for kind in [r#""number""#, r#""object""#, r#""array""#, r#"["string","integer"]"#, r#"["null"]"#, "[]"] {
        refused(&property(&format!(r#""type":{kind},"x-mcp-header":"A""#)), "only text");
    }
    refused(&property(r#""x-mcp-header":"A""#), "only text");
    refused(r#"{"type":"string","x-mcp-header":"A"}"#, "`properties` alone");
    for place in [
        r#""items":{"type":"string","x-mcp-header":"A"}"#,
        r#""items":[{"type":"string","x-mcp-header":"A"}]"#,
        r#""anyOf":[{"properties":{"x":{"type":"string","x-mcp-header":"A"}}}]"#,
        r#""if":{"properties":{"x":{"type":"string","x-mcp-header":"A"}}}"#,
        r#""additionalProperties":{"type":"string","x-mcp-header":"A"}"#,
        r#""patternProperties":{"x":{"type":"string","x-mcp-header":"A"}}"#,
    ] {
        refused(&property(place), "`properties` alone");
        refused(&format!("{{{place}}}"), "`properties` alone");
    }
    refused(
        r##"{"$ref":"#/$defs/d","$defs":{"d":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}}}"##,
        "`properties` alone",
    );
    refused(
        r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#,
        "same header",
    );
    assert_eq!(
        mirrored(r#"{"properties":{"x-mcp-header":{"type":"string"},"d":{"default":{"x-mcp-header":"A"}}}}"#),
        Ok(vec![])
    );
}

#[test]
fn headers_made_from_a_body_agree_with_it() {
    let schema = r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"n":{"type":"integer","x-mcp-header":"N"}}}"#;
    let mirrors = mirrored(schema).unwrap();
    for text in ["add", " add", "ä", "=?base64?x?=", "a\\nb", "a\\tb", "=?base64?"] {
        let message =
            request("tools/call", &format!(r#"{{"name":"x","arguments":{{"a":"{text}","n":7.0}},{META}}}"#));
        let headers = header::standard(&message, &mirrors);
        let borrowed: Vec<_> = headers.iter().map(|(name, value)| (&**name, value.as_bytes())).collect();
        assert_eq!(header::check(&message, Era::Modern, &borrowed, &mirrors), Ok(()), "{headers:?}");
        assert_eq!(headers.len(), 5);
        assert!(
            headers.iter().all(|(_, value)| value.bytes().all(|b| (0x20..0x7f).contains(&b) || b == b'\t'))
        );
    }
    assert!(header::standard(&crate::result("{}"), &[]).is_empty());
    let notification =
        message(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    assert_eq!(header::check(&notification, Era::Modern, &[], &[]), Ok(()));
}
