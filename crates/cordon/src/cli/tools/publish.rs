//! `cordon tools publish`: a version of a tool joins the policy source only if the bundle bears it.

mod blame;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cordon_core::ToolManifest;
use cordon_guard::policy::{
    Breach, Compiled, Invariant, Invariants, Looser, PolicySet, PolicySource, Searched, is_looser, looser,
};
use serde_json::{Value, json};

use self::blame::{Asks, blame};
use crate::bundle_files;
use crate::cli::policy::{self, invariants};
use crate::cli::{DENIED, Ended, Failure, Format, Global};
use crate::term::{self, Tone};

/// What `cordon tools publish` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon tools publish mail.toml --check       only say whether it could be published
  cordon tools publish mail.toml               put it into the configured policy source
  cordon tools publish new/tools/ --policy policy

The manifests replace those of the same file name in `tools/` of the policy source, once
  - the source is still understood, and its own tests pass,
  - no request breaks an invariant (invariants/*.cedar),
  - no request about a tool that was there before is judged less strictly than before; --accept-looser
    lets that through when a person has decided so, never the others.
A refusal names the rule, the field of the manifest and a request that shows it. Requests are found by
bounded enumeration; it says how many were tried. Nothing is in force before `cordon policy build`.
Exit status: 0 published, 1 refused, 2 it cannot be read or written.")]
pub(super) struct PublishArgs {
    /// A manifest file, or a directory of them
    manifests: PathBuf,
    /// The policy source [default: the configured one]
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
    /// Write nothing
    #[arg(long)]
    check: bool,
    /// Let a version through that is judged less strictly than the one before
    #[arg(long)]
    accept_looser: bool,
    /// How many requests are tried for each invariant and each tool
    #[arg(long, value_name = "N", default_value_t = invariants::TRIES)]
    tries: u64,
}

/// A tool whose manifest is another one.
struct Version {
    old: Option<ToolManifest>,
    new: ToolManifest,
}

/// Why a version is refused.
enum Refusal {
    Test { name: String, place: String, why: String },
    Invariant { invariant: Invariant, breach: Breach, fields: Vec<String> },
    Looser { looser: Looser, fields: Vec<String> },
}

/// What came of it.
struct Report {
    versions: Vec<Version>,
    refusals: Vec<Refusal>,
    searched: Vec<Searched>,
    /// Requests tried to compare versions.
    compared: u64,
    looser_accepted: bool,
}

pub(super) fn run(args: &PublishArgs, global: &Global) -> Ended {
    let path = policy::source_path(args.policy.as_deref(), global)?;
    if !args.check && !path.is_dir() {
        return Err(Failure::new(format!("`{}` is not a directory; use --check", path.display())));
    }
    let base = policy::read_source(&path)?;
    let offered = offered(&args.manifests)?;
    let mut next = base.clone();
    for (file, bytes) in &offered {
        next.insert(file.clone(), bytes.clone());
    }
    let old = policy::compile(&base, &path)?.policies;
    let Compiled { policies: new, .. } =
        PolicySet::compile(&next).map_err(|findings| policy::refused_source(&findings, &path))?;
    let report = judge(args, &next, &old, &new)?;
    let passed = report.refusals.is_empty();
    if passed && !args.check {
        for (file, bytes) in &offered {
            let target = path.join(&**file);
            std::fs::create_dir_all(target.parent().unwrap_or(&path))?;
            bundle_files::replace(&target, bytes)?;
        }
    }
    match global.format {
        Format::Json => term::say(serde_json::to_string_pretty(&report.json(args))?)?,
        Format::Text => report.print(args, &path)?,
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}

/// The files to publish, by the places where they would lie in the source.
fn offered(path: &Path) -> Result<BTreeMap<Box<str>, Vec<u8>>, Failure> {
    let read = |file: &Path| -> Result<(Box<str>, Vec<u8>), Failure> {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let failed = |error| Failure::from(error).context(&format!("cannot read `{}`", file.display()));
        Ok((format!("tools/{name}").into(), std::fs::read(file).map_err(failed)?))
    };
    if !path.is_dir() {
        return Ok(BTreeMap::from([read(path)?]));
    }
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            let (name, bytes) = read(&file)?;
            files.insert(name, bytes);
        }
    }
    if files.is_empty() {
        return Err(Failure::new(format!("there is no manifest (*.toml) in `{}`", path.display())));
    }
    Ok(files)
}

fn judge(
    args: &PublishArgs,
    next: &PolicySource,
    old: &PolicySet,
    new: &PolicySet,
) -> Result<Report, Failure> {
    let versions: Vec<Version> = new
        .manifests()
        .filter(|manifest| old.manifest(&manifest.tool) != Some(manifest))
        .map(|manifest| Version { old: old.manifest(&manifest.tool).cloned(), new: manifest.clone() })
        .collect();
    let mut refusals = failing_tests(new);
    let invariants =
        Invariants::compile(next).map_err(|findings| policy::refused_source(&findings, Path::new("")))?;
    let searched = invariants.search(new, args.tries);
    for found in &searched {
        let Some(breach) = &found.breach else { continue };
        let fields = blame(
            &versions,
            &breach.request,
            &Asks {
                new,
                still: &|request| {
                    let asked = (request, &breach.facts, breach.now);
                    invariants.breach(&found.invariant.at, new, asked).is_some()
                },
            },
        );
        refusals.push(Refusal::Invariant {
            invariant: found.invariant.clone(),
            breach: breach.clone(),
            fields,
        });
    }
    let mut compared = 0u64;
    let mut looser_accepted = false;
    for version in versions.iter().filter(|version| version.old.is_some()) {
        let found = looser(old, new, &version.new.tool, args.tries);
        compared = compared.saturating_add(found.tried);
        let Some(looser) = found.looser else { continue };
        looser_accepted |= args.accept_looser;
        if !args.accept_looser {
            let fields = blame(
                &versions,
                &looser.request,
                &Asks {
                    new,
                    still: &|request| {
                        let is = cordon_guard::policy::decide(new, request, &looser.facts, looser.now);
                        is_looser(&looser.was, &is)
                    },
                },
            );
            refusals.push(Refusal::Looser { looser, fields });
        }
    }
    Ok(Report { versions, refusals, searched, compared, looser_accepted })
}

fn failing_tests(new: &PolicySet) -> Vec<Refusal> {
    let failing = new.run_tests().outcomes.into_iter().filter(|outcome| !outcome.failures.is_empty());
    let refusal = |outcome: cordon_guard::policy::TestOutcome| Refusal::Test {
        place: format!("{}:{}", outcome.file, outcome.line),
        name: outcome.name.into(),
        why: outcome.failures.join("; "),
    };
    failing.map(refusal).collect()
}

impl Version {
    /// What is another in the manifest, in one line.
    fn changed(&self) -> String {
        match &self.old {
            None => "new".to_owned(),
            Some(old) => format!("changed: {}", blame::changed_fields(old, &self.new).join(", ")),
        }
    }
}

impl Report {
    fn print(&self, args: &PublishArgs, path: &Path) -> std::io::Result<()> {
        for refusal in &self.refusals {
            refusal.print()?;
        }
        let passed = self.refusals.is_empty();
        let word = match (passed, args.check) {
            (false, _) => Tone::Bad.paint("refused"),
            (true, true) => Tone::Good.paint("could be published"),
            (true, false) => Tone::Good.paint("published"),
        };
        for version in &self.versions {
            let tool = version.new.tool.to_string();
            term::say(format_args!("{word}  {} ({})", term::safe(&tool), term::safe(&version.changed())))?;
        }
        if self.versions.is_empty() {
            term::say(format_args!("{word}: no tool is described in another way"))?;
        }
        if self.looser_accepted {
            term::say(Tone::Caution.paint("accepted: it is judged less strictly than before"))?;
        }
        let tried = self.searched.iter().fold(0u64, |sum, found| sum.saturating_add(found.tried));
        let count = policy::count(self.searched.len(), "invariant");
        term::note(format_args!(
            "{tried} requests tried for {count}, {} to compare versions, by {}; no solver was asked",
            self.compared,
            invariants::METHOD
        ));
        if passed && !args.check {
            let path = path.display().to_string();
            term::note(format_args!("in force once it is signed: cordon policy build {}", term::safe(&path)));
        }
        Ok(())
    }

    fn json(&self, args: &PublishArgs) -> Value {
        json!({
            "ok": self.refusals.is_empty(),
            "written": self.refusals.is_empty() && !args.check,
            "tools": self.versions.iter().map(|version| json!({
                "tool": version.new.tool.as_str(),
                "new": version.old.is_none(),
                "changed": version.old.as_ref().map(|old| blame::changed_fields(old, &version.new)),
            })).collect::<Vec<_>>(),
            "refusals": self.refusals.iter().map(Refusal::json).collect::<Vec<_>>(),
            "invariants": invariants::json_of(&self.searched),
            "compared": self.compared,
            "looser_accepted": self.looser_accepted,
            "method": invariants::METHOD,
        })
    }
}

impl Refusal {
    fn print(&self) -> std::io::Result<()> {
        match self {
            Self::Test { name, place, why } => {
                let (name, place, why) = (term::safe(name), term::safe(place), term::safe(why));
                term::say(format_args!("the bundle's test «{name}» fails [{place}]\n  {why}"))
            }
            Self::Invariant { invariant, breach, fields } => {
                let (name, rule) = (term::safe(&invariant.name), invariant.at.to_string());
                term::say(format_args!("the invariant «{name}» is broken [{}]", term::safe(&rule)))?;
                print_fields(fields)?;
                invariants::print_breach(invariant, breach)
            }
            Self::Looser { looser, fields } => {
                let rules = escaped(looser);
                let rules = if rules.is_empty() { "the policy".to_owned() } else { rules.join(", ") };
                term::say(format_args!("the new version escapes {}", term::safe(&rules)))?;
                print_fields(fields)?;
                let line = crate::cli::request_json::line(&looser.request);
                term::say(format_args!("  request  {}", term::short(&line, 300)))?;
                let (was, is) = (invariants::let_through(&looser.was), invariants::let_through(&looser.is));
                term::say(format_args!("  before   {}", term::safe(&was)))?;
                term::say(format_args!("  now      {}", term::safe(&is)))
            }
        }
    }

    fn json(&self) -> Value {
        use crate::cli::request_json::evaluation;
        match self {
            Self::Test { name, place, why } => json!({"kind": "test", "test": name, "at": place, "why": why}),
            Self::Invariant { invariant, breach, fields } => json!({
                "kind": "invariant",
                "invariant": invariant.name,
                "rule": &*invariant.at.rule,
                "file": &*invariant.at.file,
                "line": invariant.at.line,
                "fields": fields,
                "why": invariants::wanting(invariant, breach),
                "request": evaluation(&breach.request, &breach.facts),
            }),
            Self::Looser { looser, fields } => json!({
                "kind": "looser",
                "rules": escaped(looser),
                "fields": fields,
                "from": looser.was.verdict.as_str(),
                "to": looser.is.verdict.as_str(),
                "request": evaluation(&looser.request, &looser.facts),
            }),
        }
    }
}

/// The rules that stood in the way, or obliged, before and do not any more.
fn escaped(looser: &Looser) -> Vec<String> {
    let of = |judgement: &cordon_core::Judgement| {
        let reasons = judgement.reasons.iter().map(|reason| reason.rule.clone());
        let due = judgement.obligations.iter().flat_map(|due| due.rules.iter().cloned());
        reasons.chain(due).collect::<std::collections::BTreeSet<_>>()
    };
    let permits = |judgement: &cordon_core::Judgement| {
        let reasons =
            judgement.reasons.iter().filter(|reason| reason.kind == cordon_core::ReasonKind::Permitted);
        reasons.map(|reason| reason.rule.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    let (was, is, permits) = (of(&looser.was), of(&looser.is), permits(&looser.was));
    was.into_iter()
        .filter(|rule| !is.contains(rule) && !permits.contains(rule))
        .map(|rule| rule.to_string())
        .collect()
}

fn print_fields(fields: &[String]) -> std::io::Result<()> {
    fields.iter().try_for_each(|field| term::say(format_args!("  field    {}", term::safe(field))))
}
