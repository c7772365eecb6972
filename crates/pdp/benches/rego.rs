//! What guards add to a decision: `cargo bench -p cordon-pdp --bench rego`.
//!
//! Thread CPU time of one decision with 0, 1, 10 and 100 guard rules, all of them about the action, and
//! with 100 of which one is. Each rule reads an argument, a principal and the context.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a bench that cannot go on has failed"
)]

use std::fmt::Write as _;

use cordon_core::{
    Action, Chain, Context, Effect, Facts, ObligationKind, Principal, PrincipalKind, Request, Resource,
    Timestamp, Value, Verdict,
};
use cordon_pdp::{PolicySet, PolicySource, decide};

const NOW: Timestamp = Timestamp::from_micros(1_795_264_200_000_000);
const SAMPLES: usize = 2_000;

fn main() {
    println!("| guard rules | about the action | median | 99th percentile | compile and validate |");
    println!("|---|---|---|---|---|");
    for (rules, about) in [(0, 0), (1, 1), (10, 10), (100, 100), (100, 1)] {
        row(rules, about);
    }
}

fn row(rules: usize, about: usize) {
    let source = source(rules, about);
    let start = cpu_ns();
    let policies =
        PolicySet::compile(&source).map_err(|findings| println!("{findings:#?}")).unwrap().policies;
    let compile_ms = (cpu_ns() - start) / 1_000_000;
    let request = request();
    let facts = Facts {
        supported: ObligationKind::NAMES.iter().copied().collect(),
        region: Some("eu".into()),
        ..Facts::default()
    };
    let mut samples: Vec<u64> = (0..SAMPLES + 200)
        .map(|_| {
            let start = cpu_ns();
            let judgement = decide(&policies, &request, &facts, NOW);
            let spent = cpu_ns() - start;
            assert_eq!(judgement.verdict, Verdict::Allow, "{judgement:#?}");
            spent
        })
        .skip(200)
        .collect();
    samples.sort_unstable();
    let at =
        |percent: usize| samples.get(SAMPLES * percent / 100).copied().unwrap_or_default() as f64 / 1_000.0;
    println!("| {rules} | {about} | {:.1} µs | {:.1} µs | {compile_ms} ms |", at(50), at(99));
}

fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

fn source(rules: usize, about: usize) -> PolicySource {
    let mut guard = "package cordon\n".to_owned();
    for n in 0..rules {
        let action = if n < about { "srv/tool".to_owned() } else { format!("srv/tool{n}") };
        let _ = writeln!(
            guard,
            "deny contains msg if {{\n\tinput.action == \"{action}\"\n\tinput.args.amount > {}\n\t\
             input.agent.role != \"role-{n}\"\n\tinput.context.purpose != \"purpose-{n}\"\n\t\
             msg := sprintf(\"rule {n}: %d is too much\", [input.args.amount])\n}}",
            1_000 + n
        );
    }
    let mut source = PolicySource::new();
    source.insert("permissions/p.cedar", "permit(principal, action, resource);");
    if rules > 0 {
        source.insert("guards/g.rego", guard);
    }
    source
}

fn request() -> Request {
    let principal = |kind, id: &str| {
        let mut principal = Principal::new(kind, id);
        principal.attributes.insert("role".into(), Value::text("support"));
        principal
    };
    let agent = principal(PrincipalKind::Agent, "assistant");
    let user = principal(PrincipalKind::User, "bob");
    let mut context = Context { purpose: Some("billing".into()), ..Context::default() };
    context.args.insert("amount".into(), Value::Long(5));
    context.args.insert("to".into(), Value::text("bob@example.com"));
    Request {
        chain: Chain::new(None, Some(agent), Some(user)).unwrap(),
        action: Action::declared("srv/tool".parse().unwrap(), ["data.write".parse().unwrap()], Effect::Write),
        resource: Resource::new("Tool", "srv/tool", "default"),
        context,
    }
}
