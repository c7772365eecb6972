//! A judgement as deterministic CBOR: two judgements are the same if these bytes are.

use std::collections::BTreeSet;

use crate::cbor::Cbor;
use crate::{Judgement, Obligation, ObligationKind, Reason, RuleRef};

impl Judgement {
    /// `{0: verdict, 1: [reason], 2: [obligation], 3: bundle, ? 4: risk, ? 5: [read]}`.
    ///
    /// A read is `[precondition, tool, age in ms or null]`, a reason
    /// `{0: kind, 1: rule, ? 2: role, 3: message, ? 4: remedy}`, a rule `[id, file, line]`, an
    /// obligation `{0: type, 1: {property: value}, 2: [rule]}`.
    pub fn to_cbor(&self) -> Cbor {
        let risk = (!self.risk.parts.is_empty()).then(|| (4, self.risk.to_cbor()));
        let always = [
            (0, self.verdict.as_str().into()),
            (1, Cbor::Array(self.reasons.iter().map(reason).collect())),
            (2, Cbor::Array(self.obligations.iter().map(obligation).collect())),
            (3, Cbor::bytes(*self.bundle.as_bytes())),
        ];
        let reads = self.gathered.iter().map(|read| {
            let age = read.age_ms.map_or(Cbor::Null, Cbor::Uint);
            Cbor::Array(vec![(&*read.name).into(), read.tool.as_str().into(), age])
        });
        let reads = (!self.gathered.is_empty()).then(|| (5, Cbor::Array(reads.collect())));
        Cbor::map(always.into_iter().chain(risk).chain(reads))
    }
}

fn reason(reason: &Reason) -> Cbor {
    let role = reason.principal.map(|role| (2, role.as_str().into()));
    let remedy = reason.remedy.as_deref().map(|remedy| (4, remedy.into()));
    let always = [(0, reason.kind.as_str().into()), (1, rule(&reason.rule)), (3, (&*reason.message).into())];
    Cbor::map(always.into_iter().chain(role).chain(remedy))
}

fn rule(rule: &RuleRef) -> Cbor {
    Cbor::Array(vec![(&*rule.rule).into(), (&*rule.file).into(), u64::from(rule.line).into()])
}

fn obligation(obligation: &Obligation) -> Cbor {
    Cbor::map([
        (0, obligation.kind.name().into()),
        (1, Cbor::map(properties(&obligation.kind))),
        (2, Cbor::Array(obligation.rules.iter().map(rule).collect())),
    ])
}

/// The properties by the names of the annotations that set them (`spec/obligations.md`).
fn properties(kind: &ObligationKind) -> Vec<(&'static str, Cbor)> {
    let texts = |texts: &BTreeSet<Box<str>>| Cbor::Array(texts.iter().map(|text| (&**text).into()).collect());
    match kind {
        ObligationKind::Approve { role, quorum } => {
            vec![("role", (&**role).into()), ("quorum", u64::from(*quorum).into())]
        }
        ObligationKind::Redact { fields } | ObligationKind::Mask { fields } => {
            vec![("fields", texts(fields))]
        }
        ObligationKind::RowFilter { conditions, rows } => {
            let on_columns = rows.iter().map(|row| row.to_json().as_str().into()).collect();
            let rows = (!rows.is_empty()).then_some(("rows", Cbor::Array(on_columns)));
            [("conditions", texts(conditions))].into_iter().chain(rows).collect()
        }
        ObligationKind::MaxRows { limit } | ObligationKind::MaxBytes { limit } => {
            vec![("limit", (*limit).into())]
        }
        ObligationKind::Rate { limit, window_s } | ObligationKind::Budget { limit, window_s } => {
            vec![("limit", (*limit).into()), ("window_s", (*window_s).into())]
        }
        ObligationKind::Sandbox { tier } => vec![("tier", (&**tier).into())],
        ObligationKind::Egress { hosts } => vec![("hosts", texts(hosts))],
        ObligationKind::Log { level } => vec![("level", (&**level).into())],
        ObligationKind::Notify { to } => vec![("to", texts(to))],
        ObligationKind::Revoke { classes } => vec![("classes", texts(classes))],
        ObligationKind::DisableTool { tools } => vec![("tools", texts(tools))],
        ObligationKind::DryRun
        | ObligationKind::Monitor
        | ObligationKind::NetworkOff
        | ObligationKind::BlockDelegation
        | ObligationKind::RotateCredentials
        | ObligationKind::ReadOnly
        | ObligationKind::Isolate
        | ObligationKind::Terminate => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, GatheredAge, ReasonKind, Risk, RiskPart, Role, SignalKind, Verdict};

    fn judgement() -> Judgement {
        let at = RuleRef { rule: "r".into(), file: "permissions/p.cedar".into(), line: 3 };
        Judgement {
            verdict: Verdict::Ask,
            reasons: vec![Reason {
                kind: ReasonKind::ApprovalDue,
                rule: at.clone(),
                principal: Some(Role::Owner),
                message: "a person has to approve it".into(),
                remedy: Some("ask".into()),
            }],
            obligations: vec![Obligation {
                kind: ObligationKind::Approve { role: "finance".into(), quorum: 2 },
                rules: vec![at],
            }],
            bundle: Digest::of(b"bundle"),
            risk: Risk::default(),
            gathered: Vec::new(),
        }
    }

    #[test]
    fn every_part_of_a_judgement_changes_its_bytes() {
        let base = judgement().to_cbor().encode();
        assert_eq!(judgement().to_cbor().encode(), base);
        let changes: [fn(&mut Judgement); 11] = [
            |j| j.verdict = Verdict::Deny,
            |j| j.bundle = Digest::of(b"another"),
            |j| j.reasons[0].kind = ReasonKind::Forbidden,
            |j| j.reasons[0].rule.line = 4,
            |j| j.reasons[0].principal = None,
            |j| j.reasons[0].message = "no".into(),
            |j| j.reasons[0].remedy = None,
            |j| j.obligations[0].kind = ObligationKind::Approve { role: "finance".into(), quorum: 1 },
            |j| j.obligations[0].rules.clear(),
            |j| {
                let part =
                    RiskPart { kind: SignalKind::Tool, value: None, weight: 1, age_ms: 0, source: "".into() };
                j.risk.parts.push(part);
            },
            |j| {
                let tool = "crm/status".parse().unwrap();
                j.gathered.push(GatheredAge { name: "customer".into(), tool, age_ms: None });
            },
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut other = judgement();
            change(&mut other);
            assert_ne!(other.to_cbor().encode(), base, "change {at}");
        }
    }
}
