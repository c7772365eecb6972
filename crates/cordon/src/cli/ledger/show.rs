//! `cordon ledger show`.

use std::path::PathBuf;
use std::process::ExitCode;

use cordon_core::cbor::Cbor;
use cordon_core::{CallId, RecordId, SessionId};
use cordon_ledger::{FieldId, Kind};
use cordon_store::ledger::{Filter, Shown, ShownValue, show};
use serde_json::{Map, Value, json};

use super::field::value_json;
use super::{Ended, Failure, Format, Global, Place, Tone, term, unreadable};

/// What `cordon ledger show` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon ledger show                          the last twenty entries
  cordon ledger show --index 7 --open         one entry in full, sealed values opened
  cordon ledger show --kind decision --last 5
  cordon ledger show --session ses_…  --format json

Opening needs the sealing key of this data directory, which its owner's user keeps.
Exit status: 0 shown, 1 there is no such entry, 2 it cannot be read.")]
pub(super) struct ShowArgs {
    /// A data directory or a log's directory [default: the configured one]
    dir: Option<PathBuf>,
    /// Only this entry, in full
    #[arg(long, value_name = "N", conflicts_with_all = ["session", "kind", "call", "record"])]
    index: Option<u64>,
    /// Only entries of this session
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// Only entries of this kind, such as `decision` or `approval.granted`
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<Kind>,
    /// Only entries about this call
    #[arg(long, value_name = "ID")]
    call: Option<CallId>,
    /// Only the entry with this identifier, in full
    #[arg(long, value_name = "ID")]
    record: Option<RecordId>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    /// Every field of every entry
    #[arg(long, short)]
    verbose: bool,
    /// Open sealed values with this user's key
    #[arg(long)]
    open: bool,
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("expected one of {}", known.join(", "))
    })
}

pub(super) fn run(args: &ShowArgs, global: &Global) -> Ended {
    let place = Place::find(args.dir.as_deref(), global)?;
    let key = match args.open {
        false => None,
        true => Some(place.opening_key()?.ok_or_else(|| {
            Failure::new("this user does not keep the key that opens this log's sealed values")
        })?),
    };
    let filter = Filter {
        from: args.index.unwrap_or(0),
        before: args.index.map_or(u64::MAX, |index| index.saturating_add(1)),
        kind: args.kind,
        session: args.session,
        call: args.call,
        record: args.record,
        most: args.last,
        newest: true,
    };
    let entries = show(&place.ledger, &filter, key.as_ref()).map_err(unreadable)?;
    let one = args.index.is_some() || args.record.is_some();
    if one && entries.is_empty() {
        return Err(Failure::new("there is no such entry").exit(super::DENIED));
    }
    match global.format {
        Format::Json => {
            let entries: Vec<Value> = entries.iter().map(entry_json).collect();
            term::say(serde_json::to_string_pretty(&entries)?)?;
        }
        Format::Text if one || args.verbose => entries.iter().try_for_each(in_full)?,
        Format::Text => entries.iter().try_for_each(in_short)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One line: index, time, kind, what was done to what, and the rules.
fn in_short(entry: &Shown) -> std::io::Result<()> {
    let mut parts = Vec::new();
    for field in [FieldId::Action, FieldId::Subject, FieldId::Outcome, FieldId::Cause] {
        parts.extend(clear(entry, field).and_then(Cbor::as_text).map(term::safe));
    }
    let decision = clear(entry, FieldId::EnforcementDecision);
    let part = |key: u64| decision.and_then(|decision| decision.get(key)).and_then(Cbor::as_text);
    let decided = match (part(1), part(2)) {
        (Some(verdict), Some(enforced)) => {
            let tone = match verdict {
                "allow" => Tone::Good,
                "ask" => Tone::Caution,
                _ => Tone::Bad,
            };
            format!("{} {}", tone.paint(verdict), term::safe(enforced))
        }
        _ => String::new(),
    };
    let shadow = clear(entry, FieldId::Shadow).and_then(|shadow| shadow.get(2)).and_then(Cbor::as_text);
    let differs = shadow.filter(|shadow| part(1) != Some(shadow));
    let decided = match differs {
        Some(shadow) => format!("{decided} (shadow: {})", term::safe(shadow)),
        None => decided,
    };
    let rules = clear(entry, FieldId::Reasons).and_then(Cbor::as_array).unwrap_or_default();
    let rules: Vec<&str> = rules.iter().filter_map(|rule| rule.get(2)?.as_text()).collect();
    let rules = Tone::Faint.paint(&rules.join(" ")).to_string();
    let line = format!(
        "{:>6}  {}  {:<17} {} {decided} {rules}",
        entry.index,
        entry.at,
        entry.kind.as_str(),
        parts.join(" ")
    );
    term::say(line.trim_end())
}

/// The value of a field that is kept in the clear.
fn clear(entry: &Shown, field: FieldId) -> Option<&Cbor> {
    entry.fields.iter().find(|(id, _)| *id == field).and_then(|(_, value)| value.value())
}

fn in_full(entry: &Shown) -> std::io::Result<()> {
    let title = format!("entry {} {} {}", entry.index, entry.kind, entry.id);
    term::say(Tone::Strong.paint(&title))?;
    term::say(format_args!("  {:<22} {}", "leaf", entry.leaf))?;
    for (field, value) in &entry.fields {
        let shown = match value {
            ShownValue::Clear(value) => plain(&value_json(*field, value)),
            ShownValue::Opened(value) => {
                format!("{} {}", plain(&value_json(*field, value)), Tone::Faint.paint("(opened)"))
            }
            ShownValue::Sealed(commitment) => {
                Tone::Faint.paint(&format!("sealed, commitment {commitment}")).to_string()
            }
            ShownValue::Unopened(commitment) => {
                Tone::Bad.paint(&format!("does not open, commitment {commitment}")).to_string()
            }
            ShownValue::Absent(reason) => {
                Tone::Faint.paint(&format!("absent: {}", reason.as_str())).to_string()
            }
        };
        term::say(format_args!("  {:<22} {shown}", field.as_str()))?;
    }
    Ok(())
}

/// A value in one line; texts without their quotes.
fn plain(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    term::safe(&text).into_owned()
}

fn entry_json(entry: &Shown) -> Value {
    let mut fields = Map::new();
    for (field, value) in &entry.fields {
        let value = match value {
            ShownValue::Clear(value) => json!({"value": value_json(*field, value)}),
            ShownValue::Opened(value) => json!({"opened": value_json(*field, value)}),
            ShownValue::Sealed(commitment) => json!({"sealed": commitment.to_string()}),
            ShownValue::Unopened(commitment) => json!({"unopened": commitment.to_string()}),
            ShownValue::Absent(reason) => json!({"absent": reason.as_str()}),
        };
        fields.insert(field.as_str().to_owned(), value);
    }
    json!({
        "index": entry.index,
        "id": entry.id.to_string(),
        "kind": entry.kind.as_str(),
        "at": entry.at.to_string(),
        "level": entry.level.as_str(),
        "leaf": entry.leaf.to_string(),
        "session": entry.session.map(|(id, counter)| json!({"id": id.to_string(), "counter": counter})),
        "fields": fields,
    })
}
