//! What was seen of each principal's calls, and the narrowest permissions that cover it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cordon_core::{Principal, PrincipalKind, Record, Request, Value};

/// Most different texts that are listed for one argument or resource.
const TEXTS_MAX: usize = 16;
/// Most permissions that are proposed.
const PERMISSIONS_MAX: usize = 10_000;
/// Shortest common ending that is worth a pattern.
const ENDING_MIN: usize = 4;

/// Permitted calls, by principal, action and type of resource.
#[derive(Debug, Default)]
pub(super) struct Seen {
    calls: u64,
    groups: BTreeMap<Subject, Group>,
}

/// A principal's type and identifier, an action, and a type of resource.
type Subject = (PrincipalKind, Box<str>, Box<str>, Box<str>);

/// The calls of one principal with one tool.
#[derive(Debug, Default)]
struct Group {
    calls: u64,
    resources: Texts,
    args: BTreeMap<Box<str>, Range>,
}

/// The values of one argument.
#[derive(Debug, Default)]
struct Range {
    /// In how many calls it was there.
    calls: u64,
    texts: Texts,
    longs: Option<(i64, i64)>,
    bools: BTreeSet<bool>,
    /// Values of other types, which are not constrained.
    others: u64,
}

/// Different texts, up to a bound, and what they all end with.
#[derive(Debug, Default)]
struct Texts {
    listed: BTreeSet<Box<str>>,
    more: bool,
    ending: Option<String>,
}

impl Texts {
    fn add(&mut self, text: &str) {
        self.ending = Some(match self.ending.take() {
            None => text.to_owned(),
            Some(ending) => common_ending(&ending, text),
        });
        if self.listed.len() < TEXTS_MAX || self.listed.contains(text) {
            self.listed.insert(text.into());
        } else {
            self.more = true;
        }
    }
}

impl Seen {
    /// Adds one permitted call.
    pub(super) fn take(&mut self, request: &Request) {
        self.calls = self.calls.saturating_add(1);
        let who: BTreeMap<_, &Principal> =
            request.chain.members().map(|(_, who)| ((who.kind, who.id.clone()), who)).collect();
        for (kind, id) in who.into_keys() {
            let key =
                (kind, id, request.action.name().as_str().into(), request.resource.kind.as_str().into());
            if self.groups.len() >= PERMISSIONS_MAX && !self.groups.contains_key(&key) {
                continue;
            }
            self.groups.entry(key).or_default().take(&request.resource.id, &request.context.args);
        }
    }

    /// How many calls were seen.
    pub(super) const fn calls(&self) -> u64 {
        self.calls
    }

    /// How many permissions that makes.
    pub(super) fn permissions(&self) -> usize {
        self.groups.len()
    }

    /// The permissions as Cedar, and the line at which each starts; those at the places `plain` without
    /// conditions on arguments.
    pub(super) fn cedar(&self, plain: &[usize]) -> (String, Vec<u32>) {
        let mut text = format!(
            "// A proposal from {} permitted calls: what was seen, no more. Read it, widen it where work needs\n\
             // it, give the rules names that say why, and only then sign it.\n",
            self.calls
        );
        let mut starts = Vec::new();
        for (at, ((kind, id, action, resource), group)) in self.groups.iter().enumerate() {
            let lines = text.matches('\n').count().saturating_add(2);
            starts.push(u32::try_from(lines).unwrap_or(u32::MAX));
            let _ = write!(
                text,
                "\n// {} calls{}\n@id(\"learned-{}\")\npermit (\n    principal == {}::{},\n    action == Action::{},\n    {}\n)",
                group.calls,
                group.free(),
                at.saturating_add(1),
                kind.as_str(),
                quoted(id),
                quoted(action),
                group.scope(resource),
            );
            let mut conditions = group.resources(resource);
            match plain.contains(&at) {
                true => text
                    .push_str("\n// Its arguments are not constrained: the schema does not say their types."),
                false => conditions.extend(group.arguments()),
            }
            if !conditions.is_empty() {
                let _ = write!(text, "\nwhen {{\n    {}\n}}", conditions.join(" &&\n    "));
            }
            text.push_str(";\n");
        }
        (text, starts)
    }
}

impl Group {
    fn take(&mut self, resource: &str, args: &Record) {
        self.calls = self.calls.saturating_add(1);
        self.resources.add(resource);
        for (name, value) in args {
            let range = self.args.entry(name.clone()).or_default();
            range.calls = range.calls.saturating_add(1);
            match value {
                Value::Text(text) => range.texts.add(text),
                Value::Long(number) => {
                    let (low, high) = range.longs.unwrap_or((*number, *number));
                    range.longs = Some((low.min(*number), high.max(*number)));
                }
                Value::Bool(value) => drop(range.bools.insert(*value)),
                _ => range.others = range.others.saturating_add(1),
            }
        }
    }

    /// The resource's part of the scope: the one that was seen, or its type.
    fn scope(&self, kind: &str) -> String {
        let mut listed = self.resources.listed.iter();
        match (listed.next(), listed.next(), self.resources.more) {
            (Some(only), None, false) => format!("resource == {kind}::{}", quoted(only)),
            _ => format!("resource is {kind}"),
        }
    }

    /// The condition on several resources.
    fn resources(&self, kind: &str) -> Vec<String> {
        if self.resources.more || self.resources.listed.len() < 2 {
            return Vec::new();
        }
        let listed: Vec<String> =
            self.resources.listed.iter().map(|id| format!("{kind}::{}", quoted(id))).collect();
        vec![format!("[{}].contains(resource)", listed.join(", "))]
    }

    /// Which arguments are not constrained, in words: their values were too many or of several types.
    fn free(&self) -> String {
        let free = self.args.iter().filter(|(name, range)| !is_word(name) || range.condition("").is_none());
        let names: Vec<String> = free.map(|(name, _)| name.escape_debug().to_string()).collect();
        match names.is_empty() {
            true => String::new(),
            false => format!("; any value of: {}", names.join(", ")),
        }
    }

    /// The conditions on arguments; one that was not in every call may be left out.
    fn arguments(&self) -> Vec<String> {
        let conditions = self.args.iter().filter(|(name, _)| is_word(name)).filter_map(|(name, range)| {
            let path = format!("context.args.{name}");
            let condition = range.condition(&path)?;
            Some(match range.calls == self.calls {
                true => format!("context.args has {name} && {condition}"),
                false => format!("(!(context.args has {name}) || {condition})"),
            })
        });
        conditions.collect()
    }
}

impl Range {
    /// What holds for every value that was seen; none where the values are of several types or too many.
    fn condition(&self, path: &str) -> Option<String> {
        let texts = &self.texts;
        match (self.others, texts.listed.is_empty(), self.longs, self.bools.len()) {
            (0, false, None, 0) if !texts.more => {
                let listed: Vec<String> = texts.listed.iter().map(|text| quoted(text)).collect();
                Some(match &listed[..] {
                    [only] => format!("{path} == {only}"),
                    listed => format!("[{}].contains({path})", listed.join(", ")),
                })
            }
            (0, false, None, 0) => {
                let ending = texts.ending.as_ref().filter(|ending| ending.chars().count() >= ENDING_MIN)?;
                Some(format!("{path} like {}", quoted(ending).replace('*', "\\*").replacen('"', "\"*", 1)))
            }
            (0, true, Some((low, high)), 0) if low == high => Some(format!("{path} == {low}")),
            (0, true, Some((low, high)), 0) => Some(format!("{path} >= {low} && {path} <= {high}")),
            (0, true, None, 1) => self.bools.first().map(|value| format!("{path} == {value}")),
            _ => None,
        }
    }
}

fn common_ending(a: &str, b: &str) -> String {
    let same = a.chars().rev().zip(b.chars().rev()).take_while(|(a, b)| a == b).count();
    let skip = a.chars().count().saturating_sub(same);
    a.chars().skip(skip).collect()
}

/// A name that can stand behind a dot in Cedar.
fn is_word(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let reserved = ["true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"];
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !reserved.contains(&name)
}

/// A text as a Cedar literal.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use cordon_core::{Action, Chain, Context, Effect, Facts, Resource, Timestamp, Verdict};
    use cordon_guard::policy::{PolicySet, PolicySource, decide};

    use super::*;

    fn request(to: &str, amount: i64) -> Request {
        Request {
            chain: Chain::new(None, Some(Principal::new(PrincipalKind::Agent, "b\"ot")), None).unwrap(),
            action: Action::declared("bank/pay".parse().unwrap(), [], Effect::Write),
            resource: Resource::new("Tool", "bank/pay", "default"),
            context: Context {
                args: Record::from([("to".into(), Value::text(to)), ("amount".into(), Value::Long(amount))]),
                ..Context::default()
            },
        }
    }

    fn learned(seen: &Seen) -> PolicySet {
        let schema = r#"{"type":"object","properties":{"to":{"type":"string"},"amount":{"type":"integer"}}}"#;
        let manifest =
            format!("tool = \"bank/pay\"\nclasses = []\neffect = \"write\"\ninput_schema = '''{schema}'''\n");
        let source: PolicySource =
            [("permissions/learned.cedar", seen.cedar(&[]).0), ("tools/t.toml", manifest)]
                .into_iter()
                .collect();
        match PolicySet::compile(&source) {
            Ok(compiled) => compiled.policies,
            Err(found) => panic!("{}\n{}", found[0].render(), seen.cedar(&[]).0),
        }
    }

    fn verdict(policies: &PolicySet, request: &Request) -> Verdict {
        decide(policies, request, &Facts::default(), Timestamp::from_micros(0)).verdict
    }

    #[test]
    fn what_was_seen_is_permitted_and_its_neighbour_is_not() {
        let mut seen = Seen::default();
        for (to, amount) in [("a\\*b", -3), ("c", 70)] {
            seen.take(&request(to, amount));
        }
        let policies = learned(&seen);
        for (to, amount, want) in [
            ("a\\*b", -3, Verdict::Allow),
            ("c", 70, Verdict::Allow),
            ("c", 5, Verdict::Allow),
            ("c", 71, Verdict::Deny),
            ("c", -4, Verdict::Deny),
            ("d", 5, Verdict::Deny),
        ] {
            assert_eq!(verdict(&policies, &request(to, amount)), want, "{to} {amount}");
        }
        let mut other = request("c", 5);
        other.chain = Chain::new(None, Some(Principal::new(PrincipalKind::Agent, "bot")), None).unwrap();
        assert_eq!(verdict(&policies, &other), Verdict::Deny, "another agent");
    }

    #[test]
    fn many_texts_become_what_they_all_end_with() {
        let mut seen = Seen::default();
        for n in 0..40 {
            seen.take(&request(&format!("{n}*@example.com"), 1));
        }
        let policies = learned(&seen);
        assert_eq!(verdict(&policies, &request("new*@example.com", 1)), Verdict::Allow);
        assert_eq!(verdict(&policies, &request("new@example.com", 1)), Verdict::Deny, "the star is a star");
        assert_eq!(verdict(&policies, &request("new*@example.org", 1)), Verdict::Deny);
        // Texts that have nothing in common are not constrained, and the proposal says so.
        assert!(!seen.cedar(&[]).0.contains("any value of"));
        seen.take(&request("elsewhere", 1));
        assert!(seen.cedar(&[]).0.contains("41 calls; any value of: to\n"));
    }

    #[test]
    fn the_same_calls_make_the_same_text_in_any_order() {
        let texts = |calls: &mut dyn Iterator<Item = i64>| {
            let mut seen = Seen::default();
            calls.for_each(|n| seen.take(&request(&n.to_string(), n)));
            seen.cedar(&[]).0
        };
        assert_eq!(texts(&mut (0..5)), texts(&mut (0..5).rev()));
    }

    /// A sequence that looks random and is the same each time (SplitMix64).
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, count: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)).checked_rem(count).unwrap()
        }

        /// Work as usual: mostly one of twelve payees, one in fifty a new one; amounts up to 1,000.
        fn work(&mut self) -> Request {
            let is_new = self.below(50) == 0;
            let payee = if is_new { self.below(1_000_000).saturating_add(100) } else { self.below(12) };
            let amount = self.below(990).min(self.below(990)).saturating_add(10);
            request(&format!("payee-{payee}@suppliers.example"), i64::try_from(amount).unwrap())
        }
    }

    /// The table in docs/guides/life-of-a-policy.md: how many of 1,000 calls that come later are denied
    /// by what was learned, and how many of 1,000 attacks of each kind are permitted.
    #[test]
    fn what_is_learned_covers_more_with_more_calls_and_widens_to_an_ending_at_last() {
        let mut table = Vec::new();
        for learned_from in [10u64, 30, 100, 300, 1_000, 3_000] {
            let (mut past, mut future) = (Draw(1), Draw(2));
            let mut seen = Seen::default();
            (0..learned_from).for_each(|_| seen.take(&past.work()));
            let policies = learned(&seen);
            let permits = |request: &Request| verdict(&policies, request) == Verdict::Allow;
            let denied = (0..1_000).filter(|_| !permits(&future.work())).count();
            let mut attacks = Draw(3);
            let mut tries = |attack: &dyn Fn(&mut Draw) -> Request| {
                (0..1_000).filter(|_| permits(&attack(&mut attacks))).count()
            };
            let much = tries(&|draw| {
                let amount = i64::try_from(draw.below(100_000).saturating_add(1_001)).unwrap();
                request(&format!("payee-{}@suppliers.example", draw.below(12)), amount)
            });
            let elsewhere = tries(&|draw| request(&format!("{}@evil.example", draw.below(1_000)), 50));
            let inside = tries(&|draw| request(&format!("evil-{}@suppliers.example", draw.below(1_000)), 50));
            table.push((learned_from, denied, much, elsewhere, inside));
        }
        // Learned from, work denied; permitted: too much, elsewhere, a stranger of the same house.
        let want = [
            (10, 505, 0, 0, 0),
            (30, 162, 0, 0, 0),
            (100, 18, 0, 0, 0),
            (300, 2, 0, 0, 1_000),
            (1_000, 0, 0, 0, 1_000),
            (3_000, 0, 0, 0, 1_000),
        ];
        assert_eq!(table, want);
    }
}
