//! What is written down when something is taken away, and when it is given back.

use std::collections::BTreeSet;

use cordon_core::cbor::Cbor;
use cordon_core::ed25519::Signature;
use cordon_core::{Digest, KillOrder, Reason, ReasonKind};
use cordon_ledger::{AbsentReason, AdminSubject, Draft, FieldId, Kind, RuleReason, SessionStep};
use cordon_workflow::Lift;

use crate::Session;
use crate::containment::{Cause, Standing};
use crate::guard::{Live, Shared};
use crate::kills::Kill;
use crate::record::{NODE_TENANT, texts};

/// The record of a kill switch that was turned.
pub(crate) fn kill_turned(shared: &Shared, kill: &Kill) -> Draft {
    switch(shared, AdminSubject::Kill, kill)
        .with(FieldId::Author, &*kill.by)
        .without(FieldId::Before, AbsentReason::NotApplicable)
        .with(FieldId::After, Cbor::bytes(*kill.binding().as_bytes()))
}

/// The record of a kill switch that is lifted, with the signature of whoever lifts it.
pub(crate) fn kill_lifted(shared: &Shared, kill: &Kill, lift: &Lift, signature: &Signature) -> Draft {
    switch(shared, AdminSubject::Unkill, kill)
        .with(FieldId::Author, &*lift.approver)
        .with(FieldId::Before, Cbor::bytes(*kill.binding().as_bytes()))
        .without(FieldId::After, AbsentReason::NotApplicable)
        .with(FieldId::Ballot, signed(lift, signature))
}

/// The record of a kill bundle that came into force.
pub(crate) fn kill_bundle(
    shared: &Shared,
    epoch: u64,
    digest: Digest,
    orders: &BTreeSet<KillOrder>,
) -> Draft {
    let now = shared.clock.now();
    let targets = orders.iter().map(|order| order.target.to_string());
    Draft::new(shared.record_id(now), now, NODE_TENANT, Kind::Admin(AdminSubject::Bundle))
        .with(FieldId::Subject, "kill")
        .with(FieldId::Author, "kill bundle")
        .without(FieldId::Before, AbsentReason::NotApplicable)
        .with(FieldId::After, Cbor::bytes(*digest.as_bytes()))
        .with(FieldId::Epoch, epoch)
        .with(FieldId::Classes, texts(targets))
}

/// The record of a session from which something was taken.
pub(crate) fn contained(shared: &Shared, live: &Live, standing: &Standing, cause: Cause<'_>) -> Draft {
    let draft = posture(shared, &live.session, SessionStep::Contained, standing);
    let rules = cause.rules().into_iter().map(|rule| Reason {
        kind: ReasonKind::Refused,
        rule,
        principal: None,
        message: "".into(),
        remedy: None,
    });
    let rules: Vec<Cbor> = rules.map(|reason| RuleReason(&reason).into()).collect();
    let draft = draft.with(FieldId::Reasons, Cbor::Array(rules)).with(FieldId::Detail, &*standing.cause);
    match cause {
        Cause::Person(name) => draft.with(FieldId::Author, name),
        Cause::Rules(call, _) => draft.with(FieldId::Call, Cbor::bytes(*call.as_bytes())),
        Cause::Session(_) => draft,
    }
}

/// The record of a session that is released, with the signature of whoever releases it.
pub(crate) fn released(
    shared: &Shared,
    session: &Session,
    before: &Standing,
    lift: &Lift,
    signature: &Signature,
) -> Draft {
    posture(shared, session, SessionStep::Released, before)
        .with(FieldId::Author, &*lift.approver)
        .with(FieldId::Before, Cbor::bytes(*before.binding().as_bytes()))
        .with(FieldId::Ballot, signed(lift, signature))
}

fn switch(shared: &Shared, subject: AdminSubject, kill: &Kill) -> Draft {
    let now = shared.clock.now();
    let tenant = kill.switch.tenant.as_deref().unwrap_or(NODE_TENANT);
    Draft::new(shared.record_id(now), now, tenant, Kind::Admin(subject))
        .with(FieldId::Subject, kill.switch.target.to_string().as_str())
        // Who an agent is may say who a person is.
        .with(FieldId::Detail, kill.switch.arguments().as_str())
}

fn posture(shared: &Shared, session: &Session, step: SessionStep, standing: &Standing) -> Draft {
    let now = shared.clock.now();
    let posture = &standing.posture;
    let taken = posture.restraints().iter().map(|restraint| restraint.as_str().to_owned());
    let disabled = posture.disabled().iter().map(|tool| format!("disable_tool {tool}"));
    Draft::new(shared.record_id(now), now, session.opening.tenant.clone(), Kind::Session(step))
        .in_session(session.id)
        .with(FieldId::Outcome, posture.state().as_str())
        .with(FieldId::Classes, texts(posture.revoked().iter().map(ToString::to_string)))
        .with(FieldId::Obligations, texts(taken.chain(disabled)))
}

fn signed(lift: &Lift, signature: &Signature) -> Cbor {
    Cbor::Array(vec![
        (&*lift.approver).into(),
        Cbor::bytes(lift.signing_bytes()),
        Cbor::bytes(*signature.as_bytes()),
    ])
}
