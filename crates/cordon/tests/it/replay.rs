//! Recorded decisions are judged again, offline, by what the ledger and the kept bundles say.

use std::fs;
use std::ops::ControlFlow;

use cordon_core::{RecordId, Timestamp};
use cordon_ledger::{Draft, EnforcementDecision, FieldId, Kind, Level, LogKey};
use cordon_store::datadir::{DataDir, DataId};
use cordon_store::keyfile::{KeyRing, KeyRole};
use cordon_store::ledger::{Engine, Filter, OpeningKey, Options, Shown, ShownValue, visit};
use serde_json::{Value, json};

use crate::world::World;

/// Calls that are allowed, held, denied by a rule and refused by the guard itself.
fn some_calls(world: &World) {
    let mut agent = world.agent().hello();
    agent.told("list_mail", json!({}));
    agent.told("pay", json!({"to": "ACME", "amount": 900_000, "reference": "r"}));
    agent.told("send_mail", json!({"to": "eve@evil.test", "subject": "s", "body": "b"}));
    let told = agent.told("no_such_tool", json!({}));
    assert!(told.contains("lists no tool"), "{told}");
    agent.leave();
}

/// What `ledger replay` says, and its exit status.
fn replay(world: &World, args: &[&str]) -> (Value, Option<i32>) {
    let mut all = vec!["ledger", "replay", "--format", "json"];
    all.extend(args);
    let output = world.run(&all);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {said}"));
    (report, output.status.code())
}

fn change_policy(world: &World) {
    world.append(
        "policy/permissions/office.cedar",
        "\n@id(\"no-mail\") forbid (principal, action == Action::\"office/list_mail\", resource);\n",
    );
    fs::remove_file(world.path("policy/tests/office.toml")).unwrap();
    world.build();
}

#[test]
fn every_decision_replays_after_a_restart_and_after_the_bundle_changed() {
    let world = World::office();
    some_calls(&world);
    let (before, exit) = replay(&world, &[]);
    assert_eq!(exit, Some(0), "with the owner running: {before}");
    world.signal_owner("-TERM");
    change_policy(&world);
    some_calls(&world);
    world.signal_owner("-TERM");
    let (report, exit) = replay(&world, &["--all"]);
    assert_eq!(exit, Some(0), "{report}");
    let r1 = &report["r1"];
    assert_eq!((&r1["differs"], &r1["cannot"]), (&json!(0), &json!(0)), "{report}");
    assert_eq!(r1["outside"], 2, "one call of an unlisted tool each time: {report}");
    assert!(r1["same"].as_u64().unwrap() >= 6, "{report}");
    assert_eq!(report["r0"]["faults"], 0, "{report}");
    assert_eq!(fs::read_dir(world.data().join("bundles")).unwrap().count(), 2, "both bundles are kept");
    assert!(world.done(&["ledger", "replay"]).contains("R1 ok"));
}

#[test]
fn without_its_bundle_a_decision_cannot_be_judged_and_says_so() {
    let world = World::office();
    some_calls(&world);
    world.done(&["policy", "build", "policy", "-o", "old.tar"]);
    world.signal_owner("-TERM");
    fs::remove_dir_all(world.data().join("bundles")).unwrap();
    let (report, exit) = replay(&world, &[]);
    assert_eq!(exit, Some(2), "{report}");
    let why = report["r1"]["findings"][0]["why"].as_str().unwrap();
    assert!(why.contains("is not kept beside the log"), "{why}");
    let (report, exit) = replay(&world, &["--policy", "old.tar"]);
    assert_eq!(exit, Some(0), "{report}");
    // Another policy is not taken for it.
    change_policy(&world);
    assert_eq!(replay(&world, &["--policy", "policy"]).1, Some(2));
    // The path needs neither bundle nor key.
    let output = world
        .cordon(&["ledger", "replay", "--level", "R0"])
        .env("XDG_CONFIG_HOME", world.path("nowhere"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(replay(&world, &[]).1, Some(2));
}

#[test]
fn a_record_that_says_another_verdict_than_its_policies_is_named() {
    let world = World::office();
    some_calls(&world);
    world.signal_owner("-TERM");
    let forged = forge(&world);
    let (report, exit) = replay(&world, &[]);
    assert_eq!(exit, Some(1), "{report}");
    assert_eq!(report["r1"]["differs"], 1, "{report}");
    let finding = &report["r1"]["findings"][0];
    assert_eq!(finding["index"], forged, "{report}");
    let difference = &finding["differences"][0];
    assert_eq!(
        (&difference["part"], &difference["recorded"], &difference["judged"]),
        (&json!("verdict"), &json!("allow"), &json!("deny"))
    );
    let one = replay(&world, &[&forged.to_string()]);
    assert_eq!((&one.0["r1"]["findings"][0]["outcome"], one.1), (&json!("differs"), Some(1)));
    let good = replay(&world, &[&(forged - 1).to_string(), "--level", "R1"]);
    assert!(good.1 == Some(0) || good.0["r1"]["decisions"] == 0, "{good:?}");
    assert!(world.fails(&["ledger", "replay", "0"], 1).contains("no decision"));
}

/// Appends a well-signed copy of a denial that says it was allowed, as somebody with the log's own
/// keys could, and gives its index.
fn forge(world: &World) -> u64 {
    let data = DataDir::at(world.data());
    let id = data.known_id().unwrap().unwrap();
    let ring = KeyRing::at(world.keys());
    let openings = OpeningKey::new(&ring.secret(KeyRole::Seal, &format!("{id}.ledger")).unwrap());
    let mut denial: Option<Shown> = None;
    let filter = Filter { kind: Some(Kind::Decision), most: usize::MAX, newest: false, ..Filter::default() };
    visit(&data.ledger(), &filter, Some(&openings), |entry| {
        let rules = entry.fields.iter().find(|(field, _)| *field == FieldId::PolicyVersion);
        let ours = format!("{:?}", rules.unwrap().1).contains("mail-stays-inside");
        denial = ours.then_some(entry).or(denial.take());
        ControlFlow::Continue(())
    })
    .unwrap();
    let engine = engine(&data, &ring, id, openings);
    let index = engine.append(forged(denial.unwrap()), Level::Durable).wait().unwrap().index.unwrap();
    engine.close();
    index
}

fn engine(data: &DataDir, ring: &KeyRing, id: DataId, openings: OpeningKey) -> Engine {
    let origin = format!("cordon/{id}").parse().unwrap();
    let key = LogKey::new(origin, ring.signing(KeyRole::Log, &id.to_string()).unwrap());
    let mut options = Options::new(data.ledger(), data.ledger_head(), key, openings);
    options.tenant = "default".into();
    let now = Timestamp::parse_rfc3339("2030-01-01T00:00:00Z").unwrap();
    Engine::open(options, now).unwrap().0
}

fn forged(denial: Shown) -> Draft {
    let own = [FieldId::Kind, FieldId::Record, FieldId::Timestamp, FieldId::Tenant, FieldId::Session];
    let mut draft = Draft::new(RecordId::from_bytes([9; 16]), denial.at, "default", Kind::Decision);
    for (field, value) in denial.fields {
        draft = match (field, value) {
            (FieldId::Link, _) => draft,
            (field, _) if own.contains(&field) => draft,
            (FieldId::EnforcementDecision, _) => draft.with(
                field,
                EnforcementDecision { verdict: cordon_core::Verdict::Allow, enforced: "permitted" },
            ),
            (field, ShownValue::Clear(value) | ShownValue::Opened(value)) => draft.with(field, value),
            (field, ShownValue::Absent(reason)) => draft.without(field, reason),
            (field, other) => panic!("{field}: {other:?}"),
        };
    }
    draft
}
