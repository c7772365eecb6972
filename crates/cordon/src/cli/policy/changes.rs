//! How two judgements of the same requests differ, in groups that a person can read.

use std::collections::BTreeMap;

use cordon_core::{Facts, Request, Timestamp, Verdict};
use serde_json::{Value, json};

use super::{Tone, term};
use crate::cli::request_json;

/// Most groups that are kept; what differs in yet another way is counted.
const GROUPS_MAX: usize = 1_000;

/// One judgement, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Side {
    /// Allow, ask or deny.
    pub(super) verdict: Box<str>,
    /// The first rule that made it so.
    pub(super) rule: Box<str>,
}

/// One request in whose judgement something changes.
pub(super) struct Example<'e> {
    /// The entry that recorded it, if one did.
    pub(super) entry: Option<u64>,
    /// The request.
    pub(super) request: &'e Request,
    /// What Cordon knew.
    pub(super) facts: &'e Facts,
    /// When it was judged.
    pub(super) now: Timestamp,
    /// What the rules of the new judgement say.
    pub(super) messages: Vec<Box<str>>,
}

/// What changes, counted by how, with one concrete request each.
#[derive(Debug, Default)]
pub(super) struct Changes {
    groups: BTreeMap<(Side, Side), Group>,
    judged: u64,
    changed: u64,
    left_out: u64,
}

#[derive(Debug)]
struct Group {
    count: u64,
    line: String,
    messages: Vec<Box<str>>,
    example: Value,
}

impl Changes {
    /// Counts one request that was judged both ways; `same` says whether the obligations are too.
    pub(super) fn take(&mut self, from: Side, to: Side, same: bool, example: Example<'_>) {
        self.judged = self.judged.saturating_add(1);
        if from.verdict == to.verdict && same {
            return;
        }
        self.changed = self.changed.saturating_add(1);
        let full = self.groups.len() >= GROUPS_MAX;
        match self.groups.get_mut(&(from.clone(), to.clone())) {
            Some(group) => group.count = group.count.saturating_add(1),
            None if full => self.left_out = self.left_out.saturating_add(1),
            None => drop(self.groups.insert((from, to), Group::new(example))),
        }
    }

    /// How many requests were judged both ways.
    pub(super) const fn judged(&self) -> u64 {
        self.judged
    }

    /// How many of them are judged differently.
    pub(super) const fn changed(&self) -> u64 {
        self.changed
    }

    /// Prints a table for people.
    pub(super) fn print(&self) -> std::io::Result<()> {
        for ((from, to), group) in &self.groups {
            let tone = match &*to.verdict {
                "allow" => Tone::Good,
                "ask" => Tone::Caution,
                _ => Tone::Bad,
            };
            let how = if from.verdict == to.verdict { " with other obligations" } else { "" };
            term::say(format_args!(
                "{:>7}  {} → {}{how}  {} → {}",
                group.count,
                from.verdict,
                tone.paint(&to.verdict),
                term::safe(&from.rule),
                term::safe(&to.rule)
            ))?;
            term::say(format_args!("         e.g. {}", term::short(&group.line, 300)))?;
            for message in &group.messages {
                term::say(format_args!("              {}", Tone::Faint.paint(message)))?;
            }
        }
        if self.left_out > 0 {
            term::say(format_args!("{:>7}  in yet other ways", self.left_out))?;
        }
        Ok(())
    }

    /// The groups for programs.
    pub(super) fn json(&self) -> Value {
        let group = |((from, to), group): (&(Side, Side), &Group)| {
            json!({
                "from": {"verdict": from.verdict, "rule": from.rule},
                "to": {"verdict": to.verdict, "rule": to.rule},
                "count": group.count,
                "messages": group.messages,
                "example": group.example,
            })
        };
        json!({
            "judged": self.judged,
            "changed": self.changed,
            "groups": self.groups.iter().map(group).collect::<Vec<_>>(),
            "left_out": self.left_out,
        })
    }
}

impl Group {
    fn new(example: Example<'_>) -> Self {
        let Example { entry, request, facts, now, messages } = example;
        let at = entry.map(|entry| format!("entry {entry}: ")).unwrap_or_default();
        Self {
            count: 1,
            line: format!("{at}{}", request_json::line(request)),
            messages,
            example: json!({
                "entry": entry,
                "request": request_json::evaluation(request, facts),
                "facts": request_json::facts(facts, now),
            }),
        }
    }
}

impl Side {
    /// The side that a judgement is.
    pub(super) fn of(judgement: &cordon_core::Judgement) -> Self {
        let rule = judgement.reasons.first().map(|reason| reason.rule.rule.clone());
        Self {
            verdict: Verdict::as_str(judgement.verdict).into(),
            rule: rule.as_deref().unwrap_or_default().into(),
        }
    }
}
