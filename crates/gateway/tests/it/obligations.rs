//! What must be done with a result before it is shown.

use serde_json::json;

use crate::support::{ALL, World, error, text};

const TOOL: &str = "[[tools]]\ntool = \"s/t\"\neffect = \"read\"\nclasses = [\"data.read\"]\n";

fn obliged(obligation: &str) -> World {
    let policy = format!("@id(\"o\") {obligation} permit (principal, action == Action::\"s/t\", resource);");
    World::with(ALL, &policy, TOOL, cordon_guard::Approvers::default())
}

#[tokio::test]
async fn a_field_is_redacted_everywhere_or_nothing_is_shown() {
    let world = obliged("@obligation(\"redact\") @fields(\"ssn\")");
    let (mut client, mut server) = world.play("s").await;
    client.ask("tools/call", json!({"name": "t", "arguments": {}})).await;
    server.list(&["t"]).await;
    let mut result = text(r#"{"ssn":"1","name":"a"}"#);
    result["structuredContent"] = json!({"ssn": "1", "name": "a"});
    server.serve("tools/call", result).await;
    let shown = client.next().await;
    assert_eq!(shown["result"]["structuredContent"], json!({"name": "a"}));
    assert_eq!(shown["result"]["content"][0]["text"], r#"{"name":"a"}"#);
    client.ask("tools/call", json!({"name": "t", "arguments": {}})).await;
    server.serve("tools/call", text("his ssn is 1")).await;
    let (code, why) = error(&client.next().await);
    assert_eq!(code, -31403);
    assert!(why.contains("withheld") && !why.contains("his ssn"), "{why}");
    client.ask("tools/call", json!({"name": "t", "arguments": {}})).await;
    let call = server.next().await;
    server
        .send(
            &json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": 1, "message": "ssn 1"}})
                .to_string(),
        )
        .await;
    assert!(!error(&client.next().await).1.contains("ssn 1"));
}

#[tokio::test]
async fn a_result_that_comes_through_a_task_is_redacted_as_its_call_demands() {
    let world = obliged("@obligation(\"redact\") @fields(\"ssn\")");
    let (mut client, mut server) = world.play("s").await;
    client.ask("tools/call", json!({"name": "t", "arguments": {}})).await;
    server.list(&["t"]).await;
    server.serve("tools/call", json!({"task": {"taskId": "T1", "status": "working"}})).await;
    assert_eq!(client.next().await["result"]["task"]["taskId"], "T1");
    let mut result = text(r#"{"ssn":"1","name":"a"}"#);
    result["structuredContent"] = json!({"ssn": "1", "name": "a"});
    client.ask("tasks/result", json!({"taskId": "T1"})).await;
    server.serve("tasks/result", result.clone()).await;
    let shown = client.next().await;
    assert_eq!(shown["result"]["structuredContent"], json!({"name": "a"}));
    assert_eq!(shown["result"]["content"][0]["text"], r#"{"name":"a"}"#);
    client.ask("tasks/get", json!({"taskId": "T1"})).await;
    let done = json!({"taskId": "T1", "status": "completed", "result": result});
    server.serve("tasks/get", done.clone()).await;
    assert_eq!(client.next().await["result"]["result"]["structuredContent"], json!({"name": "a"}));
    // News and lists bring no results past the call's obligations, and news without one pass.
    let news = |params| {
        json!({"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": params}).to_string()
    };
    server.send(&news(done.clone())).await;
    assert!(client.is_quiet().await);
    server.send(&news(json!({"taskId": "T1", "status": "completed"}))).await;
    assert_eq!(client.next().await["params"]["status"], "completed");
    client.ask("tasks/list", json!({})).await;
    server.serve("tasks/list", json!({"tasks": [done]})).await;
    assert!(error(&client.next().await).1.contains("carries a result"));
}

#[tokio::test]
async fn a_result_larger_than_it_may_be_is_withheld() {
    let world = obliged("@obligation(\"max_bytes\") @limit(\"200\")");
    let (mut client, mut server) = world.play("s").await;
    for (length, passes) in [(50, true), (300, false)] {
        client.ask("tools/call", json!({"name": "t", "arguments": {}})).await;
        if passes {
            server.list(&["t"]).await;
        }
        server.serve("tools/call", text(&"x".repeat(length))).await;
        assert_eq!(client.next().await.get("result").is_some(), passes, "{length}");
    }
}

#[tokio::test]
async fn a_rate_is_kept_and_the_call_above_it_is_not_sent() {
    let world = obliged("@obligation(\"rate\") @limit(\"2\") @window_s(\"60\")");
    let (mut client, mut server) = world.play("s").await;
    for n in 0..3 {
        client.ask("tools/call", json!({"name": "t", "arguments": {}})).await;
        if n == 0 {
            server.list(&["t"]).await;
        }
        if n < 2 {
            server.serve("tools/call", text("ok")).await;
            assert!(client.next().await.get("result").is_some());
        }
    }
    assert!(error(&client.next().await).1.contains("at most 2 calls in 60 s"));
    assert!(server.is_quiet().await);
}

#[tokio::test]
async fn an_obligation_that_the_door_cannot_carry_out_denies() {
    let world = obliged("@obligation(\"max_rows\") @limit(\"2\")");
    let (mut client, mut server) = world.play("s").await;
    client.ask("tools/call", json!({"name": "t", "arguments": {}})).await;
    server.list(&["t"]).await;
    assert_eq!(error(&client.next().await).0, -31403);
    assert!(server.is_quiet().await);
}
