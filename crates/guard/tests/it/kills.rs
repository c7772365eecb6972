//! Kill switches: in force at once, everywhere, whatever else fails; lifted by a named approver only.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cordon_core::ed25519::SigningKey;
use cordon_core::{Digest, Duration, KillOrder, KillOrigin, Timestamp};
use cordon_guard::{Approvers, Attempt, Guard, GuardError, GuardLimits, Kill, Operation, Outcome, Trace};
use cordon_ledger::{Kind, Level};
use cordon_workflow::{Lift, LiftOf};

use crate::support::{PERMIT_ALL, World, approver_key, node, now, opening, policies, shown};

pub(crate) fn order(text: &str) -> KillOrder {
    let (target, agent) = text.split_once(" --agent ").map_or((text, None), |(t, agent)| (t, Some(agent)));
    KillOrder { target: target.parse().unwrap(), agent: agent.map(Into::into), tenant: None }
}

fn lift(world: &World, kill: &Kill, approver: &str) -> Lift {
    let at = world.guard.now();
    Lift { of: LiftOf::Kill(kill.id), binding: kill.binding(), approver: approver.into(), at }
}

fn unkill(world: &World, kill: &Kill) -> Result<(), GuardError> {
    let lift = lift(world, kill, "ann");
    let signature = approver_key().sign(&lift.signing_bytes());
    now(world.guard.unkill(&lift, &signature)).map(drop)
}

/// The guard of the same node after a restart.
pub(crate) fn restarted(world: &World) -> Guard {
    let approvers = Approvers::clone(&world.guard.approvers());
    Guard::new(world.ports.ports(), policies(PERMIT_ALL, ""), approvers, GuardLimits::default())
}

#[test]
fn a_switch_stops_its_class_at_once_and_lifting_it_brings_it_back() {
    let world = World::new(PERMIT_ALL, "");
    world.check("bank/pay", "permitted");
    let kill = world.guard.kill(order("money.move"), "ann").unwrap();
    assert!(kill.kept);
    world.check("bank/pay", "denied cordon:kill");
    world.check("bank/read", "permitted");
    world.check("bank/odd", "denied cordon:kill");
    unkill(&world, &kill.now).unwrap();
    world.check("bank/pay", "permitted");
    world.check("bank/odd", "permitted");
    now(world.guard.catch_up());
    let kinds: Vec<_> = world.ports.ledger.drafts().iter().map(|(draft, _)| draft.kind().as_str()).collect();
    let of = |kind: &str| kinds.iter().filter(|have| **have == kind).count();
    assert_eq!((of("admin.kill"), of("admin.unkill")), (1, 1));
}

#[test]
fn an_effect_and_an_agent_bound_what_is_switched_off() {
    let world = World::new(PERMIT_ALL, "");
    world.guard.kill(order("irreversible --agent other"), "ann").unwrap();
    world.check("bank/pay", "permitted");
    world.guard.kill(order("irreversible --agent bot"), "ann").unwrap();
    world.check("bank/pay", "denied cordon:kill");
    world.check("bank/read", "permitted");
}

#[test]
fn turning_a_switch_twice_is_turning_it_once() {
    let world = World::new(PERMIT_ALL, "");
    let first = world.guard.kill(order("admin"), "ann").unwrap();
    let second = world.guard.kill(order("admin"), "bob").unwrap();
    assert_eq!((second.now.id, second.receipt), (first.now.id, None));
    assert_eq!(world.guard.kills().len(), 1);
}

#[test]
fn without_a_ledger_a_switch_is_turned_and_none_is_lifted() {
    let world = World::new(PERMIT_ALL, "");
    world.ports.ledger.set_down(true);
    let kill = world.guard.kill(order("money.move"), "ann").unwrap();
    world.check("bank/pay", "denied cordon:kill");
    assert_eq!(now(world.guard.catch_up()), 1);
    assert_eq!(world.guard.unrecorded(), 1, "somebody is told");
    assert!(matches!(unkill(&world, &kill.now), Err(GuardError::Ledger(_))));
    world.check("bank/pay", "denied cordon:kill");
    world.ports.ledger.set_down(false);
    now(world.guard.catch_up());
    assert_eq!((now(world.guard.catch_up()), world.guard.unrecorded()), (0, 0), "its record follows");
    let (draft, level) = world.ports.ledger.drafts().pop().unwrap();
    assert_eq!((draft.kind().as_str(), level), ("admin.kill", Level::Durable));
    world.check("bank/pay", "denied cordon:kill");
    unkill(&world, &kill.now).unwrap();
    world.check("bank/pay", "permitted");
}

#[test]
fn a_switch_survives_a_restart_recorded_or_not() {
    let world = World::new(PERMIT_ALL, "");
    world.ports.ledger.set_down(true);
    world.guard.kill(order("money.move"), "ann").unwrap();
    world.ports.ledger.set_down(false);
    let world = World { guard: restarted(&world), ..world };
    world
        .guard
        .listed("bank", vec![crate::support::tool("pay", "v1"), crate::support::tool("read", "v1")])
        .unwrap();
    world.check("bank/pay", "denied cordon:kill");
    world.check("bank/read", "permitted");
    now(world.guard.catch_up());
    let drafts = world.ports.ledger.drafts();
    assert_eq!(drafts.iter().filter(|(draft, _)| draft.kind().as_str() == "admin.kill").count(), 1);
    assert!(world.guard.kills()[0].recorded);
}

#[test]
fn a_store_that_does_not_take_it_is_asked_again_and_one_that_cannot_be_read_stops_everything() {
    let world = World::new(PERMIT_ALL, "");
    world.ports.store.set_down(true);
    let kill = world.guard.kill(order("money.move"), "ann").unwrap();
    assert!(!kill.kept, "in force and not kept yet");
    world.check("bank/pay", "denied cordon:kill");
    let blind =
        World { guard: restarted(&world), ports: world.ports.clone(), session: world.session.clone() };
    blind.guard.listed("bank", vec![crate::support::tool("read", "v1")]).unwrap();
    assert_eq!(blind.guard.kills()[0].switch.origin, KillOrigin::Unreadable);
    blind.check("bank/read", "denied cordon:kill");
    world.ports.store.set_down(false);
    now(world.guard.catch_up());
    assert_eq!(restarted(&world).kills().len(), 1);
}

#[test]
fn neither_a_stranger_nor_a_bent_signature_nor_a_word_about_another_switch_lifts_one() {
    let world = World::new(PERMIT_ALL, "");
    let kill = world.guard.kill(order("money.move"), "ann").unwrap().now;
    let other = world.guard.kill(order("admin"), "ann").unwrap().now;
    let refused = |lift: &Lift, key: &SigningKey, signed: &Lift| {
        let signature = key.sign(&signed.signing_bytes());
        let refused = now(world.guard.unkill(lift, &signature)).unwrap_err();
        world.check("bank/pay", "denied cordon:kill");
        refused
    };
    let stranger = SigningKey::from_seed(&[9; 32]).unwrap();
    let good = lift(&world, &kill, "ann");
    assert!(matches!(refused(&good, &stranger, &good), GuardError::Ballot(_)));
    let unknown = lift(&world, &kill, "mallory");
    assert!(matches!(refused(&unknown, &stranger, &unknown), GuardError::Ballot(_)));
    let moved = Lift { of: LiftOf::Kill(kill.id), ..lift(&world, &other, "ann") };
    assert!(matches!(refused(&moved, &approver_key(), &moved), GuardError::LiftBinding));
    assert!(matches!(refused(&good, &approver_key(), &lift(&world, &other, "ann")), GuardError::Ballot(_)));
    // A word about a switch that was lifted says nothing about the same one turned again.
    unkill(&world, &kill).unwrap();
    world.guard.kill(order("money.move"), "ann").unwrap();
    assert!(matches!(refused(&good, &approver_key(), &good), GuardError::UnknownKill(_)));
}

#[test]
fn a_permit_that_was_held_while_a_switch_was_turned_is_not_spent() {
    let world = World::new(PERMIT_ALL, "");
    let (Outcome::Permitted(pay), Outcome::Permitted(read)) =
        (world.attempt("bank/pay"), world.attempt("bank/read"))
    else {
        panic!()
    };
    world.guard.kill(order("money.move"), "ann").unwrap();
    let denial = pay.spend().unwrap_err();
    assert_eq!(shown(&denial), "denied cordon:kill");
    assert!(denial.to_string().contains("cordon unkill money.move"), "{denial}");
    assert!(read.spend().is_ok(), "what the switch does not cover goes on");
    let (draft, _) =
        world.ports.ledger.drafts().into_iter().rfind(|(d, _)| d.kind() == Kind::Result).unwrap();
    assert_eq!(draft.kind(), Kind::Result, "what came of it is on record, too");
}

#[test]
fn no_clock_lifts_a_switch() {
    let world = World::new(PERMIT_ALL, "");
    world.guard.kill(order("money.move"), "ann").unwrap();
    let began = world.guard.now();
    for moment in [Timestamp::from_micros(0), began.plus(Duration::from_secs(3_000)), began] {
        world.ports.clock.set(moment);
        world.check("bank/pay", "denied cordon:kill");
    }
}

#[test]
fn switches_are_bounded_and_the_ones_that_are_on_stay() {
    let world = World::new(PERMIT_ALL, "");
    for n in 0..cordon_guard::KILLS_MAX {
        world.guard.kill(order(&format!("money.move --agent a{n}")), "ann").unwrap();
    }
    assert!(matches!(world.guard.kill(order("admin"), "ann"), Err(GuardError::TooManyKills(_))));
    assert_eq!(world.guard.kills().len(), cordon_guard::KILLS_MAX);
}

#[test]
fn a_bundle_turns_its_switches_and_only_a_newer_bundle_lifts_them() {
    let world = World::new(PERMIT_ALL, "");
    let load = |epoch, orders: &[&str]| {
        let orders: BTreeSet<_> = orders.iter().map(|text| order(text)).collect();
        now(world.guard.load_kills(epoch, Digest::of(b"bundle"), &orders))
    };
    world.guard.kill(order("admin"), "ann").unwrap();
    assert_eq!(load(1, &["money.move", "secret.use"]).map(|loaded| (loaded.on, loaded.lifted)), Ok((2, 0)));
    world.check("bank/pay", "denied cordon:kill");
    let of_bundle = world.guard.kills().iter().find(|kill| kill.by.contains("bundle")).unwrap().clone();
    assert!(matches!(unkill(&world, &of_bundle), Err(GuardError::KillOfBundle(1))));
    // Without a ledger the new ones are on and the old ones stay.
    world.ports.ledger.set_down(true);
    assert!(matches!(load(2, &["data.read"]), Err(GuardError::KillsNotLifted(_))));
    world.check("bank/read", "denied cordon:kill");
    world.check("bank/pay", "denied cordon:kill");
    world.ports.ledger.set_down(false);
    assert_eq!(load(2, &["data.read"]).map(|loaded| (loaded.on, loaded.lifted)), Ok((1, 2)));
    world.check("bank/pay", "permitted");
    world.check("bank/read", "denied cordon:kill");
    assert_eq!(world.guard.kills().len(), 2, "what a person turned stays");
}

/// Ten thousand calls from eight threads, and a kill in the middle: whoever begins to spend after
/// `kill` and `departed` came back gets nothing, and nobody who spent before is still leaving.
#[test]
fn no_call_begins_after_a_switch_was_turned() {
    let world = World::new(PERMIT_ALL, "");
    let (returned, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let (before, after) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (world, returned, calls, before, after) = (&world, &returned, &calls, &before, &after);
            scope.spawn(move || {
                let session =
                    now(world.guard.open(opening(&format!("bot{thread}"), &world.ports))).unwrap().id;
                let arguments = node("{}");
                while calls.fetch_add(1, Ordering::Relaxed) < 10_000 {
                    // Each call has a minute of its own, so that no rate stands in the way.
                    world.ports.clock.advance(Duration::from_secs(0));
                    let operation = Operation::Message {
                        action: "money.move"
                            .parse()
                            .map(|class| {
                                cordon_core::Action::declared(
                                    "bank/wire".parse().unwrap(),
                                    [class],
                                    cordon_core::Effect::Write,
                                )
                            })
                            .unwrap(),
                        resource: cordon_core::Resource::new("Server", "bank", "default"),
                        args: cordon_core::Record::new(),
                        arguments: Some(&arguments),
                        ambiguous: BTreeSet::new(),
                    };
                    let attempt = Attempt {
                        session,
                        operation,
                        trace: Trace::default(),
                        parent: None,
                        confidence: None,
                    };
                    if let Outcome::Permitted(permit) = now(world.guard.authorize(attempt, b"x".to_vec()))
                        && let Ok((_, mut pending)) = permit.spend()
                    {
                        // The effect: it happens before the kill says that nothing leaves any more.
                        let late = returned.load(Ordering::SeqCst);
                        pending.departed();
                        let count = if late { after } else { before };
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        while calls.load(Ordering::Relaxed) < 2_000 {
            std::thread::yield_now();
        }
        world.guard.kill(order("money.move"), "ann").unwrap();
        wait(world.guard.departed());
        returned.store(true, Ordering::SeqCst);
    });
    assert!(before.load(Ordering::SeqCst) > 0, "some calls ran");
    assert_eq!(after.load(Ordering::SeqCst), 0);
}

/// Runs a future to its end on this thread.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
