//! Calls that wait for a person.

use std::collections::BTreeMap;
use std::time::Duration;

use cordon_core::ed25519::SigningKey;
use cordon_guard::{Approver, Approvers};
use cordon_workflow::{Answer, Ballot};
use serde_json::json;

use crate::support::{ALL, World, error, text};

const ASK: &str = "@id(\"ask\") @message(\"a person decides\") @obligation(\"approve\") @role(\"approver\") permit (principal, action == Action::\"s/t\", resource);";
const TOOL: &str = "[[tools]]\ntool = \"s/t\"\neffect = \"irreversible\"\nclasses = [\"money.move\"]\n";

fn world() -> (World, SigningKey) {
    let key = SigningKey::from_seed(&[7; 32]).unwrap();
    let roles = [Box::from("approver")].into();
    let approvers = BTreeMap::from([(Box::from("carol"), Approver { key: key.verifying_key(), roles })]);
    (World::with(ALL, ASK, TOOL, Approvers::new(approvers)), key)
}

async fn answer(world: &World, key: &SigningKey, answer: Answer) {
    let waiting = world.guard.approvals(10).unwrap();
    let (approval, _) = waiting.iter().find(|(approval, _)| approval.progress.as_str() == "pending").unwrap();
    let ballot = Ballot {
        approval: approval.terms.id,
        binding: approval.terms.binding,
        answer,
        approver: "carol".into(),
        at: world.guard.now(),
    };
    world.guard.answer(&ballot, &key.sign(&ballot.signing_bytes())).await.unwrap();
}

#[tokio::test]
async fn a_held_call_tells_its_progress_and_runs_as_soon_as_it_is_granted() {
    let (world, key) = world();
    let (mut client, mut server) = world.play_with("s", |limits| limits.hold = Duration::from_secs(5)).await;
    client
        .ask("tools/call", json!({"name": "t", "arguments": {"n": 1}, "_meta": {"progressToken": 9}}))
        .await;
    server.list(&["t"]).await;
    let progress = client.next().await;
    assert_eq!(
        (progress["method"].as_str(), &progress["params"]["progressToken"]),
        (Some("notifications/progress"), &json!(9))
    );
    assert!(progress["params"]["message"].as_str().unwrap().contains("apr_"));
    assert!(server.is_quiet().await);
    answer(&world, &key, Answer::Grant).await;
    server.serve("tools/call", text("paid")).await;
    let done = loop {
        let message = client.next().await;
        if message.get("result").is_some() {
            break message;
        }
    };
    assert_eq!(done["result"]["content"][0]["text"], "paid");
}

#[tokio::test]
async fn a_call_that_was_held_too_long_is_sent_again_and_runs_exactly_once() {
    let (world, key) = world();
    let (mut client, mut server) = world.play("s").await;
    let call = json!({"name": "t", "arguments": {"n": 1}});
    client.ask("tools/call", call.clone()).await;
    server.list(&["t"]).await;
    let held = client.next().await;
    assert_eq!(error(&held).0, -31428);
    assert!(error(&held).1.contains("send the identical call again"), "{held}");
    assert!(held["error"]["data"]["approval"]["id"].as_str().unwrap().starts_with("apr_"));
    answer(&world, &key, Answer::Grant).await;
    // Its neighbour does not spend the grant.
    let other = client.request("tools/call", json!({"name": "t", "arguments": {"n": 2}})).await;
    assert_eq!(error(&other).0, -31428);
    assert!(server.is_quiet().await);
    client.ask("tools/call", call.clone()).await;
    server.serve("tools/call", text("once")).await;
    assert!(client.next().await.get("result").is_some());
    let again = client.request("tools/call", call).await;
    assert_eq!(error(&again).0, -31428);
    assert!(server.is_quiet().await);
}

#[tokio::test]
async fn the_grant_is_spent_by_a_new_connection_of_the_same_agent() {
    let (world, key) = world();
    let (mut client, mut server) = world.play("s").await;
    let call = json!({"name": "t", "arguments": {"n": 1}});
    client.ask("tools/call", call.clone()).await;
    server.list(&["t"]).await;
    assert_eq!(error(&client.next().await).0, -31428);
    client.leave().await;
    answer(&world, &key, Answer::Grant).await;
    let (mut client, mut server) = world.play("s").await;
    client.ask("tools/call", call).await;
    server.list(&["t"]).await;
    server.serve("tools/call", text("paid")).await;
    assert!(client.next().await.get("result").is_some());
}

#[tokio::test]
async fn a_refusal_ends_the_wait_and_names_who_refused() {
    let (world, key) = world();
    let (mut client, mut server) = world.play_with("s", |limits| limits.hold = Duration::from_secs(5)).await;
    client.ask("tools/call", json!({"name": "t", "arguments": {}})).await;
    server.list(&["t"]).await;
    assert!(client.is_quiet().await);
    answer(&world, &key, Answer::Deny).await;
    let refused = client.next().await;
    assert_eq!(error(&refused).0, -31403);
    assert!(error(&refused).1.contains("carol"), "{refused}");
    assert!(server.is_quiet().await);
}
