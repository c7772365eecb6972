//! A bundle that is not exactly what its signers signed never comes into force; the old one stays.

use std::fs;

use crate::world::{Server, World};

/// The digest in force.
fn in_force(server: &Server<'_>) -> String {
    server.request(Some("operator"), "GET", "/v1/policy", "").json()["bundle"].as_str().unwrap().to_owned()
}

/// Offers what lies there now and gives why it was refused.
fn refused(server: &Server<'_>) -> String {
    let before = in_force(server);
    let answer = server.request(Some("operator"), "POST", "/v1/policy/reload", "");
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert_eq!(in_force(server), before, "the old one stays");
    let status = server.request(Some("operator"), "GET", "/v1/policy", "").json();
    assert!(status["refused"].is_string(), "and the node says so: {status}");
    answer.json()["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_better_bundle_replaces_the_old_one_and_a_bad_one_does_not() {
    let world = World::office();
    let server = world.serve();
    let first = in_force(&server);
    let envelope = world.path("policy/cordon-bundle.json");
    let old_envelope = fs::read(&envelope).unwrap();

    // Altered: a permission that nobody signed.
    let file = world.path("policy/permissions/office.cedar");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\npermit(principal, action, resource);\n")).unwrap();
    assert!(refused(&server).contains("altered"));
    fs::write(&file, &text).unwrap();
    // Extra.
    fs::write(world.path("policy/permissions/more.cedar"), "permit(principal, action, resource);").unwrap();
    assert!(refused(&server).contains("not listed"));
    fs::remove_file(world.path("policy/permissions/more.cedar")).unwrap();
    // Missing.
    let hidden = world.path("hidden");
    fs::rename(&file, &hidden).unwrap();
    assert!(refused(&server).contains("missing"));
    fs::rename(&hidden, &file).unwrap();
    // Unsigned.
    fs::remove_file(&envelope).unwrap();
    assert!(refused(&server).contains("cordon policy build"));
    fs::write(&envelope, &old_envelope).unwrap();

    // A newer one of the right people comes into force.
    fs::write(&file, format!("{text}\n// a comment more\n")).unwrap();
    world.build();
    let answer = server.request(Some("operator"), "POST", "/v1/policy/reload", "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_ne!(in_force(&server), first);

    // Older: what was in force before, with its own good signature.
    fs::write(&file, &text).unwrap();
    fs::write(&envelope, &old_envelope).unwrap();
    assert!(refused(&server).contains("epoch"));
    // Expired.
    let output = world.run(&["policy", "build", "policy", "--expires", "2020-01-01T00:00:00Z"]);
    if output.status.success() {
        assert!(refused(&server).contains("expired"));
    }
    let shown = world.done(&["ledger", "show", "--kind", "admin.bundle"]);
    assert!(shown.lines().count() >= 6, "each refusal is on record: {shown}");
}

#[test]
fn a_node_does_not_start_on_a_bundle_that_was_altered_or_rolled_back() {
    let world = World::office();
    let envelope = world.path("policy/cordon-bundle.json");
    let old = fs::read(&envelope).unwrap();
    world.serve().end("-TERM");
    world.build();
    world.serve().end("-TERM");
    fs::write(&envelope, old).unwrap();
    let said = world.fails(&["serve", "--listen", "127.0.0.1:0"], 2);
    assert!(said.contains("BUNDLE-001") && said.contains("epoch"), "{said}");
    // In the background the reason reaches the command that needed the owner.
    let said = world.fails(&["approve", "ls"], 2);
    assert!(said.contains("OWNER-002") && said.contains("epoch"), "{said}");
}

#[test]
fn a_stranger_cannot_sign_a_bundle() {
    let world = World::office();
    world.done(&["keys", "new", "--role", "policy", "--name", "stranger"]);
    world.done(&["policy", "build", "policy", "--key", "stranger"]);
    let said = world.fails(&["serve", "--listen", "127.0.0.1:0"], 2);
    assert!(said.contains("0 of the 1 signatures"), "{said}");
}

#[test]
fn sighup_loads_the_bundle_again() {
    let world = World::office();
    let server = world.serve();
    let first = in_force(&server);
    let file = world.path("policy/permissions/office.cedar");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n// a comment more\n")).unwrap();
    world.build();
    let pid = server.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    let begun = std::time::Instant::now();
    while in_force(&server) == first && begun.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_ne!(in_force(&server), first);
}

#[test]
fn a_bundle_that_expires_while_it_is_in_force_permits_nothing_more() {
    let world = World::office();
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(6);
    let secs = soon.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let expires = cordon_core::Timestamp::from_micros(secs * 1_000_000).to_string();
    world.done(&["policy", "build", "policy", "--expires", &expires]);
    let mut agent = world.agent().hello();
    assert!(agent.call("list_mail", serde_json::json!({}))["result"].is_object());
    let begun = std::time::Instant::now();
    let refused = loop {
        let answer = agent.call("list_mail", serde_json::json!({}));
        if answer["error"].is_object() {
            break answer;
        }
        assert!(begun.elapsed().as_secs() < 15, "it never expired");
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert!(refused["error"]["message"].as_str().unwrap().contains("refused"), "{refused}");
    // A new bundle of the same signers brings it back.
    world.build();
    assert!(
        std::process::Command::new("kill")
            .args(["-HUP", &world.owner().unwrap().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let begun = std::time::Instant::now();
    while !agent.call("list_mail", serde_json::json!({}))["result"].is_object() {
        assert!(begun.elapsed().as_secs() < 10, "it did not come back");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
