//! Ordinary work over lines: what is judged is what is sent, and what comes back is paired.

use cordon_core::Limits;
use cordon_gateway::mcp::ClientMessage;
use cordon_wire::mcp::{Era, Message};
use serde_json::{Value, json};

use crate::support::{ALL, World, error, text};

#[tokio::test]
async fn a_real_child_is_governed_from_greeting_to_end() {
    let world = World::new(ALL, "");
    let mut client = world.office("office").await;
    assert_eq!(client.hello().await["result"]["serverInfo"]["name"], "cordon-fixture");
    let listed = client.request("tools/list", json!({})).await;
    assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 7);
    let mail = client.call("read_mail", json!({"id": "m1"})).await;
    assert!(mail["result"]["content"][0]["text"].as_str().unwrap().contains("order paper"), "{mail}");
    let broken = client.call("read_mail", json!({"id": 7})).await;
    assert!(error(&broken).1.contains("cordon:input-schema"), "{broken}");
    client.leave().await;
}

#[tokio::test]
async fn the_exact_bytes_are_forwarded() {
    let world = World::new(ALL, "");
    let (mut client, mut server) = world.play("s").await;
    let call = r#"{ "params" : {"arguments":{"n":1.50,"u":"é"},"name":"t","x-unknown":[ 1 ]},"extra":null , "method":"tools/call","id":"\u0061b","jsonrpc":"2.0"}"#;
    client.send(call).await;
    server.list(&["t"]).await;
    assert_eq!(server.line().await, call);
    let answer = r#"{"result":{"content":[],"later":{"n":1e2}},"jsonrpc":"2.0","id":"ab"}"#;
    server.send(answer).await;
    assert_eq!(client.next().await, serde_json::from_str::<Value>(answer).unwrap());
}

#[tokio::test]
async fn what_is_not_permitted_never_reaches_the_server_and_says_why() {
    let forbid = format!(
        "{ALL}\n@id(\"no-b\") @message(\"b is not for agents\") forbid (principal, action == Action::\"s/b\", resource);"
    );
    let tools = "[[tools]]\ntool = \"s/a\"\neffect = \"read\"\nclasses = [\"data.read\"]\n[[tools]]\ntool = \"s/b\"\neffect = \"read\"\nclasses = [\"data.read\"]\n";
    let world = World::with(&forbid, "", tools, cordon_guard::Approvers::default());
    let (mut client, mut server) = world.play("s").await;
    client.ask("tools/call", json!({"name": "b", "arguments": {}})).await;
    server.list(&["a", "b"]).await;
    let denied = client.next().await;
    let (code, why) = error(&denied);
    assert_eq!(code, -31403);
    assert!(
        why.contains("b is not for agents") && why.contains("no-b") && why.contains("Ledger entry"),
        "{why}"
    );
    assert!(denied["error"]["data"]["entry"]["id"].as_str().unwrap().starts_with("rec_"));
    client.ask("tools/call", json!({"name": "a", "arguments": {}})).await;
    let call = server.serve("tools/call", text("done")).await;
    assert_eq!(call["params"]["name"], "a");
    assert_eq!(client.next().await["result"]["content"][0]["text"], "done");
}

#[tokio::test]
async fn without_a_ledger_not_one_byte_reaches_the_server() {
    let world = World::new(ALL, "");
    let (mut client, server) = world.play("s").await;
    world.ports.ledger.set_down(true);
    for (method, params) in [
        ("initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}})),
        ("ping", json!({})),
        ("tools/list", json!({})),
        ("tools/call", json!({"name": "t", "arguments": {}})),
        ("resources/read", json!({"uri": "file:///x"})),
        ("prompts/get", json!({"name": "p"})),
        ("nonsense/method", json!({})),
    ] {
        let answer = client.request(method, params).await;
        assert!(answer.get("error").is_some(), "{method}: {answer}");
    }
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
    client.send(r#"{"jsonrpc":"2.0","id":5,"result":{}}"#).await;
    client.leave().await;
    assert_eq!(server.rest().await, b"");
}

#[tokio::test]
async fn requests_run_side_by_side_and_answers_find_their_requests() {
    let world = World::new(ALL, "");
    let (mut client, mut server) = world.play("s").await;
    client.ask("tools/list", json!({})).await;
    server.list(&["t"]).await;
    client.next().await;
    let first = client.ask("tools/call", json!({"name": "t", "arguments": {"n": 1}})).await;
    let second = client.ask("tools/call", json!({"name": "t", "arguments": {"n": 2}})).await;
    let (a, b) = (server.next().await, server.next().await);
    server.answer(&b, text("b")).await;
    server.answer(&a, text("a")).await;
    for _ in 0..2 {
        let answer = client.next().await;
        let n = if answer["id"] == first { 1 } else { 2 };
        assert!(answer["id"] == first || answer["id"] == second);
        let expected = if a["params"]["arguments"]["n"] == n { "a" } else { "b" };
        assert_eq!(answer["result"]["content"][0]["text"], expected);
    }
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_server_and_never_answered() {
    let world = World::new(ALL, "");
    let (mut client, mut server) = world.play("s").await;
    let id = client.ask("tools/call", json!({"name": "t", "arguments": {}})).await;
    server.list(&["t"]).await;
    let call = server.next().await;
    client
        .send(
            &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})
                .to_string(),
        )
        .await;
    assert_eq!(server.next().await["method"], "notifications/cancelled");
    server.answer(&call, text("too late")).await;
    assert!(client.is_quiet().await);
    // A cancellation of nothing goes nowhere.
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}"#).await;
    assert!(server.is_quiet().await);
}

#[tokio::test]
async fn progress_reaches_only_the_request_whose_token_it_carries() {
    let world = World::new(ALL, "");
    let (mut client, mut server) = world.play("s").await;
    client.ask("tools/call", json!({"name": "t", "arguments": {}, "_meta": {"progressToken": "p"}})).await;
    server.list(&["t"]).await;
    let call = server.next().await;
    let progress = |token: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
        )
    };
    server.send(&progress("\"other\"")).await;
    server.send(&progress("\"p\"")).await;
    assert_eq!(client.next().await["params"]["progressToken"], "p");
    server.answer(&call, text("done")).await;
    assert!(client.next().await.get("result").is_some());
    server.send(&progress("\"p\"")).await;
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn what_the_server_asks_is_decided_and_its_answer_too() {
    let permit = format!(
        "{ALL}\n@id(\"no-sampling\") forbid (principal, action in Action::\"model.call\", resource) when {{ context.ambiguous.isEmpty() }};"
    );
    let world = World::new(&permit, "");
    let (mut client, mut server) = world.play("s").await;
    client.ask("ping", json!({})).await;
    server.serve("ping", json!({})).await;
    client.next().await;
    server.send(r#"{"jsonrpc":"2.0","id":"q1","method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}"#).await;
    let refused = server.next().await;
    assert_eq!(
        (refused["id"].as_str(), refused["error"]["code"].as_i64()),
        (Some("q1"), Some(-31403)),
        "{refused}"
    );
    server.send(r#"{"jsonrpc":"2.0","id":"q2","method":"elicitation/create","params":{"message":"?","requestedSchema":{}}}"#).await;
    let asked = client.next().await;
    assert_eq!(asked["method"], "elicitation/create");
    client.send(r#"{"jsonrpc":"2.0","id":"q2","result":{"action":"accept","content":{"a":1}}}"#).await;
    assert_eq!(server.next().await["result"]["content"]["a"], 1);
    // Nothing is answered twice, and nothing that was not asked.
    client.send(r#"{"jsonrpc":"2.0","id":"q2","result":{"action":"accept"}}"#).await;
    client.send(r#"{"jsonrpc":"2.0","id":"q3","result":{"action":"accept"}}"#).await;
    server.send(r#"{"jsonrpc":"2.0","id":"q4","method":"shell/run","params":{}}"#).await;
    let unknown = server.next().await;
    assert_eq!((unknown["id"].as_str(), unknown["error"]["code"].as_i64()), (Some("q4"), Some(-32601)));
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn a_modern_question_is_decided_and_its_retry_bound_to_the_same_call() {
    let forbid = format!(
        "{ALL}\n@id(\"no-sampling\") forbid (principal, action in Action::\"model.call\", resource) when {{ context.ambiguous.isEmpty() }};"
    );
    let world = World::new(&forbid, "");
    let (mut client, mut server) = world.play("s").await;
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let call = |arguments: Value, more: Value| {
        let mut params = json!({"name": "t", "arguments": arguments, "_meta": meta});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let asks = |method: &str, state: &str| json!({"resultType": "input_required", "requestState": state, "inputRequests": {"k": {"method": method, "params": {"message": "?", "messages": [], "requestedSchema": {}}}}});
    client.ask("tools/call", call(json!({"a": 1}), json!({}))).await;
    let list = server.next().await;
    assert_eq!(list["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    server.answer(&list, json!({"resultType": "complete", "tools": [crate::support::tool("t")]})).await;
    let first = server.next().await;
    server.answer(&first, asks("elicitation/create", "S1")).await;
    assert_eq!(client.next().await["result"]["requestState"], "S1");

    let answers = json!({"requestState": "S1", "inputResponses": {"k": {"action": "accept"}}});
    let other = client.request("tools/call", call(json!({"a": 2}), answers.clone())).await;
    assert!(error(&other).1.contains("another request"), "{other}");
    let foreign = json!({"requestState": "S9", "inputResponses": {}});
    let foreign = client.request("tools/call", call(json!({"a": 1}), foreign)).await;
    assert!(error(&foreign).1.contains("not given in this session"), "{foreign}");
    assert!(server.is_quiet().await);

    client.ask("tools/call", call(json!({"a": 1}), answers)).await;
    let again = server.next().await;
    assert_eq!(again["params"]["requestState"], "S1");
    server.answer(&again, asks("sampling/createMessage", "S2")).await;
    let denied = client.next().await;
    assert!(error(&denied).1.contains("no-sampling"), "{denied}");
}

#[tokio::test]
async fn a_request_that_its_client_drops_is_cancelled_at_the_server_and_recorded_so() {
    let world = World::new(ALL, "");
    let (client, mut server) = world.play("s").await;
    let door = client.door.clone();
    let bytes =
        br#"{"jsonrpc":"2.0","id":"gone","method":"tools/call","params":{"name":"t","arguments":{}}}"#;
    let message = Message::parse(bytes.to_vec(), &Limits::DEFAULT).unwrap();
    let incoming = ClientMessage { message, era: Era::Legacy, headers: None, outlet: None };
    let running = tokio::spawn(async move { door.request(incoming).await });
    server.list(&["t"]).await;
    assert_eq!(server.next().await["id"], "gone");
    running.abort();
    let told = server.next().await;
    assert_eq!(
        (told["method"].as_str(), &told["params"]["requestId"]),
        (Some("notifications/cancelled"), &json!("gone"))
    );
    drop(client);
}
