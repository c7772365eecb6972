//! `cordon ledger verify`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cordon_ledger::NoteKey;
use cordon_store::ledger::{Problem, Report, VerifyOptions};
use serde_json::{Value, json};

use super::{DENIED, Ended, Format, Global, Place, Tone, term, unreadable};
use crate::cli::progress::Progress;

/// What `cordon ledger verify` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon ledger verify                      this node's log, by this user's keys
  cordon ledger verify /backup/.cordon      a copy of a data directory
  cordon ledger verify /mnt/log --key 'cordon/data_…+1a2b3c4d+AT…'

Reads files only; the owner may go on writing. Without --key the log's own first key is taken and
printed: compare it with one that you got another way.
Exit status: 0 everything holds, 1 something is wrong and named, 2 it cannot be read.")]
pub(super) struct VerifyArgs {
    /// A data directory or a log's directory [default: the configured one]
    dir: Option<PathBuf>,
    /// The log's key that you trust (`<origin>+<hash>+<key>`)
    #[arg(long, value_name = "KEY")]
    key: Option<NoteKey>,
    /// Check the entries only, not the tiles and bundles derived from them
    #[arg(long)]
    entries_only: bool,
}

pub(super) fn run(args: &VerifyArgs, global: &Global) -> Ended {
    let place = Place::find(args.dir.as_deref(), global)?;
    let own = place.own_key();
    let opening_key = place.opening_key()?;
    let options = VerifyOptions {
        trusted: args.key.as_ref().or(own.as_ref()),
        head_file: place.head.as_deref(),
        opening_key: opening_key.as_ref(),
        derived: !args.entries_only,
    };
    let begun = Instant::now();
    let mut progress = Progress::new("entries checked");
    let report = cordon_store::ledger::verify(&place.ledger, &options, &mut |size| progress.show(size));
    progress.clear();
    let report = report.map_err(unreadable)?;
    match global.format {
        Format::Json => term::say(report_json(&report))?,
        Format::Text => print(&report, begun.elapsed())?,
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}

fn print(report: &Report, took: Duration) -> std::io::Result<()> {
    for problem in &report.problems {
        term::say(format_args!("{} {}", Tone::Bad.paint("wrong"), term::safe(&problem.to_string())))?;
    }
    if report.problems_left_out > 0 {
        term::say(format_args!("      and {} more", report.problems_left_out))?;
    }
    if report.trusted == Some(false) {
        term::say(format_args!("{} the trusted key does not vouch for this log", Tone::Bad.paint("wrong")))?;
    }
    let verdict = if report.holds() { Tone::Good.paint("ok") } else { Tone::Bad.paint("does not hold") };
    term::say(format_args!(
        "{verdict}: {} entries in {} frames, checked in {took:.1?}",
        report.size, report.frames
    ))?;
    if let Some(signed) = &report.signed {
        term::say(format_args!("  root     {} at size {}", signed.checkpoint.root, signed.checkpoint.size))?;
    }
    for (key, from) in &report.keys {
        term::say(format_args!("  key      {} from entry {from}", term::safe(key)))?;
    }
    let trust = match report.trusted {
        Some(true) => "by a key that is trusted here",
        Some(false) => "not by the key that is trusted here",
        None => "by the log's own word: compare the key with one that you got another way",
    };
    term::say(format_args!("  signed   {trust}"))?;
    let sealed = match report.opened {
        0 => format!("{} sealed values, none opened: the key is not here", report.committed),
        opened => format!("{} sealed values, {opened} opened and compared", report.committed),
    };
    term::say(format_args!("  sealed   {sealed}"))?;
    if report.derived > 0 {
        term::say(format_args!("  derived  {} tiles and bundles compared", report.derived))?;
    }
    for index in &report.recoveries {
        term::say(format_args!("  note     entry {index} records a recovery after a crash"))?;
    }
    if report.unfinished_bytes > 0 {
        term::say(format_args!(
            "  note     {} bytes at the end are not finished: being written, or cut off by a crash",
            report.unfinished_bytes
        ))?;
    }
    if !report.holds() {
        term::note("  see docs/errors/LEDGER-002.md");
    }
    Ok(())
}

fn report_json(report: &Report) -> Value {
    let signed = report.signed.as_ref();
    json!({
        "ok": report.holds(),
        "code": (!report.holds()).then_some("LEDGER-002"),
        "origin": report.origin,
        "entries": report.size,
        "frames": report.frames,
        "segments": report.segments,
        "kinds": report.kinds,
        "root": signed.map(|signed| signed.checkpoint.root.to_string()),
        "size": signed.map(|signed| signed.checkpoint.size),
        "keys": report.keys.iter().map(|(key, from)| json!({"key": key, "from": from})).collect::<Vec<_>>(),
        "trusted": report.trusted,
        "recoveries": report.recoveries,
        "committed": report.committed,
        "opened": report.opened,
        "derived": report.derived,
        "published": report.published,
        "unfinished_bytes": report.unfinished_bytes,
        "problems": report.problems.iter().map(problem_json).collect::<Vec<_>>(),
        "problems_left_out": report.problems_left_out,
    })
}

fn problem_json(problem: &Problem) -> Value {
    json!({
        "file": problem.path.to_string_lossy(),
        "offset": problem.offset,
        "frame": problem.frame,
        "entry": problem.entry,
        "field": problem.field.map(|field| field.as_str()),
        "what": problem.what,
        "text": problem.to_string(),
    })
}
