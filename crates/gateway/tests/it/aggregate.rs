//! All servers as one.

use cordon_gateway::mcp::http::{HttpOptions, Service};
use cordon_gateway::mcp::{ServerOptions, UpstreamOptions};
use serde_json::{Value, json};

use crate::http::{initialize, post, send};
use crate::support::{ALL, World, error, fixture};

fn both(world: &World) -> Service {
    let options = ["office", "echo"]
        .map(|name| ServerOptions::new(name, UpstreamOptions::Stdio(fixture(name))).unwrap());
    Service::new(world.guard.clone(), options.into(), HttpOptions::default()).unwrap()
}

#[tokio::test]
async fn every_tool_has_its_servers_name_before_its_own_and_reaches_it() {
    let world = World::new(ALL, "");
    let service = both(&world);
    let hello = send(&service, "a", post("/mcp", &[], &initialize())).await;
    assert_eq!(hello.body["result"]["serverInfo"]["name"], "cordon", "{}", hello.body);
    let session = hello.session.unwrap();
    let headers = [("mcp-session-id", session.as_str())];
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}});
    let listed = send(&service, "a", post("/mcp", &headers, &list)).await;
    let names: Vec<&str> = listed.body["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 8, "{names:?}");
    assert!(names.contains(&"echo__echo") && names.contains(&"office__read_mail"), "{names:?}");
    let call = |name: &str, arguments: Value| {
        let call = json!({"jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": {"name": name, "arguments": arguments}});
        send(&service, "a", post("/mcp", &headers, &call))
    };
    let echoed = call("echo__echo", json!({"text": "hi"})).await;
    assert_eq!(
        (&echoed.body["id"], &echoed.body["result"]["content"][0]["text"]),
        (&json!("x"), &json!("hi"))
    );
    let mail = call("office__read_mail", json!({"id": "m1"})).await;
    assert!(mail.body["result"]["content"][0]["text"].as_str().unwrap().contains("Paper"));
    for name in ["echo", "office__echo", "nobody__echo", "office____read_mail", "office_read_mail", "__echo"]
    {
        let answer = call(name, json!({"text": "hi"})).await;
        assert!(answer.body.get("error").is_some(), "{name}: {}", answer.body);
    }
}

#[tokio::test]
async fn policies_see_the_servers_own_names() {
    let forbid =
        format!("{ALL}\n@id(\"no-pay\") forbid (principal, action == Action::\"office/pay\", resource);");
    let tools = "[[tools]]\ntool = \"office/pay\"\neffect = \"irreversible\"\nclasses = [\"money.move\"]\n";
    let world = World::with(&forbid, "", tools, cordon_guard::Approvers::default());
    let service = both(&world);
    let hello = send(&service, "a", post("/mcp", &[], &initialize())).await;
    let session = hello.session.unwrap();
    let headers = [("mcp-session-id", session.as_str())];
    let pay = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "office__pay", "arguments": {"to": "x", "amount": 1, "reference": "r"}}});
    let denied = send(&service, "a", post("/mcp", &headers, &pay)).await;
    assert!(error(&denied.body).1.contains("no-pay"), "{}", denied.body);
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let listed = send(&service, "a", post("/mcp", &headers, &list)).await;
    assert!(!listed.body.to_string().contains("office__pay"));
    assert!(listed.body.to_string().contains("office__read_mail"));
}

#[tokio::test]
async fn a_modern_client_is_answered_in_its_era() {
    let world = World::new(ALL, "");
    let service = both(&world);
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let headers =
        [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "echo__echo")];
    let call = json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {"name": "echo__echo", "arguments": {"text": "hi"}, "_meta": meta}});
    let answer = send(&service, "a", post("/mcp", &headers, &call)).await;
    assert_eq!(answer.body["result"]["resultType"], "complete", "{}", answer.body);
    assert_eq!(answer.body["result"]["content"][0]["text"], "hi");
    let wrong = [headers[0], headers[1], ("mcp-name", "office__pay")];
    let answer = send(&service, "a", post("/mcp", &wrong, &call)).await;
    assert_eq!((answer.status.as_u16(), error(&answer.body).0), (400, -32020));
}
