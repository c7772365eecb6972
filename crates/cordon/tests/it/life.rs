//! The life of a policy: tried on what happened, judged in the shadow, taken, and what it changes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::world::{World, copy};

const NO_MAIL: &str =
    "\n@id(\"no-mail\") forbid (principal, action == Action::\"office/list_mail\", resource);\n";

/// A copy of the policy source that also forbids to list mail, signed if `build`.
fn stricter(world: &World, build: bool) -> String {
    copy(&world.path("policy"), &world.path("next"));
    fs::remove_file(world.path("next/tests/office.toml")).unwrap();
    fs::remove_file(world.path("next/cordon-bundle.json")).unwrap();
    world.append("next/permissions/office.cedar", NO_MAIL);
    if build {
        world.done(&["policy", "build", "next"]);
    }
    "next".to_owned()
}

/// Two calls of a tool that is allowed, and one that waits.
fn some_calls(world: &World) {
    let mut agent = world.agent().hello();
    agent.told("list_mail", json!({}));
    agent.told("list_mail", json!({}));
    agent.told("pay", json!({"to": "ACME", "amount": 900_000, "reference": "r"}));
    agent.leave();
}

/// A command's JSON and its exit status.
fn report(world: &World, args: &[&str]) -> (Value, Option<i32>) {
    let output = world.run(&[args, &["--format", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{args:?}: {said}"));
    (json, output.status.code())
}

#[test]
fn a_backtest_shows_what_another_policy_would_have_changed_and_a_request_that_shows_it() {
    let world = World::office();
    some_calls(&world);
    let (same, exit) = report(&world, &["policy", "backtest"]);
    assert_eq!((&same["changes"]["changed"], exit), (&json!(0), Some(0)), "{same}");
    assert!(same["changes"]["judged"].as_u64().unwrap() >= 3, "{same}");

    let next = stricter(&world, false);
    let (report, exit) = report(&world, &["policy", "backtest", "--policy", &next]);
    assert_eq!((&report["changes"]["changed"], exit), (&json!(2), Some(1)), "{report}");
    let group = &report["changes"]["groups"][0];
    assert_eq!((&group["from"]["verdict"], &group["to"]["verdict"]), (&json!("allow"), &json!("deny")));
    assert_eq!((&group["to"]["rule"], &group["count"]), (&json!("no-mail"), &json!(2)));
    // The request that is shown is one that the other commands take.
    fs::write(world.path("request.json"), group["example"]["request"].to_string()).unwrap();
    assert!(world.fails(&["decide", "--policy", &next, "request.json"], 1).is_empty());
    assert!(world.done(&["decide", "--policy", "policy", "request.json"]).starts_with("allow"));

    let text = String::from_utf8(world.run(&["policy", "backtest", "--policy", &next]).stdout).unwrap();
    assert!(text.contains("allow → deny") && text.contains("office/list_mail"), "{text}");
    let future = ["policy", "backtest", "--policy", &next, "--since", "2099-01-01T00:00:00Z"];
    assert_eq!(world.run(&future).status.code(), Some(0), "nothing happened since then");
    let one = self::report(&world, &["policy", "backtest", "--policy", &next, "--limit", "1"]).0;
    assert_eq!(one["changes"]["judged"], 1);
}

#[test]
fn a_diff_names_the_rules_and_shows_a_request_whose_judgement_changes() {
    let world = World::office();
    let next = stricter(&world, false);
    world.edit("next/obligations/office.cedar", |text| text.replace("> 5000", "> 4000"));
    let (found, exit) = report(&world, &["policy", "diff", "policy", &next, "--tries", "2000"]);
    assert_eq!(exit, Some(1), "{found}");
    let rules: Vec<(&str, &str)> = found["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (rule["how"].as_str().unwrap(), rule["rule"].as_str().unwrap()))
        .collect();
    assert_eq!(rules, [("changed", "large-payment"), ("added", "no-mail")], "{found}");
    assert_eq!(found["files"][0]["path"], "tests/office.toml");
    let groups = found["made"]["groups"].as_array().unwrap();
    let shows = |from: &str, to: &str, rule: &str| {
        let group = groups.iter().find(|group| {
            (&group["from"]["verdict"], &group["to"]["verdict"]) == (&json!(from), &json!(to))
                && group["to"]["rule"] == rule
        });
        let group = group.unwrap_or_else(|| panic!("{from} to {to} by {rule}: {found}"));
        fs::write(world.path("request.json"), group["example"]["request"].to_string()).unwrap();
        let verdict = |policy: &str| {
            let output = world.run(&["decide", "--policy", policy, "request.json"]);
            String::from_utf8(output.stdout).unwrap().lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!((verdict("policy").as_str(), verdict(&next).as_str()), (from, to), "{group}");
    };
    shows("allow", "deny", "no-mail");
    shows("allow", "ask", "large-payment");
    assert!(found["recorded"].is_null(), "there is no log yet");

    let (same, exit) = report(&world, &["policy", "diff", "policy", "policy"]);
    assert_eq!((&same["made"]["judged"], exit), (&json!(0), Some(0)), "{same}");
    // A comment changes the bundle and no judgement; that none was found is said with its number.
    copy(&world.path("policy"), &world.path("comment"));
    world.append("comment/permissions/office.cedar", "// a comment\n");
    let (comment, exit) = report(&world, &["policy", "diff", "policy", "comment", "--tries", "300"]);
    assert_eq!((&comment["made"]["judged"], &comment["made"]["changed"]), (&json!(300), &json!(0)));
    assert_eq!(exit, Some(1));

    some_calls(&world);
    let recorded = report(&world, &["policy", "diff", "policy", &next, "--tries", "1"]).0;
    assert_eq!(recorded["recorded"]["changed"], 2, "{recorded}");
    assert!(recorded["recorded"]["groups"][0]["example"]["entry"].is_u64());
}

#[test]
fn what_is_learned_permits_what_was_seen_and_keeps_what_is_forbidden() {
    let world = World::office();
    assert!(world.fails(&["policy", "learn"], 2).contains("no log"), "nothing was recorded yet");
    let mut agent = world.agent().hello();
    agent.told("list_mail", json!({}));
    agent.told("pay", json!({"to": "ACME", "amount": 1_000, "reference": "r"}));
    agent.told("pay", json!({"to": "ACME", "amount": 3_000, "reference": "r"}));
    agent.told("send_mail", json!({"to": "eve@evil.test", "subject": "s", "body": "b"}));
    agent.leave();
    let printed = world.done(&["policy", "learn"]);
    assert!(printed.contains("context.args.amount >= 1000 && context.args.amount <= 3000"), "{printed}");
    assert!(!printed.contains("send_mail"), "what was denied is not learned: {printed}");
    assert_eq!(printed, world.done(&["policy", "learn"]), "the same log makes the same proposal");

    world.done(&["policy", "learn", "-o", "proposal"]);
    world.done(&["policy", "check", "proposal"]);
    let kept = fs::read_to_string(world.path("proposal/permissions/office.cedar")).unwrap();
    assert!(kept.contains("mail-stays-inside") && !kept.contains("office-tools"), "{kept}");
    let (again, exit) = report(&world, &["policy", "backtest", "--policy", "proposal"]);
    assert_eq!(
        (&again["changes"]["changed"], exit),
        (&json!(0), Some(0)),
        "all that happened stays: {again}"
    );
    assert!(
        world.fails(&["policy", "learn", "-o", "proposal"], 2).contains("proposal"),
        "nothing is overwritten"
    );
}

#[test]
fn a_shadow_bundle_is_judged_and_recorded_and_enforced_nowhere() {
    let world = World::office();
    stricter(&world, true);
    world.edit("cordon.toml", |text| text.replacen("[policy]", "[policy]\nshadow = \"next\"", 1));
    let mut agent = world.agent().hello();
    let told = agent.told("list_mail", json!({}));
    assert!(!told.contains("refused"), "what the shadow forbids runs: {told}");
    agent.told("pay", json!({"to": "ACME", "amount": 900_000, "reference": "r"}));

    let (shadow, exit) = report(&world, &["policy", "shadow"]);
    assert_eq!(exit, Some(0));
    let [one] = &shadow.as_array().unwrap()[..] else { panic!("one shadow bundle: {shadow}") };
    let group = &one["changes"]["groups"][0];
    assert_eq!(one["changes"]["changed"], 1, "{shadow}");
    assert_eq!((&group["from"]["verdict"], &group["to"]["verdict"]), (&json!("allow"), &json!("deny")));
    assert_eq!(group["to"]["rule"], "no-mail");
    let shown = world.done(&["ledger", "show", "--kind", "decision"]);
    assert!(shown.contains("(shadow: deny)"), "{shown}");
    assert!(world.done(&["ledger", "show", "--kind", "admin.bundle"]).contains("shadow"));
    // A decision with a shadow replays like any other.
    assert_eq!(report(&world, &["ledger", "replay"]).1, Some(0));

    // One that is altered is not judged, and nothing else changes.
    world.append("next/permissions/office.cedar", "permit (principal, action, resource);\n");
    world.done(&["policy", "reload"]);
    let told = agent.told("list_mail", json!({}));
    assert!(!told.contains("refused"), "{told}");
    let again = report(&world, &["policy", "shadow"]).0;
    assert_eq!(again[0]["changes"]["judged"], one["changes"]["judged"], "nothing more was judged: {again}");
}

#[test]
fn the_shadow_bundle_is_shown_beside_the_one_in_force() {
    let world = World::office();
    stricter(&world, false);
    let server = world.serve();
    // Which bundle it is may be said while the owner runs.
    world.edit("cordon.toml", |text| text.replacen("[policy]", "[policy]\nshadow = \"next\"", 1));
    let said = world.done(&["policy", "reload"]);
    assert!(said.contains("the shadow bundle is not judged") && said.contains("policy build"), "{said}");
    let policy = || server.request(Some("operator"), "GET", "/v1/policy", "").json();
    let why = policy()["shadow"]["refused"].as_str().unwrap().to_owned();
    assert!(why.contains("cordon policy build"), "an unsigned one is not judged: {why}");
    world.done(&["policy", "build", "next"]);
    let reloaded = world.json(&["policy", "reload"]);
    assert!(reloaded["shadow"]["refused"].is_null(), "{reloaded}");
    assert_ne!(reloaded["shadow"]["bundle"], reloaded["bundle"]);
    assert_eq!(policy()["shadow"]["bundle"], reloaded["shadow"]["bundle"]);
    world.edit("cordon.toml", |text| text.replacen("shadow = \"next\"", "", 1));
    assert!(!world.done(&["policy", "reload"]).contains("shadow"));
    assert!(policy()["shadow"].is_null());
}

#[test]
fn reload_takes_a_good_bundle_and_names_what_is_wrong_with_a_bad_one() {
    let world = World::office();
    let server = world.serve();
    let before = world.json(&["policy", "reload"])["bundle"].clone();
    let file = Path::new("policy/permissions/office.cedar").to_str().unwrap();
    world.append(file, "// one more line\n");
    assert!(world.fails(&["policy", "reload"], 1).contains("altered"));
    assert_eq!(server.request(Some("operator"), "GET", "/v1/policy", "").json()["bundle"], before);
    world.build();
    let after = world.done(&["policy", "reload"]);
    assert!(after.starts_with("in force: sha256:") && !after.contains(before.as_str().unwrap()), "{after}");
}

#[test]
fn a_recorded_decision_is_explained_down_to_the_part_that_failed_and_its_value() {
    let world = World::new();
    fs::remove_dir_all(world.path("policy/tests")).unwrap();
    let permit = "@id(\"few\") permit (principal, action == Action::\"shop/buy\", resource)\n\
                  when { context.args has n && context.args.n < 5 };\n";
    fs::write(world.path("policy/permissions/agents.cedar"), permit).unwrap();
    fs::write(world.path("policy/obligations/approvals.cedar"), "").unwrap();
    let tool = "tool = \"shop/buy\"\nclasses = []\neffect = \"write\"\n\
                input_schema = '{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}}}'\n";
    fs::create_dir(world.path("policy/tools")).unwrap();
    fs::write(world.path("policy/tools/shop.toml"), tool).unwrap();
    world.build();
    let request = json!({
        "subject": {"type": "agent", "id": "a"}, "action": {"name": "shop/buy"},
        "resource": {"type": "Tool", "id": "shop/buy"},
        "context": {"owner": {"id": "ann"}, "args": {"n": 7}},
    });
    fs::write(world.path("request.json"), request.to_string()).unwrap();
    assert_eq!(world.run(&["decide", "request.json"]).status.code(), Some(1));
    let shown = world.done(&["ledger", "show", "--kind", "decision"]);
    let entry = shown.split_whitespace().next().unwrap();

    let (why, exit) = report(&world, &["policy", "explain", entry]);
    assert_eq!((&why["recorded"]["verdict"], exit), (&json!("deny"), Some(1)), "{why}");
    let nearest = &why["principals"][0]["nearest"];
    assert_eq!(nearest["rule"], "few", "{why}");
    let parts: Vec<(&str, &str)> = nearest["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| (part["text"].as_str().unwrap(), part["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(parts, [("context.args has n", "satisfied"), ("context.args.n < 5", "not_satisfied")]);
    assert_eq!(nearest["parts"][1]["values"], json!([{"path": "context.args.n", "value": 7}]));
    let text = String::from_utf8(world.run(&["policy", "explain", entry]).stdout).unwrap();
    assert!(text.contains("nearest permission: few") && text.contains("context.args.n is 7"), "{text}");

    // A change of the source does not change why it was so; another policy may be named.
    world.edit("policy/permissions/agents.cedar", |text| text.replace("< 5", "< 9"));
    assert_eq!(report(&world, &["policy", "explain", entry]).1, Some(1));
    let (other, exit) = report(&world, &["policy", "explain", entry, "--policy", "policy"]);
    assert_eq!((&other["verdict"], exit), (&json!("allow"), Some(0)), "{other}");
    assert!(world.fails(&["policy", "explain", "0"], 2).contains("no decision"));
}

#[test]
fn what_another_policy_signs_about_a_resource_counts_in_a_backtest() {
    let world = World::new();
    fs::remove_dir_all(world.path("policy/tests")).unwrap();
    let permit = "permit (principal, action, resource);\n";
    fs::write(world.path("policy/permissions/agents.cedar"), permit).unwrap();
    fs::write(world.path("policy/obligations/approvals.cedar"), "").unwrap();
    world.build();
    for id in ["people", "prices"] {
        let request = json!({
            "subject": {"type": "agent", "id": "a"}, "action": {"name": "db/read"},
            "resource": {"type": "Table", "id": id}, "context": {"owner": {"id": "ann"}},
        });
        fs::write(world.path("request.json"), request.to_string()).unwrap();
        world.done(&["decide", "request.json"]);
    }
    copy(&world.path("policy"), &world.path("next"));
    fs::remove_file(world.path("next/cordon-bundle.json")).unwrap();
    let forbid =
        "@id(\"pii\") forbid (principal, action, resource) when { resource.markings.contains(\"pii\") };\n";
    world.append("next/permissions/agents.cedar", &forbid.replace("resource)", "resource is Table)"));
    fs::create_dir_all(world.path("next/data")).unwrap();
    let marked = json!([{"type": "Table", "id": "people", "markings": ["pii"]}]);
    fs::write(world.path("next/data/resources.json"), marked.to_string()).unwrap();
    let (found, exit) = report(&world, &["policy", "backtest", "--policy", "next"]);
    assert_eq!((&found["changes"]["changed"], exit), (&json!(1), Some(1)), "{found}");
    let group = &found["changes"]["groups"][0];
    assert_eq!(
        (&group["to"]["rule"], &group["example"]["request"]["resource"]["id"]),
        (&json!("pii"), &json!("people"))
    );
}
