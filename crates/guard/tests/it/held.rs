//! Held calls: who may answer, and that a grant runs exactly one identical call.

use cordon_core::Duration;
use cordon_guard::Outcome;
use cordon_workflow::Answer;

use crate::support::{ASK_MONEY, PERMIT_ALL, World, now, policies};

fn world() -> World {
    World::new(PERMIT_ALL, ASK_MONEY)
}

#[test]
fn a_grant_is_spent_by_the_identical_call_and_by_no_other() {
    let world = world();
    world.check(r#"bank/pay {"amount":5}"#, "held");
    world.answer("ann", Answer::Grant).unwrap();
    world.check(r#"bank/pay {"amount":6}"#, "held");
    world.check(r#"bank/pay { "amount" : 5 }"#, "permitted");
    world.check(r#"bank/pay {"amount":5}"#, "held");
}

#[test]
fn identical_calls_wait_for_one_approval() {
    let world = world();
    let id = |outcome| match outcome {
        Outcome::Held(held, call) => {
            assert_eq!(call, br#"bank/pay {"amount":5}"#);
            held.approval
        }
        _ => panic!(),
    };
    let first = id(world.attempt(r#"bank/pay {"amount":5}"#));
    assert_eq!(id(world.attempt(r#"bank/pay {"amount":5}"#)), first);
    assert_eq!(world.guard.approvals(10).unwrap().len(), 1);
}

#[test]
fn neither_the_requester_nor_a_stranger_nor_a_moved_signature_counts() {
    let world = world();
    world.check(r#"bank/pay {"amount":5}"#, "held");
    assert!(world.answer("bot", Answer::Grant).is_err(), "the agent's own name");
    assert!(world.answer("mallory", Answer::Grant).is_err(), "an unknown name");
    let (approval, _) = world.guard.approvals(10).unwrap().pop().unwrap();
    let ballot = cordon_workflow::Ballot {
        approval: approval.terms.id,
        binding: approval.terms.binding,
        answer: Answer::Deny,
        approver: "ann".into(),
        at: world.guard.now(),
    };
    let signature = crate::support::approver_key().sign(&ballot.signing_bytes());
    let turned = cordon_workflow::Ballot { answer: Answer::Grant, ..ballot };
    assert!(now(world.guard.answer(&turned, &signature)).is_err());
    world.check(r#"bank/pay {"amount":5}"#, "held");
}

#[test]
fn a_refusal_is_final_and_a_new_call_asks_again() {
    let world = world();
    world.check(r#"bank/pay {"amount":5}"#, "held");
    world.answer("ann", Answer::Deny).unwrap();
    assert!(world.answer("ann", Answer::Grant).is_err());
    world.check(r#"bank/pay {"amount":5}"#, "held");
    assert_eq!(world.guard.approvals(10).unwrap().len(), 2);
}

#[test]
fn a_grant_ends_with_time_and_with_the_bundle() {
    let world = world();
    world.check(r#"bank/pay {"amount":5}"#, "held");
    world.answer("ann", Answer::Grant).unwrap();
    world.ports.clock.advance(Duration::from_secs(901));
    world.check(r#"bank/pay {"amount":5}"#, "held");

    let world = self::world();
    world.check(r#"bank/pay {"amount":5}"#, "held");
    world.answer("ann", Answer::Grant).unwrap();
    now(world.guard.activate(policies(&format!("{PERMIT_ALL}\n// another text"), ASK_MONEY), "ann")).unwrap();
    world.check(r#"bank/pay {"amount":5}"#, "held");
}

#[test]
fn a_policy_that_forbids_meanwhile_wins_over_a_grant() {
    let world = world();
    world.check(r#"bank/pay {"amount":5}"#, "held");
    world.answer("ann", Answer::Grant).unwrap();
    now(world.guard.activate(policies("", ASK_MONEY), "ann")).unwrap();
    world.check(r#"bank/pay {"amount":5}"#, "denied cordon:no-permit");
}

#[test]
fn a_grant_needs_its_durable_record_and_a_refusal_does_not() {
    let world = world();
    world.check(r#"bank/pay {"amount":5}"#, "held");
    world.ports.ledger.set_down(true);
    assert!(world.answer("ann", Answer::Grant).is_err());
    world.answer("ann", Answer::Deny).unwrap();
    world.ports.ledger.set_down(false);
    assert_eq!(world.guard.approvals(10).unwrap()[0].0.progress.as_str(), "denied");
}

#[test]
fn a_spent_grant_without_a_record_runs_nothing() {
    let world = world();
    world.check(r#"bank/pay {"amount":5}"#, "held");
    world.answer("ann", Answer::Grant).unwrap();
    world.ports.ledger.set_down(true);
    world.check(r#"bank/pay {"amount":5}"#, "denied cordon:no-evidence");
    world.ports.ledger.set_down(false);
    world.check(r#"bank/pay {"amount":5}"#, "held");
}

#[test]
fn an_agent_cannot_bury_the_approvers_in_questions() {
    let world = world();
    for amount in 0..32 {
        world.check(&format!("bank/pay {{\"amount\":{amount}}}"), "held");
    }
    world.check(r#"bank/pay {"amount":32}"#, "denied cordon:approvals");
    world.check(r#"bank/pay {"amount":31}"#, "held");
    world.ports.clock.advance(Duration::from_secs(901));
    world.check(r#"bank/pay {"amount":32}"#, "held");
}

#[test]
fn whoever_waits_is_woken_by_the_answer() {
    use std::task::{Context, Poll, Waker};
    let world = world();
    let Outcome::Held(held, _) = world.attempt(r#"bank/pay {"amount":5}"#) else { panic!() };
    let mut waiting = std::pin::pin!(world.guard.settled(held.approval));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    world.answer("ann", Answer::Grant).unwrap();
    let Poll::Ready(Ok(approval)) = waiting.as_mut().poll(&mut context) else { panic!() };
    assert_eq!(approval.progress.as_str(), "granted");
}
