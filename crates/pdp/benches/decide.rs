//! What one decision costs: `cargo bench -p cordon-pdp --bench decide`.
//!
//! Thread CPU time, so that other work on the machine does not count. The engines take turns in one
//! run over the same requests, half of which are denied, and their answers are compared first. A
//! sample of the compiled program is the mean of 8 decisions in a row, because reading the clock costs
//! as much as one.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a bench that cannot go on has failed"
)]

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use cedar_policy::{Entities, Entity, EntityId, EntityUid, RestrictedExpression};
use cordon_core::{
    Action, Chain, Context, Effect, Facts, Integrity, ObligationKind, Posture, Principal, PrincipalKind,
    Request, Resource, SessionFacts, SessionId, Timestamp, Value, Verdict,
};
use cordon_pdp::{PolicySet, PolicySource, decide};

const NOW: Timestamp = Timestamp::from_micros(1_795_264_200_000_000);
/// Samples of each engine.
const SAMPLES: usize = 2_000;
/// Decisions in one sample of the compiled program.
const ROW: usize = 8;
/// Decisions by the engine over the whole set, which takes milliseconds.
const WHOLE: usize = 40;

fn main() {
    // Nothing but the program, over and over: what a profiler looks at.
    if std::env::args().any(|arg| arg == "alone") {
        return alone();
    }
    println!("| policies | principals | engine | median | 99th percentile | load |");
    println!("|---|---|---|---|---|---|");
    let starter = folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/starter"));
    for principals in [1, 2] {
        rows("starter bundle", &starter, principals, &[starter_request(principals)], None);
    }
    for size in [10, 100, 1_000, 10_000] {
        let source = many(size);
        for principals in [2, 3] {
            let requests: Vec<_> = (0..64).map(|n| tool_request(principals, n)).collect();
            let whole = (principals == 3).then(|| Whole::new(&source));
            rows(&size.to_string(), &source, principals, &requests, whole.as_ref());
        }
    }
}

fn alone() {
    for size in [10, 10_000] {
        let policies = PolicySet::compile(&many(size)).unwrap().policies;
        let facts = facts();
        let requests: Vec<_> = (0..64).map(|n| tool_request(3, n)).collect();
        for (word, of) in [("allowed", 0), ("denied", 1)] {
            let requests: Vec<_> = requests.iter().skip(of).step_by(2).collect();
            let mut samples: Vec<f64> = Vec::new();
            for _ in 0..20_000 {
                let start = cpu_ns();
                requests.iter().for_each(|request| drop(black_box(decide(&policies, request, &facts, NOW))));
                samples.push((cpu_ns() - start) as f64 / requests.len() as f64 / 1_000.0);
            }
            samples.sort_by(f64::total_cmp);
            let at = |percent: usize| samples.get(samples.len() * percent / 100).copied().unwrap_or_default();
            println!("{size} policies, {word}: median {:.2} µs, 99th percentile {:.2} µs", at(50), at(99));
        }
    }
}

fn rows(name: &str, source: &PolicySource, principals: usize, requests: &[Request], whole: Option<&Whole>) {
    let start = cpu_ns();
    let policies = PolicySet::compile(source).map_err(|findings| println!("{findings:#?}")).unwrap().policies;
    let load_ms = (cpu_ns() - start) / 1_000_000;
    let stock = policies.with_stock_cedar();
    let facts = facts();
    let mut denied = 0;
    for request in requests {
        let judgement = decide(&policies, request, &facts, NOW);
        assert_eq!(judgement, decide(&stock, request, &facts, NOW));
        denied += usize::from(judgement.verdict == Verdict::Deny);
        if let Some(whole) = whole {
            assert_eq!(judgement.verdict == Verdict::Allow, whole.allows(request), "{request:#?}");
        }
    }
    assert_eq!(denied, requests.len() / 2);
    let mut samples = [const { Vec::new() }; 3];
    for round in 0..SAMPLES + 200 {
        let request = |n: usize| requests.get((round * ROW + n) % requests.len()).unwrap();
        let mut take = |engine: usize, decisions: usize, run: &dyn Fn(&Request)| {
            let start = cpu_ns();
            (0..decisions).for_each(|n| run(request(n)));
            let spent = (cpu_ns() - start) as f64 / decisions as f64 / 1_000.0;
            if round >= 200 {
                samples.get_mut(engine).unwrap().push(spent);
            }
        };
        take(0, ROW, &|request| drop(black_box(decide(&policies, request, &facts, NOW))));
        take(1, 1, &|request| drop(black_box(decide(&stock, request, &facts, NOW))));
        if let Some(whole) = whole.filter(|_| round % (SAMPLES / WHOLE) == 0) {
            let asked = whole.asked(request(0));
            take(2, 1, &|_| drop(black_box(whole.responses(&asked))));
        }
    }
    let engines = ["compiled", "stock Cedar, by action", "stock Cedar, whole set, prepared"];
    for (engine, mut samples) in engines.into_iter().zip(samples) {
        if samples.is_empty() {
            continue;
        }
        samples.sort_by(f64::total_cmp);
        let at = |percent: usize| samples.get(samples.len() * percent / 100).copied().unwrap_or_default();
        println!("| {name} | {principals} | {engine} | {:.2} µs | {:.2} µs | {load_ms} ms |", at(50), at(99));
    }
}

/// The same policies as one set of stock Cedar, with its requests and entities made beforehand.
struct Whole {
    policies: cedar_policy::PolicySet,
}

impl Whole {
    fn new(source: &PolicySource) -> Self {
        let text = std::str::from_utf8(source.files().get("permissions/p.cedar").unwrap()).unwrap();
        Self { policies: text.parse().unwrap() }
    }

    fn asked(&self, request: &Request) -> (Vec<cedar_policy::Request>, Entities) {
        let uid =
            |kind: &str, id: &str| EntityUid::from_type_name_and_id(kind.parse().unwrap(), EntityId::new(id));
        let number = |number: i64| RestrictedExpression::new_long(number);
        let record = |fields: Vec<(&str, RestrictedExpression)>| {
            RestrictedExpression::new_record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)))
                .unwrap()
        };
        let action = uid("Action", request.action.name().as_str());
        let resource = uid("Tool", &request.resource.id);
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let mut entities = vec![
            Entity::new_no_attrs(action.clone(), HashSet::new()),
            Entity::new(
                resource.clone(),
                HashMap::from([("tenant".to_owned(), text("default"))]),
                HashSet::new(),
            )
            .unwrap(),
        ];
        let mut requests = Vec::new();
        for (_, principal) in request.chain.members() {
            let name = uid(principal.kind.as_str(), &principal.id);
            let teams = principal.teams.iter().map(|team| uid("Team", team)).collect();
            entities.push(Entity::new_no_attrs(name.clone(), teams));
            let args = record(vec![("amount", number(5)), ("to", text("bob@example.com"))]);
            let session = record(vec![("integrity", number(5)), ("calls", number(12))]);
            let purpose = text(request.context.purpose.as_deref().unwrap());
            let pairs = [("args", args), ("session", session), ("purpose", purpose)];
            let context =
                cedar_policy::Context::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value)))
                    .unwrap();
            requests.push(
                cedar_policy::Request::new(name, action.clone(), resource.clone(), context, None).unwrap(),
            );
        }
        (requests, Entities::from_entities(entities, None).unwrap())
    }

    fn responses(
        &self,
        (requests, entities): &(Vec<cedar_policy::Request>, Entities),
    ) -> Vec<cedar_policy::Response> {
        let authorizer = cedar_policy::Authorizer::new();
        requests.iter().map(|request| authorizer.is_authorized(request, &self.policies, entities)).collect()
    }

    fn allows(&self, request: &Request) -> bool {
        let responses = self.responses(&self.asked(request));
        responses.iter().all(|response| response.decision() == cedar_policy::Decision::Allow)
    }
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
        lineage: Arc::default(),
        markings: Arc::default(),
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

/// Every other request is for a purpose that the permission is not for.
fn tool_request(principals: usize, n: usize) -> Request {
    let name = "srv/tool3".parse().unwrap();
    let purpose = if n.is_multiple_of(2) { "purpose-3" } else { "purpose-9" };
    let mut context =
        Context { purpose: Some(purpose.into()), task: Some("t-1".into()), ..Context::default() };
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
