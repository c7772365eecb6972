//! Whether another version of a tool would be let through where the present one is not.

use cordon_core::{ActionName, Facts, Judgement, Request, Timestamp, Verdict, join_obligations};

use crate::probe::Draw;
use crate::space::Space;
use crate::{PolicySet, decide};

/// What came of looking for a request that the new version makes looser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// How many requests were tried.
    pub tried: u64,
    /// Whether those were all that the rules tell apart.
    pub whole: bool,
    /// A request that is judged less strictly.
    pub looser: Option<Looser>,
}

/// A request that is judged less strictly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looser {
    /// The request, about the new version.
    pub request: Request,
    /// What Cordon would know.
    pub facts: Facts,
    /// When it is judged.
    pub now: Timestamp,
    /// How it is judged of the present version.
    pub was: Judgement,
    /// How it is judged of the new version.
    pub is: Judgement,
}

/// Looks for a request about `tool`, of which `old` and `new` have different manifests, that `new`
/// judges less strictly; the rules of both are the same ones.
pub fn looser(old: &PolicySet, new: &PolicySet, tool: &ActionName, tries: u64) -> Compared {
    let (before, after) = (old.action(tool), new.action(tool));
    let rules = |set: &PolicySet, action| {
        let about = set.rules_about(action);
        about.into_iter().filter_map(|place| set.inner().rules.get(place).cloned()).collect::<Vec<_>>()
    };
    let near: Vec<_> = rules(old, &before).into_iter().chain(rules(new, &after)).collect();
    let space = Space::new(&after, &near, []);
    let whole = space.size() <= u128::from(tries);
    let count = if whole { u64::try_from(space.size()).unwrap_or(tries) } else { tries };
    let mut compared = Compared { tried: 0, whole, looser: None };
    let mut draw = Draw::new();
    for at in 0..count {
        let made = if whole { space.nth(u128::from(at)) } else { space.sample(&mut draw) };
        let Some((request, facts, now)) = made else { continue };
        compared.tried = compared.tried.saturating_add(1);
        let was = decide(old, &Request { action: before.clone(), ..request.clone() }, &facts, now);
        let is = decide(new, &request, &facts, now);
        if is_looser(&was, &is) {
            compared.looser = Some(Looser { request, facts, now, was, is });
            return compared;
        }
    }
    compared
}

/// Whether `is` lets through what `was` does not, or with less to be done.
pub fn is_looser(was: &Judgement, is: &Judgement) -> bool {
    if is.verdict != was.verdict || is.verdict == Verdict::Deny {
        return is.verdict < was.verdict;
    }
    // All that was due is still due: joining it again changes nothing.
    let joined = join_obligations(is.obligations.iter().chain(&was.obligations).cloned());
    let kinds =
        |list: &[cordon_core::Obligation]| list.iter().map(|due| due.kind.clone()).collect::<Vec<_>>();
    kinds(&joined) != kinds(&is.obligations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PolicySource;

    const RULES: &str = r#"permit (principal, action in Action::"data.read", resource);
        permit (principal, action in Action::"money.move", resource);
        forbid (principal, action in Action::"effect:irreversible", resource)
        when { context.args has amount && context.args.amount > 100 };"#;
    const DUE: &str = r#"@obligation("approve") @role("approver")
        permit (principal, action in Action::"money.move", resource);
        @obligation("redact") @fields("ssn") permit (principal, action in Action::"data.read:people", resource);"#;

    fn set(classes: &str, effect: &str) -> PolicySet {
        let tool = format!("tool = \"a/b\"\nclasses = [{classes}]\neffect = \"{effect}\"\n");
        let source: PolicySource = [
            ("permissions/p.cedar", RULES.to_owned()),
            ("obligations/o.cedar", DUE.to_owned()),
            ("tools/t.toml", tool),
        ]
        .into_iter()
        .collect();
        PolicySet::compile(&source).unwrap().policies
    }

    #[test]
    fn what_a_version_escapes_is_found_and_what_it_takes_on_is_not() {
        for (old, new, want) in [
            (("\"money.move\"", "write"), ("\"data.read\"", "write"), Some((Verdict::Ask, Verdict::Allow))),
            (("\"data.read\"", "write"), ("\"money.move\"", "write"), None),
            (
                ("\"data.read\"", "irreversible"),
                ("\"data.read\"", "read"),
                Some((Verdict::Deny, Verdict::Allow)),
            ),
            (("\"data.read\"", "read"), ("\"data.read\"", "irreversible"), None),
            (
                ("\"data.read:people\"", "read"),
                ("\"data.read\"", "read"),
                Some((Verdict::Allow, Verdict::Allow)),
            ),
            (("\"data.read\"", "read"), ("\"data.read:people\"", "read"), None),
            (("", "read"), ("\"data.read\"", "read"), Some((Verdict::Deny, Verdict::Allow))),
        ] {
            let compared = looser(&set(old.0, old.1), &set(new.0, new.1), &"a/b".parse().unwrap(), 10_000);
            let found = compared.looser.map(|looser| (looser.was.verdict, looser.is.verdict));
            assert_eq!(found, want, "{old:?} to {new:?}");
            assert!(compared.whole && compared.tried > 0);
        }
    }
}
