//! Shadow policies are judged and recorded, and nothing depends on what they say.

use cordon_core::{Duration, Timestamp};
use cordon_guard::ShadowPolicies;
use cordon_guard::ports::Clock as _;
use cordon_ledger::Kind;

use crate::support::{ASK_MONEY, PERMIT_ALL, World, policies};

const BROKEN: &str = r#"@id("broken") forbid (principal, action, resource)
    when { context.args has amount && 9223372036854775807 + context.args.amount > 0 };"#;

fn set(world: &World, permissions: &str, obligations: &str, expires: Timestamp) {
    let set = policies(permissions, obligations).set;
    world.guard.set_shadow(Some(ShadowPolicies { set, epoch: Some(9), expires }));
}

/// What is recorded about the newest decision, as text.
fn newest(world: &World) -> String {
    let mut drafts = world.ports.ledger.drafts();
    drafts.retain(|(draft, _)| draft.kind() == Kind::Decision);
    format!("{:?}", drafts.pop().unwrap().0)
}

#[test]
fn what_a_shadow_would_have_said_is_recorded_and_the_live_verdict_stands() {
    let world = World::new(PERMIT_ALL, ASK_MONEY);
    let later = world.ports.clock.now().plus(Duration::from_secs(60));
    for (permissions, obligations, said) in [
        ("", "", "cordon:no-permit"),
        (PERMIT_ALL, "", "\"allow\""),
        (&format!("{PERMIT_ALL}\n{BROKEN}"), "", "broken"),
    ] {
        set(&world, permissions, obligations, later);
        world.check("bank/read {\"amount\":1}", "permitted");
        world.check("bank/pay {\"amount\":1}", "held");
        let record = newest(&world);
        let (_, shadow) = record.split_once("(Shadow").expect("the shadow is recorded");
        let shadow: String = shadow.chars().take(600).collect();
        assert!(shadow.contains(said), "{said}: {shadow}");
    }
}

#[test]
fn a_shadow_that_expired_or_was_taken_away_is_not_judged() {
    let world = World::new(PERMIT_ALL, "");
    set(&world, "", "", world.ports.clock.now().plus(Duration::from_secs(60)));
    world.check("bank/read", "permitted");
    assert!(newest(&world).contains("(Shadow"));
    world.ports.clock.advance(Duration::from_secs(60));
    world.check("bank/read", "permitted");
    assert!(!newest(&world).contains("(Shadow"), "expired");
    set(&world, "", "", world.ports.clock.now().plus(Duration::from_secs(60)));
    world.guard.set_shadow(None);
    world.check("bank/read", "permitted");
    assert!(!newest(&world).contains("(Shadow"), "taken away");
}
