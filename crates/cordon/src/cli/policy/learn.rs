//! `cordon policy learn`: the least that would have permitted what was permitted, for a person to edit.

mod seen;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cordon_guard::policy::{Diagnostic, PolicySet, PolicySource, Severity};
use cordon_guard::ports::Clock as _;
use cordon_ledger::{FieldId, Kind};
use cordon_store::ledger::{Filter, Shown, ShownValue, visit};
use cordon_store::system::SystemClock;
use serde_json::json;

use self::seen::Seen;
use super::backtest::{Since, since};
use super::{Ended, Failure, Format, Global, read_source, refused_source, source_path, term};
use crate::bundle_files;
use crate::cli::ledger::{Place, unreadable};
use crate::cli::recorded;

/// Where the proposal stands in the source that is written.
const FILE: &str = "permissions/learned.cedar";

/// What `cordon policy learn` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon policy learn --since 30d                print the permissions
  cordon policy learn --since 30d -o proposal    write a whole source to compare, edit and build
  cordon policy diff policy proposal

Takes the calls that were permitted, an approval counted, and writes a permission for each principal
and tool with the resources and argument values or ranges that were seen. The proposal is the present
source with its permissions replaced by these; prohibitions, obligations, manifests and tests stay.
What was seen is not what is right: a person reads it before anybody signs it.
Exit status: 0 proposed, 1 nothing was permitted, 2 it cannot be read.")]
pub(super) struct LearnArgs {
    /// The source whose permissions are replaced [default: the configured one]
    #[arg(long, value_name = "DIR|BUNDLE")]
    policy: Option<PathBuf>,
    /// Only decisions since then: RFC 3339 in UTC, or `30m`, `24h`, `7d` ago
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// Write the whole proposed source into this new directory
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &LearnArgs, global: &Global) -> Ended {
    let path = source_path(args.policy.as_deref(), global)?;
    let base = read_source(&path)?.without_permissions();
    let seen = observe(args, &Place::find(None, global)?)?;
    if seen.calls() == 0 {
        return Err(Failure::new("no recorded call was permitted, so there is nothing to learn from").exit(1));
    }
    let (proposal, text) = propose(&base, &seen).map_err(|findings| refused_source(&findings, &path))?;
    if let Some(output) = &args.output {
        write(output, &proposal)?;
        term::note(format_args!(
            "a proposal was written to `{}`; read it before you build it",
            output.display()
        ));
    }
    match (global.format, &args.output) {
        (Format::Json, _) => {
            term::say(json!({"calls": seen.calls(), "permissions": seen.permissions(), "text": text}))?;
        }
        (Format::Text, None) => term::say(text.trim_end())?,
        (Format::Text, Some(_)) => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn observe(args: &LearnArgs, place: &Place) -> Result<Seen, Failure> {
    let key = recorded::opening_key(place)?;
    let from = args.since.map(|since| since.timestamp(SystemClock.now()));
    let filter = Filter { kind: Some(Kind::Decision), most: usize::MAX, newest: false, ..Filter::default() };
    let mut seen = Seen::default();
    visit(&place.ledger, &filter, Some(&key), |entry| {
        if from.is_none_or(|from| entry.at >= from)
            && was_permitted(&entry)
            && let Ok(recorded) = recorded::decision(&entry)
        {
            seen.take(&recorded.request);
        }
        ControlFlow::Continue(())
    })
    .map_err(unreadable)?;
    Ok(seen)
}

fn was_permitted(entry: &Shown) -> bool {
    let field = entry.fields.iter().find(|(field, _)| *field == FieldId::EnforcementDecision);
    let decision = field.and_then(|(_, value)| ShownValue::value(value));
    let part =
        |key: u64| decision.and_then(|decision| decision.get(key)).and_then(cordon_core::cbor::Cbor::as_text);
    matches!((part(1), part(2)), (_, Some("permitted")) | (Some("allow"), Some("answered")))
}

/// The base with the learned permissions. Conditions that its schema does not take are left out, with
/// a remark: then the permission is wider than what was seen, never narrower than what is written.
fn propose(base: &PolicySource, seen: &Seen) -> Result<(PolicySource, String), Vec<Diagnostic>> {
    let with = |text: &str| {
        let mut source = base.clone();
        source.insert(FILE, text);
        source
    };
    let (text, rules) = seen.cedar(&[]);
    let findings = match PolicySet::compile(&with(&text)) {
        Ok(_) => return Ok((with(&text), text)),
        Err(findings) => findings,
    };
    let refused: Vec<usize> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error && &*finding.file == FILE)
        .filter_map(|finding| rules.iter().rposition(|start| *start <= finding.line))
        .collect();
    let (text, _) = seen.cedar(&refused);
    let source = with(&text);
    PolicySet::compile(&source).map(|_| (source, text))
}

fn write(dir: &Path, source: &PolicySource) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::from(error).context(&format!("cannot write `{}`", dir.display()));
    std::fs::create_dir(dir).map_err(failed)?;
    for (path, bytes) in source.files() {
        let file = dir.join(&**path);
        std::fs::create_dir_all(file.parent().unwrap_or(dir)).map_err(failed)?;
        bundle_files::replace(&file, bytes)?;
    }
    Ok(())
}
