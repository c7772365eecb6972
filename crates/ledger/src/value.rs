//! The shapes of the structured clear fields, so that every author writes them the same way.

use cordon_core::cbor::Cbor;
use cordon_core::{CallId, Digest, Judgement, Reason, RecordId, Verdict};

use crate::Commitment;

/// Whether the signatures of what was asked held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureState {
    /// Enough trusted keys signed it.
    Valid,
    /// Nobody signed it.
    Unsigned,
    /// It was signed, and the signatures do not hold.
    Invalid,
}

impl SignatureState {
    /// The state as written in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unsigned => "unsigned",
            Self::Invalid => "invalid",
        }
    }
}

impl From<SignatureState> for Cbor {
    fn from(state: SignatureState) -> Self {
        state.as_str().into()
    }
}

/// The policies that were asked: `{1: digest, 2: epoch?, 3: signature state, 4: [rule ids]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersion {
    /// The bundle's digest.
    pub bundle: Digest,
    /// The bundle's epoch; none for unsigned source.
    pub epoch: Option<u64>,
    /// Whether its signatures held.
    pub signature: SignatureState,
    /// The rules that made the verdict so.
    pub rules: Vec<Box<str>>,
}

impl From<PolicyVersion> for Cbor {
    fn from(policy: PolicyVersion) -> Self {
        let mut pairs = vec![
            (1, Self::bytes(*policy.bundle.as_bytes())),
            (3, policy.signature.into()),
            (4, Self::Array(policy.rules.into_iter().map(Self::Text).collect())),
        ];
        pairs.extend(policy.epoch.map(|epoch| (2, epoch.into())));
        Self::map(pairs)
    }
}

/// The verdict, and what was done: `{1: verdict, 2: enforced action}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnforcementDecision {
    /// What the policies said.
    pub verdict: Verdict,
    /// What was done, in one word: `permitted`, `held`, `refused`, …
    pub enforced: &'static str,
}

impl From<EnforcementDecision> for Cbor {
    fn from(decision: EnforcementDecision) -> Self {
        Self::map([(1, decision.verdict.as_str().into()), (2, decision.enforced.into())])
    }
}

/// What a shadow bundle would have said: `{1: digest, 2: verdict, 3: [rule ids]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowVerdict<'j>(pub &'j Judgement);

impl From<ShadowVerdict<'_>> for Cbor {
    fn from(ShadowVerdict(judgement): ShadowVerdict<'_>) -> Self {
        let rules = judgement.reasons.iter().map(|reason| (&*reason.rule.rule).into()).collect();
        Self::map([
            (1, Self::bytes(*judgement.bundle.as_bytes())),
            (2, judgement.verdict.as_str().into()),
            (3, Self::Array(rules)),
        ])
    }
}

/// A piece of data that flowed from one record into another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataEdge {
    /// The record that the data came from.
    pub from: RecordId,
    /// The commitment to the data there.
    pub data: Commitment,
}

/// What led to a record: `{1: [parent records], 2: [[record, commitment]], 3: parent call?}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecutionGraph {
    /// The records that caused it.
    pub parents: Vec<RecordId>,
    /// The data that flowed into it.
    pub edges: Vec<DataEdge>,
    /// The call that led to it, where its record is not known.
    pub call: Option<CallId>,
}

impl From<ExecutionGraph> for Cbor {
    fn from(graph: ExecutionGraph) -> Self {
        let id = |bytes: &[u8; 16]| Self::bytes(*bytes);
        let edge =
            |edge: DataEdge| Self::Array(vec![id(edge.from.as_bytes()), Self::bytes(*edge.data.as_bytes())]);
        let mut pairs = vec![
            (1, Self::Array(graph.parents.iter().map(|parent| id(parent.as_bytes())).collect())),
            (2, Self::Array(graph.edges.into_iter().map(edge).collect())),
        ];
        pairs.extend(graph.call.map(|call| (3, id(call.as_bytes()))));
        Self::map(pairs)
    }
}

/// A step in a trace: `{1: type, 2: span id?}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The kind of step: `plan`, `tool_select`, `execute`, `validate`, `approve`, …
    pub phase: &'static str,
    /// Its identifier.
    pub id: Option<[u8; 8]>,
}

impl From<Span> for Cbor {
    fn from(span: Span) -> Self {
        let mut pairs = vec![(1, span.phase.into())];
        pairs.extend(span.id.map(|id| (2, Self::bytes(id))));
        Self::map(pairs)
    }
}

/// A rule that made a verdict so: `{1: kind, 2: rule, 3: file, 4: line, 5: principal?}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleReason<'r>(pub &'r Reason);

impl From<RuleReason<'_>> for Cbor {
    fn from(RuleReason(reason): RuleReason<'_>) -> Self {
        let mut pairs = vec![
            (1, reason.kind.as_str().into()),
            (2, (&*reason.rule.rule).into()),
            (3, (&*reason.rule.file).into()),
            (4, u64::from(reason.rule.line).into()),
        ];
        pairs.extend(reason.principal.map(|role| (5, role.as_str().into())));
        Self::map(pairs)
    }
}

impl RuleReason<'_> {
    /// The reasons of a judgement, as the value of [`crate::FieldId::Reasons`].
    pub fn all(judgement: &Judgement) -> Cbor {
        Cbor::Array(judgement.reasons.iter().map(|reason| RuleReason(reason).into()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_and_what_was_done_are_kept_apart() {
        let cbor: Cbor = EnforcementDecision { verdict: Verdict::Ask, enforced: "held" }.into();
        assert_eq!(cbor.get(1).and_then(Cbor::as_text), Some("ask"));
        assert_eq!(cbor.get(2).and_then(Cbor::as_text), Some("held"));
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let version = PolicyVersion {
            bundle: Digest::of(b"b"),
            epoch: None,
            signature: SignatureState::Unsigned,
            rules: vec!["r".into()],
        };
        let cbor: Cbor = version.into();
        assert_eq!(cbor.get(2), None);
        assert_eq!(cbor.get(3).and_then(Cbor::as_text), Some("unsigned"));
        let span: Cbor = Span { phase: "execute", id: None }.into();
        assert_eq!(span.get(2), None);
    }
}
