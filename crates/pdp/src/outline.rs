//! The rules of a source as text: what changed between two sources, and which words they use.

use std::collections::BTreeSet;

use cordon_core::RuleRef;

use crate::PolicySource;
use crate::cedar_text::{CedarText, Kind, NAMESPACE, PolicyText, Token, tokens};
use crate::explain::RuleKind;

/// One rule of a source, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleOutline {
    /// The rule, and where it stands.
    pub at: RuleRef,
    /// What it does.
    pub kind: RuleKind,
    /// Its text from the first annotation to the semicolon, names written whole.
    pub text: Box<str>,
    pub(crate) words: Words,
}

/// The names and literals in a rule, from which a request can be made that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Words {
    /// Entities that are named: type without the namespace, and identifier.
    pub(crate) entities: Vec<(Box<str>, Box<str>)>,
    /// Attribute paths such as `context.args.to`, each with the literals that stand near it.
    pub(crate) paths: Vec<(Vec<Box<str>>, BTreeSet<Literal>)>,
}

/// A literal in a condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Literal {
    Text(Box<str>),
    /// What `like` compares with; `*` is any text.
    Pattern(Box<str>),
    Long(i64),
    Bool(bool),
}

/// How far a literal may stand from the path it is compared with, in tokens.
const NEAR: usize = 12;

impl PolicySource {
    /// The rules of all Cedar files that can be read, in order of file and line.
    pub fn outline(&self) -> Vec<RuleOutline> {
        let mut rules = Vec::new();
        for (path, bytes) in self.files() {
            let folder = path.split_once('/').map_or("", |(folder, _)| folder);
            let cedar = path.ends_with(".cedar") && matches!(folder, "permissions" | "obligations");
            let text = std::str::from_utf8(bytes).ok().filter(|_| cedar);
            let Some((source, read)) = text.and_then(|text| Some((text, CedarText::read(text).ok()?))) else {
                continue;
            };
            rules.extend(read.policies.iter().map(|policy| rule(path, source, &read, policy)));
        }
        rules
    }

    /// The source without its permissions: prohibitions, obligations and everything else stay.
    #[must_use]
    pub fn without_permissions(&self) -> Self {
        let without = |path: &str, bytes: &Vec<u8>| {
            let text = std::str::from_utf8(bytes).ok().filter(|_| path.starts_with("permissions/"));
            let read = text.and_then(|text| Some((text, CedarText::read(text).ok()?)));
            let Some((text, read)) = read else { return bytes.clone() };
            let mut kept = String::with_capacity(text.len());
            let mut from = 0;
            for policy in &read.policies {
                if read.part(policy.effect.clone()) == "permit" {
                    let span = read.original(policy.span.clone());
                    kept.push_str(text.get(from..span.start).unwrap_or_default());
                    from = span.end;
                }
            }
            kept.push_str(text.get(from..).unwrap_or_default());
            kept.into_bytes()
        };
        self.files().iter().map(|(path, bytes)| (path.clone(), without(path, bytes))).collect()
    }
}

fn rule(path: &str, source: &str, cedar: &CedarText, policy: &PolicyText) -> RuleOutline {
    let kind = match (path.starts_with("obligations/"), cedar.part(policy.effect.clone())) {
        (true, _) => RuleKind::Obligation,
        (false, "forbid") => RuleKind::Prohibition,
        (false, _) => RuleKind::Permission,
    };
    let start = cedar.original(policy.effect.clone()).start;
    let before = source.get(..start).unwrap_or_default().matches('\n').count();
    let line = u32::try_from(before.saturating_add(1)).unwrap_or(u32::MAX);
    let id = annotation(cedar.part(policy.span.start..policy.effect.start), "id");
    let name = id.unwrap_or_else(|| format!("{path}:{line}").into());
    RuleOutline {
        at: RuleRef { rule: name.into(), file: path.into(), line },
        kind,
        text: cedar.part(policy.span.clone()).into(),
        words: words(cedar.part(policy.effect.end..policy.span.end)),
    }
}

fn annotation(text: &str, name: &str) -> Option<Box<str>> {
    let tokens = tokens(text);
    let found = tokens.windows(4).find(|part| match part {
        [at, word, open, value] => {
            at.kind == Kind::Mark(b'@')
                && text.get(word.start..word.end) == Some(name)
                && open.kind == Kind::Mark(b'(')
                && value.kind == Kind::Text
        }
        _ => false,
    });
    found.and_then(<[Token]>::last).and_then(|value| unquoted(text.get(value.start..value.end)?))
}

fn words(text: &str) -> Words {
    let tokens = tokens(text);
    let part =
        |at: usize| tokens.get(at).and_then(|token| text.get(token.start..token.end)).unwrap_or_default();
    let kind = |at: usize| tokens.get(at).map(|token| token.kind);
    let mut words = Words::default();
    let mut places = Vec::new();
    let mut literals = Vec::new();
    let mut at = 0usize;
    while at < tokens.len() {
        let next = at.saturating_add(1);
        let back = |by: usize| at.checked_sub(by).map(part).unwrap_or_default();
        match (kind(at), part(at)) {
            (Some(Kind::Word), "context" | "principal" | "resource") if back(1) != "." => {
                let (path, end) = path(at, &part);
                if path.len() > 1 {
                    places.push((at, path));
                }
                at = end;
                continue;
            }
            (Some(Kind::Word), "true" | "false") => literals.push((at, Literal::Bool(part(at) == "true"))),
            (Some(Kind::Text), quoted) => {
                let Some(value) = unquoted(quoted) else { break };
                match (back(1), back(2)) {
                    ("::", kind) if kind != NAMESPACE => words.entities.push((kind.into(), value)),
                    ("like", _) => literals.push((at, Literal::Pattern(value))),
                    _ => literals.push((at, Literal::Text(value))),
                }
            }
            (Some(Kind::Mark(b'0'..=b'9')), _) => {
                let end = (next..tokens.len())
                    .find(|at| !matches!(kind(*at), Some(Kind::Mark(b'0'..=b'9'))))
                    .unwrap_or(tokens.len());
                let digits: String = (at..end).map(part).collect();
                let sign = if back(1) == "-" { -1 } else { 1 };
                let number = digits.parse::<i64>().ok().and_then(|number| number.checked_mul(sign));
                literals.extend(number.map(|number| (at, Literal::Long(number))));
                at = end;
                continue;
            }
            _ => {}
        }
        at = next;
    }
    for (place, path) in places {
        let near = literals.iter().filter(|(at, _)| at.abs_diff(place) <= NEAR);
        words.paths.push((path, near.map(|(_, literal)| literal.clone()).collect()));
    }
    words
}

/// The path that starts at a token, `has` taken for a dot, and the token after it.
fn path<'t>(start: usize, part: &impl Fn(usize) -> &'t str) -> (Vec<Box<str>>, usize) {
    let mut path: Vec<Box<str>> = vec![part(start).into()];
    let mut at = start.saturating_add(1);
    while matches!(part(at), "." | "has") {
        let name = part(at.saturating_add(1));
        let called = part(at.saturating_add(2)) == "(";
        if called || name.is_empty() {
            break;
        }
        path.push(unquoted(name).unwrap_or_else(|| name.into()));
        at = at.saturating_add(2);
    }
    (path, at)
}

/// The text in a quoted literal.
fn unquoted(quoted: &str) -> Option<Box<str>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next()? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                other => out.push(other),
            },
            (c, false) => out.push(c),
        }
    }
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> PolicySource {
        [("permissions/p.cedar", text)].into_iter().collect()
    }

    #[test]
    fn a_rule_is_named_and_its_words_are_found_beside_what_they_are_compared_with() {
        let rules = source(
            "// a comment\n@id(\"big\") @message(\"no\")\nforbid (principal == User::\"ann\", action == Action::\"bank/pay\", \
             resource)\nwhen { context.args.amount > 5000 && context.args has to && context.args.to like \"*@x.test\" };",
        )
        .outline();
        let [rule] = &rules[..] else { panic!("{rules:?}") };
        assert_eq!((&*rule.at.rule, rule.at.line, rule.kind), ("big", 3, RuleKind::Prohibition));
        let entities: Vec<_> = rule.words.entities.iter().map(|(kind, id)| (&**kind, &**id)).collect();
        assert_eq!(entities, [("User", "ann"), ("Action", "bank/pay")]);
        let of = |name: &str| {
            let found =
                rule.words.paths.iter().filter(|(path, _)| path.last().map(|last| &**last) == Some(name));
            found.flat_map(|(_, literals)| literals.clone()).collect::<BTreeSet<_>>()
        };
        assert!(of("amount").contains(&Literal::Long(5000)));
        assert!(of("to").contains(&Literal::Pattern("*@x.test".into())));
    }

    #[test]
    fn without_permissions_only_permissions_are_gone() {
        let text = "@id(\"a\") permit (principal, action, resource);\n@id(\"b\") forbid (principal, action, \
                    resource) when { context.args has \"permit\" };\npermit (principal, action, resource);";
        let without = source(text).without_permissions();
        let left: Vec<_> = without.outline().into_iter().map(|rule| rule.at.rule).collect();
        assert_eq!(left.iter().map(|rule| &**rule).collect::<Vec<_>>(), ["b"]);
        assert!(crate::PolicySet::compile(&without).is_ok());
    }
}
