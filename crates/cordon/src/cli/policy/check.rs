//! `cordon policy check`.

use std::path::PathBuf;
use std::process::ExitCode;

use cordon_core::RuleRef;
use cordon_guard::policy::{PolicySet, Severity};
use serde_json::json;

use super::{
    DENIED, Ended, Format, Global, Tone, count, finding_json, read_source, rendered, source_path, term,
};

/// What `cordon policy check` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon policy check                     the configured source
  cordon policy check policy/             a directory
  cordon policy check bundle.tar --format json

Exit status: 0 no errors, 1 errors, 2 the source cannot be read.")]
pub(super) struct CheckArgs {
    /// A source directory or a bundle [default: the configured one]
    source: Option<PathBuf>,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(args: &CheckArgs, global: &Global) -> Ended {
    let path = source_path(args.source.as_deref(), global)?;
    let source = read_source(&path)?;
    let (policies, findings) = match PolicySet::compile(&source) {
        Ok(compiled) => (Some(compiled.policies), compiled.warnings),
        Err(findings) => (None, findings),
    };
    let counts = policies.as_ref().map(PolicySet::counts);
    let digest = policies.as_ref().map(PolicySet::digest);
    let guards = policies.as_ref().map(PolicySet::guard_files).unwrap_or_default();
    let bound = policies.as_ref().map(PolicySet::bound);
    let left: Vec<_> = policies.iter().flat_map(PolicySet::left_to_stock_cedar).collect();
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let passed = counts.is_some() && (warnings == 0 || !args.strict);
    match global.format {
        Format::Json => term::say(json!({
            "source": path.to_string_lossy(),
            "ok": passed,
            "digest": digest.map(|digest| digest.to_string()),
            "counts": counts.map(|counts| json!({
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
            "bound": bound.map(|bound| json!({
                "action": bound.action.as_ref().map(|name| name.as_str()),
                "rules": bound.rules,
                "steps": bound.steps,
                "steps_max": bound.steps_max,
            })),
            "left_to_stock_cedar": left.iter().map(|(rule, why)| json!({
                "rule": &*rule.rule, "file": &*rule.file, "line": rule.line, "why": why,
            })).collect::<Vec<_>>(),
            "findings": findings.iter().map(finding_json).collect::<Vec<_>>(),
        }))?,
        Format::Text => {
            for finding in &findings {
                term::say(format_args!("{}\n", rendered(finding, &path)))?;
            }
            for file in guards {
                let (name, rules) = (path.join(&*file.path), count(file.rules, "rule"));
                term::say(format_args!(
                    "{}: {}, {rules}",
                    term::safe(&name.to_string_lossy()),
                    file.version
                ))?;
            }
            summary(policies.as_ref(), &left)?;
            let verdict = if passed { Tone::Good.paint("ok") } else { Tone::Bad.paint("refused") };
            term::say(format_args!("{verdict}: {}, {}", count(errors, "error"), count(warnings, "warning")))?;
        }
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
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
