//! `cordon policy shadow`: what the shadow bundle would have said otherwise.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::ExitCode;

use cordon_core::Digest;
use cordon_core::cbor::Cbor;
use cordon_guard::ports::Clock as _;
use cordon_ledger::{FieldId, Kind};
use cordon_store::ledger::{Filter, Shown, ShownValue, visit};
use cordon_store::system::SystemClock;
use serde_json::{Value, json};

use super::backtest::{Since, since};
use super::changes::{Changes, Example, Side};
use super::{Ended, Format, Global, Tone, term};
use crate::cli::ledger::{Place, unreadable};
use crate::cli::recorded;

/// Most shadow bundles that are counted apart; the oldest are left out.
const BUNDLES_MAX: usize = 100;

/// What `cordon policy shadow` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon policy shadow --since 24h
  cordon policy shadow --format json

`[policy] shadow = \"next.tar\"` in cordon.toml names a signed bundle that every request is judged by
too. What it would have said is recorded beside each decision and enforced nowhere. This counts where
it differs, for each shadow bundle there was. It reads files only.
Exit status: 0 counted, 2 the log cannot be read.")]
pub(super) struct ShadowArgs {
    /// Only decisions since then: RFC 3339 in UTC, or `30m`, `24h`, `7d` ago
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
}

pub(super) fn run(args: &ShadowArgs, global: &Global) -> Ended {
    let place = Place::find(None, global)?;
    let key = recorded::opening_key(&place)?;
    let from = args.since.map(|since| since.timestamp(SystemClock.now()));
    let filter = Filter { kind: Some(Kind::Decision), most: usize::MAX, newest: false, ..Filter::default() };
    let mut bundles: BTreeMap<Digest, Changes> = BTreeMap::new();
    visit(&place.ledger, &filter, Some(&key), |entry| {
        if from.is_none_or(|from| entry.at >= from) {
            count(&entry, &mut bundles);
        }
        ControlFlow::Continue(())
    })
    .map_err(unreadable)?;
    match global.format {
        Format::Json => {
            let all: Vec<Value> = bundles
                .iter()
                .map(|(digest, changes)| json!({"shadow": digest.to_string(), "changes": changes.json()}))
                .collect();
            term::say(serde_json::to_string_pretty(&all)?)?;
        }
        Format::Text => {
            for (digest, changes) in &bundles {
                term::say(Tone::Strong.paint(&format!("shadow {digest}")))?;
                changes.print()?;
                let (changed, judged) = (changes.changed(), changes.judged());
                term::say(format_args!("{changed} of {judged} decisions would have been different"))?;
            }
            if bundles.is_empty() {
                term::say("no decision was judged by a shadow bundle")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn count(entry: &Shown, bundles: &mut BTreeMap<Digest, Changes>) {
    let field = entry.fields.iter().find(|(field, _)| *field == FieldId::Shadow);
    let Some(shadow) = field.and_then(|(_, value)| ShownValue::value(value)) else { return };
    let digest = shadow.get(1).and_then(Cbor::as_bytes).and_then(|bytes| bytes.try_into().ok());
    let (Some(digest), Ok(recorded)) = (digest.map(Digest::from_bytes), recorded::decision(entry)) else {
        return;
    };
    if bundles.len() >= BUNDLES_MAX && !bundles.contains_key(&digest) {
        return;
    }
    let verdict = shadow.get(2).and_then(Cbor::as_text).unwrap_or_default();
    let rules: Vec<Box<str>> = shadow
        .get(3)
        .and_then(Cbor::as_array)
        .unwrap_or_default()
        .iter()
        .filter_map(|rule| rule.as_text().map(Into::into))
        .collect();
    let to = Side { verdict: verdict.into(), rule: rules.first().cloned().unwrap_or_default() };
    let from = Side { verdict: recorded.verdict().into(), rule: recorded.first_rule().into() };
    let example = Example {
        entry: Some(entry.index),
        request: &recorded.request,
        facts: &recorded.facts,
        now: recorded.now,
        messages: Vec::new(),
    };
    bundles.entry(digest).or_default().take(from, to, true, example);
}
