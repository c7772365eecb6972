//! What is taken from a session: at once, by rule or by hand, and given back by a named approver only.

use cordon_core::ed25519::SigningKey;
use cordon_core::{Duration, Posture, PostureState, SessionId, Timestamp};
use cordon_guard::{GuardError, Outcome, Release, ResultKind, ResultSeen, Standing};
use cordon_workflow::{Answer, Lift, LiftOf};

use crate::kills::restarted;
use crate::support::{ASK_MONEY, PERMIT_ALL, World, approver_key, now, opening, policies, shown, tool};

fn take(classes: &[&str]) -> Posture {
    let classes = classes.iter().map(|class| class.parse().unwrap());
    Posture::new(PostureState::Normal, classes, [], [])
}

fn contain(world: &World, posture: &Posture) -> Standing {
    world.guard.contain(world.session.id, posture, "ann").unwrap().now
}

fn lift_of(world: &World, standing: &Standing, approver: &str) -> Lift {
    let of = LiftOf::Session(standing.session);
    Lift { of, binding: standing.binding(), approver: approver.into(), at: world.guard.now() }
}

fn release(world: &World, lift: &Lift) -> Result<(), GuardError> {
    let signature = approver_key().sign(&lift.signing_bytes());
    now(world.guard.release(lift, &signature)).map(drop)
}

fn state(world: &World, session: SessionId) -> PostureState {
    world.guard.standing(session).unwrap().map_or(PostureState::Normal, |standing| standing.posture.state())
}

#[test]
fn what_is_taken_is_refused_on_the_next_call_and_the_session_goes_on_with_the_rest() {
    let world = World::new(PERMIT_ALL, "");
    world.check("bank/pay", "permitted");
    let standing = contain(&world, &take(&["money.move"]));
    world.check("bank/pay", "denied cordon:posture");
    world.check("bank/odd", "denied cordon:posture");
    world.check("bank/read", "permitted");
    let Outcome::Denied(denial) = world.attempt("bank/pay") else { panic!() };
    assert!(denial.to_string().contains("cordon session release ses_"), "{denial}");
    release(&world, &lift_of(&world, &standing, "ann")).unwrap();
    world.check("bank/pay", "permitted");
    let other = now(world.guard.open(opening("other", &world.ports))).unwrap();
    assert_eq!(state(&world, other.id), PostureState::Normal);
}

#[test]
fn an_obligation_contains_whatever_the_verdict_and_once() {
    let contain = "@id(\"cut\") @obligation(\"revoke\") @classes(\"data.read\")
        permit (principal, action in Cordon::Action::\"money.move\", resource);";
    let forbid = "forbid (principal, action in Cordon::Action::\"money.move\", resource);";
    let world = World::new(&format!("{PERMIT_ALL}\n@id(\"no\") {forbid}"), contain);
    world.check("bank/read", "permitted");
    world.check("bank/pay", "denied no");
    world.check("bank/read", "denied cordon:posture");
    world.check("bank/pay", "denied no");
    now(world.guard.catch_up());
    let contained = |world: &World| {
        world.ports.ledger.drafts().iter().filter(|(d, _)| d.kind().as_str() == "session.contained").count()
    };
    assert_eq!(contained(&world), 1, "the same again changes nothing");
    let standing = world.guard.standing(world.session.id).unwrap().unwrap();
    assert!(standing.cause.contains("cut (obligations/all.cedar:"), "{}", standing.cause);
    assert_eq!(standing.revision, 1);
}

#[test]
fn monitoring_watches_and_takes_nothing() {
    let monitor =
        "@obligation(\"monitor\") permit (principal, action in Cordon::Action::\"data.read\", resource);";
    let world = World::new(PERMIT_ALL, monitor);
    world.check("bank/read", "permitted");
    assert_eq!(state(&world, world.session.id), PostureState::Watched);
    world.check("bank/pay", "permitted");
}

#[test]
fn an_isolated_session_may_do_nothing_is_told_nothing_and_can_come_back() {
    let world = World::new(PERMIT_ALL, "");
    let Outcome::Permitted(held) = world.attempt("bank/pay") else { panic!() };
    let Outcome::Permitted(sent) = world.attempt("bank/odd") else { panic!() };
    let (_, in_flight) = sent.spend().unwrap();
    let standing = contain(&world, &Posture::of_state(PostureState::Quarantined));
    assert_eq!(shown(&held.spend().unwrap_err()), "denied cordon:posture", "held while it was isolated");
    let seen = ResultSeen { bytes: b"secret", structured: None, kind: ResultKind::Complete };
    assert!(matches!(in_flight.observe(seen), Release::Withhold { .. }), "sent before it was isolated");
    world.check("bank/read", "denied cordon:posture");
    release(&world, &lift_of(&world, &standing, "ann")).unwrap();
    world.check("bank/read", "permitted");
}

#[test]
fn a_terminated_session_never_runs_again_not_even_what_was_approved() {
    let world = World::new(PERMIT_ALL, ASK_MONEY);
    world.check(r#"bank/pay {"amount":5}"#, "held");
    world.answer("ann", Answer::Grant).unwrap();
    world.check(r#"bank/pay {"amount":6}"#, "held");
    let standing = contain(&world, &Posture::of_state(PostureState::Terminated));
    world.check(r#"bank/pay {"amount":5}"#, "denied cordon:posture");
    let (pending, _) = world
        .guard
        .approvals(10)
        .unwrap()
        .into_iter()
        .find(|(one, _)| one.progress.as_str() == "pending")
        .unwrap();
    let ballot = cordon_workflow::Ballot {
        approval: pending.terms.id,
        binding: pending.terms.binding,
        answer: Answer::Grant,
        approver: "ann".into(),
        at: world.guard.now(),
    };
    let signature = approver_key().sign(&ballot.signing_bytes());
    assert!(matches!(now(world.guard.answer(&ballot, &signature)), Err(GuardError::Terminated(_))));
    release(&world, &lift_of(&world, &standing, "ann")).unwrap();
    world.check("bank/read", "denied cordon:session");
}

/// The session that is found again under its caller's and server's name.
fn keyed(world: &World) -> std::sync::Arc<cordon_guard::Session> {
    let mut opening = opening("bot", &world.ports);
    opening.key = Some("mcp/bank".into());
    now(world.guard.open(opening)).unwrap()
}

#[test]
fn a_posture_survives_a_restart_and_the_end_of_its_session() {
    let world = World::new(PERMIT_ALL, "");
    let world = World { session: keyed(&world), ..world };
    contain(&world, &take(&["money.move"]));
    let world = World { guard: restarted(&world), ..world };
    world.guard.listed("bank", vec![tool("read", "v1"), tool("pay", "v1")]).unwrap();
    world.check("bank/pay", "denied cordon:posture");
    world.check("bank/read", "permitted");
    // Whoever ends the session and begins another under its name gets nothing back.
    world.guard.close(world.session.id).unwrap();
    let world = World { session: keyed(&world), ..world };
    world.check("bank/pay", "denied cordon:posture");
    let standing = world.guard.standing(world.session.id).unwrap().unwrap();
    release(&world, &lift_of(&world, &standing, "ann")).unwrap();
    world.guard.close(world.session.id).unwrap();
    let world = World { session: keyed(&world), ..world };
    world.check("bank/pay", "permitted");
}

#[test]
fn a_clock_gives_nothing_back() {
    let world = World::new(PERMIT_ALL, "");
    let world = World { session: keyed(&world), ..world };
    contain(&world, &Posture::of_state(PostureState::Terminated));
    let began = world.guard.now();
    world.ports.clock.set(Timestamp::from_micros(1));
    world.check("bank/read", "denied cordon:posture");
    world.ports.clock.set(began.plus(Duration::from_secs(400 * 86_400)));
    let world = World { session: keyed(&world), ..world };
    assert_eq!(state(&world, world.session.id), PostureState::Terminated, "a new one under the old name");
    world.check("bank/read", "denied cordon:posture");
}

#[test]
fn only_a_named_approver_who_is_not_the_agent_releases_and_only_what_was_shown() {
    let world = World::new(PERMIT_ALL, "");
    let standing = contain(&world, &take(&["money.move"]));
    let stranger = SigningKey::from_seed(&[9; 32]).unwrap();
    let refused = |lift: &Lift, key: &SigningKey| {
        let error = now(world.guard.release(lift, &key.sign(&lift.signing_bytes()))).unwrap_err();
        world.check("bank/pay", "denied cordon:posture");
        error
    };
    let good = lift_of(&world, &standing, "ann");
    assert!(matches!(refused(&good, &stranger), GuardError::Ballot(_)), "another key");
    assert!(matches!(refused(&lift_of(&world, &standing, "mallory"), &stranger), GuardError::Ballot(_)));
    assert!(
        matches!(refused(&lift_of(&world, &standing, "bot"), &approver_key()), GuardError::Ballot(_)),
        "itself"
    );
    // A word about another session, and one about this session before more was taken.
    let other = now(world.guard.open(opening("other", &world.ports))).unwrap();
    let theirs = world.guard.contain(other.id, &take(&["money.move"]), "ann").unwrap().now;
    let moved = Lift { of: good.of, ..lift_of(&world, &theirs, "ann") };
    assert!(matches!(refused(&moved, &approver_key()), GuardError::LiftBinding));
    contain(&world, &take(&["data.write"]));
    assert!(matches!(refused(&good, &approver_key()), GuardError::LiftBinding));
    // A word that was good once is not good for what is taken later.
    let standing = world.guard.standing(world.session.id).unwrap().unwrap();
    let once = lift_of(&world, &standing, "ann");
    release(&world, &once).unwrap();
    world.check("bank/pay", "permitted");
    contain(&world, &take(&["money.move", "data.write"]));
    assert!(matches!(refused(&once, &approver_key()), GuardError::LiftBinding));
}

#[test]
fn without_a_ledger_a_session_is_contained_and_not_released() {
    let world = World::new(PERMIT_ALL, "");
    world.ports.ledger.set_down(true);
    let standing = contain(&world, &take(&["money.move"]));
    let Outcome::Denied(denial) = world.attempt("bank/pay") else { panic!() };
    assert_eq!(shown(&denial), "denied cordon:posture");
    let lift = lift_of(&world, &standing, "ann");
    assert!(matches!(release(&world, &lift), Err(GuardError::Ledger(_))));
    world.check("bank/pay", "denied cordon:posture");
    world.ports.ledger.set_down(false);
    now(world.guard.catch_up());
    now(world.guard.catch_up());
    assert!(world.guard.standing(world.session.id).unwrap().unwrap().recorded, "its record followed");
    release(&world, &lift).unwrap();
    world.check("bank/pay", "permitted");
}

#[test]
fn a_store_that_does_not_take_it_is_asked_again() {
    let world = World::new(PERMIT_ALL, "");
    world.ports.store.set_down(true);
    let narrowed = world.guard.contain(world.session.id, &take(&["money.move"]), "ann").unwrap();
    assert!(!narrowed.kept);
    world.check("bank/pay", "denied cordon:posture");
    world.ports.store.set_down(false);
    now(world.guard.catch_up());
    assert_eq!(restarted(&world).standings(10).unwrap().len(), 1);
}

#[test]
fn what_was_taken_is_not_listed() {
    use cordon_guard::{Attempt, Operation, Trace};
    let world = World::new(PERMIT_ALL, "");
    let visible = |tool: &str| {
        let arguments = crate::support::node("{}");
        let operation = Operation::Tool { server: "bank", tool, arguments: &arguments };
        let session = world.session.id;
        world.guard.could_allow(&Attempt {
            session,
            operation,
            trace: Trace::default(),
            parent: None,
            confidence: None,
        })
    };
    contain(&world, &take(&["money.move"]));
    assert!(!visible("pay") && visible("read"));
    world.guard.kill(crate::kills::order("data.read"), "ann").unwrap();
    assert!(!visible("read"));
}

#[test]
fn the_recorded_facts_give_the_same_judgement_again() {
    use cordon_core::Encode as _;
    use cordon_core::cbor::Cbor;
    use cordon_guard::ports::Draw;
    use cordon_ledger::FieldId;
    let world = World::new(PERMIT_ALL, "");
    contain(&world, &take(&["money.move"]));
    world.guard.kill(crate::kills::order("data.read"), "ann").unwrap();
    let policies = policies(PERMIT_ALL, "");
    for call in ["bank/pay", "bank/read"] {
        let Outcome::Denied(denial) = world.attempt(call) else { panic!() };
        let (draft, _) = world.ports.ledger.drafts().pop().unwrap();
        let (_, openings) = draft.close(&Cbor::Null, &mut Draw(&*world.ports.random)).unwrap();
        let attachment = openings.iter().find(|one| one.field == FieldId::Attachment).unwrap();
        let attachment = Cbor::decode(&attachment.encoded).unwrap();
        let request = cordon_core::Request::from_cbor(attachment.get(0).unwrap()).unwrap();
        let facts = cordon_core::Facts::from_cbor(attachment.get(1).unwrap()).unwrap();
        let at = Timestamp::from_micros(attachment.get(2).unwrap().as_u64().unwrap());
        let again = cordon_guard::policy::decide(&policies.set, &request, &facts, at);
        assert_eq!(again, denial.judgement, "{call}");
    }
}

/// A hundred thousand open sessions: containing one touches one.
#[test]
fn one_of_many_sessions_is_contained_quickly_and_alone() {
    let world = World::new(PERMIT_ALL, "");
    let mut sessions = Vec::new();
    for n in 0..99_999 {
        sessions.push(now(world.guard.open(opening(&format!("a{n}"), &world.ports))).unwrap().id);
    }
    let begun = std::time::Instant::now();
    world.guard.contain(sessions[50_000], &take(&["money.move"]), "ann").unwrap();
    let took = begun.elapsed();
    assert!(took.as_millis() < 10, "{took:?}");
    assert_eq!(world.guard.standings(100).unwrap().len(), 1);
    assert_eq!(state(&world, sessions[49_999]), PostureState::Normal);
    assert_eq!(state(&world, sessions[50_000]), PostureState::Restricted);
}
