//! `cordon policy check`.

use std::path::PathBuf;
use std::process::ExitCode;

use cordon_core::RuleRef;
use cordon_guard::policy::{Diagnostic, Invariants, PolicySet, Searched, Severity};
use serde_json::{Value, json};

use super::{
    DENIED, Ended, Format, Global, Tone, count, finding_json, invariants, read_source, refused_source,
    rendered, source_path, term,
};

/// What `cordon policy check` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon policy check                     the configured source
  cordon policy check policy/             a directory
  cordon policy check bundle.tar --format json

Invariants (invariants/*.cedar) are looked at by bounded enumeration; a broken one is an error, one that
no request is about a warning.
Exit status: 0 no errors, 1 errors, 2 the source cannot be read.")]
pub(super) struct CheckArgs {
    /// A source directory or a bundle [default: the configured one]
    source: Option<PathBuf>,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
    /// How many requests are tried for each invariant
    #[arg(long, value_name = "N", default_value_t = invariants::TRIES)]
    tries: u64,
}

/// What came of looking at a source.
struct Checked {
    path: PathBuf,
    /// None when the source is refused.
    policies: Option<PolicySet>,
    findings: Vec<Diagnostic>,
    searched: Vec<Searched>,
}

pub(super) fn run(args: &CheckArgs, global: &Global) -> Ended {
    let path = source_path(args.source.as_deref(), global)?;
    let source = read_source(&path)?;
    let (policies, findings) = match PolicySet::compile(&source) {
        Ok(compiled) => (Some(compiled.policies), compiled.warnings),
        Err(findings) => (None, findings),
    };
    let searched = match &policies {
        Some(policies) => Invariants::compile(&source)
            .map_err(|findings| refused_source(&findings, &path))?
            .search(policies, args.tries),
        None => Vec::new(),
    };
    let checked = Checked { path, policies, findings, searched };
    let passed = checked.passed(args.strict);
    match global.format {
        Format::Json => term::say(checked.json(passed))?,
        Format::Text => checked.print(passed)?,
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}

impl Checked {
    fn errors(&self) -> usize {
        self.found(Severity::Error).saturating_add(self.results("broken"))
    }

    fn warnings(&self) -> usize {
        self.found(Severity::Warning).saturating_add(self.results("about_nothing"))
    }

    fn passed(&self, strict: bool) -> bool {
        self.policies.is_some() && self.errors() == 0 && (self.warnings() == 0 || !strict)
    }

    fn found(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    fn results(&self, word: &str) -> usize {
        self.searched.iter().filter(|found| invariants::result(found) == word).count()
    }

    fn json(&self, passed: bool) -> Value {
        let policies = self.policies.as_ref();
        let guards = policies.map(PolicySet::guard_files).unwrap_or_default();
        json!({
            "source": self.path.to_string_lossy(),
            "ok": passed,
            "digest": policies.map(|policies| policies.digest().to_string()),
            "counts": policies.map(PolicySet::counts).map(|counts| json!({
                "permissions": counts.permissions,
                "prohibitions": counts.prohibitions,
                "obligations": counts.obligations,
                "guards": counts.guards,
                "manifests": counts.manifests,
                "tests": counts.tests,
            })),
            "guards": guards.iter().map(|file| json!({
                "file": file.path,
                "language": file.version.to_string(),
                "rules": file.rules,
            })).collect::<Vec<_>>(),
            "bound": policies.map(PolicySet::bound).map(|bound| json!({
                "action": bound.action.as_ref().map(|name| name.as_str()),
                "rules": bound.rules,
                "steps": bound.steps,
                "steps_max": bound.steps_max,
            })),
            "left_to_stock_cedar": policies.into_iter().flat_map(PolicySet::left_to_stock_cedar)
                .map(|(rule, why)| json!({
                    "rule": &*rule.rule, "file": &*rule.file, "line": rule.line, "why": why,
                }))
                .collect::<Vec<_>>(),
            "invariants": invariants::json_of(&self.searched),
            "findings": self.findings.iter().map(finding_json).collect::<Vec<_>>(),
        })
    }

    fn print(&self, passed: bool) -> std::io::Result<()> {
        for finding in &self.findings {
            term::say(format_args!("{}\n", rendered(finding, &self.path)))?;
        }
        let policies = self.policies.as_ref();
        for file in policies.map(PolicySet::guard_files).unwrap_or_default() {
            let (name, rules) = (self.path.join(&*file.path), count(file.rules, "rule"));
            term::say(format_args!("{}: {}, {rules}", term::safe(&name.to_string_lossy()), file.version))?;
        }
        let left: Vec<_> = policies.into_iter().flat_map(PolicySet::left_to_stock_cedar).collect();
        summary(policies, &left)?;
        invariants::print(&self.searched)?;
        let verdict = if passed { Tone::Good.paint("ok") } else { Tone::Bad.paint("refused") };
        let (errors, warnings) = (count(self.errors(), "error"), count(self.warnings(), "warning"));
        term::say(format_args!("{verdict}: {errors}, {warnings}"))
    }
}

/// What the policies are made of, and what deciding about them may take.
fn summary(policies: Option<&PolicySet>, left: &[(&RuleRef, &str)]) -> std::io::Result<()> {
    let Some(policies) = policies else { return Ok(()) };
    let (counts, bound) = (policies.counts(), policies.bound());
    term::say(format_args!(
        "{}, {}, {}, {}, {}, {}",
        count(counts.permissions, "permission"),
        count(counts.prohibitions, "prohibition"),
        count(counts.obligations, "obligation"),
        count(counts.guards, "guard rule"),
        count(counts.manifests, "tool manifest"),
        count(counts.tests, "test"),
    ))?;
    for (rule, why) in left {
        term::say(format_args!("left to stock Cedar, which is slower: {rule}: {why}"))?;
    }
    let action = bound.action.as_ref().map_or("an action without a manifest", |name| name.as_str());
    let rules = count(bound.rules, "rule");
    let (steps, steps_max) = (bound.steps, bound.steps_max);
    term::say(format_args!("at most {steps} of {steps_max} steps: {action}, {rules}"))
}
