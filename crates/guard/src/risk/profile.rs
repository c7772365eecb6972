//! What is known of one agent from its past: what it uses, whom it reaches, what people said.

use std::collections::BTreeMap;

use cordon_core::cbor::Cbor;
use cordon_core::{ShapeError, Signal, SignalKind, Signals, Timestamp};

use super::habit::{Habit, day};

/// Most actions and most destinations that are remembered of one agent; the longest unused go first.
const HABITS_MAX: usize = 2_048;
/// How long a person's refusal counts.
const REFUSAL_DAYS: u64 = 30;
/// Most refusals that are remembered.
const REFUSALS_MAX: usize = 16;

/// What is known of one agent of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Profile {
    actions: BTreeMap<Box<str>, Habit>,
    destinations: BTreeMap<Box<str>, Habit>,
    /// How many calls people granted.
    granted: u64,
    /// When people refused one.
    refused: Vec<u64>,
    /// Whether it differs from what was kept.
    pub(crate) changed: bool,
}

impl Profile {
    /// Adds the signals that come from the past: `history`, `destination` and `approvals`.
    pub(crate) fn signals<'d>(
        &self,
        action: &str,
        destinations: impl Iterator<Item = &'d str>,
        now: Timestamp,
        signals: &mut Signals,
    ) {
        let today = day(now);
        let mut add = |kind, value| signals.insert(kind, Signal::known(value, "profile", now));
        // That an action is unusual weighs less than that a destination is.
        let unusual = Habit::novelty(self.actions.get(action), today);
        add(SignalKind::History, unusual.saturating_mul(2) / 3);
        let novelty = |name: &str| Habit::novelty(self.destinations.get(name), today);
        if let Some(unfamiliar) = destinations.map(novelty).max() {
            add(SignalKind::Destination, unfamiliar);
        }
        let recent = self.refused.iter().filter(|at| today.saturating_sub(**at) <= REFUSAL_DAYS).count();
        if recent > 0 || self.granted > 0 {
            add(SignalKind::Approvals, u16::try_from(recent.saturating_mul(300)).unwrap_or(u16::MAX));
        }
    }

    /// The share of the last uses of an action that were trouble, in thousandths.
    pub(crate) fn trouble(&self, action: &str) -> u16 {
        self.actions.get(action).map_or(0, Habit::trouble)
    }

    /// Counts a permitted call.
    pub(crate) fn used<'d>(
        &mut self,
        action: &str,
        destinations: impl Iterator<Item = &'d str>,
        now: Timestamp,
    ) {
        let today = day(now);
        count(&mut self.actions, action, today);
        destinations.for_each(|name| count(&mut self.destinations, name, today));
        self.changed = true;
    }

    /// Counts how a call went.
    pub(crate) fn went(&mut self, action: &str, trouble: bool) {
        if let Some(habit) = self.actions.get_mut(action) {
            habit.went(trouble);
            self.changed = true;
        }
    }

    /// Counts what a person said about a call.
    pub(crate) fn answered(&mut self, granted: bool, now: Timestamp) {
        if granted {
            self.granted = self.granted.saturating_add(1);
        } else {
            self.refused.push(day(now));
            let surplus = self.refused.len().saturating_sub(REFUSALS_MAX);
            self.refused.drain(..surplus);
        }
        self.changed = true;
    }

    /// `[{action: habit}, {destination: habit}, granted, [* day]]`, the maps as arrays of pairs.
    pub(crate) fn to_cbor(&self) -> Cbor {
        let habits = |habits: &BTreeMap<Box<str>, Habit>| {
            let pairs =
                habits.iter().map(|(name, habit)| Cbor::Array(vec![(&**name).into(), habit.to_cbor()]));
            Cbor::Array(pairs.collect())
        };
        let refused = self.refused.iter().copied().map(Cbor::Uint).collect();
        Cbor::Array(vec![
            habits(&self.actions),
            habits(&self.destinations),
            self.granted.into(),
            Cbor::Array(refused),
        ])
    }

    pub(crate) fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let habits = |cbor: &Cbor| -> Result<BTreeMap<Box<str>, Habit>, ShapeError> {
            let pair = |pair: &Cbor| match pair.as_array() {
                Some([Cbor::Text(name), habit]) => Ok((name.clone(), Habit::from_cbor(habit)?)),
                _ => Err(ShapeError("a name and a habit")),
            };
            cbor.as_array().ok_or(ShapeError("habits"))?.iter().map(pair).collect()
        };
        let Some([actions, destinations, Cbor::Uint(granted), Cbor::Array(refused)]) = cbor.as_array() else {
            return Err(ShapeError("a profile of four parts"));
        };
        let days = refused.iter().map(|day| match day {
            Cbor::Uint(day) => Ok(*day),
            _ => Err(ShapeError("a day")),
        });
        Ok(Self {
            actions: habits(actions)?,
            destinations: habits(destinations)?,
            granted: *granted,
            refused: days.collect::<Result<_, _>>()?,
            changed: false,
        })
    }
}

/// Counts a use of `name`. When there are too many, what was longest unused is forgotten.
fn count(habits: &mut BTreeMap<Box<str>, Habit>, name: &str, today: u64) {
    if let Some(habit) = habits.get_mut(name) {
        return habit.used(today);
    }
    if habits.len() >= HABITS_MAX
        && let Some(oldest) =
            habits.iter().min_by_key(|(_, habit)| habit.last()).map(|(name, _)| name.clone())
    {
        habits.remove(&oldest);
    }
    habits.entry(name.into()).or_default().used(today);
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000_000;

    fn at(day: u64) -> Timestamp {
        Timestamp::from_micros(day.saturating_mul(DAY))
    }

    fn value(profile: &Profile, kind: SignalKind, destination: &str, day: u64) -> Option<u16> {
        let mut signals = Signals::new();
        profile.signals("mail/send", [destination].into_iter(), at(day), &mut signals);
        signals.get(&kind).and_then(|signal| signal.value)
    }

    #[test]
    fn what_an_agent_does_often_is_usual_and_its_neighbour_is_not() {
        let mut profile = Profile::default();
        (1..8).for_each(|day| profile.used("mail/send", ["a@b.test"].into_iter(), at(day)));
        assert_eq!(value(&profile, SignalKind::Destination, "a@b.test", 9), Some(0));
        assert_eq!(value(&profile, SignalKind::Destination, "a@bb.test", 9), Some(900));
        assert_eq!(value(&profile, SignalKind::History, "a@b.test", 9), Some(0));
        assert_eq!(value(&Profile::default(), SignalKind::History, "a@b.test", 9), Some(600));
        assert_eq!(Profile::from_cbor(&profile.to_cbor()), Ok(Profile { changed: false, ..profile }));
    }

    #[test]
    fn a_refusal_counts_for_a_month_and_who_was_never_asked_about_has_no_record() {
        let mut profile = Profile::default();
        assert_eq!(value(&profile, SignalKind::Approvals, "x", 1), None);
        profile.answered(true, at(1));
        assert_eq!(value(&profile, SignalKind::Approvals, "x", 1), Some(0));
        profile.answered(false, at(1));
        assert_eq!(value(&profile, SignalKind::Approvals, "x", 31), Some(300));
        assert_eq!(value(&profile, SignalKind::Approvals, "x", 32), Some(0));
        (0..40).for_each(|_| profile.answered(false, at(2)));
        assert_eq!(profile.refused.len(), REFUSALS_MAX);
    }

    #[test]
    fn a_flood_of_destinations_does_not_grow_it_and_forgets_the_oldest_first() {
        let mut profile = Profile::default();
        profile.used("mail/send", ["old"].into_iter(), at(1));
        for number in 0..HABITS_MAX {
            let name = format!("host{number}");
            profile.used("mail/send", [name.as_str()].into_iter(), at(2));
        }
        assert_eq!(profile.destinations.len(), HABITS_MAX);
        assert!(!profile.destinations.contains_key("old"));
    }
}
