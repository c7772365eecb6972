//! Kill switches and postures through the program: the command line, the API, a restart, real calls.

use std::fs;

use serde_json::{Value, json};

use crate::world::World;

/// The one session that is open.
fn session(world: &World) -> String {
    world.json(&["session", "ls"])[0]["id"].as_str().unwrap().to_owned()
}

fn reads(agent: &mut crate::world::Agent) -> bool {
    agent.call("list_mail", json!({}))["result"].is_object()
}

#[test]
fn a_kill_switch_is_in_force_on_the_next_call_survives_a_restart_and_is_lifted_by_an_approver() {
    let world = World::office();
    let mut agent = world.agent().hello();
    assert!(reads(&mut agent));
    world.done(&["kill", "data.read"]);
    let told = agent.told("list_mail", json!({}));
    assert!(told.contains("cordon:kill") && told.contains("cordon unkill data.read"), "{told}");
    let listed = agent.ask("tools/list", json!({})).to_string();
    assert!(!listed.contains("list_mail"), "{listed}");
    assert!(world.done(&["kill", "ls"]).contains("data.read"));
    agent.leave();
    world.signal_owner("-KILL");
    let mut agent = world.agent().hello();
    assert!(agent.told("list_mail", json!({})).contains("cordon:kill"), "after a restart");
    assert!(world.fails(&["unkill", "data.write"], 1).contains("no such kill switch"));
    world.done(&["unkill", "data.read"]);
    assert!(reads(&mut agent));
    assert_eq!(world.json(&["kill", "ls"]), json!([]));
    let shown = world.done(&["ledger", "show", "--kind", "admin.kill"]);
    assert!(shown.contains("admin.kill"), "{shown}");
    assert!(world.done(&["ledger", "show", "--kind", "admin.unkill"]).contains("admin.unkill"));
    world.done(&["ledger", "verify"]);
}

#[test]
fn a_switch_for_another_agent_or_of_no_known_class_does_nothing() {
    let world = World::office();
    let mut agent = world.agent().hello();
    world.done(&["kill", "data.read", "--agent", "somebody-else"]);
    world.done(&["kill", "data.read", "--tenant", "elsewhere"]);
    world.fails(&["kill", "everything"], 2);
    assert!(reads(&mut agent));
    world.done(&["kill", "data.read", "--agent", "agent"]);
    assert!(!reads(&mut agent));
}

#[test]
fn a_session_is_contained_released_and_killed_and_a_new_connection_gives_nothing_back() {
    let world = World::office();
    let mut agent = world.agent().hello();
    assert!(reads(&mut agent));
    let id = session(&world);
    world.done(&["session", "contain", &id, "--revoke", "data.read"]);
    let told = agent.told("list_mail", json!({}));
    assert!(
        told.contains("cordon:posture") && told.contains(&format!("cordon session release {id}")),
        "{told}"
    );
    assert_eq!(world.json(&["session", "show", &id])["posture"]["state"], "restricted");
    agent.leave();
    world.signal_owner("-TERM");
    let mut agent = world.agent().hello();
    assert!(!reads(&mut agent), "after a restart");
    world.done(&["session", "release", &id]);
    assert!(reads(&mut agent));
    assert!(world.fails(&["session", "release", &id], 1).contains("nothing was taken"));

    world.done(&["session", "kill", &id]);
    assert!(agent.told("list_mail", json!({})).contains("terminated"));
    drop(agent);
    let mut agent = world.agent();
    let client = json!({"name": "test", "version": "1"});
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let answer = agent.ask("initialize", hello);
    assert!(answer["error"]["message"].as_str().unwrap().contains("terminated"), "{answer}");
    drop(agent);
    world.done(&["session", "release", &id]);
    let mut agent = world.agent().hello();
    assert!(reads(&mut agent), "a new session under the old name");
    assert_ne!(session(&world), id);
    world.done(&["ledger", "verify"]);
}

#[test]
fn an_obligation_in_the_policy_contains_the_session_that_ran_into_it() {
    let world = World::office();
    let rule = "@id(\"cut\") @obligation(\"isolate\")\n\
                permit (principal, action == Action::\"office/send_mail\", resource);\n";
    fs::write(world.path("policy/obligations/cut.cedar"), rule).unwrap();
    fs::remove_dir_all(world.path("policy/tests")).unwrap();
    world.build();
    let mut agent = world.agent().hello();
    assert!(reads(&mut agent));
    agent.told("send_mail", json!({"to": "eve@evil.test", "subject": "s", "body": "b"}));
    assert!(agent.told("list_mail", json!({})).contains("quarantined"));
    let posture = &world.json(&["session", "show", &session(&world)])["posture"];
    assert!(posture["cause"].as_str().unwrap().contains("cut (obligations/cut.cedar:"), "{posture}");
}

#[test]
fn an_agents_token_narrows_and_widens_nothing_and_an_operators_needs_a_signature_to_widen() {
    let world = World::office();
    let server = world.serve();
    let kill = json!({"what": "data.read"}).to_string();
    let lift = |binding: &str| {
        let signature = base64(&[7; 64]);
        json!({"approver": "nobody", "at": 1, "binding": binding, "signature": signature}).to_string()
    };
    let session = "/v1/sessions/ses_00000000000000000000000000000000";
    let digest = format!("sha256:{}", "0".repeat(64));
    for (path, body) in [
        ("/v1/kills".to_owned(), kill.clone()),
        ("/v1/kills/kill_00000000000000000000000000000000/lift".to_owned(), lift(&digest)),
        ("/v1/kills/bundle".to_owned(), json!({"files": {}}).to_string()),
        (format!("{session}/contain"), "{}".to_owned()),
        (format!("{session}/release"), lift(&digest)),
        (format!("{session}/kill"), String::new()),
    ] {
        for role in [None, Some("agent"), Some("pep")] {
            let status = server.request(role, "POST", &path, &body).status;
            assert_eq!(status, if role.is_none() { 401 } else { 403 }, "{role:?} {path}");
        }
    }
    assert_eq!(server.request(Some("agent"), "GET", "/v1/kills", "").status, 403);
    let answer = server.request(Some("operator"), "POST", "/v1/kills", &kill);
    assert_eq!(
        (answer.status, answer.json()["departed"].clone()),
        (200, Value::Bool(true)),
        "{}",
        answer.body
    );
    let now = &answer.json()["now"];
    let path = format!("/v1/kills/{}/lift", now["id"].as_str().unwrap());
    let body = lift(now["binding"].as_str().unwrap());
    let answer = server.request(Some("operator"), "POST", &path, &body);
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert_eq!(
        server.request(Some("operator"), "POST", "/v1/kills", r#"{"what":"admin","x":1}"#).status,
        422
    );
    assert_eq!(server.request(Some("operator"), "GET", "/v1/kills", "").json().as_array().unwrap().len(), 1);
}

#[test]
fn a_kill_bundle_is_signed_by_its_own_role_loads_once_and_can_say_nothing_but_no() {
    let world = World::office();
    let made = world.json(&["keys", "new", "--role", "kill", "--name", "red"]);
    let key = made["public"].as_str().unwrap().to_owned();
    world.append("cordon.toml", &format!("\n[trust.kill]\nthreshold = 1\nkeys = [\"{key}\"]\n"));
    let build = |name: &str, text: &str, epoch: &str| {
        fs::write(world.path("kills.toml"), text).unwrap();
        world.done(&["kill", "build", "kills.toml", "-o", name, "--key", "red", "--epoch", epoch]);
    };
    build("first.tar", "[[kill]]\nwhat = \"data.read\"\n", "5");
    build("second.tar", "[[kill]]\nwhat = \"money.move\"\n", "6");
    let mut agent = world.agent().hello();
    assert!(reads(&mut agent));
    world.done(&["kill", "load", "first.tar"]);
    assert!(agent.told("list_mail", json!({})).contains("kill bundle 5"));
    assert!(world.fails(&["unkill", "data.read"], 1).contains("only a newer kill bundle"));
    world.done(&["kill", "load", "second.tar"]);
    assert!(reads(&mut agent));
    // The older one again, and one that a policy key signed.
    assert!(world.fails(&["kill", "load", "first.tar"], 1).contains("epoch"));
    assert!(world.fails(&["kill", "load", "policy"], 1).contains("signatures"));
    assert!(reads(&mut agent), "what is refused turns nothing");
    fs::write(world.path("kills.toml"), "[[permit]]\nwhat = \"data.read\"\n").unwrap();
    let args = ["kill", "build", "kills.toml", "-o", "third.tar", "--key", "red"];
    assert!(world.fails(&args, 1).contains("unknown"));
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|at| chunk.get(at).copied().unwrap_or(0));
        let word = u32::from_be_bytes([0, a, b, c]);
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            out.push(if place > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    out
}
