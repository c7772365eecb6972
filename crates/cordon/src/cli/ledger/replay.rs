//! `cordon ledger replay`.

mod paths;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use cordon_core::RecordId;
use cordon_guard::replay::{CannotReplay, Difference};
use cordon_ledger::Kind;
use cordon_store::ledger::{Filter, Shown, visit};
use serde_json::{Value, json};

use self::paths::Paths;
use super::field::general;
use super::{DENIED, Ended, Failure, Format, Global, Place, Tone, term, unreadable};
use crate::cli::NO_ANSWER;
use crate::cli::progress::Progress;
use crate::cli::recorded::{self, Bundles};

/// What `cordon ledger replay` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon ledger replay                     every decision of this node's log
  cordon ledger replay 7                   one decision
  cordon ledger replay --level R0          order and causes only; needs no key and no bundle
  cordon ledger replay --policy old.tar    where the bundle is not kept beside the log any more

R0 checks that every entry follows the one before it, and that what ran was permitted, and what was
permitted on approval was granted. R1 also judges each recorded request again, under the bundle whose
digest the record names, and compares the judgement byte for byte. Refusals of the guard itself
(quarantine, schema, limits, session) are counted apart: they were not the policies' judgement.
It reads files only; `cordon ledger verify` says whether they are the ones that were signed.
Exit status: 0 all the same, 1 something differs and is named, 2 something could not be judged.")]
pub(super) struct ReplayArgs {
    /// Only the decision in this entry
    index: Option<u64>,
    /// Every decision, which is what happens without an index too
    #[arg(long, conflicts_with = "index")]
    all: bool,
    /// How much is repeated
    #[arg(long, value_enum, default_value_t = Level::R1, ignore_case = true)]
    level: Level,
    /// A policy source or bundle to take where the log names its digest
    #[arg(long, value_name = "DIR|BUNDLE")]
    policy: Option<PathBuf>,
}

/// How much a replay repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// The path: order and causes
    #[value(name = "R0")]
    R0,
    /// The path, and each judgement
    #[value(name = "R1")]
    R1,
}

/// Most findings that are listed; the rest is counted.
const LISTED_MAX: usize = 1_000;

/// What came of judging one decision again.
enum Outcome {
    Same,
    Differs(Vec<Difference>),
    /// The guard's own check refused it.
    Outside(Box<str>),
    Cannot(String),
}

impl Outcome {
    const fn word(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs(_) => "differs",
            Self::Outside(_) => "outside",
            Self::Cannot(_) => "cannot",
        }
    }
}

/// One decision that is worth a line.
struct Finding {
    index: u64,
    id: RecordId,
    outcome: Outcome,
}

/// What came of all of them.
#[derive(Default)]
struct Report {
    entries: u64,
    same: u64,
    differs: u64,
    outside: u64,
    cannot: u64,
    findings: Vec<Finding>,
    left_out: u64,
    paths: Option<Paths>,
}

pub(super) fn run(args: &ReplayArgs, global: &Global) -> Ended {
    let place = Place::find(None, global)?;
    if args.index.is_some() && args.level == Level::R0 {
        return Err(Failure::new("level R0 is about the whole log; leave the index out, or use --level R1"));
    }
    let report = replay(args, &place)?;
    if args.index.is_some() && report.decisions() == 0 {
        return Err(Failure::new("there is no decision in this entry").exit(DENIED));
    }
    match global.format {
        Format::Json => term::say(serde_json::to_string_pretty(&report.json(args.level))?)?,
        Format::Text => report.print(args)?,
    }
    Ok(report.exit())
}

fn replay(args: &ReplayArgs, place: &Place) -> Result<Report, Failure> {
    let judging = match args.level {
        Level::R0 => None,
        Level::R1 => Some((recorded::opening_key(place)?, Bundles::of(place, args.policy.as_deref())?)),
    };
    let (key, mut bundles) = judging.unzip();
    let filter = Filter {
        from: args.index.unwrap_or(0),
        before: args.index.map_or(u64::MAX, |index| index.saturating_add(1)),
        most: usize::MAX,
        newest: false,
        ..Filter::default()
    };
    let mut report = Report { paths: args.index.is_none().then(Paths::default), ..Report::default() };
    let mut progress = Progress::new("entries replayed");
    let visited = visit(&place.ledger, &filter, key.as_ref(), |entry| {
        report.entries = report.entries.saturating_add(1);
        progress.show(report.entries);
        if let Some(paths) = &mut report.paths {
            paths.take(&entry);
        }
        if let Some(bundles) = bundles.as_mut().filter(|_| entry.kind == Kind::Decision) {
            let outcome = rejudge(&entry, bundles);
            report.count(Finding { index: entry.index, id: entry.id, outcome }, args.index.is_some());
        }
        ControlFlow::Continue(())
    });
    progress.clear();
    visited.map_err(unreadable)?;
    Ok(report)
}

fn rejudge(entry: &Shown, bundles: &mut Bundles) -> Outcome {
    let recorded = match recorded::decision(entry) {
        Ok(recorded) => recorded,
        Err(CannotReplay::NoRequest(check)) => return Outcome::Outside(check),
        Err(why) => return Outcome::Cannot(why.to_string()),
    };
    if let Some(check) = recorded.outside {
        return Outcome::Outside(check);
    }
    match bundles.get(recorded.bundle) {
        Err(why) => Outcome::Cannot(why),
        Ok(policies) => match recorded.differences(&recorded.judge(&policies)) {
            none if none.is_empty() => Outcome::Same,
            differences => Outcome::Differs(differences),
        },
    }
}

impl Report {
    fn count(&mut self, finding: Finding, always: bool) {
        let count = match &finding.outcome {
            Outcome::Same => &mut self.same,
            Outcome::Differs(_) => &mut self.differs,
            Outcome::Outside(_) => &mut self.outside,
            Outcome::Cannot(_) => &mut self.cannot,
        };
        *count = count.saturating_add(1);
        let listed = always || matches!(finding.outcome, Outcome::Differs(_) | Outcome::Cannot(_));
        if listed && self.findings.len() < LISTED_MAX {
            self.findings.push(finding);
        } else if listed {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    fn decisions(&self) -> u64 {
        [self.same, self.differs, self.outside, self.cannot].iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    fn exit(&self) -> ExitCode {
        let broken = self.paths.as_ref().is_some_and(|paths| paths.faults() > 0);
        match (self.differs > 0 || broken, self.cannot > 0) {
            (true, _) => ExitCode::from(DENIED),
            (false, true) => ExitCode::from(NO_ANSWER),
            (false, false) => ExitCode::SUCCESS,
        }
    }

    fn print(&self, args: &ReplayArgs) -> std::io::Result<()> {
        for fault in self.paths.iter().flat_map(Paths::listed) {
            term::say(format_args!("{} {}", Tone::Bad.paint("path"), term::safe(fault)))?;
        }
        for Finding { index, id, outcome } in &self.findings {
            let tone = match outcome {
                Outcome::Same => Tone::Good,
                Outcome::Differs(_) => Tone::Bad,
                Outcome::Outside(_) | Outcome::Cannot(_) => Tone::Caution,
            };
            let why = match outcome {
                Outcome::Same | Outcome::Differs(_) => String::new(),
                Outcome::Outside(check) => format!(": `{check}` refused it, not the policies"),
                Outcome::Cannot(why) => format!(": {why}"),
            };
            term::say(format_args!("{} entry {index} {id}{}", tone.paint(outcome.word()), term::safe(&why)))?;
            let Outcome::Differs(differences) = outcome else { continue };
            for Difference { part, recorded, judged } in differences {
                term::say(format_args!("  {part}"))?;
                term::say(format_args!("    recorded {}", term::safe(&general(recorded).to_string())))?;
                term::say(format_args!("    judged   {}", term::safe(&general(judged).to_string())))?;
            }
        }
        if self.left_out > 0 {
            term::say(format_args!("      and {} more", self.left_out))?;
        }
        if let Some(paths) = &self.paths {
            let word = if paths.faults() == 0 { Tone::Good.paint("ok") } else { Tone::Bad.paint("broken") };
            term::say(format_args!(
                "R0 {word}: {} entries in order, {} faults",
                self.entries,
                paths.faults()
            ))?;
        }
        if args.level == Level::R1 {
            let word = match (self.differs, self.cannot) {
                (0, 0) => Tone::Good.paint("ok"),
                (0, _) => Tone::Caution.paint("incomplete"),
                _ => Tone::Bad.paint("differs"),
            };
            term::say(format_args!(
                "R1 {word}: {} decisions: {} the same, {} differ, {} refused by the guard itself and not judged \
                 again, {} cannot be judged",
                self.decisions(),
                self.same,
                self.differs,
                self.outside,
                self.cannot
            ))?;
        }
        Ok(())
    }

    fn json(&self, level: Level) -> Value {
        let finding = |finding: &Finding| {
            let (why, differences) = match &finding.outcome {
                Outcome::Same => (None, Vec::new()),
                Outcome::Outside(check) => (Some(check.to_string()), Vec::new()),
                Outcome::Cannot(why) => (Some(why.clone()), Vec::new()),
                Outcome::Differs(differences) => (None, differences.iter().map(difference_json).collect()),
            };
            json!({
                "index": finding.index,
                "id": finding.id.to_string(),
                "outcome": finding.outcome.word(),
                "why": why,
                "differences": differences,
            })
        };
        let paths =
            |paths: &Paths| json!({"faults": paths.faults(), "listed": paths.listed().collect::<Vec<_>>()});
        let judged = json!({
            "decisions": self.decisions(),
            "same": self.same,
            "differs": self.differs,
            "outside": self.outside,
            "cannot": self.cannot,
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "left_out": self.left_out,
        });
        json!({
            "ok": self.exit() == ExitCode::SUCCESS,
            "entries": self.entries,
            "r0": self.paths.as_ref().map(paths),
            "r1": (level == Level::R1).then_some(judged),
        })
    }
}

fn difference_json(difference: &Difference) -> Value {
    json!({
        "part": difference.part.as_str(),
        "recorded": general(&difference.recorded),
        "judged": general(&difference.judged),
    })
}
