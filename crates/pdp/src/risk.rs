//! What risk signals amount to: `risk.toml`, and the score that it makes of them.

use std::collections::BTreeMap;
use std::ops::Range;

use cordon_core::{ClassKind, Facts, Marking, Risk, RiskLevel, RiskPart, Signal, SignalKind, Timestamp};

use crate::Diagnostic;
use crate::diagnostic::Severity;
use crate::tree::{self, Name, Reader, Tree, member};

/// What a bundle says about risk.
///
/// The score is the sum over all signals of value × weight / 1000, at most 1000. A signal that is not
/// known could be anything from 0 to 1000, and so could the score be anything between two bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskModel {
    /// From which score on it is medium, high and critical.
    levels: [u16; 3],
    weights: BTreeMap<SignalKind, u16>,
    /// How old a signal may be, in seconds; one without an entry may be of any age.
    max_age_s: BTreeMap<SignalKind, u32>,
    markings: BTreeMap<Box<str>, u16>,
    classes: BTreeMap<Box<str>, u16>,
    familiar: Vec<Box<str>>,
    confidence_max: u16,
}

/// The name under which `[markings]` says what unlisted markings count.
const OTHER: &str = "other";

impl Default for RiskModel {
    fn default() -> Self {
        let weights = SignalKind::ALL.map(|kind| (kind, default_weight(kind)));
        let markings = [(OTHER, 500), ("pii", 700), ("secret", 1_000), ("restricted", 900)];
        Self {
            levels: [450, 650, 850],
            weights: weights.into(),
            max_age_s: BTreeMap::from([(SignalKind::ThreatIntelligence, 604_800)]),
            markings: markings.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            classes: BTreeMap::new(),
            familiar: Vec::new(),
            confidence_max: 900,
        }
    }
}

const fn default_weight(kind: SignalKind) -> u16 {
    match kind {
        SignalKind::ThreatIntelligence => 500,
        SignalKind::PromptContext => 400,
        SignalKind::Destination | SignalKind::DataClassification => 300,
        SignalKind::Permissions => 200,
        SignalKind::Identity | SignalKind::Tool | SignalKind::History | SignalKind::Approvals => 150,
        SignalKind::Confidence => 100,
    }
}

/// How much a class lets its holder do, where `[classes]` does not say.
const fn default_reach(class: ClassKind) -> u16 {
    match class {
        ClassKind::DataRead | ClassKind::FilesRead | ClassKind::ModelCall => 100,
        ClassKind::DataWrite | ClassKind::FilesWrite | ClassKind::MemoryWrite => 300,
        ClassKind::NetEgress | ClassKind::MessageSend => 400,
        ClassKind::AgentDelegate => 500,
        ClassKind::CodeExec | ClassKind::MoneyMove | ClassKind::SecretUse => 700,
        ClassKind::InfraChange | ClassKind::Admin => 900,
    }
}

impl RiskModel {
    /// What the signals of `facts` amount to at `now`.
    pub(crate) fn assess(&self, facts: &Facts, now: Timestamp) -> Risk {
        let parts: Vec<RiskPart> = facts.signals.iter().map(|signal| self.part(signal, now)).collect();
        let (least, most) = bounds(parts.iter().map(|part| (part.value, part.weight)));
        let level = self.level(least);
        Risk { least, most, level: (level == self.level(most)).then_some(level), parts }
    }

    /// The same as rules read it.
    pub(crate) fn view(&self, facts: &Facts, now: Timestamp) -> RiskView {
        let mut signals = [State::Absent; SignalKind::ALL.len()];
        let weighed = facts.signals.iter().map(|signal| {
            let RiskPart { kind, value, weight, .. } = self.part(signal, now);
            if let Some(state) = signals.get_mut(kind as usize) {
                *state = value.map_or(State::Unknown, State::Known);
            }
            (value, weight)
        });
        let (least, most) = bounds(weighed);
        let level = self.level(least);
        RiskView {
            score: (least == most).then_some(least),
            level: (level == self.level(most)).then_some(level),
            signals,
        }
    }

    /// One signal as it counts at `now`: what is too old is not known.
    fn part(&self, (kind, signal): (&SignalKind, &Signal), now: Timestamp) -> RiskPart {
        let age_ms = now.as_micros().saturating_sub(signal.at.as_micros()) / 1_000;
        let most = self.max_age_s.get(kind).map_or(u64::MAX, |most| u64::from(*most).saturating_mul(1_000));
        RiskPart {
            kind: *kind,
            value: signal.value.filter(|_| age_ms <= most),
            weight: self.weights.get(kind).copied().unwrap_or_default(),
            age_ms,
            source: signal.source.clone(),
        }
    }

    fn level(&self, score: u16) -> RiskLevel {
        let [medium, high, critical] = self.levels;
        match score {
            score if score >= critical => RiskLevel::Critical,
            score if score >= high => RiskLevel::High,
            score if score >= medium => RiskLevel::Medium,
            _ => RiskLevel::Low,
        }
    }

    /// How sensitive what carries these markings is; 0 without any.
    pub fn sensitivity<'m>(&self, markings: impl IntoIterator<Item = &'m Marking>) -> u16 {
        let other = self.markings.get(OTHER).copied().unwrap_or_default();
        let of = |marking: &Marking| self.markings.get(marking.as_str()).copied().unwrap_or(other);
        markings.into_iter().map(of).max().unwrap_or_default()
    }

    /// How much a class lets its holder do.
    pub fn reach(&self, class: ClassKind) -> u16 {
        self.classes.get(class.as_str()).copied().unwrap_or_else(|| default_reach(class))
    }

    /// Whether the bundle says that this destination is familiar: `host`, or `*.domain` for every name
    /// below a domain.
    pub fn is_familiar(&self, destination: &str) -> bool {
        self.familiar.iter().any(|known| matches_host(known, destination))
    }

    /// The signal that a model's own confidence in thousandths is. Claiming much never lowers a score
    /// below that of claiming nothing.
    pub fn doubt(&self, confidence: u16) -> u16 {
        Signal::MAX.saturating_sub(confidence.min(self.confidence_max))
    }
}

/// Whether a host is `known`, or lies below it when that is written `*.domain`.
pub(crate) fn matches_host(known: &str, host: &str) -> bool {
    match known.strip_prefix("*.") {
        Some(domain) => {
            host.strip_suffix(domain).is_some_and(|below| below.ends_with('.') && below.len() > 1)
        }
        None => known == host,
    }
}

/// The score if all that is not known were 0, and if it were 1000.
fn bounds(weighed: impl Iterator<Item = (Option<u16>, u16)>) -> (u16, u16) {
    let share = |value: u16, weight: u16| u32::from(value).saturating_mul(u32::from(weight)) / 1_000;
    let (least, most) = weighed.fold((0_u32, 0_u32), |(least, most), (value, weight)| {
        let (low, high) = (value.unwrap_or(0), value.unwrap_or(Signal::MAX));
        (least.saturating_add(share(low, weight)), most.saturating_add(share(high, weight)))
    });
    let bound = |score: u32| u16::try_from(score).unwrap_or(u16::MAX).min(Signal::MAX);
    (bound(least), bound(most))
}

/// The risk as the rules read it: small, and copied at no cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RiskView {
    pub(crate) score: Option<u16>,
    pub(crate) level: Option<RiskLevel>,
    signals: [State; SignalKind::ALL.len()],
}

/// What is there of one signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    Unknown,
    Known(u16),
}

impl RiskView {
    pub(crate) fn signal(&self, kind: SignalKind) -> State {
        self.signals.get(kind as usize).copied().unwrap_or(State::Absent)
    }

    /// Paths below `context` of what is not known.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = Vec<Box<str>>> {
        let score = self.score.is_none().then_some("score");
        let level = self.level.is_none().then_some("level");
        let open = |kind: &SignalKind| self.signal(*kind) == State::Unknown;
        let signals = SignalKind::ALL.into_iter().filter(open).map(SignalKind::as_str);
        score.into_iter().chain(level).chain(signals).map(|name| vec!["risk".into(), name.into()])
    }
}

/// Reads `risk.toml`. What it does not say is as by default; the second part is worth a look.
pub(crate) fn read(file: &str, text: &str) -> Result<(RiskModel, Vec<Diagnostic>), Vec<Diagnostic>> {
    let root = tree::from_toml(file, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(file, text);
    let members = reader.table("the file", &root).unwrap_or_default();
    let known = ["levels", "weights", "max_age_s", "markings", "classes", "destinations", "confidence"];
    reader.known("risk.toml", members, &known);
    let mut model = RiskModel::default();
    if let Some(tree) = member(members, "levels") {
        levels(&mut reader, tree, &mut model);
    }
    for (kind, weight) in numbers(&mut reader, members, "weights", 1_000, |text| text.parse().ok()) {
        model.weights.insert(kind, small(weight));
    }
    let ages = numbers(&mut reader, members, "max_age_s", i64::from(u32::MAX), |text| text.parse().ok());
    model.max_age_s.extend(ages.into_iter().filter_map(|(kind, age)| Some((kind, u32::try_from(age).ok()?))));
    let marking = |text: &str| (text == OTHER || text.parse::<Marking>().is_ok()).then(|| Box::from(text));
    for (name, value) in numbers(&mut reader, members, "markings", 1_000, marking) {
        model.markings.insert(name, small(value));
    }
    let class = |text: &str| ClassKind::ALL.iter().any(|kind| kind.as_str() == text).then(|| Box::from(text));
    for (name, value) in numbers(&mut reader, members, "classes", 1_000, class) {
        model.classes.insert(name, small(value));
    }
    if let Some(tree) = member(members, "destinations") {
        let table = reader.table("destinations", tree).unwrap_or_default();
        reader.known("destinations", table, &["familiar"]);
        model.familiar = member(table, "familiar").map(|list| hosts(&mut reader, list)).unwrap_or_default();
    }
    if let Some(tree) = member(members, "confidence") {
        let table = reader.table("confidence", tree).unwrap_or_default();
        reader.known("confidence", table, &["max"]);
        let most = member(table, "max").and_then(|tree| reader.integer("max", tree, 0, 1_000));
        model.confidence_max = most.map_or(model.confidence_max, small);
    }
    if reader.findings.is_empty() { Ok(check(file, text, members, model)) } else { Err(reader.findings) }
}

fn levels(reader: &mut Reader<'_>, tree: &Tree, model: &mut RiskModel) {
    let table = reader.table("levels", tree).unwrap_or_default();
    let names = ["medium", "high", "critical"];
    reader.known("levels", table, &names);
    for (name, level) in names.into_iter().zip(&mut model.levels) {
        let given = member(table, name).and_then(|tree| reader.integer(name, tree, 1, 1_000));
        *level = given.map_or(*level, small);
    }
    let [medium, high, critical] = model.levels;
    if medium >= high || high >= critical {
        let message = format!("`levels` do not rise: {medium}, {high}, {critical}");
        reader.refuse_help(&tree.span, message, "medium < high < critical");
    }
}

/// The entries of a table of numbers from 0 to `most`, by names that `name` reads.
fn numbers<T>(
    reader: &mut Reader<'_>,
    members: &[(Name, Tree)],
    table: &str,
    most: i64,
    name: impl Fn(&str) -> Option<T>,
) -> Vec<(T, i64)> {
    let Some(tree) = member(members, table) else { return Vec::new() };
    let mut found = Vec::new();
    for (key, value) in reader.table(table, tree).unwrap_or_default() {
        match (name(&key.text), reader.integer(&key.text, value, 0, most)) {
            (Some(name), Some(value)) => found.push((name, value)),
            (None, _) => {
                let span: Range<usize> = key.span.clone();
                reader.refuse(&span, format!("unknown name `{}` in `{table}`", key.text));
            }
            _ => {}
        }
    }
    found
}

fn hosts(reader: &mut Reader<'_>, list: &Tree) -> Vec<Box<str>> {
    let mut hosts = reader.texts("familiar", list);
    for host in &mut hosts {
        let name = host.strip_prefix("*.").unwrap_or(host);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '@' | '_' | '+');
        if name.is_empty() || !name.chars().all(plain) || (host.starts_with("*.") && !name.contains('.')) {
            let message = format!("`{host}` is not a host, an address or `*.domain.tld`");
            reader.refuse(&list.span, message);
        }
        *host = host.to_ascii_lowercase().into();
    }
    hosts
}

fn small(number: i64) -> u16 {
    u16::try_from(number).unwrap_or(Signal::MAX)
}

/// Adds what somebody should look at: a signal that decides everything alone.
fn check(file: &str, text: &str, members: &[(Name, Tree)], model: RiskModel) -> (RiskModel, Vec<Diagnostic>) {
    let [.., critical] = model.levels;
    let alone = model.weights.iter().filter(|(_, weight)| **weight >= critical);
    let span = members.iter().find(|(name, _)| matches!(&*name.text, "weights" | "levels"));
    let findings = alone.map(|(kind, weight)| {
        let message =
            format!("`{kind}` alone makes an action critical: its weight {weight} reaches {critical}");
        let mut finding = Diagnostic::error(file, message);
        finding.severity = Severity::Warning;
        let finding = finding.help("lower the weight, unless one signal is to be enough");
        span.map_or(finding.clone(), |(_, tree)| finding.at(text, tree.span.clone()))
    });
    let findings = findings.collect();
    (model, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "risk.toml";
    use cordon_core::Signals;

    fn facts(signals: &[(SignalKind, Option<u16>, u64)]) -> Facts {
        let signal = |(kind, value, at): &(SignalKind, Option<u16>, u64)| {
            let at = Timestamp::from_micros(at.saturating_mul(1_000_000));
            (*kind, Signal { value: *value, source: "test".into(), at })
        };
        Facts { signals: signals.iter().map(signal).collect::<Signals>(), ..Facts::default() }
    }

    fn assess(model: &RiskModel, signals: &[(SignalKind, Option<u16>, u64)], now_s: u64) -> Risk {
        model.assess(&facts(signals), Timestamp::from_micros(now_s.saturating_mul(1_000_000)))
    }

    #[test]
    fn no_single_signal_is_critical_by_default_and_a_combination_is() {
        let model = RiskModel::default();
        for kind in SignalKind::ALL {
            let risk = assess(&model, &[(kind, Some(1_000), 0)], 0);
            assert!(risk.level < Some(RiskLevel::Critical), "{kind}: {risk:?}");
        }
        let all = [SignalKind::PromptContext, SignalKind::Destination, SignalKind::DataClassification];
        let risk = assess(&model, &all.map(|kind| (kind, Some(900), 0)), 0);
        assert_eq!((risk.score(), risk.level), (Some(900), Some(RiskLevel::Critical)));
    }

    #[test]
    fn what_is_not_known_leaves_the_level_open_only_when_it_could_change_it() {
        let model = RiskModel::default();
        let doubt = assess(&model, &[(SignalKind::Confidence, None, 0)], 0);
        assert_eq!(
            (doubt.least, doubt.most, doubt.score(), doubt.level),
            (0, 100, None, Some(RiskLevel::Low))
        );
        let open = assess(
            &model,
            &[(SignalKind::Destination, Some(1_000), 0), (SignalKind::PromptContext, None, 0)],
            0,
        );
        assert_eq!((open.least, open.most, open.level), (300, 700, None));
        let signals = [(SignalKind::Destination, Some(1_000), 0), (SignalKind::PromptContext, None, 0)];
        let view = model.view(&facts(&signals), Timestamp::default());
        let paths: Vec<String> = view.unknown().map(|path| path.join(".")).collect();
        assert_eq!(paths, ["risk.score", "risk.level", "risk.prompt_context"]);
    }

    #[test]
    fn a_signal_that_is_too_old_is_not_known_and_one_at_its_limit_is() {
        let (model, _) = read(FILE, "max_age_s = { threat_intelligence = 60 }").unwrap();
        let at = |now| assess(&model, &[(SignalKind::ThreatIntelligence, Some(10), 100)], now);
        assert_eq!(at(160).parts[0].value, Some(10));
        assert_eq!((at(161).parts[0].value, at(161).level), (None, None));
        assert_eq!(at(0).parts[0].age_ms, 0, "a clock that went back makes nothing old");
    }

    #[test]
    fn the_file_changes_what_it_names_and_refuses_what_it_does_not_know() {
        let text = "levels = { medium = 100, high = 200, critical = 300 }\nweights = { tool = 0 }\nmarkings = { payroll = 950 }\nclasses = { \"data.read\" = 50 }\ndestinations = { familiar = [\"*.Example.com\", \"ops@example.net\"] }\nconfidence = { max = 500 }\n";
        let (model, warnings) = read(FILE, text).unwrap();
        assert!(warnings.iter().any(|finding| finding.message.contains("prompt_context")), "{warnings:?}");
        assert_eq!(assess(&model, &[(SignalKind::Tool, Some(1_000), 0)], 0).score(), Some(0));
        assert_eq!(model.sensitivity(&["payroll".parse().unwrap()]), 950);
        assert_eq!(model.sensitivity(&["odd".parse().unwrap(), "pii".parse().unwrap()]), 700);
        assert_eq!((model.reach(ClassKind::DataRead), model.reach(ClassKind::Admin)), (50, 900));
        assert_eq!((model.doubt(1_000), model.doubt(200)), (500, 800));
        for (host, familiar) in [
            ("api.example.com", true),
            ("example.com", false),
            ("evilexample.com", false),
            ("ops@example.net", true),
        ] {
            assert_eq!(model.is_familiar(host), familiar, "{host}");
        }
        for (wrong, say) in [
            ("levels = { high = 400 }", "do not rise"),
            ("weights = { mood = 1 }", "unknown name `mood`"),
            ("weights = { tool = 1001 }", "from 0 to 1000"),
            ("wieghts = { }", "unknown field"),
            ("destinations = { familiar = [\"*.com\"] }", "not a host"),
            ("confidence = { max = \"much\" }", "expected a whole number"),
        ] {
            let found = read(FILE, wrong).unwrap_err();
            assert!(found.iter().any(|finding| finding.message.contains(say)), "{wrong}: {found:?}");
        }
    }
}
