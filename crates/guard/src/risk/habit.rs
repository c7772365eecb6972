//! How usual something is for an agent: on how many days it was used, and how it went.

use cordon_core::cbor::Cbor;
use cordon_core::{ShapeError, Timestamp};

/// A day in UTC, counted from 1970.
pub(crate) fn day(now: Timestamp) -> u64 {
    now.as_secs() / 86_400
}

/// On how many days something was used, and how its last uses went.
///
/// Days are counted and not uses, so that nothing becomes familiar by being repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Habit {
    days: u64,
    last: u64,
    /// One bit for each of the last uses, the newest lowest; 1 is trouble.
    outcomes: u32,
    settled: u32,
}

impl Habit {
    /// How unusual it is, from 0 to 900: never before today, on one day, on a few, on many.
    pub(crate) fn novelty(this: Option<&Self>, today: u64) -> u16 {
        let earlier = this.map_or(0, |habit| habit.days.saturating_sub(u64::from(habit.last >= today)));
        match earlier {
            0 => 900,
            1 => 500,
            2..=4 => 250,
            _ => 0,
        }
    }

    /// Counts a use. A clock that goes back adds no day.
    pub(crate) fn used(&mut self, today: u64) {
        if self.days == 0 || today > self.last {
            self.days = self.days.saturating_add(1);
            self.last = today;
        }
    }

    /// Counts how a use went.
    pub(crate) fn went(&mut self, trouble: bool) {
        self.outcomes = (self.outcomes << 1) | u32::from(trouble);
        self.settled = self.settled.saturating_add(1).min(u32::BITS);
    }

    /// The share of its last 32 uses that were trouble, in thousandths; 0 before the fourth.
    pub(crate) fn trouble(&self) -> u16 {
        if self.settled < 4 {
            return 0;
        }
        let share = self.outcomes.count_ones().saturating_mul(1_000).checked_div(self.settled);
        u16::try_from(share.unwrap_or_default()).unwrap_or(u16::MAX)
    }

    /// The last day on which it was used.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn to_cbor(self) -> Cbor {
        Cbor::Array(
            [self.days, self.last, u64::from(self.outcomes), u64::from(self.settled)].map(Cbor::Uint).into(),
        )
    }

    pub(super) fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let Some([Cbor::Uint(days), Cbor::Uint(last), Cbor::Uint(outcomes), Cbor::Uint(settled)]) =
            cbor.as_array()
        else {
            return Err(ShapeError("a habit of four numbers"));
        };
        let small = |number: u64| u32::try_from(number).map_err(|_| ShapeError("a 32-bit number"));
        Ok(Self { days: *days, last: *last, outcomes: small(*outcomes)?, settled: small(*settled)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_make_something_familiar() {
        let mut habit = Habit::default();
        assert_eq!(Habit::novelty(None, 10), 900);
        for _ in 0..1_000 {
            habit.used(10);
        }
        assert_eq!(Habit::novelty(Some(&habit), 10), 900, "not by being repeated on one day");
        assert_eq!(Habit::novelty(Some(&habit), 11), 500);
        habit.used(9);
        assert_eq!(Habit::novelty(Some(&habit), 11), 500, "nor by a clock that goes back");
        (11..16).for_each(|day| habit.used(day));
        assert_eq!(Habit::novelty(Some(&habit), 13), 0);
        assert_eq!(Habit::from_cbor(&habit.to_cbor()), Ok(habit));
    }

    #[test]
    fn trouble_is_a_share_of_the_last_uses() {
        let mut habit = Habit::default();
        [true, true, true].into_iter().for_each(|trouble| habit.went(trouble));
        assert_eq!(habit.trouble(), 0, "three are too few to tell");
        habit.went(false);
        assert_eq!(habit.trouble(), 750);
        (0..32).for_each(|_| habit.went(false));
        assert_eq!(habit.trouble(), 0);
    }
}
