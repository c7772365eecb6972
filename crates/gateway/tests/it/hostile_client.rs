//! Clients that do not keep to the protocol: nothing that is not understood goes on.

use serde_json::json;

use crate::support::{ALL, World, error, text};

#[tokio::test]
async fn what_cannot_be_read_one_way_only_is_refused() {
    let world = World::new(ALL, "");
    let (mut client, mut server) = world.play("s").await;
    for (what, bytes) in [
        ("duplicate keys", &br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","name":"echo"}}"#[..]),
        ("a batch", br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#),
        ("invalid UTF-8", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"x\":\"\xc0\"}"),
        ("another letter case", br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}"#),
        ("a null id", br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#),
        ("no version", br#"{"id":1,"method":"ping"}"#),
        ("an unknown method", br#"{"jsonrpc":"2.0","id":1,"method":"tools/execute"}"#),
        ("a server's method", br#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}"#),
        ("arguments that are none", br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[]}}"#),
        ("an unknown version", br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2099-01-01"}}}"#),
    ] {
        client.send_bytes(bytes).await;
        let answer = client.next().await;
        assert!(answer.get("error").is_some(), "{what}: {answer}");
        assert!(server.is_quiet().await, "{what}");
    }
}

#[tokio::test]
async fn names_that_differ_only_by_letter_case_are_no_arguments() {
    let world = World::new(ALL, "");
    let (mut client, mut server) = world.play("s").await;
    client.ask("tools/call", json!({"name": "t", "arguments": {"to": "a", "To": "b"}})).await;
    server.list(&["t"]).await;
    assert!(error(&client.next().await).1.contains("letter case"));
    client.ask("tools/call", json!({"name": "t", "arguments": {"to": "a", "from": "b"}})).await;
    server.serve("tools/call", text("ok")).await;
    assert!(client.next().await.get("result").is_some());
}

#[tokio::test]
async fn two_requests_in_flight_cannot_share_an_id_or_a_token() {
    let world = World::new(ALL, "");
    let (mut client, mut server) = world.play("s").await;
    let call = |id: i64, token: &str| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "t", "arguments": {}, "_meta": {"progressToken": token}}}).to_string()
    };
    client.send(&call(1, "a")).await;
    server.list(&["t"]).await;
    let first = server.next().await;
    client.send(&call(1, "b")).await;
    assert!(error(&client.next().await).1.contains("in flight"));
    client.send(&call(2, "a")).await;
    assert!(error(&client.next().await).1.contains("in flight"));
    server.answer(&first, text("one")).await;
    assert_eq!(client.next().await["result"]["content"][0]["text"], "one");
    client.send(&call(1, "a")).await;
    server.serve("tools/call", text("two")).await;
    assert_eq!(client.next().await["result"]["content"][0]["text"], "two");
}

#[tokio::test]
async fn a_flood_of_requests_is_bounded() {
    let world = World::new(ALL, "");
    let (mut client, mut server) = world.play_with("s", |limits| limits.in_flight_max = 4).await;
    for _ in 0..10 {
        client.ask("resources/list", json!({})).await;
    }
    let mut refused = 0;
    for _ in 0..6 {
        refused += usize::from(error(&client.next().await).0 == -31503);
    }
    assert_eq!(refused, 6);
    for _ in 0..4 {
        server.serve("resources/list", json!({"resources": []})).await;
        assert!(client.next().await.get("result").is_some());
    }
}

#[tokio::test]
async fn a_tool_that_no_list_names_cannot_be_called() {
    let world = World::new(ALL, "");
    let (mut client, mut server) = world.play("s").await;
    client.ask("tools/call", json!({"name": "hidden", "arguments": {}})).await;
    server.list(&["t"]).await;
    assert!(error(&client.next().await).1.contains("lists no tool"));
    for name in ["a b", "t/../x", "", "t\u{0}"] {
        let answer = client.call(name, json!({})).await;
        assert!(answer.get("error").is_some(), "{name:?}");
    }
    assert!(server.is_quiet().await);
}
