//! For whom a session acts, and how old what is known of them may be.

use cordon_core::{Chain, Duration, Principal, PrincipalKind, Value};
use cordon_guard::ports::Clock;
use cordon_guard::{Attempt, Opening, Operation, Outcome, Trace};

use crate::support::{PERMIT_ALL, World, node, now, opening, policies_of};

fn verdict(world: &World, opening: Opening) -> String {
    let session = now(world.guard.open(opening)).unwrap();
    again(world, session.id)
}

fn again(world: &World, session: cordon_core::SessionId) -> String {
    let arguments = node("{}");
    let attempt = Attempt {
        session,
        operation: Operation::Tool { server: "bank", tool: "read", arguments: &arguments },
        trace: Trace::default(),
        parent: None,
        confidence: None,
    };
    match now(world.guard.authorize(attempt, b"call".to_vec())) {
        Outcome::Permitted(_) => "permitted".to_owned(),
        Outcome::Held(..) => "held".to_owned(),
        Outcome::Denied(denial) => denial.judgement.reasons[0].rule.rule.to_string(),
    }
}

fn person(id: &str) -> Principal {
    Principal::new(PrincipalKind::User, id)
}

#[test]
fn an_agent_that_acts_for_nobody_does_nothing_unless_the_bundle_says_so() {
    let world = World::new(PERMIT_ALL, "");
    let agent = || Some(Principal::new(PrincipalKind::Agent, "bot"));
    let with = |user| Opening {
        chain: Chain::new(Some(person("ann")), agent(), user).unwrap(),
        ..opening("bot", &world.ports)
    };
    assert_eq!(verdict(&world, with(Some(person("ann")))), "permitted");
    assert_eq!(verdict(&world, with(None)), "cordon:no-user");
}

#[test]
fn a_group_ages_while_the_session_lasts() {
    let finance = "permit (principal is Cordon::Agent, action, resource);\n\
        permit (principal is Cordon::User, action, resource) \
        when { principal has groups && principal.groups.contains(\"finance\") };";
    let world = World::of(policies_of(&[
        ("permissions/all.cedar", finance),
        ("schema/all.cedarschema", "entity User = { groups?: Set<String> };"),
    ]));
    let mut ann = person("ann");
    ann.attributes.insert("groups".into(), Value::texts(["finance"]));
    ann.stale_from.insert("groups".into(), world.ports.clock.now().plus(Duration::from_secs(60)));
    let opened = |who: &Principal| Opening {
        chain: Chain::new(
            Some(who.clone()),
            Some(Principal::new(PrincipalKind::Agent, "bot")),
            Some(who.clone()),
        )
        .unwrap(),
        ..opening("bot", &world.ports)
    };
    let session = now(world.guard.open(opened(&ann))).unwrap().id;
    assert_eq!(again(&world, session), "permitted");
    world.ports.clock.advance(Duration::from_secs(59));
    assert_eq!(again(&world, session), "permitted");
    world.ports.clock.advance(Duration::from_secs(1));
    assert_eq!(again(&world, session), "cordon:no-permit");
    ann.attributes.insert("groups".into(), Value::texts(["sales"]));
    ann.stale_from.clear();
    assert_eq!(verdict(&world, opened(&ann)), "cordon:no-permit");
}
