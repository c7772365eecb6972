//! Obligations as annotations of a policy (`spec/obligations.md`).

use std::collections::{BTreeMap, BTreeSet};

use cordon_core::{ActionName, Class, ObligationKind};

use crate::diagnostic::nearest;
use crate::manifest::TIERS;

/// Annotations that say something about the rule itself, on every policy.
pub(crate) const RULE_ANNOTATIONS: &[&str] = &["id", "message", "remedy", "description"];

/// The levels of `@obligation("log")`.
const LEVELS: &[&str] = &["debug", "info", "warn", "error"];

/// Reads `@obligation("…")` and its properties; the text says what is wrong and what was expected.
pub(crate) fn read(annotations: &BTreeMap<String, String>) -> Result<ObligationKind, String> {
    let name = annotations.get("obligation").ok_or("a policy in obligations/ needs `@obligation(\"…\")`")?;
    let properties = properties(name)?;
    for given in annotations.keys().filter(|given| !is_about_rule(given) && *given != "obligation") {
        if !properties.contains(&given.as_str()) {
            let known = properties.iter().chain(RULE_ANNOTATIONS).copied();
            let hint = nearest(given, known).map_or_else(
                || format!("it takes {}", listed(properties)),
                |close| format!("did you mean `@{close}`?"),
            );
            return Err(format!("the obligation `{name}` has no property `@{given}`; {hint}"));
        }
    }
    build(name, &Properties { name, annotations })
}

/// The properties that each obligation takes.
pub(crate) fn properties(name: &str) -> Result<&'static [&'static str], String> {
    Ok(match name {
        "approve" => &["role", "quorum"],
        "redact" | "mask" => &["fields"],
        "row_filter" => &["condition"],
        "max_rows" | "max_bytes" => &["limit"],
        "rate" | "budget" => &["limit", "window_s"],
        "sandbox" => &["tier"],
        "egress" => &["hosts"],
        "log" => &["level"],
        "notify" => &["to"],
        "revoke" => &["classes"],
        "disable_tool" => &["tools"],
        "dry_run" | "monitor" | "network_off" | "block_delegation" | "rotate_credentials" | "read_only"
        | "isolate" | "terminate" => &[],
        _ => {
            let hint = nearest(name, ObligationKind::NAMES.iter().copied()).map_or_else(
                || format!("expected one of `{}`", ObligationKind::NAMES.join("`, `")),
                |close| format!("did you mean `{close}`?"),
            );
            return Err(format!("`{name}` is not an obligation; {hint}"));
        }
    })
}

fn build(name: &str, given: &Properties<'_>) -> Result<ObligationKind, String> {
    Ok(match name {
        "approve" => ObligationKind::Approve {
            role: given.word("role")?,
            quorum: given.number("quorum", Some(1), 1, 100).and_then(narrow)?,
        },
        "redact" => ObligationKind::Redact { fields: given.list("fields")? },
        "mask" => ObligationKind::Mask { fields: given.list("fields")? },
        "row_filter" => ObligationKind::RowFilter {
            conditions: BTreeSet::from([given.need("condition")?.into()]),
            rows: BTreeSet::new(),
        },
        "max_rows" => ObligationKind::MaxRows { limit: given.number("limit", None, 0, u64::MAX)? },
        "max_bytes" => ObligationKind::MaxBytes { limit: given.number("limit", None, 0, u64::MAX)? },
        "rate" => ObligationKind::Rate {
            limit: given.number("limit", None, 0, u64::MAX)?,
            window_s: given.number("window_s", None, 1, u64::MAX)?,
        },
        "budget" => ObligationKind::Budget {
            limit: given.number("limit", None, 0, u64::MAX)?,
            window_s: given.number("window_s", None, 1, u64::MAX)?,
        },
        "sandbox" => ObligationKind::Sandbox { tier: given.one_of("tier", &TIERS)? },
        "egress" => ObligationKind::Egress { hosts: given.list("hosts")? },
        "log" => ObligationKind::Log { level: given.one_of("level", LEVELS)? },
        "notify" => ObligationKind::Notify { to: given.list("to")? },
        "revoke" => {
            let classes = given.list("classes")?;
            if let Some(error) = classes.iter().find_map(|class| class.parse::<Class>().err()) {
                return Err(format!("`@classes`: {error}"));
            }
            ObligationKind::Revoke { classes }
        }
        "disable_tool" => {
            let tools = given.list("tools")?;
            if let Some(error) = tools.iter().find_map(|tool| tool.parse::<ActionName>().err()) {
                return Err(format!("`@tools`: {error}"));
            }
            ObligationKind::DisableTool { tools }
        }
        "dry_run" => ObligationKind::DryRun,
        "monitor" => ObligationKind::Monitor,
        "network_off" => ObligationKind::NetworkOff,
        "block_delegation" => ObligationKind::BlockDelegation,
        "rotate_credentials" => ObligationKind::RotateCredentials,
        "read_only" => ObligationKind::ReadOnly,
        "isolate" => ObligationKind::Isolate,
        "terminate" => ObligationKind::Terminate,
        _ => return Err(format!("`{name}` is not an obligation")),
    })
}

struct Properties<'a> {
    name: &'a str,
    annotations: &'a BTreeMap<String, String>,
}

impl<'a> Properties<'a> {
    fn need(&self, property: &str) -> Result<&'a str, String> {
        self.annotations
            .get(property)
            .map(|text| text.trim())
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("the obligation `{}` needs `@{property}(\"…\")`", self.name))
    }

    fn word(&self, property: &str) -> Result<Box<str>, String> {
        let text = self.need(property)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if text.len() <= 64 && text.bytes().all(plain) {
            return Ok(text.into());
        }
        Err(format!("`@{property}` is `{text}`, expected one word of letters, digits, `-_.`"))
    }

    fn number(&self, property: &str, default: Option<u64>, min: u64, max: u64) -> Result<u64, String> {
        let text = match (self.annotations.get(property), default) {
            (None, Some(default)) => return Ok(default),
            _ => self.need(property)?,
        };
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && (min..=max).contains(number));
        number.ok_or_else(|| match max {
            u64::MAX => format!("`@{property}` is `{text}`, expected a whole number of at least {min}"),
            _ => format!("`@{property}` is `{text}`, expected a whole number from {min} to {max}"),
        })
    }

    fn list(&self, property: &str) -> Result<BTreeSet<Box<str>>, String> {
        let text = self.need(property)?;
        let items: Vec<&str> = text.split(',').map(str::trim).collect();
        if items.iter().any(|item| item.is_empty()) {
            return Err(format!("`@{property}` is `{text}`, expected names separated by commas"));
        }
        Ok(items.into_iter().map(Into::into).collect())
    }

    fn one_of(&self, property: &str, known: &[&str]) -> Result<Box<str>, String> {
        let text = self.need(property)?;
        if known.contains(&text) {
            return Ok(text.into());
        }
        Err(format!("`@{property}` is `{text}`, expected {}", listed(known)))
    }
}

pub(crate) fn is_about_rule(annotation: &str) -> bool {
    RULE_ANNOTATIONS.contains(&annotation)
}

fn narrow(number: u64) -> Result<u32, String> {
    u32::try_from(number).map_err(|_| format!("{number} is too large"))
}

fn listed(words: &[&str]) -> String {
    match words {
        [] => "none".to_owned(),
        words => format!("`{}`", words.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(annotations: &[(&str, &str)], want: Result<ObligationKind, &str>) {
        let annotations = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        match (read(&annotations), want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want),
            (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
            (got, want) => panic!("{annotations:?}: {got:?}, expected {want:?}"),
        }
    }

    #[test]
    fn every_obligation_of_the_vocabulary_can_be_written() {
        let filled = [
            ("role", "approver"),
            ("quorum", "2"),
            ("fields", "a, b"),
            ("condition", "x = 1"),
            ("limit", "3"),
            ("window_s", "60"),
            ("tier", "wasm"),
            ("hosts", "a.example"),
            ("level", "warn"),
            ("to", "ops"),
            ("classes", "net.egress,data.read:orders"),
            ("tools", "mail/send"),
        ];
        for name in ObligationKind::NAMES {
            let takes = properties(name).unwrap();
            let mut annotations: BTreeMap<String, String> = filled
                .iter()
                .filter(|(property, _)| takes.contains(property))
                .map(|(property, value)| ((*property).to_owned(), (*value).to_owned()))
                .collect();
            annotations.insert("obligation".to_owned(), (*name).to_owned());
            annotations.insert("id".to_owned(), "x".to_owned());
            assert_eq!(read(&annotations).map(|kind| kind.name()), Ok(*name));
            // Each property that has no default is needed.
            for property in takes.iter().filter(|property| **property != "quorum") {
                let mut without = annotations.clone();
                without.remove(*property);
                assert!(read(&without).is_err(), "{name} without {property}");
            }
        }
    }

    #[test]
    fn obligations_and_properties_that_are_not_known_are_refused() {
        check(&[("id", "x")], Err("needs `@obligation"));
        check(&[("obligation", "aprove")], Err("did you mean `approve`?"));
        check(&[("obligation", "sing")], Err("is not an obligation"));
        check(&[("obligation", "approve"), ("role", "a"), ("quorom", "2")], Err("did you mean `@quorum`?"));
        check(&[("obligation", "monitor"), ("limit", "2")], Err("has no property `@limit`; it takes none"));
        check(&[("obligation", "approve"), ("role", "a"), ("quorum", "0")], Err("from 1 to 100"));
        check(&[("obligation", "approve"), ("role", "a"), ("quorum", "+1")], Err("from 1 to 100"));
        check(&[("obligation", "approve"), ("role", "a b")], Err("expected one word"));
        check(&[("obligation", "redact"), ("fields", "a,,b")], Err("separated by commas"));
        check(&[("obligation", "sandbox"), ("tier", "vm")], Err("expected `process`"));
        check(&[("obligation", "revoke"), ("classes", "net.egres")], Err("is not a capability class"));
        check(
            &[("obligation", "approve"), ("role", "approver")],
            Ok(ObligationKind::Approve { role: "approver".into(), quorum: 1 }),
        );
    }
}
