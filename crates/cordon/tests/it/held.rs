//! Calls through `cordon mcp`: allowed, denied, held, approved out of band, spent once.

use serde_json::json;

use crate::world::World;

/// The approvals that wait.
fn waiting(world: &World) -> Vec<String> {
    let list = world.json(&["approve", "ls"]);
    list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_call_is_allowed_denied_or_held_and_the_agent_is_told_why() {
    let world = World::office();
    let mut agent = world.agent().hello();
    let listed = agent.ask("tools/list", json!({}));
    assert!(listed["result"]["tools"].as_array().is_some_and(|tools| !tools.is_empty()), "{listed}");
    assert!(agent.call("list_mail", json!({}))["result"].is_object());

    let refused = agent.told("send_mail", json!({"to": "eve@evil.test", "subject": "s", "body": "b"}));
    assert!(
        refused.contains("refused") && refused.contains(".cedar:") && refused.contains("rec_"),
        "{refused}"
    );

    let held = agent.told("pay", json!({"to": "ACME", "amount": 900_000, "reference": "r"}));
    let ids = waiting(&world);
    assert_eq!(ids.len(), 1);
    assert!(held.contains(&ids[0]) && held.contains("identical call again"), "{held}");
    assert_eq!(agent.leave(), Some(0));
}

#[test]
fn a_grant_out_of_band_survives_a_restart_and_lets_the_identical_call_run_once() {
    let world = World::office();
    let mut agent = world.agent().hello();
    let payment = json!({"to": "ACME", "amount": 900_000, "reference": "r"});
    agent.told("pay", payment.clone());
    let [id] = &waiting(&world)[..] else { panic!("one call waits") };

    let shown = world.done(&["approve", "show", id]);
    assert!(shown.contains("900000") && shown.contains("ACME"), "{shown}");
    world.done(&["approve", "grant", id]);
    assert!(world.fails(&["approve", "grant", id], 1).contains("granted"), "a second answer changes nothing");
    agent.leave();
    world.signal_owner("-TERM");

    let mut agent = world.agent().hello();
    let other = agent.told("pay", json!({"to": "ACME", "amount": 900_001, "reference": "r"}));
    assert!(other.contains("holds"), "another call is not covered: {other}");
    let paid = agent.told("pay", payment.clone());
    assert!(paid.contains("payment 1"), "{paid}");
    let again = agent.told("pay", payment);
    assert!(again.contains("holds"), "a grant is spent once: {again}");
}

#[test]
fn a_refusal_stops_the_call_while_it_waits() {
    let world = World::office();
    world.edit("cordon.toml", |text| text.replace("hold_s = 1", "hold_s = 20"));
    let mut agent = world.agent().hello();
    let waits = std::thread::spawn(move || {
        agent.told("pay", json!({"to": "ACME", "amount": 900_000, "reference": "r"}))
    });
    let id = loop {
        if let Some(id) = waiting(&world).pop() {
            break id;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    world.done(&["approve", "deny", &id]);
    let told = waits.join().unwrap();
    assert!(told.contains("was refused by"), "{told}");
    assert!(waiting(&world).is_empty());
}

#[test]
fn a_closed_session_runs_nothing_more() {
    let world = World::office();
    let mut agent = world.agent().hello();
    agent.told("list_mail", json!({}));
    let sessions = world.json(&["session", "ls"]);
    let id = sessions[0]["id"].as_str().unwrap();
    world.done(&["session", "close", id]);
    let told = agent.told("list_mail", json!({}));
    assert!(told.contains("session") && told.contains("refused"), "{told}");
}

#[test]
fn a_changed_tool_waits_for_a_person_who_sees_what_changed() {
    let world = World::office();
    let changing = |after: &str| {
        let script = format!(
            "CORDON_FIXTURE_CHANGE_AFTER={after} exec {} fixture-server office",
            crate::world::CORDON
        );
        world.agent_of(&["--", "sh", "-c", &script]).hello()
    };
    let mut agent = changing("1000");
    agent.ask("tools/list", json!({}));
    agent.leave();
    // From its first list on, this server describes a tool differently.
    let mut agent = changing("0");
    agent.ask("tools/list", json!({}));
    let tools = world.json(&["tools", "ls"]);
    let changed: Vec<&str> = tools
        .as_array()
        .unwrap()
        .iter()
        .filter(|tool| tool["standing"] == "quarantined")
        .map(|tool| tool["tool"].as_str().unwrap())
        .collect();
    let [tool] = changed[..] else { panic!("one tool changed: {tools}") };
    let output = world.run(&["tools", "diff", tool]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("\n  - ") && shown.contains("\n  + "), "both sides are shown: {shown}");
    world.done(&["tools", "approve", tool]);
    let tools = world.json(&["tools", "ls"]);
    assert!(tools.as_array().unwrap().iter().all(|tool| tool["standing"] == "usable"), "{tools}");
}

#[test]
fn decide_records_with_an_owner_and_judges_alone_with_a_policy() {
    let world = World::office();
    let request = |tool: &str| {
        json!({"subject": {"type": "agent", "id": "agent"}, "action": {"name": format!("office/{tool}")},
               "resource": {"type": "Tool", "id": format!("office/{tool}")}})
    };
    std::fs::write(world.path("read.json"), request("list_mail").to_string()).unwrap();
    std::fs::write(world.path("bad.json"), r#"{"subject":{"type":"agent","id":"a"},"subject":{}}"#).unwrap();
    let recorded = world.json(&["decide", "read.json"]);
    assert_eq!(recorded["decision"], true, "{recorded}");
    assert!(recorded["context"]["entry"]["index"].is_u64(), "{recorded}");
    let pure = world.json(&["decide", "--policy", "policy", "read.json"]);
    assert_eq!(pure["decision"], true);
    assert!(pure["context"].get("entry").is_none());
    for args in [&["decide", "bad.json"][..], &["decide", "--policy", "policy", "bad.json"]] {
        assert!(world.fails(args, 2).contains("subject"), "a name that occurs twice is no request");
    }
}

#[test]
fn the_log_key_can_change_and_the_whole_log_still_verifies() {
    let world = World::office();
    world.agent().hello().told("list_mail", json!({}));
    world.done(&["keys", "rotate"]);
    world.done(&["ledger", "verify"]);
    world.signal_owner("-TERM");
    world.agent().hello().told("list_mail", json!({}));
    world.done(&["keys", "rotate"]);
    world.done(&["ledger", "verify"]);
}
