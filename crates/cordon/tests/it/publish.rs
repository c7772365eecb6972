//! The publish gate: a version of a tool that the bundle does not bear is refused, with what shows it.

use std::fs;

use serde_json::{Value, json};

use crate::world::World;

const REDACTED: &str = "@id(\"redacted\") @invariant(\"personal data is redacted\") @requires(\"redact\")\n\
    permit (principal, action in Action::\"data.read\", resource)\n\
    when { context.args has table && context.args.table == \"people\" };\n";
const OBLIGED: &str = "@id(\"hide\") @obligation(\"redact\") @fields(\"ssn\")\n\
    permit (principal, action in Action::\"data.read\", resource)\n\
    when { context.args has table && context.args.table == \"people\" };\n";

/// The starter with an invariant that it keeps, and the manifest `text` to publish in `new.toml`.
fn world(text: &str) -> World {
    let world = World::new();
    fs::create_dir(world.path("policy/invariants")).unwrap();
    fs::write(world.path("policy/invariants/i.cedar"), REDACTED).unwrap();
    fs::write(world.path("policy/obligations/hide.cedar"), OBLIGED).unwrap();
    offer(&world, text);
    world
}

fn offer(world: &World, text: &str) {
    fs::write(world.path("new.toml"), text).unwrap();
}

fn manifest(classes: &str, effect: &str) -> String {
    format!(
        "tool = \"db/read\"\nclasses = [{classes}]\neffect = \"{effect}\"\ninput_schema = '''{}'''\n",
        json!({"type": "object", "properties": {"table": {"type": "string"}}})
    )
}

fn published(world: &World, more: &[&str], exit: i32) -> Value {
    let output = world.run(&[&["tools", "publish", "new.toml", "--format", "json"], more].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"))
}

#[test]
fn a_version_that_keeps_the_invariants_is_published_and_can_be_signed() {
    let world = world(&manifest("\"data.read\"", "read"));
    let checked = published(&world, &["--check"], 0);
    assert_eq!((&checked["ok"], &checked["written"]), (&json!(true), &json!(false)), "{checked}");
    assert!(!world.path("policy/tools/new.toml").exists(), "--check writes nothing");
    let report = published(&world, &[], 0);
    assert_eq!(report["tools"][0]["tool"], "db/read", "{report}");
    let held = &report["invariants"][0];
    assert_eq!((&held["result"], &held["whole"]), (&json!("holds"), &json!(true)), "{held}");
    assert!(held["met"].as_u64().unwrap() > 0, "{held}");
    world.build();
    assert!(world.path("policy/tools/new.toml").exists());
}

#[test]
fn a_version_that_breaks_an_invariant_is_refused_with_rule_field_and_request() {
    let world = world(&manifest("\"data.read\"", "read"));
    world.edit("policy/obligations/hide.cedar", |text| {
        let changing = "action in [Action::\"effect:write\", Action::\"effect:irreversible\"]";
        text.replace("action in Action::\"data.read\"", changing)
    });
    let report = published(&world, &[], 1);
    let refusal = &report["refusals"][0];
    assert_eq!((&refusal["rule"], &refusal["kind"]), (&json!("redacted"), &json!("invariant")), "{report}");
    let fields = refusal["fields"].to_string();
    assert!(fields.contains("classes: `data.read`") && fields.contains("effect: `read`"), "{fields}");
    assert!(!world.path("policy/tools/new.toml").exists());
    // The request that is shown is one that the other commands take, and it is let through.
    fs::write(world.path("request.json"), refusal["request"].to_string()).unwrap();
    fs::create_dir(world.path("policy/tools")).unwrap();
    fs::copy(world.path("new.toml"), world.path("policy/tools/new.toml")).unwrap();
    assert!(world.done(&["decide", "--policy", "policy", "request.json"]).starts_with("allow"));
    // Nobody can sign it either, and no flag lets it through.
    assert!(world.fails(&["policy", "build", "policy"], 1).contains("personal data is redacted"));
    assert_eq!(world.run(&["policy", "check", "policy"]).status.code(), Some(1));
    published(&world, &["--accept-looser"], 1);
    // Its neighbour, which writes, is redacted.
    offer(&world, &manifest("\"data.read\"", "write"));
    published(&world, &[], 0);
}

#[test]
fn a_version_that_escapes_a_rule_is_refused_until_a_person_accepts_it() {
    let world = world(&manifest("\"money.move\"", "write"));
    published(&world, &[], 0);
    offer(&world, &manifest("", "write"));
    let report = published(&world, &[], 1);
    let refusal = &report["refusals"][0];
    assert_eq!(refusal["kind"], "looser", "{report}");
    assert_eq!((&refusal["from"], &refusal["to"]), (&json!("ask"), &json!("allow")));
    assert_eq!(refusal["fields"], json!(["classes: `money.move` is gone"]));
    assert!(refusal["rules"][0].as_str().unwrap().starts_with("financial ("), "{refusal}");
    let text = String::from_utf8(world.run(&["tools", "publish", "new.toml"]).stdout).unwrap();
    for part in ["escapes financial", "field    classes: `money.move` is gone", "request  db/read", "refused"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let accepted = published(&world, &["--accept-looser"], 0);
    assert_eq!(accepted["looser_accepted"], true);
    // Taking more on is nothing to accept.
    offer(&world, &manifest("\"money.move\", \"admin\"", "irreversible"));
    assert_eq!(published(&world, &[], 0)["looser_accepted"], false);
}

#[test]
fn a_version_that_fails_the_bundles_own_tests_or_is_not_understood_is_refused() {
    let world = world(&manifest("\"data.read\"", "read"));
    let case = "[[test]]\nname = \"reading is free\"\nowner = \"o\"\nagent = \"a\"\naction = \"db/read\"\nexpect = \"allow\"\n";
    published(&world, &[], 0);
    fs::write(world.path("policy/tests/db.toml"), case).unwrap();
    offer(&world, &manifest("\"data.read\", \"admin\"", "read"));
    let report = published(&world, &[], 1);
    assert_eq!(report["refusals"][0]["test"], "reading is free", "{report}");
    offer(&world, "tool = \"db/read\"\nclasses = [\"data.reed\"]\neffect = \"read\"\n");
    let said = world.fails(&["tools", "publish", "new.toml"], 1);
    assert!(said.contains("data.reed") && said.contains("tools/new.toml:2"), "{said}");
}
