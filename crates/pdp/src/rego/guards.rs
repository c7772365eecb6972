//! All guards of a source: read, cross-checked, ready to judge.

use std::collections::BTreeSet;
use std::sync::Arc;

use cordon_core::{Class, Facts, Obligation, ObligationKind, Reason, ReasonKind, RuleRef, Verdict};
use regorus::Value;

use super::builtin::show;
use super::input::{Declared, Document, blocked};
use super::machine::{EvaluationError, Machine, Run};
use super::obligation;
use super::rule::{GuardKind, GuardRule};
use super::{GuardFile, Material};
use crate::data::Directory;
use crate::risk::RiskView;

/// The guards of a source.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    pub(super) files: Vec<GuardFile>,
    /// In order of file and line.
    pub(crate) rules: Vec<GuardRule>,
    pub(super) declared: Declared,
    pub(super) machine: Option<Machine>,
}

/// What came of one guard rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuardOutcome {
    NotSatisfied,
    /// It denies, with these messages in order.
    Denies(Vec<Box<str>>),
    /// It asks for these.
    Obliges(Vec<ObligationKind>),
    /// It could not be evaluated.
    Error(String),
    /// It reads a value that is not known.
    Unknown(String),
}

/// What there is to judge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'s> {
    pub(crate) request: &'s cordon_core::Request,
    pub(crate) facts: &'s Facts,
    pub(crate) risk: &'s RiskView,
    pub(crate) now: cordon_core::Timestamp,
    pub(crate) directory: &'s Directory,
    pub(crate) arguments: &'s crate::argument::ArgType,
    /// The action's name and the groups it is in for a restriction.
    pub(crate) names: &'s [Box<str>],
}

/// Most messages of one rule that become reasons.
const MESSAGES_MAX: usize = 32;
/// Longest message of a guard, in characters.
const MESSAGE_MAX: usize = 512;

impl Guards {
    /// The files with the language each is written in.
    pub(crate) fn files(&self) -> &[GuardFile] {
        &self.files
    }

    /// What comes of every rule that could be about the action, by its place in the list.
    pub(crate) fn judge(&self, subject: &Subject<'_>) -> Vec<(usize, GuardOutcome)> {
        let about: Vec<(usize, &GuardRule)> =
            self.rules.iter().enumerate().filter(|(_, rule)| rule.is_about(subject.names)).collect();
        let Some(machine) = self.machine.as_ref().filter(|_| !about.is_empty()) else { return Vec::new() };
        let material = Material {
            request: subject.request,
            facts: subject.facts,
            risk: subject.risk,
            now: subject.now,
            directory: subject.directory,
            arguments: subject.arguments,
            declared: &self.declared,
        };
        let classes: Vec<Box<str>> =
            subject.names.iter().filter(|name| name.parse::<Class>().is_ok()).cloned().collect();
        let document = material.document(&classes);
        let mut run = machine.run(document.input.clone(), document.size);
        let mut outcomes: Vec<(usize, GuardOutcome)> =
            about.iter().map(|(place, rule)| (*place, judge(rule, &document, &mut run))).collect();
        if !subject.request.action.is_declared() {
            let bare = material.document(&[]);
            let mut run = machine.run(bare.input.clone(), bare.size);
            for ((_, rule), (_, outcome)) in about.iter().zip(&mut outcomes) {
                if rule.reads_classes() {
                    *outcome = either(rule, outcome, judge(rule, &bare, &mut run));
                }
            }
        }
        outcomes
    }
}

impl Guards {
    /// Whether some arguments could get past the guards; `outcomes` are of a request without any.
    ///
    /// A rule that reads the arguments counts in favour, whatever came of it.
    pub(crate) fn could_pass(&self, outcomes: &[(usize, GuardOutcome)], facts: &Facts) -> bool {
        let depends = |place: &usize| self.rules.get(*place).is_none_or(GuardRule::reads_arguments);
        outcomes.iter().filter(|(place, _)| !depends(place)).all(|(_, outcome)| match outcome {
            GuardOutcome::NotSatisfied => true,
            GuardOutcome::Obliges(kinds) => kinds.iter().all(|kind| facts.supported.contains(kind.name())),
            GuardOutcome::Denies(_) | GuardOutcome::Error(_) | GuardOutcome::Unknown(_) => false,
        })
    }

    /// The guards that read an attribute of the resource, with its name.
    pub(crate) fn reading_resource<'n>(
        &self,
        names: impl Iterator<Item = &'n Box<str>>,
    ) -> Vec<(RuleRef, &'n str)> {
        let mut found = Vec::new();
        for name in names {
            let path: [Box<str>; 2] = ["resource".into(), name.clone()];
            let reading = self.rules.iter().filter(|rule| rule.reads.mentions(&path));
            found.extend(reading.map(|rule| (rule.at.clone(), &**name)));
        }
        found
    }

    /// Adds what the outcomes mean: reasons, and the obligations that are due.
    pub(crate) fn contribute(
        &self,
        outcomes: &[(usize, GuardOutcome)],
        reasons: &mut Vec<Reason>,
        due: &mut Vec<Obligation>,
    ) {
        for (place, outcome) in outcomes {
            let Some(rule) = self.rules.get(*place) else { continue };
            let reason = |kind, message: Arc<str>, remedy: Option<Arc<str>>| Reason {
                kind,
                rule: rule.at.clone(),
                principal: None,
                message,
                remedy,
            };
            let doubt = |problem: &str, remedy: String| {
                let message = format!("the guard could not be judged, which denies: {problem}");
                reason(ReasonKind::Indeterminate, message.into(), Some(remedy.into()))
            };
            match outcome {
                GuardOutcome::NotSatisfied => {}
                GuardOutcome::Denies(messages) => {
                    reasons.extend(
                        messages.iter().map(|text| reason(ReasonKind::Forbidden, (&**text).into(), None)),
                    );
                }
                GuardOutcome::Obliges(kinds) => {
                    for kind in kinds {
                        due.push(Obligation { kind: kind.clone(), rules: vec![rule.at.clone()] });
                        if kind.verdict() == Verdict::Ask {
                            let message = "a person has to approve it".into();
                            reasons.push(reason(ReasonKind::ApprovalDue, message, None));
                        }
                    }
                }
                GuardOutcome::Error(problem) => {
                    let remedy = format!("correct the guard in {} line {}", rule.at.file, rule.at.line);
                    reasons.push(doubt(problem, remedy));
                }
                GuardOutcome::Unknown(path) => {
                    let remedy = format!("send {path} complete and in a form that can be read");
                    reasons.push(doubt(&format!("it reads {path}, which is not known"), remedy));
                }
            }
        }
    }
}

/// Nobody knows the classes of an action that has no manifest: a rule holds if it holds with every
/// class or with none, and is in doubt if it does not ask for exactly one and holds with neither.
fn either(rule: &GuardRule, all: &GuardOutcome, none: GuardOutcome) -> GuardOutcome {
    use GuardOutcome::{Denies, Error, NotSatisfied, Obliges, Unknown};
    match (all, none) {
        (Unknown(path), _) => Unknown(path.clone()),
        (Error(problem), _) => Error(problem.clone()),
        (_, Error(problem)) => Error(problem),
        (_, Unknown(path)) => Unknown(path),
        (Denies(first), Denies(second)) => {
            Denies(first.iter().cloned().chain(second).collect::<BTreeSet<_>>().into_iter().collect())
        }
        (Obliges(first), Obliges(second)) => {
            Obliges(first.iter().cloned().chain(second).collect::<BTreeSet<_>>().into_iter().collect())
        }
        (NotSatisfied, NotSatisfied) if rule.reads.classes.len() != 1 => {
            Unknown("the classes of an action without a manifest".to_owned())
        }
        (NotSatisfied, other) => other,
        (first, _) => first.clone(),
    }
}

fn judge(rule: &GuardRule, document: &Document, run: &mut Run) -> GuardOutcome {
    if let Some(path) = document.unknown.iter().find(|path| rule.reads.mentions(path)) {
        return GuardOutcome::Unknown(format!("`input.{}`", path.join(".")));
    }
    let path = rule.reads.paths.iter().find_map(|path| Some((path, blocked(&document.input, path)?)));
    if let Some((path, place)) = path {
        let whole = path.get(..place).unwrap_or_default().join(".");
        let part = path.get(place).map(|name| &**name).unwrap_or_default();
        return GuardOutcome::Error(format!(
            "`input.{whole}` is not an object, and the guard reads `{part}` of it"
        ));
    }
    let mut values = |entry: &str| run.values(entry).map_err(|error| in_words(rule, &error));
    match &rule.due {
        None => {}
        Some(due) => match values(due) {
            Ok(held) if held.is_empty() => return GuardOutcome::NotSatisfied,
            Ok(_) => {}
            Err(problem) => return GuardOutcome::Error(problem),
        },
    }
    match values(&rule.entry) {
        Err(problem) => GuardOutcome::Error(problem),
        Ok(found) if found.is_empty() && rule.due.is_some() => {
            GuardOutcome::Error("its conditions hold and its value is undefined".to_owned())
        }
        Ok(found) if found.is_empty() => GuardOutcome::NotSatisfied,
        Ok(found) => settle(rule.kind, &found),
    }
}

fn in_words(rule: &GuardRule, error: &EvaluationError) -> String {
    // Lines behind the end of the file are of rules that were derived from this one.
    match u32::try_from(error.line).ok().filter(|line| *line > 0 && *line != rule.at.line) {
        Some(line) if line <= rule.last_line => format!("line {line}: {}", error.message),
        _ => error.message.clone(),
    }
}

fn settle(kind: GuardKind, found: &[Value]) -> GuardOutcome {
    match kind {
        GuardKind::Deny => {
            let mut messages: BTreeSet<Box<str>> = BTreeSet::new();
            for value in found.iter().take(MESSAGES_MAX) {
                messages.insert(message(value));
            }
            GuardOutcome::Denies(messages.into_iter().collect())
        }
        GuardKind::Oblige => {
            let kinds: Result<BTreeSet<ObligationKind>, String> =
                found.iter().map(obligation::read).collect();
            match kinds {
                Ok(kinds) => GuardOutcome::Obliges(kinds.into_iter().collect()),
                Err(problem) => GuardOutcome::Error(problem),
            }
        }
    }
}

/// The text of a value of `deny`: text itself, the member `msg` of an object, anything else as JSON.
fn message(value: &Value) -> Box<str> {
    let value = match value {
        Value::Object(members) => members.get(&Value::from("msg")).unwrap_or(value),
        value => value,
    };
    let mut text = String::new();
    // A text that is too long is cut, which is no error: the rule denies.
    let _ = show(value, &mut text);
    match text.trim() {
        "" => "a guard forbids it".into(),
        text => text.chars().take(MESSAGE_MAX).collect::<String>().into(),
    }
}
