//! `cordon policy test`.

use std::path::PathBuf;
use std::process::ExitCode;

use cordon_core::Judgement;
use cordon_guard::policy::TestOutcome;
use serde_json::{Value, json};

use super::{
    DENIED, Ended, Failure, Format, Global, NO_ANSWER, Tone, compile, count, read_source, source_path, term,
};

/// What `cordon policy test` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon policy test                      the configured source
  cordon policy test policy/ --verbose    every test with its judgement

Exit status: 0 all pass, 1 a test fails or the source has errors, 2 the source cannot be read
or has no tests.")]
pub(super) struct TestArgs {
    /// A source directory or a bundle [default: the configured one]
    source: Option<PathBuf>,
    /// Show the tests that pass too
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn run(args: &TestArgs, global: &Global) -> Ended {
    let path = source_path(args.source.as_deref(), global)?;
    let compiled = compile(&read_source(&path)?, &path)?;
    let report = compiled.policies.run_tests();
    if report.outcomes.is_empty() {
        let text = format!("`{}` has no tests; add some under tests/*.toml", path.display());
        return Err(Failure::new(text).exit(NO_ANSWER));
    }
    let (passed, failed) = (report.passed(), report.failed());
    match global.format {
        Format::Json => term::say(json!({
            "source": path.to_string_lossy(),
            "passed": passed,
            "failed": failed,
            "tests": report.outcomes.iter().map(outcome_json).collect::<Vec<_>>(),
        }))?,
        Format::Text => {
            for outcome in report.outcomes.iter().filter(|outcome| args.verbose || !outcome.passed()) {
                term::say(outcome_text(outcome))?;
            }
            let verdict = if failed == 0 { Tone::Good.paint("ok") } else { Tone::Bad.paint("failed") };
            term::say(format_args!("{verdict}: {} passed, {failed} failed", count(passed, "test")))?;
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}

fn outcome_text(outcome: &TestOutcome) -> String {
    let mark = if outcome.passed() { Tone::Good.paint("pass") } else { Tone::Bad.paint("FAIL") };
    let mut text = format!(
        "{mark} {}  {}",
        term::safe(&outcome.name),
        Tone::Faint.paint(&format!("{}:{}", outcome.file, outcome.line))
    );
    for failure in &outcome.failures {
        text.push_str(&format!("\n     {}", term::safe(failure)));
    }
    if !outcome.passed() {
        text.push_str(&format!("\n     {}", judged(&outcome.judgement)));
    }
    text
}

/// The judgement in one line: the verdict and every rule that made it so.
fn judged(judgement: &Judgement) -> String {
    let reasons: Vec<String> =
        judgement.reasons.iter().map(|reason| format!("{} [{}]", reason.message, reason.rule)).collect();
    term::safe(&format!("judged {}: {}", judgement.verdict, reasons.join("; "))).into_owned()
}

fn outcome_json(outcome: &TestOutcome) -> Value {
    json!({
        "name": outcome.name,
        "file": outcome.file,
        "line": outcome.line,
        "passed": outcome.passed(),
        "failures": outcome.failures,
        "verdict": outcome.judgement.verdict.as_str(),
        "reasons": outcome.judgement.reasons.iter().map(|reason| json!({
            "rule": &*reason.rule.rule,
            "file": &*reason.rule.file,
            "line": reason.rule.line,
            "message": &*reason.message,
        })).collect::<Vec<_>>(),
    })
}
