//! `cordon doctor`: what this machine can enforce, probe by probe.
//!
//! A probe tries the thing itself where that harms nothing, and otherwise says what it read. It
//! never guesses: what could not be found out is `unknown`.

mod install;
mod machine;
mod storage;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::OnceLock;

use serde_json::json;

use super::failure::DENIED;
use super::{Ended, Format, Global};
use crate::term::{self, Tone};

/// What `cordon doctor` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon doctor
  cordon doctor --format json

Probes under `now` decide the exit status: 0 nothing is wrong, 1 something needed is missing or
unsafe. Probes under `later` are for isolation tiers that this version does not offer yet.")]
pub(crate) struct DoctorArgs {}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Probe {
    what: &'static str,
    finding: Finding,
    /// What was tried or read, and what came of it.
    evidence: String,
    /// What follows from it.
    meaning: &'static str,
    need: Need,
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Fine,
    Careful,
    Wrong,
    Unknown,
}

/// Who needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// What this version does.
    Now,
    /// Isolation that comes later.
    Later,
}

impl Probe {
    fn new(what: &'static str, need: Need) -> Self {
        Self { what, finding: Finding::Unknown, evidence: String::new(), meaning: "", need }
    }

    fn found(mut self, finding: Finding, evidence: impl Into<String>, meaning: &'static str) -> Self {
        self.finding = finding;
        self.evidence = evidence.into();
        self.meaning = meaning;
        self
    }

    fn fine(self, evidence: impl Into<String>, meaning: &'static str) -> Self {
        self.found(Finding::Fine, evidence, meaning)
    }

    fn careful(self, evidence: impl Into<String>, meaning: &'static str) -> Self {
        self.found(Finding::Careful, evidence, meaning)
    }

    fn wrong(self, evidence: impl Into<String>, meaning: &'static str) -> Self {
        self.found(Finding::Wrong, evidence, meaning)
    }

    const fn tone(&self) -> Tone {
        match (self.finding, self.need) {
            (Finding::Fine, _) => Tone::Good,
            (Finding::Wrong, Need::Now) => Tone::Bad,
            (Finding::Careful | Finding::Wrong, _) => Tone::Caution,
            (Finding::Unknown, _) => Tone::Faint,
        }
    }

    fn unknown(self, evidence: impl Into<String>, meaning: &'static str) -> Self {
        self.found(Finding::Unknown, evidence, meaning)
    }
}

impl Finding {
    /// The finding as printed; what only later versions need is not wrong but missing.
    const fn as_str(self, need: Need) -> &'static str {
        match (self, need) {
            (Self::Fine, _) => "ok",
            (Self::Careful, _) => "careful",
            (Self::Wrong, Need::Now) => "wrong",
            (Self::Wrong, Need::Later) => "missing",
            (Self::Unknown, _) => "unknown",
        }
    }
}

/// What was found about the machine, by what was looked at; looked at once.
pub(crate) fn machine_findings() -> &'static BTreeMap<Box<str>, Box<str>> {
    static FINDINGS: OnceLock<BTreeMap<Box<str>, Box<str>>> = OnceLock::new();
    FINDINGS.get_or_init(|| {
        let found =
            |probe: &Probe| format!("{}: {}", probe.finding.as_str(probe.need), probe.evidence).into();
        machine::lasting().iter().map(|probe| (probe.what.into(), found(probe))).collect()
    })
}

/// Runs `cordon doctor`.
pub(crate) fn run(_args: DoctorArgs, global: &Global) -> Ended {
    let mut probes = install::probes(global);
    probes.extend(storage::probes(global));
    probes.extend(machine::probes());
    let sound = probes.iter().all(|probe| probe.need == Need::Later || probe.finding != Finding::Wrong);
    match global.format {
        Format::Json => {
            let probes: Vec<_> = probes
                .iter()
                .map(|probe| {
                    json!({
                        "what": probe.what,
                        "finding": probe.finding.as_str(probe.need),
                        "evidence": probe.evidence,
                        "meaning": probe.meaning,
                        "need": if probe.need == Need::Now { "now" } else { "later" },
                    })
                })
                .collect();
            term::say(json!({"ok": sound, "probes": probes}))?;
        }
        Format::Text => {
            for (need, title) in [
                (Need::Now, "now: what this version relies on"),
                (Need::Later, "later: what stronger isolation would need"),
            ] {
                term::say(Tone::Strong.paint(title))?;
                for probe in probes.iter().filter(|probe| probe.need == need) {
                    print(probe)?;
                }
            }
        }
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}

fn print(probe: &Probe) -> std::io::Result<()> {
    let word = probe.finding.as_str(probe.need);
    let pad = " ".repeat(8usize.saturating_sub(word.len()));
    term::say(format_args!(
        "  {}{pad} {:<22} {}",
        probe.tone().paint(word),
        probe.what,
        term::safe(&probe.evidence)
    ))?;
    if probe.finding != Finding::Fine && !probe.meaning.is_empty() {
        term::say(format_args!("           {:<22} {}", "", Tone::Faint.paint(probe.meaning)))?;
    }
    Ok(())
}
