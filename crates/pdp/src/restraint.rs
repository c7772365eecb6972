//! What refuses a request whatever the policies say: kill switches, and the session's posture.

use cordon_core::{
    Facts, Judgement, KillOrigin, KillSwitch, Obligation, Posture, PostureState, Reason, ReasonKind, Request,
    RuleRef, Verdict,
};

/// The reasons for which kill switches and the session's posture refuse a request; none lets it through.
pub fn restraints(request: &Request, facts: &Facts) -> Vec<Reason> {
    let mut reasons: Vec<Reason> =
        facts.kills.iter().filter(|switch| switch.covers(request)).map(switched_off).collect();
    let session = facts.session.as_ref();
    let refusal = session.and_then(|session| session.posture.refusal(request));
    if let Some(why) = refusal {
        let remedy = session.map(|session| match session.posture.state() {
            PostureState::Terminated => {
                format!("none in this session; `cordon session release {}` lets a new one begin", session.id)
            }
            _ => format!("a named approver releases it with `cordon session release {}`", session.id),
        });
        reasons.push(refused("cordon:posture", why, remedy));
    }
    reasons
}

/// The judgement with what refuses the request whatever the policies say.
///
/// A request is refused, too, by the posture to which its own containing obligations lead.
pub(crate) fn restrained(mut judgement: Judgement, request: &Request, facts: &Facts) -> Judgement {
    let mut reasons = restraints(request, facts);
    let led_to = judgement.obligations.iter().filter_map(|due| self_inflicted(request, due));
    let led_to: Vec<Reason> = if reasons.is_empty() { led_to.collect() } else { Vec::new() };
    if reasons.is_empty() && led_to.is_empty() {
        return judgement;
    }
    // What was in favour of the request is no reason for refusing it.
    judgement
        .reasons
        .retain(|reason| !matches!(reason.kind, ReasonKind::Permitted | ReasonKind::ApprovalDue));
    reasons.append(&mut judgement.reasons);
    reasons.extend(led_to);
    judgement.obligations.retain(|obligation| obligation.kind.is_containing());
    Judgement { verdict: Verdict::Deny, reasons, ..judgement }
}

fn switched_off(switch: &KillSwitch) -> Reason {
    let message = match switch.origin {
        KillOrigin::Unreadable => {
            "the kill switches cannot be read, so everything is switched off".to_owned()
        }
        _ => format!("{switch} is switched off"),
    };
    let remedy = match switch.origin {
        KillOrigin::Order => format!("a named approver lifts it with `cordon unkill {}`", switch.arguments()),
        KillOrigin::Bundle { epoch } => {
            format!("the signers of kill bundle {epoch} lift it with a newer one: `cordon kill load`")
        }
        KillOrigin::Unreadable => "restore the state store, then start again".to_owned(),
    };
    refused("cordon:kill", message, Some(remedy))
}

/// The refusal of a request by the posture to which its own judgement leads.
fn self_inflicted(request: &Request, obligation: &Obligation) -> Option<Reason> {
    let why = Posture::of_obligation(&obligation.kind)?.refusal(request)?;
    let rules: Vec<String> = obligation.rules.iter().map(ToString::to_string).collect();
    let message = format!("{why}, as {} asks", rules.join(", "));
    let remedy = "a named approver releases the session with `cordon session release`";
    Some(refused("cordon:posture", message, Some(remedy.to_owned())))
}

fn refused(rule: &'static str, message: String, remedy: Option<String>) -> Reason {
    Reason {
        // A switch and a posture are prohibitions that are no text; a replay finds them in the facts.
        kind: ReasonKind::Forbidden,
        rule: RuleRef::builtin(rule),
        principal: None,
        message: message.into(),
        remedy: remedy.map(Into::into),
    }
}
