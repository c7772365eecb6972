//! What came of the invariants of a source, for people and for programs.

use cordon_core::Judgement;
use cordon_guard::policy::{Breach, Demand, Invariant, Searched};
use serde_json::{Value, json};

use super::{Tone, count, term};
use crate::cli::request_json;

/// How invariants are looked at, as reports name it.
pub(in crate::cli) const METHOD: &str = "bounded enumeration";

/// How many requests are tried for each invariant, unless somebody says otherwise.
pub(in crate::cli) const TRIES: u64 = crate::signing::INVARIANT_TRIES;

/// One word for what came of an invariant.
pub(super) const fn result(searched: &Searched) -> &'static str {
    match (&searched.breach, searched.met) {
        (Some(_), _) => "broken",
        (None, 0) => "about_nothing",
        (None, _) => "holds",
    }
}

/// Prints what came of each invariant, and how it was looked for.
pub(super) fn print(all: &[Searched]) -> std::io::Result<()> {
    for searched in all {
        let (word, tone) = match result(searched) {
            "broken" => ("broken", Tone::Bad),
            "holds" => ("holds", Tone::Good),
            _ => ("about nothing", Tone::Caution),
        };
        let (invariant, rule) = (&searched.invariant, searched.invariant.at.to_string());
        let (name, rule) = (term::safe(&invariant.name), term::safe(&rule));
        term::say(format_args!("{}  {name} [{rule}]: {}", tone.paint(word), effort(searched)))?;
        if let Some(breach) = &searched.breach {
            print_breach(invariant, breach)?;
        }
    }
    if !all.is_empty() {
        term::say(format_args!("invariants were looked at by {METHOD}; no solver was asked"))?;
    }
    Ok(())
}

/// How much was tried.
fn effort(searched: &Searched) -> String {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let requests = count(number(searched.tried), "request");
    let actions = count(searched.actions, "action");
    let all = match (&searched.breach, searched.whole) {
        (Some(_), _) => "tried until one broke it",
        (None, true) => "tried, all that the rules tell apart",
        (None, false) => "tried, of more that the rules tell apart",
    };
    format!("{requests} about {actions} {all}; it is about {} of them", searched.met)
}

/// Prints a request that breaks an invariant, and how it is let through.
pub(in crate::cli) fn print_breach(invariant: &Invariant, breach: &Breach) -> std::io::Result<()> {
    let line = request_json::line(&breach.request);
    term::say(format_args!("  request  {}", term::short(&line, 300)))?;
    for (name, value) in particulars(breach) {
        term::say(format_args!("           {name} {}", term::short(&value, 200)))?;
    }
    let through = let_through(&breach.judgement);
    term::say(format_args!("  judged   {}: {}", term::safe(&through), wanting(invariant, breach)))?;
    match &breach.doubt {
        Some(doubt) => {
            term::say(format_args!("           whether it is about it is in doubt: {}", term::safe(doubt)))
        }
        None => Ok(()),
    }
}

/// What a request says beyond its line.
fn particulars(breach: &Breach) -> Vec<(&'static str, String)> {
    let (request, facts) = (&breach.request, &breach.facts);
    let evaluation = request_json::evaluation(request, facts);
    let shown =
        |pointer: &str| evaluation.pointer(pointer).filter(|value| !is_empty(value)).map(Value::to_string);
    let markings: Vec<&str> = request.resource.markings.iter().map(|marking| marking.as_str()).collect();
    let session = facts.session.as_ref().filter(|session| session.calls > 0 || !session.posture.is_normal());
    let session =
        session.map(|session| format!("{} after {} calls", session.posture.state().as_str(), session.calls));
    [
        ("resource.markings", (!markings.is_empty()).then(|| markings.join(", "))),
        ("resource", shown("/resource/properties")),
        ("purpose", shown("/context/purpose")),
        ("subject", shown("/subject/properties")),
        ("session", session),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// The verdict and the rules that made it so.
pub(in crate::cli) fn let_through(judgement: &Judgement) -> String {
    let rules: Vec<String> = judgement.reasons.iter().map(|reason| reason.rule.to_string()).collect();
    format!("{} by {}", judgement.verdict.as_str(), rules.join(", "))
}

/// What an invariant misses.
pub(in crate::cli) fn wanting(invariant: &Invariant, breach: &Breach) -> String {
    match &invariant.demand {
        Demand::Denied => "it may not be let through".to_owned(),
        Demand::Carries(_) => format!("without {}", breach.lacks.join(", ")),
        Demand::AtLeast(_) => format!("without {} as strict as that", breach.lacks.join(", ")),
    }
}

/// What came of each invariant, for programs.
pub(in crate::cli) fn json_of(all: &[Searched]) -> Value {
    let one = |searched: &Searched| {
        let at = &searched.invariant.at;
        json!({
            "invariant": searched.invariant.name,
            "rule": &*at.rule,
            "file": &*at.file,
            "line": at.line,
            "result": result(searched),
            "method": METHOD,
            "actions": searched.actions,
            "tried": searched.tried,
            "met": searched.met,
            "whole": searched.whole,
            "breach": searched.breach.as_ref().map(breach_json),
        })
    };
    all.iter().map(one).collect()
}

fn breach_json(breach: &Breach) -> Value {
    json!({
        "request": request_json::evaluation(&breach.request, &breach.facts),
        "facts": request_json::facts(&breach.facts, breach.now),
        "markings": breach.request.resource.markings.iter().map(|marking| marking.as_str()).collect::<Vec<_>>(),
        "verdict": breach.judgement.verdict.as_str(),
        "rules": breach.judgement.reasons.iter().map(|reason| &*reason.rule.rule).collect::<Vec<_>>(),
        "lacks": breach.lacks,
        "doubt": breach.doubt,
    })
}
