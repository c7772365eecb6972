//! The golden matrix: what every action is answered, for every chain of principals.
//!
//! Rows come from the closed lists of classes, effects and protocol methods, so that a new one that
//! is not in `matrix.golden` fails the test. After a deliberate change, run the tests once with
//! `UPDATE_GOLDEN=1` and review the difference like code.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use cordon_core::{
    Action, Ambiguity, Chain, Class, ClassKind, Context, Effect, Facts, Principal, PrincipalKind, ReasonKind,
    Request, Resource, Timestamp, Verdict,
};
use cordon_guard::policy::{PolicySet, PolicySource, decide};
use cordon_wire::mcp::Method;

/// Who may do what; the obligations are those that Cordon ships.
const PERMISSIONS: &str = r#"
@id("admin") permit (principal == User::"admin", action, resource);
@id("clerk") permit (principal == User::"clerk", action in [Action::"data.read", Action::"data.write", Action::"message.send"], resource);
@id("ops") permit (principal in Team::"ops", action, resource);
@id("protocol") permit (principal is User, action in Action::"effect:read", resource is Server);
@id("assistant") permit (principal == Agent::"assistant", action, resource);
@id("no-money") forbid (principal == Agent::"assistant", action in Action::"money.move", resource);
@id("reader") permit (principal == Agent::"reader", action in Action::"effect:read", resource);
"#;
const OBLIGATIONS: &str = include_str!("../../../../policies/starter/obligations/approvals.cedar");
const GOLDEN: &str = include_str!("matrix.golden");

/// The chains: owner, agent, and the user it acts for.
const CHAINS: &[(&str, &str, Option<&str>)] = &[
    ("admin", "assistant", None),
    ("admin", "assistant", Some("admin")),
    ("admin", "assistant", Some("clerk")),
    ("admin", "assistant", Some("stranger")),
    ("stranger", "assistant", Some("admin")),
    ("admin", "reader", Some("clerk")),
    ("team:ops", "assistant", Some("member")),
    ("admin", "stranger", Some("admin")),
];

#[test]
fn every_action_is_answered_as_the_matrix_says_for_every_chain() {
    let matrix = matrix();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/matrix.golden");
        std::fs::write(file, &matrix).unwrap();
        return;
    }
    for (line, (got, want)) in matrix.lines().zip(GOLDEN.lines()).enumerate() {
        assert_eq!(got, want, "line {} of matrix.golden", line + 1);
    }
    assert_eq!(
        matrix.lines().count(),
        GOLDEN.lines().count(),
        "a row is missing from matrix.golden, or too many"
    );
}

#[test]
fn the_matrix_names_every_class_effect_and_method() {
    for class in ClassKind::ALL {
        for effect in Effect::ALL {
            let row = format!("{} {}", class.as_str(), effect.as_str());
            assert!(GOLDEN.lines().any(|line| line.starts_with(&row)), "matrix.golden lacks `{row}`");
        }
    }
    for method in Method::ALL.iter().filter(|method| **method != Method::CallTool) {
        let row = format!("mcp {} ", method.as_str());
        assert!(GOLDEN.lines().any(|line| line.starts_with(&row)), "matrix.golden lacks `{row}`");
    }
    assert!(GOLDEN.contains("undeclared"));
}

#[test]
fn the_matrix_can_tell_principals_apart() {
    let parts = GOLDEN.split("== ").skip(1).filter_map(|part| part.split_once('\n'));
    let answers: BTreeSet<&str> = parts.map(|(_, answers)| answers).collect();
    assert_eq!(answers.len(), CHAINS.len() - 2, "an administrator's team may do what an administrator may");
}

fn matrix() -> String {
    let mut source = PolicySource::new();
    source.insert("permissions/matrix.cedar", PERMISSIONS);
    source.insert("obligations/approvals.cedar", OBLIGATIONS);
    let policies = PolicySet::compile(&source).unwrap_or_else(|found| {
        panic!("{}", found.iter().map(|finding| finding.render()).collect::<Vec<_>>().join("\n"))
    });
    let mut text = String::new();
    for (owner, agent, user) in CHAINS {
        let _ = writeln!(text, "== {owner} / {agent} / {}", user.unwrap_or("-"));
        let chain = (*owner, *agent, *user);
        for (name, action, kind) in rows() {
            let _ =
                writeln!(text, "{name:<44} {}", answer(&policies.policies, &request(&action, kind, chain)));
        }
    }
    text
}

fn rows() -> Vec<(String, Action, &'static str)> {
    let mut rows = vec![("undeclared".to_owned(), Action::undeclared("any/tool".parse().unwrap()), "Tool")];
    for class in ClassKind::ALL {
        for effect in Effect::ALL {
            let action = Action::declared("any/tool".parse().unwrap(), [Class::whole(*class)], *effect);
            rows.push((format!("{} {}", class.as_str(), effect.as_str()), action, "Tool"));
        }
    }
    for method in Method::ALL.iter().filter(|method| **method != Method::CallTool) {
        let name = format!("mcp/{}", method.as_str().replace('/', "."));
        let classes = method.classes().iter().copied().map(Class::whole);
        let action = Action::declared(name.parse().unwrap(), classes, method.effect());
        rows.push((format!("mcp {} {}", method.as_str(), method.effect()), action, "Server"));
    }
    rows
}

fn request(action: &Action, kind: &str, (owner, agent, user): (&str, &str, Option<&str>)) -> Request {
    let person = |name: &str| match name.strip_prefix("team:") {
        Some(team) => {
            let mut principal = Principal::new(PrincipalKind::User, "lead");
            principal.teams.push(team.into());
            principal
        }
        None => {
            let mut principal = Principal::new(PrincipalKind::User, name);
            if name == "member" {
                principal.teams.push("ops".into());
            }
            principal
        }
    };
    let agent = Principal::new(PrincipalKind::Agent, agent);
    Request {
        chain: Chain::new(Some(person(owner)), Some(agent), user.map(person)).unwrap(),
        action: action.clone(),
        resource: Resource::new(kind, "thing", "default"),
        context: Context::default(),
    }
}

fn answer(policies: &PolicySet, request: &Request) -> String {
    let mut facts = Facts { supported: BTreeSet::from(["approve"]), ..Facts::default() };
    if !request.action.is_declared() {
        facts.ambiguous.insert(Ambiguity::NoManifest);
    }
    let judgement = decide(policies, request, &facts, Timestamp::from_micros(1));
    let named = |kinds: &[ReasonKind]| {
        let rules: BTreeSet<String> = judgement
            .reasons
            .iter()
            .filter(|reason| kinds.contains(&reason.kind))
            .map(|reason| {
                let rule = reason.rule.rule.trim_start_matches("cordon:");
                reason
                    .principal
                    .filter(|_| reason.kind == ReasonKind::NotPermitted)
                    .map_or_else(|| rule.to_owned(), |role| format!("{rule}({})", role.as_str()))
            })
            .collect();
        rules.into_iter().collect::<Vec<_>>().join(" ")
    };
    match judgement.verdict {
        Verdict::Allow => "allow".to_owned(),
        Verdict::Ask => format!("ask: {}", named(&[ReasonKind::ApprovalDue])),
        Verdict::Deny => {
            format!(
                "deny: {}",
                named(&[ReasonKind::NotPermitted, ReasonKind::Forbidden, ReasonKind::Indeterminate])
            )
        }
    }
}
