//! `cordon policy explain`: what every rule in scope said about one request.

use std::path::PathBuf;
use std::process::ExitCode;

use cordon_core::{Facts, Limits, ObligationKind, Verdict, json};
use cordon_gateway::authzen::{self, Evaluation, Properties};
use cordon_guard::policy::{
    Explanation, PrincipalExplanation, RuleExplanation, RuleKind, RuleOutcome, explain,
};
use cordon_guard::ports::Clock;
use cordon_store::system::SystemClock;
use serde_json::{Value, json};

use super::{DENIED, Ended, Format, Global, Tone, compile, read_source, source_path, term};

/// What `cordon policy explain` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon policy explain request.json
  cordon policy explain - --policy policy/ <<'END'
  {\"subject\": {\"type\": \"agent\", \"id\": \"a7\"}, \"action\": {\"name\": \"mail/send\"},
   \"resource\": {\"type\": \"Tool\", \"id\": \"mail/send\"},
   \"context\": {\"owner\": {\"id\": \"alice\"}, \"args\": {\"to\": \"bob@example.com\"}}}
  END

The request is an OpenID AuthZEN evaluation, as for `cordon decide`. Nothing is recorded.
Exit status: 0 allow, 1 deny or ask, 2 when nothing could be judged.")]
pub(super) struct ExplainArgs {
    /// The request, or - for standard input
    request: PathBuf,
    /// The policy source or bundle [default: the configured one]
    #[arg(long, value_name = "DIR|BUNDLE")]
    policy: Option<PathBuf>,
}

pub(super) fn run(args: &ExplainArgs, global: &Global) -> Ended {
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
    match global.format {
        Format::Json => term::say(explanation_json(&explanation))?,
        Format::Text => print(&explanation)?,
    }
    Ok(match explanation.judgement.verdict {
        Verdict::Allow => ExitCode::SUCCESS,
        Verdict::Ask | Verdict::Deny => ExitCode::from(DENIED),
    })
}

fn print(explanation: &Explanation) -> std::io::Result<()> {
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
    for PrincipalExplanation { role, principal, rules } in &explanation.principals {
        term::say(format_args!("\n{} {}", Tone::Strong.paint(role.as_str()), Tone::Strong.paint(principal)))?;
        if rules.is_empty() {
            term::say("  no rule is about this action")?;
        }
        rules.iter().try_for_each(print_rule)?;
    }
    if !explanation.guards.is_empty() {
        term::say(format_args!("\n{}", Tone::Strong.paint("guards")))?;
    }
    explanation.guards.iter().try_for_each(print_rule)
}

fn print_rule(rule: &RuleExplanation) -> std::io::Result<()> {
    let (word, why) = outcome(&rule.outcome);
    let tone = match (&rule.outcome, rule.kind) {
        (RuleOutcome::NotSatisfied, _) => Tone::Faint,
        (RuleOutcome::Satisfied, RuleKind::Permission) => Tone::Good,
        (RuleOutcome::Satisfied, RuleKind::Obligation) => Tone::Caution,
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
        "principals": explanation.principals.iter().map(|part| json!({
            "role": part.role.as_str(),
            "principal": part.principal,
            "rules": part.rules.iter().map(rule).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "guards": explanation.guards.iter().map(rule).collect::<Vec<_>>(),
    })
}
