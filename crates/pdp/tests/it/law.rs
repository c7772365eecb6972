//! Laws that hold for every policy and every request.

use cordon_core::{Facts, Judgement, Verdict};
use cordon_pdp::{Bundle, BundleRole, PolicySet, Trust, decide, parse_manifests};
use proptest::prelude::*;

use crate::support::{NOON, facts, request, source};

fn principal() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "principal",
        "principal is Agent",
        "principal == User::\"o\"",
        "principal in Team::\"t\"",
    ])
}

fn action() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "action",
        "action == Action::\"x/y\"",
        "action in Action::\"data.read\"",
        "action in [Action::\"admin\", Action::\"effect:write\"]",
        "action in Action::\"data.read:orders\"",
    ])
}

fn condition() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "when { context.args has n && context.args.n > 3 }",
        "when { context.args.n > 3 }",
        "unless { action in Action::\"admin\" }",
        "when { context has purpose }",
        "unless { principal has level && principal.level == 1 }",
        "when { context.ambiguous.isEmpty() }",
    ])
}

fn policy(effect: &'static str) -> impl Strategy<Value = String> {
    (principal(), action(), condition()).prop_map(move |(principal, action, condition)| {
        format!("{effect}({principal}, {action}, resource) {condition};\n")
    })
}

fn words() -> impl Strategy<Value = String> {
    let who = prop::sample::select(vec![
        "agent:a",
        "agent:a owner:o",
        "agent:a owner:p.level=1",
        "owner:o user:o",
        "owner:o.level=? agent:a",
    ]);
    let what = prop::sample::select(vec![
        "x/y",
        "x/z",
        "x/y data.read read",
        "x/y admin write",
        "x/y data.read:orders read",
    ]);
    let args =
        prop::sample::select(vec!["", " with n=4", " with n=1", " with n=?", " with n=text", " with m=?"]);
    (who, what, args).prop_map(|(who, what, args)| format!("{who} does {what}{args}"))
}

fn obligation() -> impl Strategy<Value = String> {
    let head = prop::sample::select(vec![
        "@obligation(\"approve\") @role(\"r\") ",
        "@obligation(\"redact\") @fields(\"f\") ",
        "@obligation(\"isolate\") ",
    ]);
    (head, policy("permit")).prop_map(|(head, policy)| format!("{head}{policy}"))
}

fn judged(permissions: &str, obligations: &str, words: &str, facts: &Facts) -> Judgement {
    let source = source(&[("permissions/p.cedar", permissions), ("obligations/o.cedar", obligations)]);
    let policies = match PolicySet::compile(&source) {
        Ok(compiled) => compiled.policies,
        Err(findings) => panic!("{findings:?}"),
    };
    decide(&policies, &request(&policies, words), facts, NOON)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn adding_a_prohibition_or_an_obligation_never_loosens(
        permits in prop::collection::vec(policy("permit"), 0..4),
        forbids in prop::collection::vec(policy("forbid"), 0..3),
        more in policy("forbid"),
        obligations in prop::collection::vec(obligation(), 0..2),
        one_more in obligation(),
        words in words(),
        able in any::<bool>(),
    ) {
        let facts = if able { facts() } else { Facts::default() };
        let permits = permits.concat() + &forbids.concat();
        let before = judged(&permits, &obligations.concat(), &words, &facts);
        let forbidden = judged(&(permits.clone() + &more), &obligations.concat(), &words, &facts);
        prop_assert!(forbidden.verdict >= before.verdict);
        let obliged = judged(&permits, &(obligations.concat() + &one_more), &words, &facts);
        prop_assert!(obliged.verdict >= before.verdict);
        if obliged.verdict == before.verdict && before.verdict != Verdict::Deny {
            prop_assert!(obliged.obligations.len() >= before.obligations.len());
        }
    }

    #[test]
    fn neither_the_order_of_files_nor_asking_twice_changes_the_answer(
        rules in prop::collection::vec(prop_oneof![policy("permit"), policy("forbid")], 1..6),
        words in words(),
    ) {
        let forward: Vec<(String, &str)> =
            rules.iter().enumerate().map(|(n, rule)| (format!("permissions/{n}.cedar"), rule.as_str())).collect();
        let named: Vec<(String, String)> = forward
            .iter()
            .enumerate()
            .map(|(n, (path, rule))| (path.clone(), format!("@id(\"r{n}\") {rule}")))
            .collect();
        let moved: Vec<(String, String)> =
            named.iter().rev().enumerate().map(|(n, (_, rule))| (format!("permissions/{n}.cedar"), rule.clone())).collect();
        let judge = |files: &[(String, String)]| {
            let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            let policies = PolicySet::compile(&source(&files)).unwrap().policies;
            let asked = request(&policies, &words);
            let judgement = decide(&policies, &asked, &facts(), NOON);
            prop_assert_eq!(&judgement, &decide(&policies, &asked, &facts(), NOON));
            let mut rules: Vec<_> = judgement.reasons.iter().map(|r| (r.kind, r.rule.rule.clone())).collect();
            rules.sort();
            Ok((judgement.verdict, rules))
        };
        prop_assert_eq!(judge(&named)?, judge(&moved)?);
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for path in [
            "permissions/p.cedar", "obligations/o.cedar", "schema/s.cedarschema", "tools/t.toml", "tests/t.toml",
            "data/entities.json", "data/asserted.json", "risk.toml",
        ] {
            let _ = PolicySet::compile(&[(path, text.as_bytes())].into_iter().collect());
            let _ = PolicySet::compile(&[(path, bytes.clone())].into_iter().collect());
        }
        let _ = parse_manifests("f", &text);
        let files = [("cordon-bundle.json".into(), bytes)].into();
        prop_assert!(Bundle::verify(files, &Trust::new(), BundleRole::Policy, None, NOON).is_err());
    }

    #[test]
    fn a_damaged_file_is_read_or_refused_without_harm(cut in 0usize..4000, bit in 0u8..8, which in 0usize..6) {
        let source = crate::support::folder("policies/demo");
        let mut files = source.files().clone();
        let path = files.keys().nth(which % files.len()).unwrap().clone();
        let bytes = files.get_mut(&path).unwrap();
        let at = cut % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = PolicySet::compile(&files.clone().into());
        files.get_mut(&path).unwrap().truncate(at);
        let _ = PolicySet::compile(&files.into());
    }
}
