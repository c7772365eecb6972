//! What a manifest wants read is read from the same server before the call, and not in vain.

use cordon_guard::Approvers;
use serde_json::json;

use crate::support::{ALL, World, error, text};

const TOOLS: &str = r#"
[[tools]]
tool = "s/status"
classes = ["data.read"]
effect = "read"

[[tools]]
tool = "s/ship"
classes = ["data.write"]
effect = "write"
preconditions = [{ name = "customer", tool = "s/status", arguments = { id = { from = "/customer" } }, take = { status = { at = "/status", type = "text" } }, max_age_ms = 60000 }]
"#;
const RULE: &str = r#"
@id("active-only") @message("the customer is not active")
forbid (principal, action == Action::"s/ship", resource)
unless { context.preconditions.customer.status == "active" };"#;

#[tokio::test]
async fn the_door_reads_first_and_the_client_sees_only_its_own_answer() {
    let world = World::with(&format!("{ALL}{RULE}"), "", TOOLS, Approvers::default());
    let (mut client, mut server) = world.play("s").await;
    client.ask("tools/call", json!({"name": "ship", "arguments": {"customer": 7}})).await;
    server.list(&["status", "ship"]).await;
    let mut active = text("active");
    active["structuredContent"] = json!({"status": "active"});
    let read = server.serve("tools/call", active).await;
    assert_eq!(read["params"]["name"], "status");
    assert_eq!(read["params"]["arguments"], json!({"id": 7}));
    let call = server.serve("tools/call", text("shipped")).await;
    assert_eq!(call["params"], json!({"name": "ship", "arguments": {"customer": 7}}));
    assert_eq!(client.next().await["result"]["content"][0]["text"], "shipped");
    // What was just read is not read again.
    client.ask("tools/call", json!({"name": "ship", "arguments": {"customer": 7}})).await;
    let call = server.serve("tools/call", text("shipped")).await;
    assert_eq!(call["params"]["name"], "ship");
    assert_eq!(client.next().await["result"]["content"][0]["text"], "shipped");
}

#[tokio::test]
async fn without_a_reading_that_can_be_used_nothing_is_sent() {
    for (status, rule) in [
        (json!({"status": "closed"}), "the customer is not active"),
        (json!({"state": "active"}), "was not read"),
        (json!(null), "was not read"),
    ] {
        let world = World::with(&format!("{ALL}{RULE}"), "", TOOLS, Approvers::default());
        let (mut client, mut server) = world.play("s").await;
        client.ask("tools/call", json!({"name": "ship", "arguments": {"customer": 7}})).await;
        server.list(&["status", "ship"]).await;
        let mut answer = text("some status");
        if !status.is_null() {
            answer["structuredContent"] = status.clone();
        }
        server.serve("tools/call", answer).await;
        let (code, why) = error(&client.next().await);
        assert_eq!(code, -31403);
        assert!(why.contains(rule), "{status}: {why}");
        assert!(server.is_quiet().await, "the call itself is not sent");
    }
}
