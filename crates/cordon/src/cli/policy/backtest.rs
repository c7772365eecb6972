//! `cordon policy backtest`: what another policy would have said to what really happened (R3).

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use cordon_core::{Duration, Timestamp};
use cordon_guard::policy::PolicySet;
use cordon_guard::ports::Clock as _;
use cordon_guard::replay::Recorded;
use cordon_ledger::Kind;
use cordon_store::ledger::{Filter, Shown, visit};
use cordon_store::system::SystemClock;
use serde_json::json;

use super::changes::{Changes, Example, Side};
use super::{
    DENIED, Ended, Failure, Format, Global, NO_ANSWER, Tone, compile, count, read_source, source_path, term,
};
use crate::cli::ledger::{Place, unreadable};
use crate::cli::progress::Progress;
use crate::cli::recorded;

/// What `cordon policy backtest` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon policy backtest                        the source as it lies there, before it is built
  cordon policy backtest --policy next/ --since 7d
  cordon policy backtest --policy next.tar --format json

Judges every recorded request again under another policy, with the facts and the time that were
recorded, and shows what would change, with one concrete request each; `request` in the JSON is what
`cordon policy explain` takes. Classes and effects are those of the other policy's manifests. What the
guard refused by itself (quarantine, schema, limits, session) is left out. It reads files only.
Exit status: 0 nothing changes, 1 something does, 2 nothing could be judged.")]
pub(super) struct BacktestArgs {
    /// The policy source or bundle to try [default: the configured one, as it lies there]
    #[arg(long, value_name = "DIR|BUNDLE")]
    policy: Option<PathBuf>,
    /// Only decisions since then: RFC 3339 in UTC, or `30m`, `24h`, `7d` ago
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// At most so many decisions, the oldest first
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// A point in time, or a span before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    At(Timestamp),
    Ago(Duration),
}

impl Since {
    /// The point in time.
    pub(super) fn timestamp(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => Timestamp::from_micros(now.as_micros().saturating_sub(span.as_micros())),
        }
    }
}

/// Reads `2026-11-01T00:00:00Z`, `90s`, `30m`, `24h` or `7d`.
pub(super) fn since(text: &str) -> Result<Since, String> {
    let span = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400u64,
            _ => return None,
        };
        Some(Since::Ago(Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?)))
    };
    Timestamp::parse_rfc3339(text)
        .map(Since::At)
        .or_else(span)
        .ok_or_else(|| "expected a time such as `2026-11-01T00:00:00Z`, or `30m`, `24h`, `7d`".to_owned())
}

/// What came of it.
#[derive(Default)]
struct Report {
    changes: Changes,
    outside: u64,
    cannot: u64,
}

pub(super) fn run(args: &BacktestArgs, global: &Global) -> Ended {
    let path = source_path(args.policy.as_deref(), global)?;
    let candidate = compile(&read_source(&path)?, &path)?.policies;
    let place = Place::find(None, global)?;
    let report = backtest(args, &place, &candidate)?;
    let changes = &report.changes;
    match global.format {
        Format::Json => term::say(serde_json::to_string_pretty(&json!({
            "policy": candidate.digest().to_string(),
            "changes": changes.json(),
            "outside": report.outside,
            "cannot": report.cannot,
        }))?)?,
        Format::Text => {
            changes.print()?;
            let word = if changes.changed() == 0 { Tone::Good } else { Tone::Caution };
            let changed = count(usize::try_from(changes.changed()).unwrap_or(usize::MAX), "judgement");
            term::say(format_args!(
                "{} of {} would change under {}; {} refused by the guard itself and {} unreadable are left out",
                word.paint(&changed),
                changes.judged(),
                candidate.digest(),
                report.outside,
                report.cannot
            ))?;
        }
    }
    Ok(match (changes.changed(), changes.judged(), report.cannot) {
        (0, 0, 1..) => ExitCode::from(NO_ANSWER),
        (0, ..) => ExitCode::SUCCESS,
        _ => ExitCode::from(DENIED),
    })
}

fn backtest(args: &BacktestArgs, place: &Place, candidate: &PolicySet) -> Result<Report, Failure> {
    let key = recorded::opening_key(place)?;
    let from = args.since.map(|since| since.timestamp(SystemClock.now()));
    let filter = Filter { kind: Some(Kind::Decision), most: usize::MAX, newest: false, ..Filter::default() };
    let mut report = Report::default();
    let mut progress = Progress::new("decisions judged");
    let visited = visit(&place.ledger, &filter, Some(&key), |entry| {
        if from.is_some_and(|from| entry.at < from) {
            return ControlFlow::Continue(());
        }
        if args.limit.is_some_and(|limit| report.changes.judged() >= limit) {
            return ControlFlow::Break(());
        }
        report.take(&entry, candidate);
        progress.show(report.changes.judged());
        ControlFlow::Continue(())
    });
    progress.clear();
    visited.map_err(unreadable)?;
    Ok(report)
}

impl Report {
    fn take(&mut self, entry: &Shown, candidate: &PolicySet) {
        match recorded::decision(entry) {
            Err(cordon_guard::replay::CannotReplay::NoRequest(_)) => {
                self.outside = self.outside.saturating_add(1);
            }
            Err(_) => self.cannot = self.cannot.saturating_add(1),
            Ok(recorded) if recorded.outside.is_some() => self.outside = self.outside.saturating_add(1),
            Ok(recorded) => self.compare(entry.index, &recorded, candidate),
        }
    }

    fn compare(&mut self, index: u64, recorded: &Recorded, candidate: &PolicySet) {
        let (request, facts) = recorded.under(candidate);
        let judgement = cordon_guard::policy::decide(candidate, &request, &facts, recorded.now);
        let from = Side { verdict: recorded.verdict().into(), rule: recorded.first_rule().into() };
        let example = Example {
            entry: Some(index),
            request: &request,
            facts: &facts,
            now: recorded.now,
            messages: judgement.reasons.iter().map(|reason| (&*reason.message).into()).collect(),
        };
        self.changes.take(from, Side::of(&judgement), recorded.same_obligations(&judgement), example);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_a_span_before_now() {
        let now = Timestamp::from_micros(10_000_000_000);
        let at = |text: &str| since(text).map(|since| since.timestamp(now).as_micros());
        assert_eq!(at("1970-01-01T00:00:01Z"), Ok(1_000_000));
        assert_eq!(at("100s"), Ok(9_900_000_000));
        assert_eq!(at("30d"), Ok(0), "never before the beginning");
        for text in ["", "d", "7w", "-1d", "yesterday", "é"] {
            assert!(since(text).is_err(), "{text}");
        }
    }
}
