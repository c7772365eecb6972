//! One message in one way only.

use cordon_core::{ExactBytes, Limits};
use cordon_wire::mcp::{Kind, Message, RequestId, Splice};

use crate::{message, parse, request};

fn refused(text: &str, code: i64, want: &str) {
    let refusal = parse(text).unwrap_err();
    assert_eq!((refusal.code(), refusal.to_string().contains(want)), (code, true), "{text}: {refusal}");
}

#[test]
fn each_kind_of_message_is_known_for_what_it_is() {
    let kind = |text: &str| message(text).kind().clone();
    let one = || RequestId::whole(1);
    assert_eq!(
        kind(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#),
        Kind::Request { id: one(), method: "ping".into() }
    );
    assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"n"}"#), Kind::Notification { method: "n".into() });
    assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), Kind::Result { id: one() });
    assert_eq!(
        kind(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":""}}"#),
        Kind::Error { id: Some(one()) }
    );
    for none in [r#""id":null,"#, ""] {
        let text = format!(r#"{{"jsonrpc":"2.0",{none}"error":{{"code":-1,"message":""}}}}"#);
        assert_eq!(kind(&text), Kind::Error { id: None });
    }
}

#[test]
fn a_tool_named_twice_is_refused_and_never_judged_by_one_of_its_names() {
    refused(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","name":"echo"}}"#,
        -32700,
        "`name` occurs twice",
    );
    refused(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","n\u0061me":"echo"}}"#,
        -32700,
        "occurs twice",
    );
    refused(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}"#,
        -32700,
        "occurs twice",
    );
}

#[test]
fn a_name_that_a_reader_without_case_would_take_for_the_protocols_is_refused() {
    refused(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}"#, -32600, "`method`");
    refused(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","Name":"delete_all"}}"#,
        -32600,
        "`name`",
    );
    refused(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"NAME":"delete_all"}}"#,
        -32600,
        "`name`",
    );
    refused(
        r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"ta\u017fkId":"t"}}"#,
        -32600,
        "`taskId`",
    );
    refused(
        r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"tas\u212aId":"t"}}"#,
        -32600,
        "`taskId`",
    );
    refused(r#"{"jsonrpc":"2.0","id":1,"result":{"InputRequests":{}}}"#, -32600, "`inputRequests`");
    refused(r#"{"jsonrpc":"2.0","id":1,"result":{"StructuredContent":{}}}"#, -32600, "`structuredContent`");
    refused(
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"ProgressToken":1}}}"#,
        -32600,
        "`progressToken`",
    );
    request("ping", r#"{"_meta":null}"#);
    request("tools/call", r#"{"name":"add","arguments":{"Name":"x","Method":"y"},"names":[]}"#);
}

#[test]
fn names_in_arguments_that_only_differ_by_case_are_pointed_out() {
    let found = |params: &str| request("tools/call", params).look_alikes();
    assert!(found(r#"{"name":"add","arguments":{"a":1,"b":{"c":1}}}"#).is_empty());
    assert_eq!(found(r#"{"name":"add","arguments":{"a":1,"A":2}}"#), ["/params/arguments"]);
    assert_eq!(
        found(r#"{"name":"add","arguments":{"b":[{"x/y":{"k":1,"\u212a":2}}]}}"#),
        ["/params/arguments/b/0/x~1y"]
    );
}

#[test]
fn what_is_not_one_message_is_refused() {
    refused(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600, "batch");
    refused("[]", -32600, "batch");
    refused("7", -32600, "JSON object");
    refused("", -32700, "byte 0");
    refused(r#"{"jsonrpc":"2.0","id":1,"method":"ping"} {}"#, -32700, "end of the message");
    refused("\u{feff}{\"jsonrpc\":\"2.0\",\"method\":\"n\"}", -32700, "byte 0");
    refused(r#"{"id":1,"method":"ping"}"#, -32600, "`jsonrpc`");
    refused(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600, "\"1.0\"");
    refused(r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, -32600, "2.0");
    refused(r#"{"jsonrpc":"2.0","id":1}"#, -32600, "none of them");
    refused(r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#, -32600, "both");
    refused(r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, -32600, "beside");
    refused(r#"{"jsonrpc":"2.0","id":1,"method":"ping","error":{"code":1,"message":""}}"#, -32600, "beside");
    refused(r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#, -32600, "`params` beside");
    refused(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, -32600, "`params` must be an object");
    refused(
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
        -32600,
        "`params` must be an object",
    );
    refused(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":[]}}"#, -32600, "_meta");
    refused(r#"{"jsonrpc":"2.0","id":1,"result":[]}"#, -32600, "`result`");
    refused(r#"{"jsonrpc":"2.0","id":1,"result":null}"#, -32600, "`result`");
    refused(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":""}}"#, -32600, "error.code");
    refused(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, -32600, "error.message");
    let invalid =
        Message::parse(&b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}"[..], &Limits::DEFAULT).unwrap_err();
    assert!(invalid.to_string().contains("UTF-8"), "{invalid}");
    refused(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\ud800"}}"#, -32700, "surrogate");
    refused(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}"#, -32700, "JSON value");
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{}{}}}}}"#,
        "[".repeat(63),
        "]".repeat(63)
    );
    refused(&deep, -32700, "deeper than 64");
}

#[test]
fn methods_are_short_and_visible() {
    for method in ["", " ping", "pi ng", "ping\\u0000", "ping\\n", "p\u{0456}ng", "ping\u{200b}"] {
        refused(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#), -32600, "visible ASCII");
    }
    refused(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "m".repeat(257)), -32600, "256 bytes");
    refused(r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600, "visible ASCII");
}

#[test]
fn ids_are_short_texts_or_whole_numbers_and_never_null_in_a_request() {
    for id in ["null", "1.5", "1.0", "1e3", "true", "[]", "{}", "9223372036854775808"] {
        refused(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#), -32600, "`id`");
        refused(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#), -32600, "`id`");
    }
    refused(&format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "i".repeat(300)), -32600, "`id`");
    refused(
        &format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "\\u0061".repeat(50)),
        -32600,
        "`id`",
    );
    for id in ["0", "-7", "9223372036854775807", "\"\"", "\"a b\"", r#""\u0061""#] {
        let message = message(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
        assert_eq!(message.id().map(RequestId::as_json), Some(id));
    }
    let id = |text: &str| {
        message(&format!(r#"{{"jsonrpc":"2.0","id":{text},"method":"ping"}}"#)).id().cloned().unwrap()
    };
    assert_eq!(id(r#""\u0061""#), RequestId::text("a"));
    assert_ne!(id("1"), id("\"1\""));
}

#[test]
fn a_refusal_names_the_id_where_it_could_be_read() {
    let refusal = parse(r#"{"jsonrpc":"2.0","id":"x","method":"ping","params":7}"#).unwrap_err();
    assert_eq!(refusal.id, Some(RequestId::text("x")));
    assert_eq!(parse(r#"{"jsonrpc":"2.0","id":"x","method":"#).unwrap_err().id, None);
}

#[test]
fn what_nobody_defined_survives_byte_for_byte() {
    let text = "{ \"x-vendor\" : [1.0e0,\t\"\\u0041\"],\r\n\"jsonrpc\":\"2.0\", \"id\":7, \"method\":\"tools/call\", \"params\":{\"name\":\"a\",\"future\":{}} }";
    let message = message(text);
    assert_eq!(message.exact_bytes(), text.as_bytes());
    assert_eq!(message.clone().into_bytes().as_ref(), text.as_bytes());
    let line = message.clone().on_one_line();
    assert_eq!(line.bytes().len(), text.len());
    assert!(!line.bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n')));
    assert_eq!(parse(std::str::from_utf8(line.bytes()).unwrap()).unwrap().root(), message.root());
}

#[test]
fn a_rewrite_changes_what_it_says_and_nothing_else() {
    let text = r#"{"id": "a\u0041" ,"jsonrpc":"2.0","method":"tools/call","params":{ "name":"srv__add" , "_meta":{"progressToken":1.0e0, "progressToken2":"x"}, "arguments":{"n":1.50}}}"#;
    let first = message(text);
    let renamed = first.with_name("add\"\n").unwrap();
    assert_eq!(renamed.bytes(), text.replace("\"srv__add\"", r#""add\"\n""#).as_bytes());
    let numbered = first.with_id(&RequestId::whole(99)).unwrap();
    assert_eq!(numbered.bytes(), text.replace(r#""a\u0041""#, "99").as_bytes());
    assert_eq!(numbered.id(), Some(&RequestId::whole(99)));
    let token = first.with_progress_token("\"t9\"").unwrap();
    assert_eq!(token.bytes(), text.replace("1.0e0", "\"t9\"").as_bytes());
    assert_eq!(token.progress_token(), Some("\"t9\""));
    assert!(message(r#"{"jsonrpc":"2.0","method":"n"}"#).with_id(&RequestId::whole(1)).is_err());
    assert!(first.spliced(&Splice::new().replace(0..1, "")).is_err());
}

#[test]
fn splices_outside_of_the_message_or_inside_each_other_change_nothing() {
    let splice = Splice::new().replace(2..4, "X").replace(3..5, "Y").replace(9..99, "Z").replace(5..5, "+");
    assert_eq!(splice.apply(b"0123456"), b"01X4+56");
}

#[test]
fn a_repeated_request_has_the_digest_of_the_first() {
    let first =
        request("tools/call", r#"{"name":"pay","arguments":{"a":1,"b":2},"_meta":{"progressToken":1}}"#);
    let again = message(
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"requestState":"s","inputResponses":{"k":{"action":"accept"}},"arguments":{"b":2,"a":1},"name":"pay"}}"#,
    );
    assert_eq!(first.call_digest(), again.call_digest());
    assert_eq!(first.arguments_digest(), again.arguments_digest());
    let retry = again.retry().unwrap();
    assert_eq!((retry.state, retry.responses.len(), retry.responses[0].0), (Some("s"), 1, "k"));
    assert_eq!(first.retry(), None);
    for other in [
        r#"{"name":"pay","arguments":{"a":1,"b":3}}"#,
        r#"{"name":"pay","arguments":{"a":1,"b":2.0}}"#,
        r#"{"name":"Pay","arguments":{"a":1,"b":2}}"#,
        r#"{"name":"pay","arguments":{"a":1,"b":2},"task":{}}"#,
    ] {
        assert_ne!(first.call_digest(), request("tools/call", other).call_digest(), "{other}");
    }
    let none = |params: &str| request("tools/call", params).arguments_digest();
    assert_eq!(none(r#"{"name":"x"}"#), none(r#"{"name":"x","arguments":null}"#));
    assert_eq!(none(r#"{"name":"x"}"#), none(r#"{"name":"x","arguments":{ }}"#));
}

#[test]
fn debug_output_never_shows_the_content() {
    let shown = format!("{:?}", request("tools/call", r#"{"name":"pay","arguments":{"key":"hunter2"}}"#));
    assert!(!shown.contains("hunter2"), "{shown}");
}
