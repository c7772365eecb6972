//! Kill switches and the session's posture: denied whatever the policies say, and the neighbour is not.

use std::collections::BTreeSet;
use std::sync::Arc;

use cordon_core::{
    Action, Chain, Context, Effect, Facts, Integrity, KillOrigin, KillSwitch, Posture, PostureState,
    Principal, PrincipalKind, Request, Resource, SessionFacts, SessionId, Verdict,
};
use cordon_pdp::{could_allow, decide};

use crate::support::{NOON, compile};

const PERMIT_ALL: &str = "permit (principal, action, resource);";

fn request(classes: &[&str], effect: Effect) -> Request {
    let classes = classes.iter().map(|class| class.parse().unwrap());
    Request {
        chain: Chain::new(None, Some(Principal::new(PrincipalKind::Agent, "bot")), None).unwrap(),
        action: Action::declared("shop/act".parse().unwrap(), classes, effect),
        resource: Resource::new("Tool", "shop/act", "acme"),
        context: Context::default(),
    }
}

fn killed(target: &str) -> Facts {
    let switch =
        KillSwitch { target: target.parse().unwrap(), agent: None, tenant: None, origin: KillOrigin::Order };
    Facts { kills: vec![switch], ..Facts::default() }
}

fn in_posture(posture: Posture) -> Facts {
    let session = SessionFacts {
        id: SessionId::from_bytes([1; 16]),
        calls: 0,
        integrity: Integrity::User,
        posture,
        lineage: Arc::default(),
        markings: Arc::default(),
    };
    Facts { session: Some(session), supported: BTreeSet::from(["revoke", "isolate"]), ..Facts::default() }
}

/// `allow`, or `deny` and the first rule.
fn judged(policies: &cordon_pdp::PolicySet, request: &Request, facts: &Facts) -> String {
    let judgement = decide(policies, request, facts, NOON);
    match judgement.verdict {
        Verdict::Deny => format!("deny {}", judgement.reasons[0].rule.rule),
        verdict => verdict.to_string(),
    }
}

#[test]
fn a_kill_switch_denies_what_every_policy_permits_and_nothing_beside_it() {
    let policies = compile(&[("permissions/p.cedar", PERMIT_ALL)]);
    let facts = killed("money.move");
    let pay = request(&["money.move"], Effect::Irreversible);
    assert_eq!(judged(&policies, &pay, &facts), "deny cordon:kill");
    assert_eq!(judged(&policies, &request(&["data.read"], Effect::Read), &facts), "allow");
    let reason = &decide(&policies, &pay, &facts, NOON).reasons[0];
    assert!(reason.remedy.as_ref().unwrap().contains("cordon unkill money.move"), "{reason:?}");
    assert!(!could_allow(&policies, &pay, &facts, NOON));
    assert!(could_allow(&policies, &pay, &killed("data.read"), NOON));
}

#[test]
fn a_posture_denies_what_was_taken_and_names_who_gives_it_back() {
    let policies = compile(&[("permissions/p.cedar", PERMIT_ALL)]);
    let posture = Posture::new(PostureState::Normal, ["data.write".parse().unwrap()], [], []);
    let facts = in_posture(posture);
    let write = request(&["data.write"], Effect::Write);
    assert_eq!(judged(&policies, &write, &facts), "deny cordon:posture");
    assert_eq!(judged(&policies, &request(&["data.read"], Effect::Read), &facts), "allow");
    let reason = &decide(&policies, &write, &facts, NOON).reasons[0];
    assert!(reason.remedy.as_ref().unwrap().contains("cordon session release ses_"), "{reason:?}");
    assert!(!could_allow(&policies, &write, &facts, NOON));
    let cut = in_posture(Posture::of_state(PostureState::Quarantined));
    assert_eq!(judged(&policies, &request(&[], Effect::Read), &cut), "deny cordon:posture");
    let watched = in_posture(Posture::of_state(PostureState::Watched));
    assert_eq!(judged(&policies, &write, &watched), "allow");
}

#[test]
fn the_request_that_leads_to_its_own_containment_is_refused_with_it() {
    let isolate = "@id(\"cut\") @obligation(\"isolate\") permit (principal, action in Action::\"money.move\", resource);";
    let revoke = "@id(\"take\") @obligation(\"revoke\") @classes(\"data.write\") permit (principal, action in Action::\"data.read\", resource);";
    let policies = compile(&[
        ("permissions/p.cedar", PERMIT_ALL),
        ("obligations/o.cedar", &format!("{isolate}\n{revoke}")),
    ]);
    let facts = in_posture(Posture::default());
    let pay = decide(&policies, &request(&["money.move"], Effect::Write), &facts, NOON);
    assert_eq!(pay.verdict, Verdict::Deny);
    assert!(pay.reasons[0].message.contains("cut (obligations/o.cedar:1)"), "{:?}", pay.reasons);
    assert_eq!(pay.obligations.len(), 1, "it acts whatever the verdict: {:?}", pay.obligations);
    // Reading loses the session the right to write, not to read.
    let read = decide(&policies, &request(&["data.read"], Effect::Read), &facts, NOON);
    assert_eq!((read.verdict, read.obligations.len()), (Verdict::Allow, 1));
    assert_eq!(
        judged(&policies, &request(&["data.read", "data.write"], Effect::Write), &facts),
        "deny cordon:posture"
    );
}

#[test]
fn a_policy_reads_the_posture() {
    let careful = "@id(\"watched\") forbid (principal, action, resource) when { context.session.posture == \"watched\" };";
    let policies = compile(&[("permissions/p.cedar", &format!("{PERMIT_ALL}\n{careful}"))]);
    let read = request(&["data.read"], Effect::Read);
    let watched = in_posture(Posture::of_state(PostureState::Watched));
    assert_eq!(judged(&policies, &read, &watched), "deny watched");
    assert_eq!(judged(&policies, &read, &in_posture(Posture::default())), "allow");
    assert_eq!(judged(&policies, &read, &Facts::default()), "allow", "no session is a normal one");
}
