//! What is permitted, what is refused, and that nothing runs without its record.

use cordon_core::Duration;
use cordon_guard::{Attempt, Operation, Outcome, Trace};
use cordon_ledger::{Kind, Level};

use crate::support::{PERMIT_ALL, World, node, now, opening, policies, tool};

#[test]
fn a_permit_exists_only_after_its_durable_record() {
    let world = World::new(PERMIT_ALL, "");
    let Outcome::Permitted(permit) = world.attempt("bank/read") else { panic!() };
    let drafts = world.ports.ledger.drafts();
    let (draft, level) = drafts.last().unwrap();
    assert_eq!((draft.kind(), *level), (Kind::Decision, Level::Durable));
    assert_eq!(draft.id(), permit.receipt().id);
}

#[test]
fn without_a_writable_ledger_nothing_runs_and_refusals_still_work() {
    let world = World::new(
        &format!("{PERMIT_ALL}\nforbid (principal, action == Cordon::Action::\"bank/pay\", resource);"),
        "",
    );
    world.check("bank/read", "permitted");
    world.ports.ledger.set_down(true);
    world.check("bank/read", "denied cordon:no-evidence");
    let Outcome::Denied(denial) = world.attempt("bank/pay") else { panic!() };
    assert!(denial.to_string().contains("refused"), "{denial}");
    world.ports.ledger.set_down(false);
    world.check("bank/read", "permitted");
}

#[test]
fn an_empty_policy_denies_and_says_what_is_missing() {
    let world = World::new("", "");
    let Outcome::Denied(denial) = world.attempt("bank/read") else { panic!() };
    let text = denial.to_string();
    assert!(text.contains("cordon:no-permit"), "{text}");
    assert!(text.contains("To make it possible"), "{text}");
    assert!(text.contains("Ledger entry rec_"), "{text}");
}

#[test]
fn a_tool_that_was_not_listed_changed_or_fed_wrong_arguments_is_refused_before_any_policy() {
    let world = World::new(PERMIT_ALL, "");
    world.check("bank/gone", "denied cordon:tool-unlisted");
    world.check("elsewhere/read", "denied cordon:tool-unlisted");
    world.check(r#"bank/pay {"amount":"much"}"#, "denied cordon:input-schema");
    world.check(r#"bank/odd {"amount":1}"#, "permitted");
    world.guard.listed("bank", vec![tool("read", "v1"), tool("pay", "v1"), tool("odd", "v2")]).unwrap();
    world.check(r#"bank/odd {"amount":1}"#, "denied cordon:tool-quarantined");
    world.check("bank/read", "permitted");
    let odd = "bank/odd".parse().unwrap();
    let pin = world.guard.tool(&odd).unwrap().listed.pin;
    now(world.guard.approve_tool(&odd, pin, "ann")).unwrap();
    world.check(r#"bank/odd {"amount":1}"#, "permitted");
}

#[test]
fn an_undeclared_tool_gains_nothing_from_a_class_and_falls_under_every_prohibition() {
    let by_class = "permit (principal, action in Cordon::Action::\"data.read\", resource);";
    let world = World::new(by_class, "");
    world.check("bank/read", "permitted");
    world.check("bank/odd", "denied cordon:no-permit");
    let forbid_admin = "@id(\"no-admin\") forbid (principal, action in Cordon::Action::\"admin\", resource);";
    let world = World::new(&format!("{PERMIT_ALL}\n{forbid_admin}"), "");
    world.check("bank/read", "permitted");
    world.check("bank/odd", "denied no-admin");
}

#[test]
fn a_closed_or_expired_session_runs_nothing() {
    let world = World::new(PERMIT_ALL, "");
    world.check("bank/read", "permitted");
    world.guard.close(world.session.id).unwrap();
    world.check("bank/read", "denied cordon:session");

    let world = World::new(PERMIT_ALL, "");
    world.ports.clock.advance(Duration::from_secs(3_599));
    world.check("bank/read", "permitted");
    world.ports.clock.advance(Duration::from_secs(1));
    world.check("bank/read", "denied cordon:session");
}

#[test]
fn limits_hold_for_each_tool_and_are_named() {
    let world = World::new(PERMIT_ALL, "");
    let first = world.attempt("bank/pay");
    let second = world.attempt("bank/pay");
    world.check("bank/pay", "denied cordon:limit");
    world.check("bank/read", "permitted");
    drop((first, second));
    for _ in 0..3 {
        world.check("bank/pay", "permitted");
    }
    world.check("bank/pay", "denied cordon:limit");
}

#[test]
fn a_session_of_the_same_key_is_found_again_only_by_the_same_principals() {
    let world = World::new(PERMIT_ALL, "");
    let keyed = |agent: &str| {
        let mut opening = opening(agent, &world.ports);
        opening.key = Some("mcp/bank".into());
        now(world.guard.open(opening)).unwrap().id
    };
    let first = keyed("bot");
    assert_eq!(keyed("bot"), first);
    assert_ne!(keyed("mallory"), first);
    world.guard.close(first).unwrap();
    assert_ne!(keyed("bot"), first);
}

#[test]
fn a_new_bundle_is_in_force_for_the_next_call() {
    let world = World::new(PERMIT_ALL, "");
    world.check("bank/read", "permitted");
    now(world.guard.activate(policies("", ""), "ann")).unwrap();
    world.check("bank/read", "denied cordon:no-permit");
    world.ports.ledger.set_down(true);
    assert!(
        now(world.guard.activate(policies(PERMIT_ALL, ""), "ann")).is_err(),
        "widening needs its record first"
    );
    world.ports.ledger.set_down(false);
    world.check("bank/read", "denied cordon:no-permit");
}

#[test]
fn what_could_never_be_allowed_is_not_shown() {
    let text = format!(
        "{PERMIT_ALL}\nforbid (principal, action == Cordon::Action::\"bank/pay\", resource);
         forbid (principal, action == Cordon::Action::\"bank/read\", resource) when {{ context.args.amount > 5 }};"
    );
    let world = World::new(&text, "");
    let visible = |tool: &str| {
        let arguments = node("{}");
        let operation = Operation::Tool { server: "bank", tool, arguments: &arguments };
        world.guard.could_allow(&Attempt {
            session: world.session.id,
            operation,
            trace: Trace::default(),
            parent: None,
            confidence: None,
        })
    };
    assert!(!visible("pay"), "forbidden whatever its arguments");
    assert!(visible("read"), "forbidden only with some arguments");
    assert!(visible("odd"));
    assert!(!visible("gone"));
}
