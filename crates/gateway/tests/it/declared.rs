//! Tools that a caller brings along: who may, what they count for, and what they can never be.

use cordon_gateway::session::Endpoint;
use cordon_gateway::{Caller, CallerRole};
use cordon_guard::policy::{PolicySet, PolicySource};
use cordon_guard::{ActivePolicies, Approvers, Guard, GuardLimits};
use hyper::Method;
use serde_json::{Value, json};

use crate::support::{World, caller};

const PERMIT: &str = r#"
@id("reads") permit (principal, action in Action::"effect:read", resource);
@id("sends") permit (principal, action in Action::"message.send", resource)
    when { context.args has to && context.args.to == "ann@example.com" };
"#;
const TOOLS: &str = "tool = \"bank/pay\"\nclasses = [\"money.move\"]\neffect = \"irreversible\"";

fn source(declarers: &str) -> PolicySource {
    let mut source = PolicySource::new();
    source.insert("permissions/p.cedar", PERMIT);
    source.insert("tools/t.toml", TOOLS);
    if !declarers.is_empty() {
        source.insert("data/declarers.json", declarers);
    }
    source
}

fn pep() -> Caller {
    Caller { role: CallerRole::Pep, ..caller("omar", "sdk") }
}

fn search() -> Value {
    json!({"tool": "web/search", "classes": ["data.read"], "effect": "read", "description": "looks things up",
        "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"], "additionalProperties": false},
        "output_schema": {"type": "object", "required": ["hits"]}})
}

fn opening(tools: Value) -> Value {
    json!({"agent": {"id": "bot"}, "owner": {"id": "omar"}, "on_behalf_of": {"id": "ann"}, "tools": tools})
}

async fn send(endpoint: &Endpoint, who: &Caller, path: &str, body: &Value) -> (u16, Value) {
    let answer = endpoint.answer(&Method::POST, path, body.to_string().as_bytes(), who).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

async fn open(endpoint: &Endpoint, who: &Caller, tools: Value) -> (u16, Value) {
    send(endpoint, who, "/v1/sessions", &opening(tools)).await
}

async fn call(endpoint: &Endpoint, session: &Value, tool: &str, arguments: Value) -> (u16, Value) {
    let path = format!("/v1/sessions/{}/calls", session.as_str().unwrap());
    send(endpoint, &pep(), &path, &json!({"tool": tool, "arguments": arguments})).await
}

fn world(declarers: &str) -> (World, Endpoint) {
    let world = World::of(&source(declarers), Approvers::default());
    let endpoint = Endpoint::new(world.guard.clone());
    (world, endpoint)
}

#[tokio::test]
async fn a_declared_tool_is_judged_by_its_manifest_and_held_to_its_schemas() {
    let (_world, endpoint) = world(r#"["pep"]"#);
    let mail = json!({"tool": "web/mail", "classes": ["message.send"], "effect": "irreversible"});
    let (status, opened) = open(&endpoint, &pep(), json!([search(), mail, "bank/pay"])).await;
    assert_eq!(status, 201, "{opened}");
    let session = &opened["session"];
    let (_, allowed) = call(&endpoint, session, "web/search", json!({"q": "x"})).await;
    assert_eq!(allowed["verdict"], "allow", "{allowed}");
    let path = format!("/v1/sessions/{}/results", session.as_str().unwrap());
    let result = json!({"call": allowed["call"], "structured": {"none": 1}});
    assert_eq!(
        send(&endpoint, &pep(), &path, &result).await.1["band"],
        "block",
        "the result breaks its schema"
    );
    let (_, wrong) = call(&endpoint, session, "web/search", json!({"query": "x"})).await;
    assert_eq!(
        (&wrong["verdict"], &wrong["reasons"][0]["rule"]),
        (&json!("deny"), &json!("cordon:input-schema"))
    );
    let mail = |to: &str| call(&endpoint, session, "web/mail", json!({"to": to}));
    assert_eq!(mail("ann@example.com").await.1["verdict"], "allow");
    assert_eq!(mail("eve@example.net").await.1["verdict"], "deny");
    assert_eq!(call(&endpoint, session, "bank/pay", json!({})).await.1["verdict"], "deny");
    assert_eq!(call(&endpoint, session, "web/other", json!({})).await.0, 422);
}

#[tokio::test]
async fn only_those_whom_the_bundle_lists_declare_tools() {
    for (declarers, who, want) in [
        ("", pep(), 403),
        ("[]", pep(), 403),
        (r#"["Agent:builder"]"#, pep(), 403),
        (r#"["pep"]"#, Caller { role: CallerRole::Operator, ..pep() }, 403),
        (r#"["pep"]"#, pep(), 201),
        (r#"["Agent:sdk"]"#, pep(), 201),
        (r#"["User:omar"]"#, Caller { role: CallerRole::Operator, ..pep() }, 201),
    ] {
        let (_world, endpoint) = world(declarers);
        let (status, answer) = open(&endpoint, &who, json!([search()])).await;
        assert_eq!(status, want, "{declarers} {:?}: {answer}", who.role);
        assert_eq!(open(&endpoint, &who, json!(["bank/pay"])).await.0, 201, "naming needs no leave");
    }
}

#[tokio::test]
async fn what_the_bundle_describes_is_never_declared_and_a_bad_manifest_is_refused() {
    let (_world, endpoint) = world(r#"["pep"]"#);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut manifest = search();
        change(&mut manifest);
        json!([manifest])
    };
    for (tools, says) in [
        (
            json!([{"tool": "bank/pay", "classes": ["data.read"], "effect": "read"}]),
            "describes `bank/pay` itself",
        ),
        (json!([search(), search()]), "each once"),
        (with(&|manifest| manifest["efect"] = json!("read")), "efect"),
        (with(&|manifest| manifest["effect"] = json!("none")), "effect"),
        (with(&|manifest| manifest["classes"] = json!(["everything"])), "everything"),
        (with(&|manifest| manifest["tool"] = json!("mcp/x")), "mcp"),
        (with(&|manifest| drop(manifest.as_object_mut().unwrap().remove("effect"))), "effect"),
        (json!([7]), "tools"),
    ] {
        let (status, answer) = open(&endpoint, &pep(), tools.clone()).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(status == 422 && message.contains(says), "{tools}: {status} {message}");
    }
    assert_eq!(open(&endpoint, &pep(), json!([search()])).await.0, 201);
}

#[tokio::test]
async fn a_declared_tool_is_its_sessions_alone_survives_a_restart_and_gives_way_to_the_bundle() {
    let (world, endpoint) = world(r#"["pep"]"#);
    let (_, opened) = open(&endpoint, &pep(), json!([search()])).await;
    let session = &opened["session"];
    assert_eq!(open(&endpoint, &pep(), json!(["web/search"])).await.0, 422, "the bundle knows none");
    let (_, free) = send(
        &endpoint,
        &pep(),
        "/v1/sessions",
        &json!({"agent": {"id": "b"}, "on_behalf_of": {"id": "ann"}}),
    )
    .await;
    let (_, other) = call(&endpoint, &free["session"], "web/search", json!({"q": "x"})).await;
    assert_eq!(
        (&other["verdict"], &other["reasons"][0]["rule"]),
        (&json!("deny"), &json!("cordon:tool-unlisted"))
    );

    let again = |source: PolicySource| {
        let set = PolicySet::compile(&source).unwrap().policies;
        let policies = ActivePolicies { set, epoch: None, signed: false };
        Endpoint::new(Guard::new(world.ports.ports(), policies, Approvers::default(), GuardLimits::default()))
    };
    let (_, after) = call(&again(source("")), session, "web/search", json!({"q": "x"})).await;
    assert_eq!(after["verdict"], "allow", "it was declared when it was allowed: {after}");
    let mut stricter = source("");
    stricter
        .insert("tools/web.toml", "tool = \"web/search\"\nclasses = [\"net.egress\"]\neffect = \"write\"");
    let (_, bundle) = call(&again(stricter), session, "web/search", json!({"q": "x"})).await;
    assert_eq!(bundle["verdict"], "deny", "what the bundle says of it counts: {bundle}");
}
