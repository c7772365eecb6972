//! The policies that Cordon ships load without a warning and pass their own tests.

use cordon_core::Verdict;
use cordon_pdp::PolicySet;

use crate::support::{folder, judge, shown};

fn loads(path: &str) -> PolicySet {
    let compiled = match PolicySet::compile(&folder(path)) {
        Ok(compiled) => compiled,
        Err(findings) => panic!("{}", findings.iter().map(|f| f.render()).collect::<String>()),
    };
    assert!(compiled.warnings.is_empty(), "{:#?}", compiled.warnings);
    let report = compiled.policies.run_tests();
    assert_eq!(report.failed(), 0, "{}", report.first_failure());
    assert!(report.passed() > 0);
    compiled.policies
}

#[test]
fn the_starter_asks_for_exactly_six_cases() {
    let policies = loads("policies/starter");
    let mut asked = Vec::new();
    for class in cordon_core::ClassKind::ALL {
        for effect in cordon_core::Effect::ALL {
            let words = format!("owner:u agent:a does s/t {} {effect}", class.as_str());
            let judgement = judge(&policies, &words);
            let due = matches!(
                class.as_str(),
                "code.exec"
                    | "infra.change"
                    | "secret.use"
                    | "agent.delegate"
                    | "money.move"
                    | "message.send"
                    | "admin"
            ) || *effect == cordon_core::Effect::Irreversible;
            let want = if due { Verdict::Ask } else { Verdict::Allow };
            assert_eq!(judgement.verdict, want, "{words}: {}", shown(&judgement));
            asked.extend(judgement.reasons.into_iter().map(|reason| reason.rule.rule));
        }
    }
    let unknown = judge(&policies, "owner:u agent:a does un/declared");
    assert_eq!(unknown.verdict, Verdict::Ask);
    asked.extend(unknown.reasons.into_iter().map(|reason| reason.rule.rule));
    asked.sort();
    asked.dedup();
    let cases =
        ["administrative", "ambiguous", "external-communication", "financial", "high-impact", "irreversible"];
    assert_eq!(asked.iter().map(|rule| &**rule).filter(|rule| *rule != "tools").collect::<Vec<_>>(), cases);
}

#[test]
fn the_conformance_policy_allows_everything_but_the_forbidden() {
    let policies = loads("policies/conformance");
    for words in [
        "owner:u agent:a does fixture/any",
        "owner:u agent:a does fixture/any with x=?",
        "owner:u agent:a does mcp/tools.list - read on Server:fixture",
        "owner:u agent:a does mcp/resources.read data.read read on Document:fixture/x",
    ] {
        assert_eq!(judge(&policies, words).verdict, Verdict::Allow, "{words}");
    }
    assert_eq!(judge(&policies, "agent:a does cordon/never").verdict, Verdict::Deny);
}

#[test]
fn the_demo_policy_declares_every_office_tool() {
    let policies = loads("policies/demo");
    let tools: Vec<_> = policies.manifests().map(|manifest| manifest.tool.operation()).collect();
    let want = ["list_files", "list_mail", "pay", "read_file", "read_mail", "send_mail", "write_file"];
    assert_eq!(tools, want);
}

#[test]
fn the_authzen_policy_makes_the_decisions_of_the_certification_scenario() {
    let policies = loads("policies/authzen");
    assert_eq!(policies.known_principals(cordon_core::PrincipalKind::User), ["alice", "bob"]);
    assert_eq!(policies.known_principals(cordon_core::PrincipalKind::Agent), Vec::<&str>::new());
    assert_eq!(policies.known_resources("record"), ["record-1", "record-2"]);
    assert_eq!(policies.known_resources("spaceship"), Vec::<&str>::new());
    let actions: Vec<_> = policies.known_actions().iter().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(actions, ["delete", "read", "write"]);
}
