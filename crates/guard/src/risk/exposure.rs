//! What a session's context was exposed to: whose results it holds, what they are marked, what was
//! found in them. It only ever grows.

use std::collections::BTreeSet;
use std::sync::Arc;

use cordon_core::cbor::Cbor;
use cordon_core::{Marking, ShapeError, Timestamp};

/// Most sources that are listed; beyond them there is only [`MORE`].
const LINEAGE_MAX: usize = 256;
/// Stands for every source that is not listed.
const MORE: &str = "…";

/// What a session's context was exposed to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Exposure {
    /// The tools whose results it was given.
    pub(crate) lineage: Arc<BTreeSet<Box<str>>>,
    /// What they are marked.
    pub(crate) markings: Arc<BTreeSet<Marking>>,
    /// The strongest sign of instructions in them.
    pub(crate) finding: Option<Finding>,
    /// How many calls were refused since the guard knows of the session.
    pub(crate) refused: u16,
    /// Whether the store has less than this.
    pub(crate) unkept: bool,
}

/// A sign of instructions in what the session was given to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) score: u16,
    /// What was found, and where.
    pub(crate) source: Box<str>,
    pub(crate) at: Timestamp,
}

impl Exposure {
    /// Adds what a result brings; whether that was anything new.
    pub(crate) fn told<'m>(
        &mut self,
        source: &str,
        markings: impl IntoIterator<Item = &'m Marking>,
        finding: Option<Finding>,
    ) -> bool {
        let before = (self.lineage.len(), self.markings.len(), self.finding.clone());
        if !self.lineage.contains(source) {
            let name = if self.lineage.len() < LINEAGE_MAX { source } else { MORE };
            Arc::make_mut(&mut self.lineage).insert(name.into());
        }
        for marking in markings {
            if !self.markings.contains(marking) {
                Arc::make_mut(&mut self.markings).insert(marking.clone());
            }
        }
        let known = self.finding.as_ref().map_or(0, |known| known.score);
        if let Some(stronger) = finding.filter(|found| found.score > known) {
            self.finding = Some(stronger);
        }
        before != (self.lineage.len(), self.markings.len(), self.finding.clone())
    }

    /// `[[* source], [* marking], ? [score, source, at]]`. Refusals are not kept.
    pub(crate) fn to_cbor(&self) -> Cbor {
        let lineage = self.lineage.iter().map(|source| (&**source).into()).collect();
        let markings = self.markings.iter().map(|marking| marking.as_str().into()).collect();
        let finding = self.finding.as_ref().map(|found| {
            Cbor::Array(vec![
                u64::from(found.score).into(),
                (&*found.source).into(),
                found.at.as_micros().into(),
            ])
        });
        Cbor::Array([Cbor::Array(lineage), Cbor::Array(markings)].into_iter().chain(finding).collect())
    }

    pub(crate) fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let Some([Cbor::Array(lineage), Cbor::Array(markings), finding @ ..]) = cbor.as_array() else {
            return Err(ShapeError("an exposure of two or three parts"));
        };
        let text = |cbor: &Cbor| cbor.as_text().map(Box::<str>::from).ok_or(ShapeError("text"));
        let marking = |cbor: &Cbor| text(cbor)?.parse().map_err(|_| ShapeError("a marking"));
        let finding = match finding {
            [] => None,
            [finding] => match finding.as_array() {
                Some([Cbor::Uint(score), Cbor::Text(source), Cbor::Uint(at)]) => Some(Finding {
                    score: u16::try_from(*score).map_err(|_| ShapeError("a score"))?,
                    source: source.clone(),
                    at: Timestamp::from_micros(*at),
                }),
                _ => return Err(ShapeError("a finding of three parts")),
            },
            _ => return Err(ShapeError("one finding at most")),
        };
        Ok(Self {
            lineage: Arc::new(lineage.iter().map(text).collect::<Result<_, _>>()?),
            markings: Arc::new(markings.iter().map(marking).collect::<Result<_, _>>()?),
            finding,
            refused: 0,
            unkept: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(score: u16) -> Option<Finding> {
        Some(Finding { score, source: "web/fetch".into(), at: Timestamp::from_micros(1) })
    }

    #[test]
    fn an_exposure_only_grows_and_comes_back_as_it_was() {
        let mut exposure = Exposure::default();
        let pii: Marking = "pii".parse().unwrap();
        assert!(exposure.told("web/fetch", [&pii], found(800)));
        assert!(!exposure.told("web/fetch", [&pii], found(500)), "nothing new, and nothing is forgotten");
        assert_eq!(exposure.finding, found(800));
        assert!(exposure.told("web/fetch", [], found(900)));
        assert_eq!(Exposure::from_cbor(&exposure.to_cbor()), Ok(exposure));
        assert_eq!(Exposure::from_cbor(&Exposure::default().to_cbor()), Ok(Exposure::default()));
    }

    #[test]
    fn many_sources_are_listed_up_to_a_bound_and_then_said_to_be_more() {
        let mut exposure = Exposure::default();
        for number in 0..1_000 {
            exposure.told(&format!("server/tool{number}"), [], None);
        }
        assert_eq!(exposure.lineage.len(), LINEAGE_MAX.saturating_add(1));
        assert!(exposure.lineage.contains(MORE));
    }
}
