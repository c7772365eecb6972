//! What one decision costs: `cargo bench -p cordon-pdp --bench decide`.
//!
//! Thread CPU time, so that other work on the machine does not count. Each sample is one decision on
//! a prepared request; the table has the median and the 99th percentile of 2,000 of them.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a bench that cannot go on has failed"
)]

use std::fmt::Write as _;
use std::path::Path;

use cordon_core::{
    Action, Chain, Context, Effect, Facts, Integrity, ObligationKind, Posture, Principal, PrincipalKind,
    Request, Resource, SessionFacts, SessionId, Timestamp, Value, Verdict,
};
use cordon_pdp::{PolicySet, PolicySource, decide};

const NOW: Timestamp = Timestamp::from_micros(1_795_264_200_000_000);
const SAMPLES: usize = 2_000;

fn main() {
    println!("| policies | principals | median | 99th percentile | compile and validate |");
    println!("|---|---|---|---|---|");
    let starter = folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/starter"));
    for principals in [1, 2] {
        row("starter bundle", &starter, principals, &starter_request(principals));
    }
    for size in [10, 100, 1_000] {
        let source = many(size);
        for principals in [2, 3] {
            row(&size.to_string(), &source, principals, &tool_request(principals));
        }
    }
}

fn row(name: &str, source: &PolicySource, principals: usize, request: &Request) {
    let start = cpu_ns();
    let policies = PolicySet::compile(source).map_err(|findings| println!("{findings:#?}")).unwrap().policies;
    let compile_ms = (cpu_ns() - start) / 1_000_000;
    let facts = facts();
    let mut samples: Vec<u64> = (0..SAMPLES + 200)
        .map(|_| {
            let start = cpu_ns();
            let judgement = decide(&policies, request, &facts, NOW);
            let spent = cpu_ns() - start;
            assert_eq!(judgement.verdict, Verdict::Allow, "{judgement:#?}");
            spent
        })
        .skip(200)
        .collect();
    samples.sort_unstable();
    let at =
        |percent: usize| samples.get(SAMPLES * percent / 100).copied().unwrap_or_default() as f64 / 1_000.0;
    println!("| {name} | {principals} | {:.1} µs | {:.1} µs | {compile_ms} ms |", at(50), at(99));
}

fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

fn facts() -> Facts {
    let session = SessionFacts {
        id: SessionId::from_bytes([7; 16]),
        calls: 12,
        integrity: Integrity::User,
        posture: Posture::default(),
    };
    Facts {
        session: Some(session),
        supported: ObligationKind::NAMES.iter().copied().collect(),
        region: Some("eu".into()),
        ..Facts::default()
    }
}

fn chain(principals: usize) -> Chain {
    let team = |kind, id: &str| Principal { teams: vec!["role-3".into()], ..Principal::new(kind, id) };
    let agent = team(PrincipalKind::Agent, "assistant");
    let owner = (principals > 1).then(|| team(PrincipalKind::User, "alice"));
    let user = (principals > 2).then(|| team(PrincipalKind::User, "bob"));
    Chain::new(owner, Some(agent), user).unwrap()
}

fn starter_request(principals: usize) -> Request {
    let name = "files/read".parse().unwrap();
    let mut context = Context::default();
    context.args.insert("path".into(), Value::text("/home/alice/notes.txt"));
    Request {
        chain: chain(principals),
        action: Action::declared(name, ["files.read".parse().unwrap()], Effect::Read),
        resource: Resource::new("Tool", "files/read", "default"),
        context,
    }
}

/// 2, 5 or 20 prohibitions about every action and one permission a tool, each with six conditions.
fn many(size: usize) -> PolicySource {
    let general = match size {
        0..50 => 2,
        50..500 => 5,
        _ => 20,
    };
    let mut text = String::new();
    for n in 0..general {
        let _ = writeln!(
            text,
            "@id(\"forbid-{n}\") forbid(principal, action, resource) when {{ context.session.integrity < 1 && \
             context.session.calls > {} || context has purpose && context.purpose == \"banned-{n}\" }};",
            10_000 + n
        );
    }
    let mut tools = String::new();
    for n in 0..size - general {
        let _ = writeln!(
            text,
            "@id(\"permit-{n}\") permit(principal in Team::\"role-{}\", action == Action::\"srv/tool{n}\", \
             resource == Tool::\"srv/tool{n}\") when {{ context has purpose && context.purpose == \"purpose-{}\" && \
             context.session.integrity >= 3 && context.session.calls < 1000 && resource.tenant == \"default\" && \
             context.args.amount < 900 && context.args.to like \"*@example.com\" }};",
            n % 10,
            n % 7
        );
        let _ = writeln!(
            tools,
            "[[tools]]\ntool = \"srv/tool{n}\"\nclasses = [\"data.write\"]\neffect = \"write\"\n\
             input_schema = '{{\"type\":\"object\",\"properties\":{{\"amount\":{{\"type\":\"integer\"}},\
             \"to\":{{\"type\":\"string\"}}}},\"required\":[\"amount\",\"to\"]}}'"
        );
    }
    [("permissions/p.cedar", text), ("tools/t.toml", tools)].into_iter().collect()
}

fn tool_request(principals: usize) -> Request {
    let name = "srv/tool3".parse().unwrap();
    let mut context =
        Context { purpose: Some("purpose-3".into()), task: Some("t-1".into()), ..Context::default() };
    context.args.insert("amount".into(), Value::Long(5));
    context.args.insert("to".into(), Value::text("bob@example.com"));
    Request {
        chain: chain(principals),
        action: Action::declared(name, ["data.write".parse().unwrap()], Effect::Write),
        resource: Resource::new("Tool", "srv/tool3", "default"),
        context,
    }
}

fn folder(root: &Path) -> PolicySource {
    let mut source = PolicySource::new();
    for folder in std::fs::read_dir(root).unwrap() {
        let folder = folder.unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            let path =
                format!("{}/{}", folder.file_name().to_str().unwrap(), file.file_name().to_str().unwrap());
            source.insert(path, std::fs::read(file.path()).unwrap());
        }
    }
    source
}
