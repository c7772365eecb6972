//! A capability token only narrows, for whoever holds it, as often as it says, until it is taken back.

use cordon_capability::Subject;
use cordon_core::ed25519::SigningKey;
use cordon_core::{Bound, Caveat, Chain, Digest, Duration, Entropy, Principal, PrincipalKind};
use cordon_guard::ports::Clock;
use cordon_guard::{
    Admitted, Attempt, Grant, Opening, Operation, Outcome, Proof, RefusedToken, Token, Trace,
};
use cordon_ledger::{Kind, Level};

use crate::support::{PERMIT_ALL, World, node, now, opening};

struct Fixed(u8);

impl Entropy for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(5).wrapping_add(3);
            *byte = self.0;
        }
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn granted(world: &World, caveats: Vec<Caveat>) -> (Token, Digest) {
    let Opening { chain, tenant, expires, .. } = opening("bot", &world.ports);
    let grant = Grant { chain, tenant, holder: key(1).verifying_key(), caveats, expires };
    let (token, block, _) = now(world.guard.grant(grant, "ann")).unwrap();
    (token, block)
}

fn show(world: &World, token: &Token, holder: u8, nonce: u8) -> Result<Admitted, RefusedToken> {
    let body = Digest::of(b"{}");
    let subject = Subject { token, method: "POST", target: "/mcp/bank", body };
    let proof = Proof::new(&key(holder), &subject, [nonce; 16], world.ports.clock.now());
    world.guard.admit(token, &proof, ["POST", "/mcp/bank"], body)
}

fn session(world: &World, admitted: &Admitted) -> cordon_core::SessionId {
    let opening = Opening {
        chain: admitted.chain.clone(),
        capability: Some(admitted.capability.clone()),
        ..opening("bot", &world.ports)
    };
    now(world.guard.open(opening)).unwrap().id
}

fn attempt(world: &World, session: cordon_core::SessionId, call: &str) -> String {
    let (name, arguments) = call.split_once(' ').unwrap_or((call, "{}"));
    let (server, tool) = name.split_once('/').unwrap();
    let arguments = node(arguments);
    let attempt = Attempt {
        session,
        operation: Operation::Tool { server, tool, arguments: &arguments },
        trace: Trace::default(),
        parent: None,
        confidence: None,
    };
    match now(world.guard.authorize(attempt, b"call".to_vec())) {
        Outcome::Permitted(_) => "permitted".to_owned(),
        Outcome::Held(..) => "held".to_owned(),
        Outcome::Denied(denial) => {
            let reason = &denial.judgement.reasons[0];
            format!("{}: {}", reason.rule.rule, reason.message)
        }
    }
}

#[track_caller]
fn refuses(said: &str, why: &str) {
    assert!(said.starts_with("cordon:capability") && said.contains(why), "{said}");
}

#[test]
fn a_denial_names_the_block_and_the_caveat() {
    let world = World::new(PERMIT_ALL, "");
    let caveats = [
        Caveat::Tools(["bank/read".into(), "bank/pay".into()].into()),
        Caveat::Argument("/amount".into(), Bound::AtMost(50)),
    ];
    let (token, _) = granted(&world, vec![caveats[0].clone()]);
    let whole = session(&world, &show(&world, &token, 1, 1).unwrap());
    assert_eq!(attempt(&world, whole, r#"bank/pay {"amount":500}"#), "permitted");
    refuses(
        &attempt(&world, whole, "bank/odd"),
        "block 0 of the capability token does not cover it: tool in",
    );
    let narrower = token.attenuate(&key(1), &key(2).verifying_key(), &caveats[1..], &mut Fixed(1)).unwrap();
    let narrow = session(&world, &show(&world, &narrower, 2, 1).unwrap());
    assert_ne!(whole, narrow);
    assert_eq!(attempt(&world, narrow, r#"bank/pay {"amount":50}"#), "permitted");
    refuses(&attempt(&world, narrow, r#"bank/pay {"amount":51}"#), "block 1");
    refuses(&attempt(&world, narrow, "bank/odd"), "block 0");
}

#[test]
fn a_token_permits_nothing_by_itself() {
    let world = World::new("permit (principal, action == Cordon::Action::\"bank/read\", resource);", "");
    let (token, _) = granted(&world, Vec::new());
    let session = session(&world, &show(&world, &token, 1, 1).unwrap());
    assert_eq!(attempt(&world, session, "bank/read"), "permitted");
    assert!(attempt(&world, session, "bank/pay").starts_with("cordon:no-permit"));
}

#[test]
fn only_its_holder_shows_it_and_each_proof_once() {
    let world = World::new(PERMIT_ALL, "");
    let (token, _) = granted(&world, Vec::new());
    assert!(show(&world, &token, 1, 1).is_ok());
    assert_eq!(show(&world, &token, 1, 1).unwrap_err(), RefusedToken::Replayed);
    assert!(show(&world, &token, 1, 2).is_ok());
    assert!(matches!(show(&world, &token, 2, 3), Err(RefusedToken::Proof(_))));
    let passed = token.attenuate(&key(1), &key(2).verifying_key(), &[], &mut Fixed(1)).unwrap();
    assert!(show(&world, &passed, 2, 4).is_ok());
    assert!(matches!(show(&world, &passed, 1, 5), Err(RefusedToken::Proof(_))), "it was passed on");
    let elsewhere = World::new(PERMIT_ALL, "");
    elsewhere.ports.clock.advance(Duration::from_secs(1));
    let other = cordon_capability::Issuer::from_seed(&[4; 32]).unwrap();
    let foreign = other.mint(&key(1).verifying_key(), &[], &mut Fixed(1)).unwrap();
    assert!(matches!(show(&elsewhere, &foreign, 1, 1), Err(RefusedToken::Token(_))));
}

#[test]
fn a_budget_is_spent_across_sessions_and_by_everybody_it_was_passed_to() {
    let world = World::new(PERMIT_ALL, "");
    let (token, _) = granted(&world, vec![Caveat::Calls(3)]);
    let own = session(&world, &show(&world, &token, 1, 1).unwrap());
    let passed =
        token.attenuate(&key(1), &key(2).verifying_key(), &[Caveat::Calls(1)], &mut Fixed(1)).unwrap();
    let other = session(&world, &show(&world, &passed, 2, 2).unwrap());
    assert_eq!(attempt(&world, own, "bank/read"), "permitted");
    assert_eq!(attempt(&world, other, "bank/read"), "permitted");
    refuses(&attempt(&world, other, "bank/read"), "calls < 1");
    assert_eq!(attempt(&world, own, "bank/read"), "permitted");
    refuses(&attempt(&world, own, "bank/read"), "calls < 3");
}

#[test]
fn taking_a_block_back_ends_every_token_that_has_it_at_once() {
    let world = World::new(PERMIT_ALL, "");
    let (token, block) = granted(&world, Vec::new());
    let passed = token.attenuate(&key(1), &key(2).verifying_key(), &[], &mut Fixed(1)).unwrap();
    let (own, other) =
        (session(&world, &show(&world, &token, 1, 1).unwrap()), show(&world, &passed, 2, 2).unwrap());
    let narrowed = other.id;
    let other = session(&world, &other);
    world.guard.revoke(narrowed, "ann");
    assert_eq!(attempt(&world, own, "bank/read"), "permitted");
    refuses(&attempt(&world, other, "bank/read"), "taken back");
    assert_eq!(show(&world, &passed, 2, 3).unwrap_err(), RefusedToken::Revoked);
    world.ports.ledger.set_down(true);
    world.guard.revoke(block, "ann");
    refuses(&attempt(&world, own, "bank/read"), "taken back");
    assert_eq!(show(&world, &token, 1, 4).unwrap_err(), RefusedToken::Revoked);
}

#[test]
fn a_token_ends_and_is_granted_only_with_its_record() {
    let world = World::new(PERMIT_ALL, "");
    let (token, _) = granted(&world, Vec::new());
    let drafts = world.ports.ledger.drafts();
    let (draft, level) = drafts.last().unwrap();
    assert!(matches!(draft.kind(), Kind::Admin(_)));
    assert_eq!(*level, Level::Durable);
    let session = session(&world, &show(&world, &token, 1, 1).unwrap());
    world.ports.clock.advance(Duration::from_secs(3_599));
    assert_eq!(attempt(&world, session, "bank/read"), "permitted");
    world.ports.clock.advance(Duration::from_secs(1));
    assert_eq!(show(&world, &token, 1, 2).unwrap_err(), RefusedToken::Revoked);
    world.ports.ledger.set_down(true);
    let Opening { chain, tenant, expires, .. } = opening("bot", &world.ports);
    let grant = Grant { chain, tenant, holder: key(1).verifying_key(), caveats: Vec::new(), expires };
    assert!(now(world.guard.grant(grant, "ann")).is_err());
}

#[test]
fn a_delegate_with_a_credential_of_its_own_acts_and_the_grantee_passed_it_on() {
    let world = World::new(PERMIT_ALL, "");
    let (token, _) = granted(&world, Vec::new());
    let admitted = show(&world, &token, 1, 1).unwrap();
    let person = |id: &str| Principal::new(PrincipalKind::User, id);
    let chain = |agent: &str, user: Option<&str>| {
        Chain::new(Some(person("omar")), Some(Principal::new(PrincipalKind::Agent, agent)), user.map(person))
            .unwrap()
    };
    let shown = admitted.shown_by(&chain("helper", None)).unwrap();
    let names: Vec<_> = shown.members().map(|(role, who)| format!("{} {}", role.as_str(), who.id)).collect();
    assert_eq!(names, ["owner ann", "agent helper", "on_behalf_of ann", "via bot"]);
    assert_eq!(admitted.shown_by(&chain("bot", Some("ann"))), Some(admitted.chain.clone()));
    assert_eq!(admitted.shown_by(&chain("helper", Some("bob"))), None, "for somebody else");
}
