//! `cordon ledger prove` and `cordon ledger checkpoint`.

use std::path::PathBuf;
use std::process::ExitCode;

use cordon_store::ledger::{ReadError, log_key};
use serde_json::json;

use super::{DENIED, Ended, Failure, Format, Global, Place, term, unreadable};
use crate::bundle_files;

/// What `cordon ledger prove` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon ledger prove 7                                  print the proof of entry 7
  cordon ledger prove 7 -o proof.txt --entry entry.cbor  everything a third party needs

The proof is a C2SP tlog-proof: sibling hashes and a signed checkpoint. It is checked before it is
printed. The entry itself holds no personal data; sealed values stay sealed.
Exit status: 0 proven, 1 there is no such entry or the log does not hold, 2 it cannot be read.")]
pub(super) struct ProveArgs {
    /// The entry's index, from 0
    index: u64,
    /// A data directory or a log's directory [default: the configured one]
    dir: Option<PathBuf>,
    /// Write the proof here
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the entry's exact bytes here
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
}

pub(super) fn run(args: &ProveArgs, global: &Global) -> Ended {
    let place = Place::find(args.dir.as_deref(), global)?;
    let proven = cordon_store::ledger::prove(&place.ledger, args.index).map_err(|error| match error {
        error @ (ReadError::NoEntry { .. } | ReadError::Evidence(_)) => Failure::from(error).exit(DENIED),
        error => unreadable(error),
    });
    let (proof, entry) = proven?;
    let text = proof.to_text();
    if let Some(file) = &args.entry {
        bundle_files::replace(file, &entry)?;
    }
    match (&args.output, global.format) {
        (Some(file), _) => bundle_files::replace(file, text.as_bytes())?,
        (None, Format::Text) => term::say(text.trim_end())?,
        (None, Format::Json) => {
            let key = log_key(&place.ledger).map_err(unreadable)?;
            let hex: String = entry.iter().map(|byte| format!("{byte:02x}")).collect();
            term::say(json!({"index": proof.index, "key": key.to_string(), "proof": text, "entry": hex}))?;
        }
    }
    term::note(format_args!("entry {} is in the log; the proof was checked", proof.index));
    Ok(ExitCode::SUCCESS)
}

/// What `cordon ledger checkpoint` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon ledger checkpoint > checkpoint-today.txt

A checkpoint kept elsewhere shows later whether the log was cut short or rewritten. The log's key is
printed to standard error.")]
pub(super) struct CheckpointArgs {
    /// A data directory or a log's directory [default: the configured one]
    dir: Option<PathBuf>,
}

pub(super) fn checkpoint(args: &CheckpointArgs, global: &Global) -> Ended {
    let place = Place::find(args.dir.as_deref(), global)?;
    let note = cordon_store::ledger::checkpoint(&place.ledger).map_err(unreadable)?;
    let key = log_key(&place.ledger).map_err(unreadable)?;
    match global.format {
        Format::Text => {
            term::say(note.trim_end())?;
            term::note(format_args!("key {key}"));
        }
        Format::Json => term::say(json!({"checkpoint": note, "key": key.to_string()}))?,
    }
    Ok(ExitCode::SUCCESS)
}
