//! Running tests and reporting what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use cordon_core::{
    Action, ActionName, Ambiguity, Chain, Class, Context, Effect, Facts, Gathered, Integrity, Judgement,
    Marking, ObligationKind, Posture, PostureState, Record, Resource, SessionFacts, SessionId, Signal,
    SignalKind, Timestamp, Verdict,
};

use crate::{PolicySet, decide};

/// What became of every test of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TestReport {
    /// One outcome a test, in order of file and line.
    pub outcomes: Vec<TestOutcome>,
}

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    /// The test's name.
    pub name: Box<str>,
    /// The file it is in.
    pub file: Box<str>,
    /// The line it starts on, from 1.
    pub line: u32,
    /// What differs from what was expected; nothing when the test passes.
    pub failures: Vec<Box<str>>,
    /// What was decided.
    pub judgement: Judgement,
}

/// One test as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) name: Box<str>,
    pub(crate) file: Box<str>,
    pub(crate) line: u32,
    pub(crate) chain: Chain,
    pub(crate) action: ActionName,
    /// Classes and effect of a protocol message; tools have them from their manifests.
    pub(crate) declared: Option<(BTreeSet<Class>, Effect)>,
    pub(crate) resource: Option<Resource>,
    pub(crate) context: Context,
    pub(crate) calls: u64,
    pub(crate) integrity: Option<Integrity>,
    pub(crate) posture: PostureState,
    pub(crate) lineage: BTreeSet<Box<str>>,
    pub(crate) markings: BTreeSet<Marking>,
    /// Risk signals; `None` exists and is not known.
    pub(crate) signals: BTreeMap<SignalKind, Option<u16>>,
    /// What was read just before, by precondition.
    pub(crate) gathered: Record,
    pub(crate) ambiguous: BTreeSet<Ambiguity>,
    pub(crate) region: Option<Box<str>>,
    pub(crate) now: Timestamp,
    /// Obligations that can be carried out; `None` is all of them.
    pub(crate) supported: Option<BTreeSet<&'static str>>,
    pub(crate) expect: Verdict,
    /// Rules that must be among the reasons.
    pub(crate) rules: Vec<Box<str>>,
    /// Types of the obligations that must be due, and no others.
    pub(crate) obligations: Option<BTreeSet<Box<str>>>,
}

impl TestOutcome {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl TestReport {
    /// How many tests passed.
    pub fn passed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.passed()).count()
    }

    /// How many tests failed.
    pub fn failed(&self) -> usize {
        self.outcomes.len().saturating_sub(self.passed())
    }

    /// The first failure in one line; empty when there is none.
    pub fn first_failure(&self) -> String {
        self.outcomes
            .iter()
            .find_map(|outcome| {
                let failure = outcome.failures.first()?;
                Some(format!("{}:{}: `{}`: {failure}", outcome.file, outcome.line, outcome.name))
            })
            .unwrap_or_default()
    }
}

impl Case {
    /// Judges the case and compares.
    pub(crate) fn run(&self, policies: &PolicySet) -> TestOutcome {
        let request = self.request(policies);
        let judgement = decide(policies, &request, &self.facts(), self.now);
        TestOutcome {
            name: self.name.clone(),
            file: self.file.clone(),
            line: self.line,
            failures: self.compare(&judgement),
            judgement,
        }
    }

    fn request(&self, policies: &PolicySet) -> cordon_core::Request {
        let action = match &self.declared {
            Some((classes, effect)) => {
                Action::declared(self.action.clone(), classes.iter().cloned(), *effect)
            }
            None => policies.action(&self.action),
        };
        let tool = || Resource::new(cordon_core::ResourceKind::TOOL, self.action.as_str(), "default");
        let mut context = self.context.clone();
        context.args = policies.arguments(&self.action).typed_record(context.args);
        cordon_core::Request {
            chain: self.chain.clone(),
            action,
            resource: policies.complete(self.resource.clone().unwrap_or_else(tool)),
            context,
        }
    }

    fn facts(&self) -> Facts {
        let all = || ObligationKind::NAMES.iter().copied().collect();
        let session = SessionFacts {
            id: SessionId::from_bytes([0; 16]),
            calls: self.calls,
            integrity: self.integrity.unwrap_or(Integrity::Untrusted),
            posture: Posture::of_state(self.posture),
            lineage: Arc::new(self.lineage.clone()),
            markings: Arc::new(self.markings.clone()),
        };
        let signal = |(kind, value): (&SignalKind, &Option<u16>)| {
            (*kind, Signal { value: *value, source: "test".into(), at: self.now })
        };
        Facts {
            session: Some(session),
            ambiguous: self.ambiguous.clone(),
            supported: self.supported.clone().unwrap_or_else(all),
            kills: Vec::new(),
            region: self.region.clone(),
            capability: None,
            signals: self.signals.iter().map(signal).collect(),
            gathered: Gathered {
                at: self.gathered.keys().map(|name| (name.clone(), self.now)).collect(),
                values: self.gathered.clone(),
            },
        }
    }

    fn compare(&self, judgement: &Judgement) -> Vec<Box<str>> {
        let mut failures: Vec<Box<str>> = Vec::new();
        if judgement.verdict != self.expect {
            let mut failure = format!("expected {}, got {}", self.expect, judgement.verdict);
            for reason in &judgement.reasons {
                let _ = write!(failure, "; {}: {}", reason.rule, reason.message);
            }
            failures.push(failure.into());
        }
        for rule in &self.rules {
            if !judgement.reasons.iter().any(|reason| *reason.rule.rule == **rule) {
                let got: Vec<String> =
                    judgement.reasons.iter().map(|reason| format!("`{}`", reason.rule.rule)).collect();
                failures.push(format!("expected the rule `{rule}`, got {}", got.join(", ")).into());
            }
        }
        if let Some(want) = &self.obligations {
            let got: BTreeSet<Box<str>> =
                judgement.obligations.iter().map(|obligation| obligation.kind.name().into()).collect();
            if got != *want {
                failures.push(format!("expected the obligations {want:?}, got {got:?}").into());
            }
        }
        failures
    }
}
