//! `cordon policy explain`: what every rule in scope said about one request.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use cordon_core::cbor::Cbor;
use cordon_core::{Digest, Facts, Limits, ObligationKind, Verdict, json};
use cordon_gateway::authzen::{self, Evaluation, Properties};
use cordon_guard::policy::{
    Bound, Explanation, NearestPermission, RuleExplanation, RuleKind, RuleOutcome, explain,
};
use cordon_guard::ports::Clock;
use cordon_ledger::{FieldId, Kind};
use cordon_store::ledger::{Filter, Shown, ShownValue, visit};
use cordon_store::system::SystemClock;
use serde_json::{Value, json};

use super::{DENIED, Ended, Failure, Format, Global, Tone, compile, count, read_source, source_path, term};
use crate::cli::ledger::{Place, unreadable};
use crate::cli::recorded::{self, Bundles};
use crate::cli::request_json;

/// What `cordon policy explain` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon policy explain 17                    the decision in entry 17, under the bundle that it names
  cordon policy explain 17 --policy next      the same request under another policy
  cordon policy explain request.json
  cordon policy explain - --policy policy/ <<'END'
  {\"subject\": {\"type\": \"agent\", \"id\": \"a7\"}, \"action\": {\"name\": \"mail/send\"},
   \"resource\": {\"type\": \"Tool\", \"id\": \"mail/send\"},
   \"context\": {\"owner\": {\"id\": \"alice\"}, \"args\": {\"to\": \"bob@example.com\"}}}
  END

Shows what every rule in scope said for every principal and, where nothing permits it, the permission
that came closest, part by part, with the values that it failed for. A request in a file is an OpenID
AuthZEN evaluation, as for `cordon decide`. Nothing is recorded.
Exit status: 0 allow, 1 deny or ask, 2 when nothing could be judged.")]
pub(super) struct ExplainArgs {
    /// The ledger entry of a decision, a request in a file, or - for standard input
    #[arg(value_name = "ENTRY|FILE|-")]
    request: PathBuf,
    /// The policy source or bundle [default: the one that the entry names, or the configured one]
    #[arg(long, value_name = "DIR|BUNDLE")]
    policy: Option<PathBuf>,
}

/// A request with what came of it.
struct Explained {
    explanation: Explanation,
    /// How much work the decision may be at most.
    bound: Bound,
    /// What was recorded, where it was a decision of this node.
    recorded: Option<Recorded>,
}

/// A decision of this node.
struct Recorded {
    index: u64,
    line: String,
    verdict: String,
    /// The guard's own check that refused it before, or whatever, the policies said.
    outside: Option<String>,
    shadow: Option<Shadow>,
}

/// What the shadow bundle said.
struct Shadow {
    bundle: String,
    verdict: String,
    rules: Vec<String>,
}

pub(super) fn run(args: &ExplainArgs, global: &Global) -> Ended {
    let index = args.request.to_str().and_then(|text| text.parse::<u64>().ok());
    let explained = match index.filter(|_| !args.request.exists()) {
        Some(index) => of_entry(index, args, global)?,
        None => of_file(args, global)?,
    };
    match global.format {
        Format::Json => term::say(explained.json())?,
        Format::Text => explained.print()?,
    }
    Ok(match explained.explanation.judgement.verdict {
        Verdict::Allow => ExitCode::SUCCESS,
        Verdict::Ask | Verdict::Deny => ExitCode::from(DENIED),
    })
}

fn of_file(args: &ExplainArgs, global: &Global) -> Result<Explained, Failure> {
    let path = source_path(args.policy.as_deref(), global)?;
    let policies = compile(&read_source(&path)?, &path)?.policies;
    let node = json::parse(&crate::cli::decide::read_request(&args.request)?, &Limits::DEFAULT)?;
    let members = ["subject", "action", "resource", "context"].map(|name| node.get(name));
    let Evaluation { request, supported, .. } =
        authzen::evaluation(members, &policies, "default", Properties::All)?;
    let mut supported = supported.unwrap_or_else(|| ObligationKind::NAMES.iter().copied().collect());
    supported.insert("approve");
    let facts = Facts { supported, ..Facts::default() };
    let explanation = explain(&policies, &request, &facts, SystemClock.now());
    Ok(Explained { explanation, bound: policies.bound_of(&request.action), recorded: None })
}

/// The decision in an entry: with the facts and at the time that were recorded.
fn of_entry(index: u64, args: &ExplainArgs, global: &Global) -> Result<Explained, Failure> {
    let place = Place::find(None, global)?;
    let key = recorded::opening_key(&place)?;
    let before = index.saturating_add(1);
    let filter = Filter { from: index, before, most: 1, newest: false, ..Filter::default() };
    let mut found = None;
    visit(&place.ledger, &filter, Some(&key), |entry| {
        found = Some(entry);
        ControlFlow::Break(())
    })
    .map_err(unreadable)?;
    let entry =
        found.filter(|entry| entry.index == index && entry.kind == Kind::Decision).ok_or_else(|| {
            Failure::new(format!(
                "entry {index} is no decision; `cordon ledger show --kind decision` lists them"
            ))
        })?;
    let decision = recorded::decision(&entry)?;
    let (request, facts, policies) = match &args.policy {
        Some(path) => {
            let policies = compile(&read_source(path)?, path)?.policies;
            let (request, facts) = decision.under(&policies);
            (request.into_owned(), facts.into_owned(), policies)
        }
        None => {
            let policies = Bundles::of(&place, None)?.get(decision.bundle).map_err(Failure::new)?;
            (decision.request.clone(), decision.facts.clone(), policies)
        }
    };
    Ok(Explained {
        explanation: explain(&policies, &request, &facts, decision.now),
        bound: policies.bound_of(&request.action),
        recorded: Some(Recorded {
            index,
            line: request_json::line(&request),
            verdict: decision.verdict().to_owned(),
            outside: decision.outside.as_deref().map(str::to_owned),
            shadow: shadow(&entry),
        }),
    })
}

fn shadow(entry: &Shown) -> Option<Shadow> {
    let (_, value) = entry.fields.iter().find(|(field, _)| *field == FieldId::Shadow)?;
    let value = ShownValue::value(value)?;
    let bundle = value.get(1).and_then(Cbor::as_bytes).and_then(|bytes| bytes.try_into().ok());
    let rules = value.get(3).and_then(Cbor::as_array).unwrap_or_default();
    Some(Shadow {
        bundle: Digest::from_bytes(bundle?).to_string(),
        verdict: value.get(2).and_then(Cbor::as_text)?.to_owned(),
        rules: rules.iter().filter_map(Cbor::as_text).map(str::to_owned).collect(),
    })
}

impl Explained {
    fn print(&self) -> std::io::Result<()> {
        if let Some(recorded) = &self.recorded {
            recorded.print()?;
        }
        print_judgement(&self.explanation)?;
        for part in &self.explanation.principals {
            let (role, principal) =
                (Tone::Strong.paint(part.role.as_str()), Tone::Strong.paint(&part.principal));
            term::say(format_args!("\n{role} {principal}"))?;
            if part.rules.is_empty() {
                term::say("  no rule is about this action")?;
            }
            part.rules.iter().try_for_each(print_rule)?;
            if let Some(nearest) = &part.nearest {
                print_nearest(nearest)?;
            }
        }
        if !self.explanation.guards.is_empty() {
            term::say(format_args!("\n{}", Tone::Strong.paint("guards")))?;
        }
        self.explanation.guards.iter().try_for_each(print_rule)?;
        let Bound { steps, rules, steps_max, .. } = &self.bound;
        let rules = count(*rules, "rule");
        term::say(format_args!("\nat most {steps} of {steps_max} steps over {rules} for such a request"))
    }

    fn json(&self) -> Value {
        let mut json = explanation_json(&self.explanation);
        let Some(members) = json.as_object_mut() else { return json };
        let Bound { steps, rules, steps_max, .. } = &self.bound;
        let bound = json!({"steps": steps, "rules": rules, "steps_max": steps_max});
        members.insert("bound".to_owned(), bound);
        if let Some(recorded) = &self.recorded {
            let shadow = recorded.shadow.as_ref();
            members.insert(
                "recorded".to_owned(),
                json!({
                    "entry": recorded.index,
                    "verdict": recorded.verdict,
                    "refused_by_guard": recorded.outside,
                    "shadow": shadow.map(|shadow| json!({
                        "bundle": shadow.bundle, "verdict": shadow.verdict, "rules": shadow.rules,
                    })),
                }),
            );
        }
        json
    }
}

impl Recorded {
    fn print(&self) -> std::io::Result<()> {
        let Self { index, line, verdict, outside, shadow } = self;
        term::say(format_args!("entry {index}: {}", term::short(line, 300)))?;
        term::say(format_args!("recorded: {}", term::safe(verdict)))?;
        if let Some(check) = outside {
            let check = term::safe(check);
            term::say(format_args!("  the guard itself refused it: {check}; the policies would have said:"))?;
        }
        if let Some(shadow) = shadow {
            let rules = shadow.rules.join(", ");
            term::say(format_args!(
                "shadow {}: {} by {}",
                term::safe(&shadow.bundle),
                term::safe(&shadow.verdict),
                term::safe(&rules)
            ))?;
        }
        Ok(())
    }
}

fn print_judgement(explanation: &Explanation) -> std::io::Result<()> {
    let judgement = &explanation.judgement;
    let tone = match judgement.verdict {
        Verdict::Allow => Tone::Good,
        Verdict::Ask => Tone::Caution,
        Verdict::Deny => Tone::Bad,
    };
    term::say(tone.paint(judgement.verdict.as_str()))?;
    for reason in &judgement.reasons {
        let who = reason.principal.map(|role| format!("{}: ", role.as_str())).unwrap_or_default();
        term::say(format_args!(
            "  {who}{} [{}]",
            term::safe(&reason.message),
            term::safe(&reason.rule.to_string())
        ))?;
        if let Some(remedy) = &reason.remedy {
            term::say(format_args!("    to make it possible: {}", term::safe(remedy)))?;
        }
    }
    for due in &judgement.obligations {
        let rules: Vec<String> = due.rules.iter().map(ToString::to_string).collect();
        term::say(format_args!("  obliges to {} [{}]", due.kind.name(), term::safe(&rules.join(", "))))?;
    }
    Ok(())
}

/// The permission that came closest, and which of its parts fail for which values.
fn print_nearest(nearest: &NearestPermission) -> std::io::Result<()> {
    let rule = nearest.rule.to_string();
    term::say(format_args!("  nearest permission: {}", term::safe(&rule)))?;
    for part in &nearest.parts {
        let (word, tone) = match &part.outcome {
            Some(RuleOutcome::Satisfied) => ("holds", Tone::Faint),
            None => ("not reached", Tone::Faint),
            Some(_) => ("fails", Tone::Bad),
        };
        let pad = " ".repeat(13usize.saturating_sub(word.len()));
        term::say(format_args!("    {}{pad}{}", tone.paint(word), term::safe(&part.text)))?;
        if let Some(RuleOutcome::Error(why) | RuleOutcome::Unknown(why)) = &part.outcome {
            term::say(format_args!("{:17}{}", "", term::safe(why)))?;
        }
        for (path, value) in part.values.iter().filter(|_| !part.holds()) {
            let value = value
                .as_ref()
                .map_or_else(|| "is absent".to_owned(), |value| format!("is {}", request_json::value(value)));
            term::say(format_args!("{:17}{} {}", "", term::safe(path), term::short(&value, 200)))?;
        }
    }
    Ok(())
}

fn print_rule(rule: &RuleExplanation) -> std::io::Result<()> {
    let (word, why) = outcome(&rule.outcome);
    let tone = match (&rule.outcome, rule.kind) {
        (RuleOutcome::NotSatisfied, _) => Tone::Faint,
        (RuleOutcome::Satisfied, RuleKind::Permission) => Tone::Good,
        (RuleOutcome::Satisfied, RuleKind::Obligation) | (RuleOutcome::Rows(_), _) => Tone::Caution,
        _ => Tone::Bad,
    };
    let pad = " ".repeat(13usize.saturating_sub(word.len()));
    let kind = kind(rule.kind);
    let name = term::safe(&rule.rule.to_string()).into_owned();
    term::say(format_args!("  {}{pad} {kind:<11} {name}", tone.paint(word)))?;
    match why {
        Some(why) => term::say(format_args!("  {:>13} {}", "", term::safe(why))),
        None => Ok(()),
    }
}

const fn kind(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Permission => "permission",
        RuleKind::Prohibition => "prohibition",
        RuleKind::Obligation => "obligation",
    }
}

fn outcome(outcome: &RuleOutcome) -> (&'static str, Option<&str>) {
    match outcome {
        RuleOutcome::Satisfied => ("satisfied", None),
        RuleOutcome::NotSatisfied => ("not satisfied", None),
        RuleOutcome::Error(why) => ("error", Some(why)),
        RuleOutcome::Unknown(why) => ("unknown", Some(why)),
        RuleOutcome::Rows(rows) => ("some rows", Some(rows)),
    }
}

fn explanation_json(explanation: &Explanation) -> Value {
    let judgement = &explanation.judgement;
    let rule = |rule: &RuleExplanation| {
        let (word, why) = outcome(&rule.outcome);
        json!({
            "rule": &*rule.rule.rule,
            "file": &*rule.rule.file,
            "line": rule.rule.line,
            "kind": kind(rule.kind),
            "outcome": word.replace(' ', "_"),
            "why": why,
        })
    };
    json!({
        "verdict": judgement.verdict.as_str(),
        "bundle": judgement.bundle.to_string(),
        "reasons": judgement.reasons.iter().map(|reason| json!({
            "kind": reason.kind.as_str(),
            "rule": &*reason.rule.rule,
            "file": &*reason.rule.file,
            "line": reason.rule.line,
            "principal": reason.principal.map(|role| role.as_str()),
            "message": &*reason.message,
            "remedy": reason.remedy.as_deref(),
        })).collect::<Vec<_>>(),
        "obligations": judgement.obligations.iter().map(|due| json!({
            "type": due.kind.name(),
            "rules": due.rules.iter().map(|rule| &*rule.rule).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "principals": explanation.principals.iter().map(|part| json!({
            "role": part.role.as_str(),
            "principal": part.principal,
            "rules": part.rules.iter().map(rule).collect::<Vec<_>>(),
            "nearest": part.nearest.as_ref().map(nearest_json),
        })).collect::<Vec<_>>(),
        "guards": explanation.guards.iter().map(rule).collect::<Vec<_>>(),
    })
}

fn nearest_json(nearest: &NearestPermission) -> Value {
    json!({
        "rule": &*nearest.rule.rule,
        "file": &*nearest.rule.file,
        "line": nearest.rule.line,
        "parts": nearest.parts.iter().map(|part| {
            let (word, why) = part.outcome.as_ref().map_or(("not reached", None), outcome);
            json!({
                "text": part.text,
                "outcome": word.replace(' ', "_"),
                "why": why,
                "values": part.values.iter().map(|(path, value)| json!({
                    "path": path,
                    "value": value.as_ref().map(request_json::value),
                })).collect::<Vec<_>>(),
            })
        }).collect::<Vec<_>>(),
    })
}
