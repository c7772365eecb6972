//! `cordon policy`: everything about policies; all but `reload` needs no running owner.

mod backtest;
mod build;
mod changes;
mod check;
mod diff;
mod explain;
pub(super) mod invariants;
mod learn;
mod reload;
mod shadow;
mod test;
mod verify;

use std::path::{Path, PathBuf};

use cordon_guard::policy::{Compiled, Diagnostic, ENVELOPE_FILE, PolicySet, PolicySource, Severity};
use serde_json::{Value, json};

use super::failure::{DENIED, NO_ANSWER};
use super::{Ended, Failure, Format, Global};
use crate::bundle_files;
use crate::config::{Config, ConfigError};
use crate::term::{self, Tone};

/// What `cordon policy` takes.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum PolicyCommand {
    /// Read and validate a policy source or bundle; every finding with its line and a caret
    Check(check::CheckArgs),
    /// Run the tests that the source brings along (tests/*.toml)
    Test(test::TestArgs),
    /// Sign a source: the directory in place, or a tar with -o
    Build(build::BuildArgs),
    /// Say who signed a bundle, which epoch it has and until when it holds
    Verify(verify::VerifyArgs),
    /// Judge one request and show what every rule in scope said
    Explain(explain::ExplainArgs),
    /// Judge recorded requests under another policy and show what would change
    Backtest(backtest::BacktestArgs),
    /// Show which rules changed between two policies, and requests whose judgement changes
    Diff(diff::DiffArgs),
    /// Propose the least that would have permitted what was permitted
    Learn(learn::LearnArgs),
    /// Count what the shadow bundle would have said otherwise
    Shadow(shadow::ShadowArgs),
    /// Let the running owner take the bundle as it lies there
    Reload(reload::ReloadArgs),
}

/// Runs `cordon policy`.
pub(crate) fn run(args: PolicyArgs, global: &Global) -> Ended {
    match args.command {
        PolicyCommand::Check(args) => check::run(&args, global),
        PolicyCommand::Test(args) => test::run(&args, global),
        PolicyCommand::Build(args) => build::run(&args, global),
        PolicyCommand::Verify(args) => verify::run(&args, global),
        PolicyCommand::Explain(args) => explain::run(&args, global),
        PolicyCommand::Backtest(args) => backtest::run(&args, global),
        PolicyCommand::Diff(args) => diff::run(&args, global),
        PolicyCommand::Learn(args) => learn::run(&args, global),
        PolicyCommand::Shadow(args) => shadow::run(&args, global),
        PolicyCommand::Reload(args) => reload::run(&args, global),
    }
}

/// The source that a command works on: the one named, else the configured one, else `policy`.
pub(super) fn source_path(named: Option<&Path>, global: &Global) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_path_buf());
    }
    if let Some(path) = configured(global)?.and_then(|config| config.policy) {
        return Ok(path);
    }
    let fallback = PathBuf::from("policy");
    if fallback.is_dir() {
        return Ok(fallback);
    }
    Err(Failure::new("no policy source: name a directory, or run this where `cordon init` was run"))
}

/// The configuration, if there is one; a broken one is an error.
fn configured(global: &Global) -> Result<Option<Config>, Failure> {
    match Config::load(global) {
        Ok(config) => Ok(Some(config)),
        Err(ConfigError::Missing { .. }) => Ok(None),
        Err(error) => Err(Failure::from(error).code("CONFIG-001")),
    }
}

/// Reads the policy source at `path`; the signature, if there is one, is left out.
pub(super) fn read_source(path: &Path) -> Result<PolicySource, Failure> {
    let mut files = bundle_files::read(path)?;
    files.remove(ENVELOPE_FILE);
    Ok(PolicySource::from(files))
}

/// Compiles a source, or prints every finding to standard error and fails.
pub(super) fn compile(source: &PolicySource, path: &Path) -> Result<Compiled, Failure> {
    PolicySet::compile(source).map_err(|findings| refused_source(&findings, path))
}

/// Prints every finding to standard error; the failure counts them.
pub(super) fn refused_source(findings: &[Diagnostic], path: &Path) -> Failure {
    for finding in findings {
        term::note(rendered(finding, path));
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    Failure::new(format!("the policy source in `{}` has {}", path.display(), count(errors, "error")))
        .exit(DENIED)
}

/// A finding for people: the source line and a caret, colour on its first word.
fn rendered(finding: &Diagnostic, root: &Path) -> String {
    let mut shown = finding.clone();
    // The path as somebody at this prompt would open it.
    shown.file = root.join(&*finding.file).to_string_lossy().into_owned().into();
    let text = term::safe_lines(shown.render().trim_end());
    let word = finding.severity.as_str();
    let tone = if finding.severity == Severity::Error { Tone::Bad } else { Tone::Caution };
    text.strip_prefix(word).map_or_else(|| text.clone(), |rest| format!("{}{rest}", tone.paint(word)))
}

fn finding_json(finding: &Diagnostic) -> Value {
    json!({
        "severity": finding.severity.as_str(),
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "width": finding.width,
        "message": finding.message,
        "help": finding.help,
    })
}

/// `1 error`, `2 errors`.
pub(super) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
