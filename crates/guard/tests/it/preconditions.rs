//! A call that rests on something read just before: there, young enough, and the same when it leaves.

use cordon_core::{ActionName, Duration};
use cordon_guard::{Outcome, Release, ResultKind, ResultSeen};

use crate::support::{PERMIT_ALL, World, node, now, policies_of, shown, tool};

const TOOLS: &str = r#"
[[tools]]
tool = "shop/status"
classes = ["data.read"]
effect = "read"

[[tools]]
tool = "shop/ship"
classes = ["data.write"]
effect = "write"
preconditions = [{ name = "customer", tool = "shop/status", arguments = { id = { from = "/customer" }, view = "short" }, take = { status = { at = "/status", type = "text" }, open = { at = "/open", type = "long" } }, max_age_ms = 5000 }]
"#;
const RULE: &str = r#"
@id("active-only")
forbid (principal, action == Cordon::Action::"shop/ship", resource)
unless { context.preconditions.customer.status == "active" && context.preconditions.customer.open < 3 };"#;

fn world() -> World {
    let files =
        [("permissions/all.cedar", PERMIT_ALL), ("permissions/ship.cedar", RULE), ("tools/shop.toml", TOOLS)];
    let world = World::of(policies_of(&files));
    let free =
        |name: &str| cordon_guard::ListedTool { input_schema: None, output_schema: None, ..tool(name, "v1") };
    world.guard.listed("shop", vec![free("status"), free("ship")]).unwrap();
    world
}

/// Calls `shop/status` and has it answer `result`.
fn read(world: &World, arguments: &str, result: &str, kind: ResultKind) {
    let Outcome::Permitted(permit) = world.attempt(&format!("shop/status {arguments}")) else { panic!() };
    let (_, pending) = permit.spend().unwrap();
    let structured = node(result);
    let seen = ResultSeen { bytes: result.as_bytes(), structured: Some(&structured), kind };
    assert_eq!(pending.observe(seen), Release::Pass);
}

const ASKED: &str = r#"{"view":"short","id":7}"#;
const ACTIVE: &str = r#"{"status":"active","open":1}"#;
const SHIP: &str = r#"shop/ship {"customer":7}"#;

#[test]
fn a_call_needs_what_its_manifest_wants_read_about_the_same_thing() {
    let world = world();
    world.check(SHIP, "denied cordon:precondition");
    read(&world, r#"{"view":"short","id":8}"#, ACTIVE, ResultKind::Complete);
    world.check(SHIP, "denied cordon:precondition");
    read(&world, r#"{"view":"long","id":7}"#, ACTIVE, ResultKind::Complete);
    world.check(SHIP, "denied cordon:precondition");
    read(&world, ASKED, ACTIVE, ResultKind::Complete);
    world.check(SHIP, "permitted");
    world.check("shop/ship {}", "denied cordon:precondition");
    let Outcome::Denied(denial) = world.attempt(r#"shop/ship {"customer":9}"#) else { panic!() };
    assert!(denial.to_string().contains("call `shop/status` about the same thing"), "{denial}");
}

#[test]
fn policies_read_what_was_read() {
    let world = world();
    for (result, want) in [
        (ACTIVE, "permitted"),
        (r#"{"status":"closed","open":1}"#, "denied active-only"),
        (r#"{"status":"active","open":3}"#, "denied active-only"),
    ] {
        read(&world, ASKED, result, ResultKind::Complete);
        world.check(SHIP, want);
    }
}

#[test]
fn a_read_that_failed_or_says_something_else_is_none() {
    for (result, kind) in [
        (ACTIVE, ResultKind::Error),
        (ACTIVE, ResultKind::Interim),
        (r#"{"status":"active"}"#, ResultKind::Complete),
        (r#"{"status":"active","open":"1"}"#, ResultKind::Complete),
        (r#"{"status":null,"open":1}"#, ResultKind::Complete),
    ] {
        let world = world();
        read(&world, ASKED, result, kind);
        let Outcome::Denied(denial) = world.attempt(SHIP) else { panic!("{result}") };
        let rules: Vec<&str> = denial.judgement.reasons.iter().map(|reason| &*reason.rule.rule).collect();
        assert!(rules.contains(&"cordon:precondition"), "{result}: {rules:?}");
    }
}

#[test]
fn a_reading_has_an_age_and_an_end() {
    let world = world();
    read(&world, ASKED, ACTIVE, ResultKind::Complete);
    world.ports.clock.advance(Duration::from_millis(4_900));
    let Outcome::Permitted(permit) = world.attempt(SHIP) else { panic!() };
    let read_at = permit.judgement().gathered.first().unwrap().clone();
    assert_eq!((&*read_at.name, read_at.tool.as_str()), ("customer", "shop/status"));
    assert!(read_at.age_ms.is_some_and(|age| (4_900..5_000).contains(&age)), "{read_at:?}");
    world.ports.clock.advance(Duration::from_millis(200));
    assert_eq!(shown(&permit.spend().map(drop).unwrap_err()), "denied cordon:precondition");
    world.check(SHIP, "denied cordon:precondition");
}

#[test]
fn what_changed_between_the_decision_and_the_departure_stops_the_call() {
    let world = world();
    read(&world, ASKED, ACTIVE, ResultKind::Complete);
    let Outcome::Permitted(permit) = world.attempt(SHIP) else { panic!() };
    read(&world, ASKED, r#"{"status":"closed","open":1}"#, ResultKind::Complete);
    assert_eq!(shown(&permit.spend().map(drop).unwrap_err()), "denied cordon:precondition");
    read(&world, ASKED, ACTIVE, ResultKind::Complete);
    let Outcome::Permitted(permit) = world.attempt(SHIP) else { panic!() };
    read(&world, ASKED, ACTIVE, ResultKind::Complete);
    assert!(permit.spend().is_ok(), "the same again is the same");
}

#[test]
fn a_door_is_told_what_to_read_and_when_to_read_again() {
    let world = world();
    let ship: ActionName = "shop/ship".parse().unwrap();
    let wanted = |arguments: &str| world.guard.wanted(world.session.id, &ship, &node(arguments));
    let all = wanted(r#"{"customer":7}"#);
    assert_eq!(all.len(), 1);
    assert_eq!((&*all[0].tool, &*all[0].arguments), ("status", r#"{"id":7,"view":"short"}"#));
    assert!(wanted("{}").is_empty(), "nothing can be read, and the call will be refused");
    read(&world, ASKED, ACTIVE, ResultKind::Complete);
    assert!(wanted(r#"{"customer":7}"#).is_empty());
    world.ports.clock.advance(Duration::from_millis(2_600));
    assert_eq!(wanted(r#"{"customer":7}"#).len(), 1);
}

#[test]
fn another_session_reads_for_itself() {
    let world = world();
    read(&world, ASKED, ACTIVE, ResultKind::Complete);
    let other = now(world.guard.open(crate::support::opening("other", &world.ports))).unwrap();
    let other = World { guard: world.guard.clone(), ports: world.ports, session: other };
    other.check(SHIP, "denied cordon:precondition");
}
