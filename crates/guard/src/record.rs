//! What is written down about each step of the path.
//!
//! Every decision has each of the eleven evidence fields and each of the trace fields, as a value, a
//! commitment, or absent with the reason; the registry is `spec/ledger.md`.

use cordon_core::cbor::Cbor;
use cordon_core::json::Node;
use cordon_core::{
    ActionName, CallId, Digest, Encode, Facts, Judgement, Principal, Request, Role, Timestamp,
};
use cordon_inspect::Sign;
use cordon_ledger::{
    AbsentReason, AdminSubject, ApprovalStep, Draft, EnforcementDecision, ExecutionGraph, FieldId, Kind,
    PolicyVersion, Receipt, RuleReason, SessionStep, ShadowVerdict, SignatureState, Span,
};
use cordon_workflow::{Answer, Approval, Ballot, Progress, Terms};

use crate::Session;
use crate::attempt::{Attempt, Trace};
use crate::enforcer::{Enforcer, Quoted};
use crate::guard::{ActivePolicies, Live, Shared};
use crate::observe::{Failure, ResultKind};
use crate::replay;
use crate::tools::Change;

/// The tenant of records that belong to the node itself.
pub(crate) const NODE_TENANT: &str = "default";

/// An administrative change, with digests before and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminAct {
    /// Policies came into force.
    Bundle {
        /// The bundle before.
        before: Option<Digest>,
        /// The bundle after.
        after: Digest,
        /// Its epoch; none for unsigned source.
        epoch: Option<u64>,
    },
    /// A bundle was offered and refused; the old one stays.
    BundleRefused {
        /// The bundle that stays.
        stays: Digest,
        /// Why the other was refused.
        why: Box<str>,
    },
    /// Other policies, or none, are judged in the shadow of those in force.
    Shadow {
        /// The bundle before.
        before: Option<Digest>,
        /// The bundle after.
        after: Option<Digest>,
    },
    /// The trusted keys changed.
    Keys {
        /// Digest of the keys before.
        before: Option<Digest>,
        /// Digest of the keys after.
        after: Option<Digest>,
    },
    /// The configuration changed.
    Config {
        /// Digest of the configuration before.
        before: Option<Digest>,
        /// Digest of the configuration after.
        after: Digest,
    },
    /// What enforces from now on.
    Enforcer {
        /// Digest of what enforced before.
        before: Option<Digest>,
        /// What enforces.
        enforcer: Enforcer,
        /// A TPM's word on it.
        quoted: Quoted,
    },
    /// A capability token was granted or taken back.
    Capability {
        /// The block that counts no more.
        before: Option<Digest>,
        /// The issuer's block of a new token.
        after: Option<Digest>,
        /// Its caveats, or what became of it.
        detail: Box<str>,
    },
    /// A person accepted a tool's present definition.
    Tool {
        /// The tool.
        tool: ActionName,
        /// The pin before.
        before: Option<Digest>,
        /// The pin after.
        after: Digest,
    },
}

/// What was asked of the policies, and with what.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a Request,
    pub(crate) facts: &'a Facts,
    pub(crate) arguments: Option<&'a Node>,
    /// When they were asked; a judgement depends on it.
    pub(crate) now: Timestamp,
    /// What the shadow policies would have said.
    pub(crate) shadow: Option<&'a Judgement>,
}

/// One judged attempt.
pub(crate) struct Decided<'a> {
    pub(crate) call: CallId,
    pub(crate) attempt: &'a Attempt<'a>,
    pub(crate) asked: Asked<'a>,
    pub(crate) judgement: &'a Judgement,
}

/// What came of a permitted call.
pub(crate) enum Outcome {
    Result {
        digest: Digest,
        bytes: u64,
        kind: ResultKind,
        schema_held: Option<bool>,
        sign: Option<Sign>,
        withheld: Option<Box<str>>,
    },
    Failed(Failure),
}

/// The record of a call that is about to run.
pub(crate) fn permitted(
    shared: &Shared,
    live: &Live,
    policies: &ActivePolicies,
    decided: &Decided<'_>,
    approval: Option<&Approval>,
    call: &[u8],
) -> Draft {
    let now = shared.clock.now();
    let id = approval.map(|approval| Cbor::bytes(*approval.terms.id.as_bytes()));
    let draft = decision(shared, live, policies, decided, Some(call), "permitted", now)
        .with_or(FieldId::Approval, id, AbsentReason::NotApplicable)
        .with_or(FieldId::HumanApproval, approval.map(human_approval), AbsentReason::NotApplicable);
    let classes = decided.asked.request.action.classes();
    draft.with(FieldId::CapabilityGranted, texts(classes.iter().map(ToString::to_string)))
}

/// The record of a call that waits for a person.
pub(crate) fn held(
    shared: &Shared,
    live: &Live,
    policies: &ActivePolicies,
    decided: &Decided<'_>,
    terms: &Terms,
    call: &[u8],
    fresh: bool,
) -> Draft {
    let now = shared.clock.now();
    let mut draft = decision(shared, live, policies, decided, Some(call), "held", now)
        .with(FieldId::Approval, Cbor::bytes(*terms.id.as_bytes()))
        .with(FieldId::ApprovalBinding, Cbor::bytes(*terms.binding.as_bytes()))
        .with(FieldId::Expires, terms.expires.as_micros())
        .without(FieldId::HumanApproval, AbsentReason::NotProvided)
        .without(FieldId::CapabilityGranted, AbsentReason::NotApplicable);
    if fresh {
        draft = draft.with(FieldId::EscalationFlags, texts(["approval_asked".to_owned()]));
    }
    draft
}

/// The record of a refused call.
pub(crate) fn denied(
    shared: &Shared,
    live: &Live,
    policies: &ActivePolicies,
    decided: &Decided<'_>,
    now: Timestamp,
) -> Draft {
    decision(shared, live, policies, decided, None, "refused", now)
        .without(FieldId::HumanApproval, AbsentReason::NotApplicable)
        .without(FieldId::CapabilityGranted, AbsentReason::NotApplicable)
}

/// What became of a judgement that hands out nothing.
#[derive(Clone, Copy)]
pub(crate) enum Answered<'a> {
    /// It was told.
    Told,
    /// It was told, and a person's grant was taken for it.
    Granted(&'a Approval),
    /// A person was asked.
    Held(&'a Terms),
}

/// The record of a judgement that hands out nothing.
pub(crate) fn evaluated(
    shared: &Shared,
    policies: &ActivePolicies,
    asked: Asked<'_>,
    judgement: &Judgement,
    answered: Answered<'_>,
) -> Draft {
    let Asked { request, now, .. } = asked;
    let draft = Draft::new(shared.record_id(now), now, request.resource.tenant.clone(), Kind::Decision);
    let enforced = if matches!(answered, Answered::Held(_)) { "held" } else { "answered" };
    let draft = judged(unobserved(draft), policies, asked, judgement, enforced)
        .with(FieldId::Span, Span { phase: "decide", id: None })
        .with(FieldId::ExecutionGraph, ExecutionGraph::default())
        .with(FieldId::ToolInvocation, Cbor::map([(1, request.context.args.to_cbor())]))
        .without(FieldId::CapabilityGranted, AbsentReason::NotApplicable)
        .without(FieldId::TraceId, AbsentReason::NotProvided)
        .without(FieldId::ParentSpan, AbsentReason::NotProvided)
        .without(FieldId::ModelVersion, AbsentReason::NotProvided);
    match answered {
        Answered::Told => draft.without(FieldId::HumanApproval, AbsentReason::NotApplicable),
        Answered::Granted(approval) => draft
            .with(FieldId::Approval, Cbor::bytes(*approval.terms.id.as_bytes()))
            .with(FieldId::HumanApproval, human_approval(approval)),
        Answered::Held(terms) => draft
            .with(FieldId::Approval, Cbor::bytes(*terms.id.as_bytes()))
            .with(FieldId::ApprovalBinding, Cbor::bytes(*terms.binding.as_bytes()))
            .with(FieldId::Expires, terms.expires.as_micros())
            .without(FieldId::HumanApproval, AbsentReason::NotProvided)
            .with(FieldId::EscalationFlags, texts(["approval_asked".to_owned()])),
    }
}

/// The record of an attempt outside any open session: there is no request to judge.
pub(crate) fn stray(
    shared: &Shared,
    policies: &ActivePolicies,
    call: CallId,
    what: &str,
    judgement: &Judgement,
    now: Timestamp,
) -> Draft {
    let draft = Draft::new(shared.record_id(now), now, NODE_TENANT, Kind::Decision)
        .with(FieldId::Call, Cbor::bytes(*call.as_bytes()))
        .with(FieldId::ToolInvocation, Cbor::map([(0, what.into())]));
    let decision = EnforcementDecision { verdict: judgement.verdict, enforced: "refused" };
    unobserved(draft)
        .with(FieldId::PolicyVersion, version(policies, judgement))
        .with(FieldId::EnforcementDecision, decision)
        .with(FieldId::Reasons, RuleReason::all(judgement))
}

fn decision(
    shared: &Shared,
    live: &Live,
    policies: &ActivePolicies,
    decided: &Decided<'_>,
    call: Option<&[u8]>,
    enforced: &'static str,
    now: Timestamp,
) -> Draft {
    let Decided { call: id, attempt, asked, judgement } = decided;
    let opening = &live.session.opening;
    let draft = Draft::new(shared.record_id(now), now, opening.tenant.clone(), Kind::Decision)
        .in_session(live.session.id)
        .with(FieldId::Call, Cbor::bytes(*id.as_bytes()))
        .with(FieldId::ToolInvocation, invocation(asked, call))
        .with(FieldId::ExecutionGraph, ExecutionGraph { call: attempt.parent, ..ExecutionGraph::default() })
        .with(FieldId::Span, Span { phase: "execute", id: None });
    let draft = traced(draft, attempt.trace);
    let model = (!opening.model.is_empty()).then(|| opening.model.to_cbor());
    let draft = draft.with_or(FieldId::ModelVersion, model, AbsentReason::NotProvided);
    judged(unobserved(draft), policies, *asked, judgement, enforced).with_or(
        FieldId::Confidence,
        attempt.confidence.map(|thousandths| u64::from(thousandths).saturating_mul(10)),
        AbsentReason::NotProvided,
    )
}

/// The fields that every judgement has, wherever it was asked for.
fn judged(
    draft: Draft,
    policies: &ActivePolicies,
    asked: Asked<'_>,
    judgement: &Judgement,
    enforced: &'static str,
) -> Draft {
    let Asked { request, facts, now, shadow, .. } = asked;
    let classes = request.action.classes().iter().map(ToString::to_string);
    let markings = request.resource.markings.iter().map(|marking| marking.as_str().to_owned());
    let obligations = judgement.obligations.iter().map(|obligation| obligation.kind.name().to_owned());
    let messages = judgement.reasons.iter().map(|reason| reason.message.to_string());
    let draft = match shadow {
        Some(shadow) => draft.with(FieldId::Shadow, ShadowVerdict(shadow)),
        None => draft,
    };
    draft
        .with(FieldId::Action, request.action.name().as_str())
        .with(FieldId::Effect, request.action.effect().as_str())
        .with(FieldId::Classes, texts(classes))
        .with(FieldId::Markings, texts(markings))
        .with(FieldId::Resource, request.resource.to_cbor())
        .with(FieldId::Principals, Cbor::Array(request.chain.members().map(principal).collect()))
        .with(FieldId::PolicyVersion, version(policies, judgement))
        .with(FieldId::PolicySignature, signature(policies))
        .with(FieldId::EnforcementDecision, EnforcementDecision { verdict: judgement.verdict, enforced })
        .with(FieldId::Reasons, RuleReason::all(judgement))
        .with(FieldId::Messages, texts(messages))
        .with(FieldId::Obligations, texts(obligations))
        .attach(replay::attachment(request, facts, now, judgement))
}

fn signature(policies: &ActivePolicies) -> SignatureState {
    if policies.signed { SignatureState::Valid } else { SignatureState::Unsigned }
}

fn version(policies: &ActivePolicies, judgement: &Judgement) -> PolicyVersion {
    PolicyVersion {
        bundle: judgement.bundle,
        epoch: policies.epoch,
        signature: signature(policies),
        rules: judgement.reasons.iter().map(|reason| (&*reason.rule.rule).into()).collect(),
    }
}

/// What this enforcement point cannot see, field by field.
fn unobserved(draft: Draft) -> Draft {
    let unseen = [
        FieldId::PromptHash,
        FieldId::PromptText,
        FieldId::RetrievedDocuments,
        FieldId::InputContextHash,
        FieldId::OutputPlanHash,
    ];
    let draft =
        unseen.into_iter().fold(draft, |draft, field| draft.without(field, AbsentReason::NotSupported));
    draft
        .without(FieldId::Confidence, AbsentReason::NotProvided)
        .without(FieldId::SandboxId, AbsentReason::NotApplicable)
        .without(FieldId::NetworkPolicy, AbsentReason::NotApplicable)
        .without(FieldId::ResultType, AbsentReason::NotApplicable)
        .without(FieldId::ResultSchemaHeld, AbsentReason::NotApplicable)
        .with(FieldId::EscalationFlags, Cbor::Array(Vec::new()))
}

fn traced(draft: Draft, trace: Trace) -> Draft {
    draft.with_or(FieldId::TraceId, trace.trace.map(Cbor::bytes), AbsentReason::NotProvided).with_or(
        FieldId::ParentSpan,
        trace.span.map(Cbor::bytes),
        AbsentReason::NotProvided,
    )
}

/// The exact call: arguments by value, and the digest of the bytes that are forwarded.
fn invocation(asked: &Asked<'_>, call: Option<&[u8]>) -> Cbor {
    let arguments = asked.arguments.map(Node::canonical);
    Cbor::map(
        [(0, asked.request.action.name().as_str().into())]
            .into_iter()
            .chain(arguments.map(|text| (1, Cbor::from(text.as_str()))))
            .chain(call.map(|bytes| (2, Cbor::bytes(*Digest::of(bytes).as_bytes())))),
    )
}

fn principal((role, who): (Role, &Principal)) -> Cbor {
    Cbor::Array(vec![role.as_str().into(), who.kind.as_str().into(), (&*who.id).into()])
}

fn human_approval(approval: &Approval) -> Cbor {
    let people = match &approval.progress {
        Progress::Pending { votes } | Progress::Granted { votes } | Progress::Spent { votes } => {
            votes.iter().map(|vote| Cbor::from(&*vote.by)).collect()
        }
        Progress::Refused { .. } | Progress::Expired => Vec::new(),
    };
    Cbor::map([
        (1, Cbor::bytes(*approval.terms.id.as_bytes())),
        (2, Cbor::bytes(*approval.terms.binding.as_bytes())),
        (3, Cbor::Array(people)),
    ])
}

/// The record of what came of a permitted call.
pub(crate) fn result(
    shared: &Shared,
    session: &Session,
    call: CallId,
    trace: Trace,
    decision: &Receipt,
    outcome: &Outcome,
) -> Draft {
    let now = shared.clock.now();
    let graph = ExecutionGraph { parents: vec![decision.id], ..ExecutionGraph::default() };
    let draft = Draft::new(shared.record_id(now), now, session.opening.tenant.clone(), Kind::Result)
        .in_session(session.id)
        .with(FieldId::Call, Cbor::bytes(*call.as_bytes()))
        .with(FieldId::Decision, Cbor::bytes(*decision.id.as_bytes()))
        .with(FieldId::ExecutionGraph, graph)
        .with(FieldId::Span, Span { phase: "validate", id: None });
    let draft = traced(draft, trace);
    match outcome {
        Outcome::Failed(failure) => draft
            .with(FieldId::Outcome, failure.as_str())
            .without(FieldId::ResultType, AbsentReason::NotProvided)
            .without(FieldId::ResultSchemaHeld, AbsentReason::NotApplicable),
        Outcome::Result { digest, bytes, kind, schema_held, sign, withheld } => {
            let word = match (withheld, kind) {
                (Some(_), _) => "withheld",
                (None, ResultKind::Error) => "error",
                (None, ResultKind::Complete | ResultKind::Interim) => "released",
            };
            let draft = match sign {
                Some(sign) => draft.with(FieldId::EscalationFlags, texts([sign.kind.as_str().to_owned()])),
                None => draft,
            };
            draft
                .with(FieldId::Outcome, word)
                .with(FieldId::ResultDigest, Cbor::bytes(*digest.as_bytes()))
                .with(FieldId::ResultBytes, *bytes)
                .with(FieldId::ResultIsError, *kind == ResultKind::Error)
                .with(FieldId::ResultType, kind.as_str())
                .with_or(FieldId::ResultSchemaHeld, *schema_held, AbsentReason::NotApplicable)
                .with_or(FieldId::Withheld, withheld.as_deref(), AbsentReason::NotApplicable)
        }
    }
}

/// The record of a session's beginning.
pub(crate) fn session_opened(shared: &Shared, session: &Session) -> Draft {
    let principals = session.opening.chain.members().map(principal).collect();
    let draft = Draft::new(
        shared.record_id(session.opened),
        session.opened,
        session.opening.tenant.clone(),
        Kind::Session(SessionStep::Opened),
    )
    .in_session(session.id)
    .with(FieldId::Principals, Cbor::Array(principals))
    .with(FieldId::Expires, session.opening.expires.as_micros());
    // What a caller declared is evidence: it says what the calls that follow were taken for.
    let declared = session.opening.declared.values().map(ToString::to_string);
    if session.opening.declared.is_empty() { draft } else { draft.with(FieldId::Detail, texts(declared)) }
}

/// The record of a session's end.
pub(crate) fn session_closed(shared: &Shared, session: &Session) -> Draft {
    let now = shared.clock.now();
    Draft::new(shared.record_id(now), now, session.opening.tenant.clone(), Kind::Session(SessionStep::Closed))
        .in_session(session.id)
}

/// The record of an approver's answer, with the signature that the approver made.
pub(crate) fn answered(
    shared: &Shared,
    terms: &Terms,
    ballot: &Ballot,
    signature: &cordon_core::ed25519::Signature,
) -> Draft {
    let now = shared.clock.now();
    let step = match ballot.answer {
        Answer::Grant => ApprovalStep::Granted,
        Answer::Deny => ApprovalStep::Denied,
    };
    let signed = Cbor::Array(vec![
        (&*ballot.approver).into(),
        Cbor::bytes(ballot.signing_bytes()),
        Cbor::bytes(*signature.as_bytes()),
    ]);
    Draft::new(shared.record_id(now), now, NODE_TENANT, Kind::Approval(step))
        .in_session(terms.session)
        .with(FieldId::Approval, Cbor::bytes(*terms.id.as_bytes()))
        .with(FieldId::ApprovalBinding, Cbor::bytes(*terms.binding.as_bytes()))
        .with(FieldId::Ballot, signed)
        .with(FieldId::Span, Span { phase: "approve", id: None })
}

/// The record of an administrative change.
pub(crate) fn admin(shared: &Shared, act: &AdminAct, author: &str) -> Draft {
    let now = shared.clock.now();
    let draft = |subject, name: &str| {
        Draft::new(shared.record_id(now), now, NODE_TENANT, Kind::Admin(subject))
            .with(FieldId::Subject, name)
            .with(FieldId::Author, author)
    };
    match act {
        AdminAct::Bundle { before, after, epoch } => {
            let draft = changed(draft(AdminSubject::Bundle, "policy"), *before, Some(*after));
            match epoch {
                Some(epoch) => draft.with(FieldId::Epoch, *epoch),
                None => draft,
            }
        }
        AdminAct::BundleRefused { stays, why } => {
            changed(draft(AdminSubject::Bundle, "refused"), Some(*stays), Some(*stays))
                .with(FieldId::Detail, &**why)
        }
        AdminAct::Shadow { before, after } => changed(draft(AdminSubject::Bundle, "shadow"), *before, *after),
        AdminAct::Keys { before, after } => changed(draft(AdminSubject::Key, "trust"), *before, *after),
        AdminAct::Config { before, after } => {
            changed(draft(AdminSubject::Config, "cordon.toml"), *before, Some(*after))
        }
        AdminAct::Enforcer { before, enforcer, quoted } => {
            let draft = changed(draft(AdminSubject::Enforcer, "enforcer"), *before, Some(enforcer.digest()))
                .with(FieldId::Enforcer, enforcer.to_cbor());
            match quoted {
                Quoted::Yes { attest, signature, key } => {
                    let parts = [attest, signature, key].map(|part| Cbor::bytes(part.clone()));
                    draft.with(FieldId::Quote, Cbor::Array(parts.into()))
                }
                Quoted::NoTpm => draft.without(FieldId::Quote, AbsentReason::NotSupported),
                Quoted::Failed => draft.without(FieldId::Quote, AbsentReason::Unknown),
            }
        }
        AdminAct::Capability { before, after, detail } => {
            changed(draft(AdminSubject::Key, "capability"), *before, *after).with(FieldId::Detail, &**detail)
        }
        AdminAct::Tool { tool, before, after } => {
            changed(draft(AdminSubject::ToolApproved, tool.as_str()), *before, Some(*after))
        }
    }
}

/// The record of what a server's listing changed.
pub(crate) fn tool_change(shared: &Shared, change: &Change) -> Draft {
    let now = shared.clock.now();
    let draft = |subject, tool: &ActionName| {
        Draft::new(shared.record_id(now), now, NODE_TENANT, Kind::Admin(subject))
            .with(FieldId::Subject, tool.as_str())
            .with(FieldId::Author, "cordon")
    };
    match change {
        Change::FirstSeen { tool, pin } => changed(draft(AdminSubject::ToolApproved, tool), None, Some(*pin))
            .with(FieldId::Detail, "first seen"),
        Change::Quarantined { tool, pin, before, why } => {
            changed(draft(AdminSubject::ToolQuarantined, tool), *before, Some(*pin))
                .with(FieldId::Detail, why.describe().as_str())
        }
    }
}

fn changed(draft: Draft, before: Option<Digest>, after: Option<Digest>) -> Draft {
    let bytes = |digest: Option<Digest>| digest.map(|digest| Cbor::bytes(*digest.as_bytes()));
    draft.with_or(FieldId::Before, bytes(before), AbsentReason::NotApplicable).with_or(
        FieldId::After,
        bytes(after),
        AbsentReason::NotApplicable,
    )
}

pub(crate) fn texts(texts: impl IntoIterator<Item = String>) -> Cbor {
    Cbor::Array(texts.into_iter().map(|text| Cbor::Text(text.into())).collect())
}
