//! What was recorded is judged again and is the same, or the difference is named.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cordon_core::cbor::Cbor;
use cordon_core::{Digest, Duration, Timestamp, Verdict};
use cordon_guard::ports::{Clock, Draw};
use cordon_guard::replay::{CannotReplay, Part, Recorded};
use cordon_guard::{Approvers, Attempt, Guard, GuardLimits, Opening, Operation, Ports, Trace};
use cordon_ledger::{Draft, Entry, FieldId, Item, Kind, Link};
use cordon_testkit::{SeededRandom, TestPorts};

use crate::support::{ASK_MONEY, PERMIT_ALL, World, node, now, opening, policies, tool};

/// The fields of a record, sealed ones opened, as a replay reads them.
fn fields(draft: Draft) -> Vec<(FieldId, Cbor)> {
    let random = SeededRandom::new(5);
    let (body, openings) = draft.close(&Cbor::map([(1, Cbor::from("key"))]), &mut Draw(&random)).unwrap();
    let (bytes, _) = body.place(Link { counter: 0, previous: Digest::from_bytes([0; 32]) });
    let entry = Entry::decode(&bytes).unwrap();
    let value = |(field, item)| match item {
        Item::Clear(value) => Some((field, value)),
        Item::Committed(_) => {
            Some((field, openings.iter().find(|opening| opening.field == field)?.value().unwrap()))
        }
        Item::Absent(_) => None,
    };
    entry.fields.into_iter().filter_map(value).collect()
}

fn read(fields: &[(FieldId, Cbor)]) -> Result<Recorded, CannotReplay> {
    Recorded::read(|field| fields.iter().find(|(id, _)| *id == field).map(|(_, value)| value))
}

/// The fields of the newest decision in a world.
fn newest(world: &World) -> Vec<(FieldId, Cbor)> {
    newest_of(&world.ports)
}

fn newest_of(ports: &TestPorts) -> Vec<(FieldId, Cbor)> {
    let mut drafts = ports.ledger.drafts();
    drafts.retain(|(draft, _)| draft.kind() == Kind::Decision);
    fields(drafts.pop().unwrap().0)
}

#[test]
fn every_kind_of_verdict_replays_byte_for_byte_whenever_it_is_recorded() {
    let forbid = "@id(\"no-odd\") forbid (principal, action == Cordon::Action::\"bank/odd\", resource);";
    let permissions = format!("{PERMIT_ALL}\n{forbid}");
    let world = World::new(&permissions, ASK_MONEY);
    for (call, want, verdict) in [
        ("bank/read {\"amount\":1}", "permitted", Verdict::Allow),
        ("bank/pay {\"amount\":7}", "held", Verdict::Ask),
        ("bank/odd", "denied no-odd", Verdict::Deny),
    ] {
        world.check(call, want);
        // Recording takes time, which the judgement did not see.
        world.ports.clock.advance(Duration::from_secs(3));
        let recorded = read(&newest(&world)).unwrap();
        assert_eq!((recorded.verdict(), &recorded.outside), (verdict.as_str(), &None), "{call}");
        let policies = policies(&permissions, ASK_MONEY).set;
        assert_eq!(recorded.bundle, policies.digest());
        let judgement = recorded.judge(&policies);
        assert_eq!(recorded.differences(&judgement), [], "{call}");
    }
}

/// A clock on which every look takes a second.
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1_000_000, Ordering::SeqCst))
    }
}

#[test]
fn what_is_recorded_is_the_time_of_the_judgement_and_not_of_the_record() {
    let start = Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap();
    // For some of these limits the judgement is made before it and recorded after it.
    for seconds in 0..20 {
        let limit = start.plus(Duration::from_secs(seconds));
        let rule = format!(
            "forbid (principal, action, resource) when {{ context.env.now >= datetime(\"{limit}\") }};"
        );
        let permissions = format!("{PERMIT_ALL}\n{rule}");
        let memory = TestPorts::new();
        let clock = Arc::new(Ticking(AtomicU64::new(start.as_micros())));
        let opening = Opening { expires: start.plus(Duration::from_secs(3_600)), ..opening("bot", &memory) };
        let ports = Ports { clock, ..memory.ports() };
        let guard =
            Guard::new(ports, policies(&permissions, ""), Approvers::default(), GuardLimits::default());
        guard.listed("bank", vec![tool("read", "v1")]).unwrap();
        let session = now(guard.open(opening)).unwrap();
        let arguments = node("{}");
        let attempt = Attempt {
            session: session.id,
            operation: Operation::Tool { server: "bank", tool: "read", arguments: &arguments },
            trace: Trace::default(),
            parent: None,
            confidence: None,
        };
        let _ = now(guard.authorize(attempt, Vec::new()));
        let recorded = read(&newest_of(&memory)).unwrap();
        let judgement = recorded.judge(&policies(&permissions, "").set);
        assert_eq!(recorded.differences(&judgement), [], "{seconds}");
    }
}

#[test]
fn a_changed_part_of_the_record_is_found_and_named() {
    let world = World::new(PERMIT_ALL, ASK_MONEY);
    world.check("bank/pay {\"amount\":7}", "held");
    let good = newest(&world);
    let policies = policies(PERMIT_ALL, ASK_MONEY).set;
    let change = |id: FieldId, part: Part, change: &dyn Fn(&mut Cbor)| {
        let mut fields = good.clone();
        change(&mut fields.iter_mut().find(|(field, _)| *field == id).unwrap().1);
        let recorded = read(&fields).unwrap();
        let differences = recorded.differences(&recorded.judge(&policies));
        let parts: Vec<Part> = differences.iter().map(|difference| difference.part).collect();
        assert_eq!(parts, [part], "{id}");
    };
    let set = |map: &mut Cbor, key: u64, value: Cbor| {
        let Cbor::Map(map) = map else { panic!("a map") };
        map.insert(key.into(), value);
    };
    change(FieldId::EnforcementDecision, Part::Verdict, &|decision| set(decision, 1, "allow".into()));
    change(FieldId::PolicyVersion, Part::Rules, &|version| set(version, 4, Cbor::Array(Vec::new())));
    change(FieldId::Messages, Part::Messages, &|messages| *messages = Cbor::Array(Vec::new()));
    change(FieldId::Obligations, Part::Obligations, &|obligations| *obligations = Cbor::Array(Vec::new()));
    change(FieldId::Attachment, Part::Judgement, &|attachment| {
        let Cbor::Map(map) = attachment else { panic!("a map") };
        set(map.get_mut(&3u64.into()).unwrap(), 2, Cbor::Array(Vec::new()));
    });
}

#[test]
fn what_the_guard_refused_by_itself_is_told_apart() {
    let world = World::new(PERMIT_ALL, "");
    world.check("bank/gone", "denied cordon:tool-unlisted");
    assert_eq!(read(&newest(&world)).unwrap().outside.as_deref(), Some("cordon:tool-unlisted"));
    // A denial by a rule is no refusal of the guard's, and neither is a missing permission.
    let world = World::new("", "");
    world.check("bank/read", "denied cordon:no-permit");
    assert_eq!(read(&newest(&world)).unwrap().outside, None);
    // Outside any session there is nothing to judge at all.
    world.guard.close(world.session.id).unwrap();
    world.check("bank/read", "denied cordon:session");
    assert!(
        matches!(read(&newest(&world)), Err(CannotReplay::NoRequest(check)) if &*check == "cordon:session")
    );
}

#[test]
fn without_its_attachment_a_decision_cannot_be_judged_again() {
    let world = World::new(PERMIT_ALL, "");
    let _ = world.attempt("bank/read");
    let mut fields = newest(&world);
    fields.retain(|(id, _)| *id != FieldId::Attachment);
    assert_eq!(read(&fields), Err(CannotReplay::Attachment));
}
