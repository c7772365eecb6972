//! From a judgement to the answer (AuthZEN §6.2): `decision`, and why in `context`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use cordon_core::json::quote;
use cordon_core::{
    GatheredAge, Judgement, Obligation, ObligationKind, Reason, RiskLevel, RiskPart, RowPredicate, RowValue,
    RuleRef, Verdict,
};
use cordon_ledger::Receipt;

/// The answer that carries a judgement; `decision` is true for allow alone.
pub fn judged(judgement: &Judgement, receipt: Option<&Receipt>) -> String {
    judged_with(judgement, receipt, "")
}

/// The answer with more members in its context, each behind a comma. An answer on record is named by
/// its record (`evaluation_id`).
pub(crate) fn judged_with(judgement: &Judgement, receipt: Option<&Receipt>, more: &str) -> String {
    let decision = judgement.verdict == Verdict::Allow;
    let name = receipt.map(|receipt| format!(r#","evaluation_id":{}"#, quote(&receipt.id.to_string())));
    let (members, name) = (members(judgement, receipt), name.unwrap_or_default());
    format!(r#"{{"decision":{decision},"context":{{{members}{name}{more}}}}}"#)
}

/// A judgement as members of an object: `verdict`, `bundle`, `reasons`, `obligations`, `risk` where
/// anything is known of it, `entry`.
pub(crate) fn members(judgement: &Judgement, receipt: Option<&Receipt>) -> String {
    let mut out = format!(
        r#""verdict":{},"bundle":{},"reasons":["#,
        quote(judgement.verdict.as_str()),
        quote(&judgement.bundle.to_string()),
    );
    list(&mut out, &judgement.reasons, reason);
    out.push_str(r#"],"obligations":"#);
    obligations(&mut out, &judgement.obligations);
    if !judgement.gathered.is_empty() {
        out.push_str(r#","preconditions":["#);
        list(&mut out, &judgement.gathered, precondition);
        out.push(']');
    }
    if !judgement.risk.parts.is_empty() {
        let (score, level) = (judgement.risk.score(), judgement.risk.level.map(RiskLevel::as_str));
        let _ = write!(
            out,
            r#","risk":{{"score":{},"level":{},"signals":["#,
            or_null(score),
            or_null(level.map(quote))
        );
        list(&mut out, &judgement.risk.parts, signal);
        out.push_str("]}");
    }
    if let Some(receipt) = receipt {
        let _ = write!(out, r#","entry":{}"#, entry(receipt));
    }
    out
}

/// The obligations of a search's result, behind a comma; nothing where there are none.
pub(crate) fn due(judgement: &Judgement) -> String {
    if judgement.obligations.is_empty() {
        return String::new();
    }
    let mut out = String::from(r#","obligations":"#);
    obligations(&mut out, &judgement.obligations);
    out
}

/// A record's name, its level, and its index once it has one.
pub(crate) fn entry(receipt: &Receipt) -> String {
    let (id, level) = (quote(&receipt.id.to_string()), quote(receipt.level.as_str()));
    let index = receipt.index.map(|index| format!(r#","index":{index}"#)).unwrap_or_default();
    format!(r#"{{"id":{id},"level":{level}{index}}}"#)
}

/// The answer to an evaluation in a batch that could not be judged (AuthZEN §7.2.1): a denial.
pub fn failed(status: u16, message: &str) -> String {
    format!(
        r#"{{"decision":false,"context":{{"error":{{"status":{status},"message":{}}}}}}}"#,
        quote(message)
    )
}

fn list<T>(out: &mut String, items: &[T], write: fn(&mut String, &T)) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
}

fn reason(out: &mut String, reason: &Reason) {
    let Reason { kind, rule, principal, message, remedy } = reason;
    let _ = write!(
        out,
        r#"{{"rule":{},"file":{},"line":{},"kind":{},"message":{}"#,
        quote(&rule.rule),
        quote(&rule.file),
        rule.line,
        quote(kind.as_str()),
        quote(message),
    );
    if let Some(role) = principal {
        let _ = write!(out, r#","principal":{}"#, quote(role.as_str()));
    }
    if let Some(remedy) = remedy {
        let _ = write!(out, r#","remedy":{}"#, quote(remedy));
    }
    out.push('}');
}

fn precondition(out: &mut String, read: &GatheredAge) {
    let GatheredAge { name, tool, age_ms } = read;
    let (name, tool, age) = (quote(name), quote(tool.as_str()), or_null(*age_ms));
    let _ = write!(out, r#"{{"name":{name},"tool":{tool},"age_ms":{age}}}"#);
}

fn signal(out: &mut String, part: &RiskPart) {
    let RiskPart { kind, value, weight, age_ms, source } = part;
    let (kind, value, source) = (quote(kind.as_str()), or_null(*value), quote(source));
    let _ = write!(
        out,
        r#"{{"signal":{kind},"value":{value},"weight":{weight},"age_ms":{age_ms},"source":{source}}}"#
    );
}

fn or_null(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

fn rule(out: &mut String, rule: &RuleRef) {
    let _ =
        write!(out, r#"{{"rule":{},"file":{},"line":{}}}"#, quote(&rule.rule), quote(&rule.file), rule.line);
}

/// The obligations as an array; an `id` tells those of one answer apart.
fn obligations(out: &mut String, obligations: &[Obligation]) {
    let mut number = 0_u32;
    out.push('[');
    for Obligation { kind, rules } in obligations {
        out.push_str(if number == 0 { "" } else { "," });
        number = number.saturating_add(1);
        let (name, properties) = (quote(kind.name()), properties(kind));
        let _ = write!(out, r#"{{"id":"obl-{number}","type":{name},"properties":{{{properties}}},"rules":["#);
        list(out, rules, rule);
        out.push_str("]}");
    }
    out.push(']');
}

/// The properties as in `spec/obligations.md`: named as the annotations that set them.
fn properties(kind: &ObligationKind) -> String {
    let texts = |name: &str, texts: &BTreeSet<Box<str>>| {
        let quoted: Vec<String> = texts.iter().map(|text| quote(text)).collect();
        format!(r#""{name}":[{}]"#, quoted.join(","))
    };
    match kind {
        ObligationKind::Approve { role, quorum } => format!(r#""role":{},"quorum":{quorum}"#, quote(role)),
        ObligationKind::Redact { fields } | ObligationKind::Mask { fields } => texts("fields", fields),
        ObligationKind::RowFilter { conditions, rows } => {
            let filter = if rows.is_empty() { String::new() } else { format!(",{}", row_filter(rows)) };
            texts("conditions", conditions) + &filter
        }
        ObligationKind::MaxRows { limit } | ObligationKind::MaxBytes { limit } => {
            format!(r#""limit":{limit}"#)
        }
        ObligationKind::Rate { limit, window_s } | ObligationKind::Budget { limit, window_s } => {
            format!(r#""limit":{limit},"window_s":{window_s}"#)
        }
        ObligationKind::Sandbox { tier } => format!(r#""tier":{}"#, quote(tier)),
        ObligationKind::Egress { hosts } => texts("hosts", hosts),
        ObligationKind::Log { level } => format!(r#""level":{}"#, quote(level)),
        ObligationKind::Notify { to } => texts("to", to),
        ObligationKind::Revoke { classes } => texts("classes", classes),
        ObligationKind::DisableTool { tools } => texts("tools", tools),
        _ => String::new(),
    }
}

/// A filter of rows: the condition, and the same in SQL with the values of its parameters.
fn row_filter(rows: &BTreeSet<RowPredicate>) -> String {
    let whole = RowPredicate::all(rows.iter().cloned());
    let (sql, values) = whole.to_sql();
    let values: Vec<String> = values.iter().map(RowValue::to_json).collect();
    format!(r#""rows":{},"sql":{},"parameters":[{}]"#, whole.to_json(), quote(&sql), values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_core::json::parse;
    use cordon_core::{Comparison, Digest, Limits, ReasonKind, Risk};

    #[test]
    fn an_answer_is_json_whatever_the_rules_say_and_only_allow_is_true() {
        let judgement = |verdict| Judgement {
            verdict,
            reasons: vec![Reason {
                kind: ReasonKind::Forbidden,
                rule: RuleRef { rule: "a\"b".into(), file: "permissions/x.cedar".into(), line: 3 },
                principal: None,
                message: "no\n\u{1b}[2J".into(),
                remedy: Some("ask".into()),
            }],
            obligations: vec![Obligation {
                kind: ObligationKind::Redact { fields: ["ssn".into()].into() },
                rules: Vec::new(),
            }],
            bundle: Digest::of(b""),
            risk: Risk {
                least: 0,
                most: 150,
                level: Some(RiskLevel::Low),
                parts: vec![RiskPart {
                    kind: cordon_core::SignalKind::Tool,
                    value: None,
                    weight: 150,
                    age_ms: 7,
                    source: "manifest".into(),
                }],
            },
            gathered: vec![GatheredAge {
                name: "customer".into(),
                tool: "crm/status".parse().unwrap(),
                age_ms: None,
            }],
        };
        for (verdict, want) in [(Verdict::Allow, true), (Verdict::Ask, false), (Verdict::Deny, false)] {
            let text = judged(&judgement(verdict), None);
            let node = parse(text.as_bytes(), &Limits::DEFAULT).unwrap();
            assert_eq!(node.get("decision").and_then(|node| node.as_bool()), Some(want));
            let context = node.get("context").unwrap();
            assert_eq!(context.get("verdict").and_then(|node| node.as_text()), Some(verdict.as_str()));
            let obligation = &context.get("obligations").unwrap().items()[0];
            assert_eq!(obligation.select("/properties/fields/0")[0].as_text(), Some("ssn"));
            assert_eq!(obligation.get("id").and_then(|node| node.as_text()), Some("obl-1"));
            assert!(context.get("preconditions").unwrap().select("/0/age_ms")[0].is_null());
            let risk = context.get("risk").unwrap();
            assert!(risk.get("score").unwrap().is_null(), "what is not known is not 0");
            assert_eq!(risk.get("level").unwrap().as_text(), Some("low"));
            assert!(risk.select("/signals/0/value")[0].is_null());
        }
    }

    #[test]
    fn a_filter_of_rows_is_shown_as_a_condition_and_in_sql_with_its_values_apart() {
        let eu = RowPredicate::Compare("re\"gion".into(), Comparison::Equal, RowValue::Text("e'u".into()));
        let kind = ObligationKind::RowFilter { conditions: BTreeSet::new(), rows: BTreeSet::from([eu]) };
        let text = format!("{{{}}}", properties(&kind));
        let node = parse(text.as_bytes(), &Limits::DEFAULT).unwrap();
        assert_eq!(node.select("/rows/value")[0].as_text(), Some("e'u"));
        let sql = node.get("sql").and_then(|node| node.as_text()).unwrap();
        assert_eq!(sql, r#"("re""gion" IS NOT NULL AND "re""gion" = $1)"#);
        assert_eq!(node.select("/parameters/0")[0].as_text(), Some("e'u"));
    }
}
