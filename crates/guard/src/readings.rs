//! What was read for a session just before: the results of tools that preconditions name, and whether
//! they are still what a decision rested on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cordon_core::json::Node;
use cordon_core::{ActionName, Digest, Gathered, Precondition, Record, Timestamp, ToolManifest, Value};

/// Most results that one session's readings are taken from; the oldest goes first.
const READINGS_MAX: usize = 64;
/// Largest result that a reading is taken from, in bytes.
const RESULT_BYTES_MAX: usize = 64 << 10;

/// The last results of tools that preconditions name, by what was asked.
#[derive(Debug, Default)]
pub(crate) struct Readings(Mutex<BTreeMap<Digest, Reading>>);

#[derive(Debug)]
struct Reading {
    /// When the call was decided: what it says may be as old as that.
    at: Timestamp,
    result: Node,
}

/// A read that has to be made before a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The tool, without its server.
    pub tool: Box<str>,
    /// Its arguments, as canonical JSON.
    pub arguments: String,
}

/// One reading that a decision rests on.
#[derive(Debug, Clone)]
pub(crate) struct Rested {
    precondition: Precondition,
    asked: Digest,
    value: Value,
}

/// What a call of a tool with these arguments asks.
pub(crate) fn asked(tool: &ActionName, arguments: &str) -> Digest {
    Digest::of(format!("{}:{tool}{arguments}", tool.as_str().len()).as_bytes())
}

impl Readings {
    /// Keeps a result of a tool that preconditions name.
    pub(crate) fn add(&self, asked: Digest, at: Timestamp, result: &Node, bytes: usize) {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes > RESULT_BYTES_MAX {
            // The one before is no longer the last that was read.
            readings.remove(&asked);
            return;
        }
        if readings.len() >= READINGS_MAX
            && let Some(oldest) = readings.iter().min_by_key(|(_, one)| one.at).map(|(asked, _)| *asked)
        {
            readings.remove(&oldest);
        }
        readings.insert(asked, Reading { at, result: result.clone() });
    }

    /// What there is of what a manifest wants read, and what a decision would rest on.
    pub(crate) fn gather(
        &self,
        manifest: Option<&ToolManifest>,
        arguments: Option<&Node>,
    ) -> (Gathered, Vec<Rested>) {
        let (mut gathered, mut rests) = (Gathered::default(), Vec::new());
        for precondition in manifest.into_iter().flat_map(|manifest| &manifest.preconditions) {
            let wanted = arguments.and_then(|arguments| precondition.arguments_for(arguments));
            let asked = wanted.map(|wanted| asked(&precondition.tool, &wanted));
            let Some((at, record)) = asked.and_then(|asked| self.read(precondition, asked)) else { continue };
            let value = Value::Record(record);
            gathered.at.insert(precondition.name.clone(), at);
            gathered.values.insert(precondition.name.clone(), value.clone());
            if let Some(asked) = asked {
                rests.push(Rested { precondition: precondition.clone(), asked, value });
            }
        }
        (gathered, rests)
    }

    fn read(&self, precondition: &Precondition, asked: Digest) -> Option<(Timestamp, Record)> {
        let readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = readings.get(&asked)?;
        Some((reading.at, precondition.taken(&reading.result)?))
    }

    /// The reads that a door makes before a call: what is missing, and what has used up half its age.
    pub(crate) fn wanted(&self, manifest: &ToolManifest, arguments: &Node, now: Timestamp) -> Vec<Wanted> {
        let wants = manifest.preconditions.iter().filter_map(|precondition| {
            let arguments = precondition.arguments_for(arguments)?;
            let at = self.read(precondition, asked(&precondition.tool, &arguments)).map(|(at, _)| at);
            let half = u64::from(precondition.max_age_ms).saturating_mul(500);
            let fresh = at.is_some_and(|at| now.as_micros().saturating_sub(at.as_micros()) <= half);
            (!fresh).then(|| Wanted { tool: precondition.tool.operation().into(), arguments })
        });
        wants.collect()
    }

    /// The first precondition that no longer is as it was when the call was decided.
    pub(crate) fn outdated<'r>(&self, rests: &'r [Rested], now: Timestamp) -> Option<&'r str> {
        let holds = |rested: &&Rested| {
            let Rested { precondition, asked, value } = rested;
            self.read(precondition, *asked).is_some_and(|(at, record)| {
                let age_ms = now.as_micros().saturating_sub(at.as_micros()) / 1_000;
                age_ms <= u64::from(precondition.max_age_ms) && Value::Record(record) == *value
            })
        };
        rests.iter().find(|rested| !holds(rested)).map(|rested| &*rested.precondition.name)
    }
}
