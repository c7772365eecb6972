//! A guard over ports in memory, with one server `bank` that lists three tools.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use cordon_core::ed25519::SigningKey;
use cordon_core::json::{self, Node};
use cordon_core::{Chain, Digest, Duration, Limits, Principal, PrincipalKind, Record};
use cordon_guard::policy::{PolicySet, PolicySource};
use cordon_guard::{
    ActivePolicies, Approver, Approvers, Attempt, Guard, GuardLimits, ListedTool, Opening, Operation,
    Outcome, Session, Trace,
};
use cordon_testkit::TestPorts;
use cordon_workflow::{Answer, Ballot};

pub(crate) const PERMIT_ALL: &str = "permit (principal, action, resource);";
pub(crate) const ASK_MONEY: &str = r#"
@id("money") @obligation("approve") @role("approver")
permit (principal, action in Cordon::Action::"money.move", resource);"#;

const MANIFESTS: &[(&str, &str)] = &[
    ("tools/read.toml", "tool = \"bank/read\"\nclasses = [\"data.read\"]\neffect = \"read\"\n"),
    (
        "tools/pay.toml",
        "tool = \"bank/pay\"\nclasses = [\"money.move\"]\neffect = \"irreversible\"\nlimits = { timeout_ms = 1000, rate_per_min = 5, concurrency = 2 }\n",
    ),
];

pub(crate) struct World {
    pub(crate) guard: Guard,
    pub(crate) ports: TestPorts,
    pub(crate) session: Arc<Session>,
}

pub(crate) fn tool(name: &str, definition: &str) -> ListedTool {
    ListedTool {
        name: name.into(),
        pin: Digest::of(definition.as_bytes()),
        input_schema: Some(
            br#"{"type":"object","properties":{"amount":{"type":"integer"}},"additionalProperties":true}"#
                .to_vec(),
        ),
        output_schema: (name == "read").then(|| {
            br#"{"type":"object","properties":{"balance":{"type":"integer"}},"required":["balance"]}"#
                .to_vec()
        }),
        description: "".into(),
    }
}

pub(crate) fn policies(permissions: &str, obligations: &str) -> ActivePolicies {
    policies_of(&[("permissions/all.cedar", permissions), ("obligations/all.cedar", obligations)])
}

pub(crate) fn policies_of(files: &[(&str, &str)]) -> ActivePolicies {
    let mut source = PolicySource::new();
    for (path, text) in files {
        source.insert(*path, *text);
    }
    for (path, text) in MANIFESTS {
        source.insert(*path, *text);
    }
    let compiled = PolicySet::compile(&source).unwrap_or_else(|found| {
        panic!("{}", found.iter().map(|finding| finding.render()).collect::<Vec<_>>().join("\n"))
    });
    ActivePolicies { set: compiled.policies, epoch: Some(1), signed: true }
}

pub(crate) fn approver_key() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).unwrap()
}

pub(crate) fn opening(agent: &str, ports: &TestPorts) -> Opening {
    use cordon_guard::ports::Clock;
    let owner = Principal::new(PrincipalKind::User, "ann");
    let agent = Principal::new(PrincipalKind::Agent, agent);
    Opening {
        chain: Chain::new(Some(owner.clone()), Some(agent), Some(owner)).unwrap(),
        tenant: "default".into(),
        purpose: None,
        project: None,
        workflow: None,
        task: None,
        model: Record::new(),
        tools: None,
        declared: Default::default(),
        supported: BTreeSet::from(["log"]),
        key: None,
        assurance: cordon_core::Assurance::Credential,
        capability: None,
        expires: ports.clock.now().plus(Duration::from_secs(3_600)),
    }
}

impl World {
    pub(crate) fn new(permissions: &str, obligations: &str) -> Self {
        Self::of(policies(permissions, obligations))
    }

    pub(crate) fn of(policies: ActivePolicies) -> Self {
        let ports = TestPorts::new();
        let approver =
            Approver { key: approver_key().verifying_key(), roles: BTreeSet::from(["approver".into()]) };
        let named_like_the_agent = approver.clone();
        let approvers = Approvers::new([("ann".into(), approver), ("bot".into(), named_like_the_agent)]);
        let guard = Guard::new(ports.ports(), policies, approvers, GuardLimits::default());
        guard.listed("bank", vec![tool("read", "v1"), tool("pay", "v1"), tool("odd", "v1")]).unwrap();
        let session = now(guard.open(opening("bot", &ports))).unwrap();
        Self { guard, ports, session }
    }

    /// Attempts one tool call written `bank/pay {"amount":5}`.
    pub(crate) fn attempt(&self, call: &str) -> Outcome<Vec<u8>> {
        let (name, arguments) = call.split_once(' ').unwrap_or((call, "{}"));
        let (server, tool) = name.split_once('/').unwrap();
        let arguments = node(arguments);
        let attempt = Attempt {
            session: self.session.id,
            operation: Operation::Tool { server, tool, arguments: &arguments },
            trace: Trace::default(),
            parent: None,
            confidence: None,
        };
        now(self.guard.authorize(attempt, call.as_bytes().to_vec()))
    }

    /// Attempts a call and describes the answer as `permitted`, `held` or `denied <rule>`.
    pub(crate) fn check(&self, call: &str, want: &str) {
        let got = match self.attempt(call) {
            Outcome::Permitted(permit) => {
                permit.spend().map_or_else(|denial| shown(&denial), |_| "permitted".to_owned())
            }
            Outcome::Held(..) => "held".to_owned(),
            Outcome::Denied(denial) => shown(&denial),
        };
        assert_eq!(got, want, "{call}");
    }

    /// The approver `name` answers the newest approval.
    pub(crate) fn answer(&self, name: &str, answer: Answer) -> Result<(), cordon_guard::GuardError> {
        let (approval, _) = self.guard.approvals(10).unwrap().pop().unwrap();
        let ballot = Ballot {
            approval: approval.terms.id,
            binding: approval.terms.binding,
            answer,
            approver: name.into(),
            at: self.guard.now(),
        };
        let signature = approver_key().sign(&ballot.signing_bytes());
        now(self.guard.answer(&ballot, &signature)).map(drop)
    }
}

/// `denied` and the first rule.
pub(crate) fn shown(denial: &cordon_guard::Denial) -> String {
    format!("denied {}", denial.judgement.reasons.first().map_or("", |reason| &reason.rule.rule))
}

pub(crate) fn node(text: &str) -> Node {
    json::parse(text.as_bytes(), &Limits::DEFAULT).unwrap()
}

/// Runs a future whose ports answer at once.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits for something"),
    }
}
