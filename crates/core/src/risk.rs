//! How risky an action is: ten signals, each with its value, source and age, and what they amount to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::cbor::Cbor;
use crate::{InvalidName, ShapeError, Timestamp};

/// What a signal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignalKind {
    /// How surely it is known who acts.
    Identity,
    /// How much the permission that is used could do.
    Permissions,
    /// What was found in the text that the model reads.
    PromptContext,
    /// How far the tool is known, and how it behaved.
    Tool,
    /// How familiar the destination is.
    Destination,
    /// How usual the action is for this agent, and how often it was refused in this session.
    History,
    /// How sensitive the data are, those that the session has read before included.
    DataClassification,
    /// What is known of the destination as a threat.
    ThreatIntelligence,
    /// What people said when they were asked about this agent.
    Approvals,
    /// How sure the model says it is.
    Confidence,
}

impl SignalKind {
    /// Every signal.
    pub const ALL: [Self; 10] = [
        Self::Identity,
        Self::Permissions,
        Self::PromptContext,
        Self::Tool,
        Self::Destination,
        Self::History,
        Self::DataClassification,
        Self::ThreatIntelligence,
        Self::Approvals,
        Self::Confidence,
    ];

    /// The signal as written in policies, records and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Permissions => "permissions",
            Self::PromptContext => "prompt_context",
            Self::Tool => "tool",
            Self::Destination => "destination",
            Self::History => "history",
            Self::DataClassification => "data_classification",
            Self::ThreatIntelligence => "threat_intelligence",
            Self::Approvals => "approvals",
            Self::Confidence => "confidence",
        }
    }
}

impl fmt::Display for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SignalKind {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| InvalidName::new("a risk signal (`identity`, `destination`, …)", text))
    }
}

/// One signal as it was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// From 0 (nothing to see) to 1000; `None` when it exists and is not known.
    pub value: Option<u16>,
    /// Where it comes from, such as `manifest` or `data/threats.json`.
    pub source: Cow<'static, str>,
    /// When what it says was last true.
    pub at: Timestamp,
}

impl Signal {
    /// The largest value.
    pub const MAX: u16 = 1_000;

    /// A signal that is known; more than [`Signal::MAX`] counts as that.
    pub fn known(value: u16, source: impl Into<Cow<'static, str>>, at: Timestamp) -> Self {
        Self { value: Some(value.min(Self::MAX)), source: source.into(), at }
    }

    /// A signal that exists and is not known.
    pub fn unknown(source: impl Into<Cow<'static, str>>, at: Timestamp) -> Self {
        Self { value: None, source: source.into(), at }
    }
}

/// The signals that there are for one request; what does not apply is not in it.
pub type Signals = BTreeMap<SignalKind, Signal>;

/// `[* [signal, value or null, source, at in microseconds]]`.
pub(crate) fn signals_to_cbor(signals: &Signals) -> Cbor {
    let one = |(kind, signal): (&SignalKind, &Signal)| {
        let value = signal.value.map_or(Cbor::Null, |value| u64::from(value).into());
        Cbor::Array(vec![kind.as_str().into(), value, (&*signal.source).into(), signal.at.as_micros().into()])
    };
    Cbor::Array(signals.iter().map(one).collect())
}

pub(crate) fn signals_from_cbor(cbor: &Cbor) -> Result<Signals, ShapeError> {
    let one = |cbor: &Cbor| {
        let Some([Cbor::Text(kind), value, Cbor::Text(source), Cbor::Uint(at)]) = cbor.as_array() else {
            return Err(ShapeError("a signal of four parts"));
        };
        let kind: SignalKind = kind.parse().map_err(|_| ShapeError("the name of a signal"))?;
        let value = match value {
            Cbor::Null => None,
            Cbor::Uint(value) => {
                let value = u16::try_from(*value).ok().filter(|value| *value <= Signal::MAX);
                Some(value.ok_or(ShapeError("a value from 0 to 1000"))?)
            }
            _ => return Err(ShapeError("a value or null")),
        };
        Ok((
            kind,
            Signal { value, source: String::from(source.clone()).into(), at: Timestamp::from_micros(*at) },
        ))
    };
    cbor.as_array().ok_or(ShapeError("signals"))?.iter().map(one).collect()
}

/// How risky an action is as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum RiskLevel {
    /// Go on, and keep watching.
    #[default]
    Low,
    /// A person should look at it.
    Medium,
    /// Permissions should be taken away.
    High,
    /// The agent should be isolated.
    Critical,
}

impl RiskLevel {
    /// Every level, lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The level as written in policies, records and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for RiskLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the signals amount to under the bundle's weights.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Risk {
    /// The score if every signal that is not known were 0.
    pub least: u16,
    /// The score if every signal that is not known were 1000.
    pub most: u16,
    /// The level; `None` when it depends on what is not known.
    pub level: Option<RiskLevel>,
    /// What each signal adds.
    pub parts: Vec<RiskPart>,
}

impl Risk {
    /// The score; `None` when it depends on what is not known.
    pub fn score(&self) -> Option<u16> {
        (self.least == self.most).then_some(self.least)
    }

    /// `{0: least, 1: most, ? 2: level, 3: [* [signal, value or null, weight, age in ms, source]]}`.
    pub fn to_cbor(&self) -> Cbor {
        let part = |part: &RiskPart| {
            Cbor::Array(vec![
                part.kind.as_str().into(),
                part.value.map_or(Cbor::Null, |value| u64::from(value).into()),
                u64::from(part.weight).into(),
                part.age_ms.into(),
                (&*part.source).into(),
            ])
        };
        let level = self.level.map(|level| (2, level.as_str().into()));
        let always = [
            (0, u64::from(self.least).into()),
            (1, u64::from(self.most).into()),
            (3, Cbor::Array(self.parts.iter().map(part).collect())),
        ];
        Cbor::map(always.into_iter().chain(level))
    }
}

/// One signal in a judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskPart {
    /// The signal.
    pub kind: SignalKind,
    /// Its value; `None` when it is not known, or too old.
    pub value: Option<u16>,
    /// What it counts, in thousandths of its value.
    pub weight: u16,
    /// How old it was, in milliseconds.
    pub age_ms: u64,
    /// Where it comes from.
    pub source: Cow<'static, str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_come_back_as_they_were_and_odd_ones_are_refused() {
        let at = Timestamp::from_micros(5);
        let signals = Signals::from([
            (SignalKind::Destination, Signal::known(2_000, "profile", at)),
            (SignalKind::ThreatIntelligence, Signal::unknown("data/threats.json", at)),
        ]);
        assert_eq!(signals.get(&SignalKind::Destination).and_then(|signal| signal.value), Some(1_000));
        assert_eq!(signals_from_cbor(&signals_to_cbor(&signals)), Ok(signals));
        let odd = |kind: &str, value: Cbor| {
            let signal = Cbor::Array(vec![kind.into(), value, "s".into(), 1_u64.into()]);
            signals_from_cbor(&Cbor::Array(vec![signal]))
        };
        assert!(odd("tool", 1_000_u64.into()).is_ok());
        assert!(odd("tool", 1_001_u64.into()).is_err());
        assert!(odd("mood", 1_u64.into()).is_err());
        assert!(odd("tool", "high".into()).is_err());
    }
}
