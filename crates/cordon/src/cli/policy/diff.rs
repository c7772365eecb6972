//! `cordon policy diff`: which rules changed, and a request whose judgement changes with them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cordon_core::{Facts, Judgement, Request, Timestamp};
use cordon_guard::policy::{PolicySet, PolicySource, Probes, RuleKind, RuleOutline, decide};
use cordon_guard::replay::under;
use cordon_ledger::Kind;
use cordon_store::ledger::{Filter, visit};
use serde_json::{Value, json};

use super::changes::{Changes, Example, Side};
use super::{DENIED, Ended, Format, Global, Tone, compile, read_source, term};
use crate::cli::ledger::Place;
use crate::cli::recorded;

/// Most recorded requests that are tried.
const RECORDED_MAX: u64 = 100_000;

/// What `cordon policy diff` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon policy diff policy/ next/
  cordon policy diff old.tar policy/ --tries 50000 --format json

Shows the rules and files that were added, removed or changed, then looks for requests that the two
judge differently: first among what this node recorded, where there is a log and its key, then among
requests made from the words of the rules. That is a bounded search: when it finds nothing, it says
how many requests it tried, and proves nothing.
Exit status: 0 the same, 1 they differ, 2 one of them cannot be read.")]
pub(super) struct DiffArgs {
    /// The policy source or bundle as it was
    old: PathBuf,
    /// The policy source or bundle as it would be
    new: PathBuf,
    /// How many requests are made up and tried
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    tries: u64,
}

/// One of the two.
struct One {
    source: PolicySource,
    policies: PolicySet,
    rules: BTreeMap<Arc<str>, RuleOutline>,
}

impl One {
    fn read(path: &Path) -> Result<Self, crate::cli::Failure> {
        let source = read_source(path)?;
        let policies = compile(&source, path)?.policies;
        let rules = source.outline().into_iter().map(|rule| (rule.at.rule.clone(), rule)).collect();
        Ok(Self { source, policies, rules })
    }
}

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Added,
    Removed,
    Changed,
}

impl How {
    const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }

    /// What is in which of the two.
    fn of<T: PartialEq>(old: Option<T>, new: Option<T>) -> Option<Self> {
        match (old, new) {
            (None, Some(_)) => Some(Self::Added),
            (Some(_), None) => Some(Self::Removed),
            (old, new) => (old != new).then_some(Self::Changed),
        }
    }
}

/// What was found.
struct Report {
    rules: Vec<(How, RuleOutline)>,
    files: Vec<(How, Box<str>)>,
    recorded: Option<Changes>,
    made: Changes,
}

pub(super) fn run(args: &DiffArgs, global: &Global) -> Ended {
    let (old, new) = (One::read(&args.old)?, One::read(&args.new)?);
    let rules = rules(&old, &new);
    let report = Report {
        files: files(&old, &new),
        recorded: from_log(&old, &new, global),
        made: from_words(&old, &new, &rules, args.tries),
        rules,
    };
    match global.format {
        Format::Json => term::say(serde_json::to_string_pretty(&report.json(&old, &new))?)?,
        Format::Text => report.print()?,
    }
    let same = old.policies.digest() == new.policies.digest();
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}

/// The rules that are not the same; one that only moved, and has no name of its own, is.
fn rules(old: &One, new: &One) -> Vec<(How, RuleOutline)> {
    let names: BTreeSet<&Arc<str>> = old.rules.keys().chain(new.rules.keys()).collect();
    let text = |rule: Option<&RuleOutline>| rule.map(|rule| rule.text.clone());
    let texts = |one: &One| one.rules.values().map(|rule| rule.text.clone()).collect::<BTreeSet<_>>();
    let (in_old, in_new) = (texts(old), texts(new));
    let differing = names.into_iter().filter_map(|name| {
        let (was, is) = (old.rules.get(name), new.rules.get(name));
        let how = How::of(text(was), text(is))?;
        let moved = |rule: Option<&RuleOutline>, there: &BTreeSet<Box<str>>| {
            rule.is_none_or(|rule| there.contains(&rule.text))
        };
        if moved(was, &in_new) && moved(is, &in_old) {
            return None;
        }
        Some((how, is.or(was)?.clone()))
    });
    differing.collect()
}

/// The files other than rules that are not the same.
fn files(old: &One, new: &One) -> Vec<(How, Box<str>)> {
    let (old, new) = (old.source.files(), new.source.files());
    let paths: BTreeSet<&Box<str>> = old.keys().chain(new.keys()).collect();
    let others = paths.into_iter().filter(|path| !path.ends_with(".cedar"));
    others.filter_map(|path| Some((How::of(old.get(path), new.get(path))?, path.clone()))).collect()
}

/// What changes among recorded requests; none without a log that can be opened.
fn from_log(old: &One, new: &One, global: &Global) -> Option<Changes> {
    let place = Place::find(None, global).ok()?;
    let key = place.opening_key().ok()??;
    let mut changes = Changes::default();
    let filter = Filter { kind: Some(Kind::Decision), most: usize::MAX, newest: false, ..Filter::default() };
    let visited = visit(&place.ledger, &filter, Some(&key), |entry| {
        if let Ok(recorded) = recorded::decision(&entry)
            && recorded.outside.is_none()
        {
            let asked = (&recorded.request, &recorded.facts, recorded.now);
            compare(old, new, asked, Some(entry.index), &mut changes);
        }
        match changes.judged() < RECORDED_MAX {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    visited.ok().map(|()| changes)
}

/// What changes among requests made from the words of the rules, those that changed first of all.
fn from_words(old: &One, new: &One, changed: &[(How, RuleOutline)], tries: u64) -> Changes {
    let mut changes = Changes::default();
    if old.policies.digest() == new.policies.digest() {
        return changes;
    }
    let all = || old.rules.values().chain(new.rules.values()).cloned();
    let mut focus: Vec<RuleOutline> = changed.iter().map(|(_, rule)| rule.clone()).collect();
    // A changed rule's old words matter as well as its new ones.
    focus.extend(changed.iter().filter_map(|(_, rule)| old.rules.get(&rule.at.rule).cloned()));
    if focus.is_empty() {
        focus.extend(all());
    }
    let probes = Probes::new(focus, all().collect(), &[&old.policies, &new.policies]);
    for (request, facts, now) in probes.take(usize::try_from(tries).unwrap_or(usize::MAX)) {
        compare(old, new, (&request, &facts, now), None, &mut changes);
    }
    changes
}

fn compare(
    old: &One,
    new: &One,
    (request, facts, now): (&Request, &Facts, Timestamp),
    entry: Option<u64>,
    changes: &mut Changes,
) {
    let judge = |one: &One| {
        let (request, facts) = under(&one.policies, request, facts);
        decide(&one.policies, &request, &facts, now)
    };
    let (was, is) = (judge(old), judge(new));
    let due =
        |judgement: &Judgement| judgement.obligations.iter().map(|due| due.kind.clone()).collect::<Vec<_>>();
    let messages = is.reasons.iter().map(|reason| (&*reason.message).into()).collect();
    let example = Example { entry, request, facts, now, messages };
    changes.take(Side::of(&was), Side::of(&is), due(&was) == due(&is), example);
}

impl Report {
    fn print(&self) -> std::io::Result<()> {
        for (how, rule) in &self.rules {
            let tone = match how {
                How::Added => Tone::Good,
                How::Removed => Tone::Bad,
                How::Changed => Tone::Caution,
            };
            let what = format!("{} {}", kind(rule.kind), rule.at);
            let pad = " ".repeat(9usize.saturating_sub(how.word().len()));
            term::say(format_args!("{}{pad}{}", tone.paint(how.word()), term::safe(&what)))?;
        }
        for (how, path) in &self.files {
            term::say(format_args!("{:<8} file {}", how.word(), term::safe(path)))?;
        }
        if let Some(recorded) = &self.recorded {
            term::say(format_args!(
                "\n{} of {} recorded requests change",
                recorded.changed(),
                recorded.judged()
            ))?;
            recorded.print()?;
        }
        term::say(format_args!(
            "\n{} of {} made-up requests change",
            self.made.changed(),
            self.made.judged()
        ))?;
        self.made.print()?;
        if self.rules.is_empty() && self.files.is_empty() && self.made.judged() > 0 {
            term::say("no rule differs, only how the files are written")?;
        }
        let none =
            self.made.changed() == 0 && self.recorded.as_ref().is_none_or(|found| found.changed() == 0);
        if none && !(self.rules.is_empty() && self.files.is_empty()) {
            term::say("no request was found whose judgement changes; that is a search, not a proof")?;
        }
        Ok(())
    }

    fn json(&self, old: &One, new: &One) -> Value {
        json!({
            "old": old.policies.digest().to_string(),
            "new": new.policies.digest().to_string(),
            "rules": self.rules.iter().map(|(how, rule)| json!({
                "how": how.word(),
                "kind": kind(rule.kind),
                "rule": &*rule.at.rule,
                "file": &*rule.at.file,
                "line": rule.at.line,
            })).collect::<Vec<_>>(),
            "files": self.files.iter().map(|(how, path)| json!({"how": how.word(), "path": path})).collect::<Vec<_>>(),
            "recorded": self.recorded.as_ref().map(Changes::json),
            "made": self.made.json(),
            "method": "bounded search",
        })
    }
}

const fn kind(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Permission => "permission",
        RuleKind::Prohibition => "prohibition",
        RuleKind::Obligation => "obligation",
    }
}
