//! What kill switches cost a call that they do not cover, and how soon one is in force:
//! `cargo bench -p cordon-guard --bench restraint`.
//!
//! Ports in memory. Each figure is the median and the 99th percentile of its samples.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a bench that cannot go on has failed"
)]

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use cordon_core::{
    Action, Chain, Duration, Effect, KillOrder, Posture, PostureState, Principal, PrincipalKind, Record,
    Resource,
};
use cordon_guard::policy::{PolicySet, PolicySource};
use cordon_guard::ports::Clock as _;
use cordon_guard::{
    ActivePolicies, Approvers, Attempt, Guard, GuardLimits, Opening, Operation, Outcome, Trace,
};
use cordon_testkit::TestPorts;

const SAMPLES: usize = 2_000;

fn main() {
    println!("| what | p50 | p99 |\n|---|---|---|");
    for switches in [0, 1, 100] {
        let node = Node::new();
        for n in 0..switches {
            node.guard.kill(order(&format!("money.move:p{n}")), "bench").unwrap();
        }
        let samples = sampled(SAMPLES, || drop(node.call()));
        row(&format!("a permitted call with {switches} switches on that do not cover it"), samples);
        let mut permits: Vec<_> = (0..SAMPLES).map(|_| node.call()).collect();
        let samples = sampled(SAMPLES, || drop(permits.pop().unwrap().spend().unwrap()));
        row(&format!("spending a permit, {switches} switches on"), samples);
    }
    let node = Node::new();
    let mut n = 0u32;
    let samples = sampled(500, || {
        n += 1;
        node.guard.kill(order(&format!("money.move:k{n}")), "bench").unwrap();
        now(node.guard.departed());
    });
    row("turning a switch, in process, up to 500 on", samples);
    let node = Node::new();
    let sessions: Vec<_> = (0..100_000).map(|n| node.open(&format!("a{n}"))).collect();
    let posture = Posture::of_state(PostureState::Quarantined);
    let mut sessions = sessions.into_iter();
    let samples =
        sampled(500, || drop(node.guard.contain(sessions.next().unwrap(), &posture, "bench").unwrap()));
    row("containing one of 100,000 sessions, in process", samples);
}

struct Node {
    guard: Guard,
    ports: TestPorts,
    session: cordon_core::SessionId,
}

impl Node {
    fn new() -> Self {
        let ports = TestPorts::new();
        let mut source = PolicySource::new();
        source.insert("permissions/all.cedar", "permit (principal, action, resource);");
        let set = PolicySet::compile(&source).unwrap_or_else(|_| panic!("the policy compiles")).policies;
        let policies = ActivePolicies { set, epoch: Some(1), signed: true };
        let limits = GuardLimits { sessions_max: 200_000, ..GuardLimits::default() };
        let guard = Guard::new(ports.ports(), policies, Approvers::default(), limits);
        let mut node = Self { guard, ports, session: cordon_core::SessionId::from_bytes([0; 16]) };
        node.session = node.open("bot");
        node
    }

    fn open(&self, agent: &str) -> cordon_core::SessionId {
        let owner = Principal::new(PrincipalKind::User, "ann");
        let agent = Principal::new(PrincipalKind::Agent, agent);
        let opening = Opening {
            chain: Chain::new(Some(owner.clone()), Some(agent), Some(owner)).unwrap(),
            tenant: "default".into(),
            purpose: None,
            project: None,
            workflow: None,
            task: None,
            model: Record::new(),
            tools: None,
            declared: Default::default(),
            supported: BTreeSet::new(),
            key: None,
            assurance: cordon_core::Assurance::Credential,
            capability: None,
            expires: self.ports.clock.now().plus(Duration::from_secs(36_000)),
        };
        now(self.guard.open(opening)).unwrap().id
    }

    fn call(&self) -> cordon_guard::Permit<Vec<u8>> {
        // A second for each call, so that no rate stands in the way.
        self.ports.clock.advance(Duration::from_secs(1));
        let class = "money.move:other".parse().unwrap();
        let operation = Operation::Message {
            action: Action::declared("bank/wire".parse().unwrap(), [class], Effect::Write),
            resource: Resource::new("Server", "bank", "default"),
            args: Record::new(),
            arguments: None,
            ambiguous: BTreeSet::new(),
        };
        let attempt = Attempt {
            session: self.session,
            operation,
            trace: Trace::default(),
            parent: None,
            confidence: None,
        };
        match now(self.guard.authorize(attempt, Vec::new())) {
            Outcome::Permitted(permit) => permit,
            _ => panic!("the call is permitted"),
        }
    }
}

fn order(target: &str) -> KillOrder {
    KillOrder { target: target.parse().unwrap(), agent: None, tenant: None }
}

fn sampled(samples: usize, mut one: impl FnMut()) -> Vec<u64> {
    let mut taken: Vec<u64> = (0..samples)
        .map(|_| {
            let begun = Instant::now();
            one();
            u64::try_from(begun.elapsed().as_nanos()).unwrap()
        })
        .collect();
    taken.sort_unstable();
    taken
}

fn row(what: &str, samples: Vec<u64>) {
    let at = |percent: usize| samples.get(samples.len() * percent / 100).copied().unwrap_or_default();
    println!("| {what} | {} ns | {} ns |", at(50), at(99));
}

/// Runs a future whose ports answer at once.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits for something"),
    }
}
