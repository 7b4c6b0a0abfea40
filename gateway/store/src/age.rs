//! How old rows are, told from the rows alone.
//!
//! A clock may jump: a gateway without a battery starts in 1970 and is in the present once it has reached a time
//! server. If age were the difference to the present, such a jump would make everything too old at once. So each
//! record carries an age mark, the sum of all steps that time has taken from record to record, where a step counts
//! only if it is plausible: forward, and at most half of `max_age`. A step back, a jump ahead and the time that the
//! gateway was off for longer than that count nothing, so rows are kept rather longer than too short. `max_size`
//! bounds the disk in any case.

use std::time::Duration;

use tidegate_model::Timestamp;

/// Gives each record its age mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AgeClock {
    mark: u64,
    newest: Option<Timestamp>,
    longest_step: u64,
}

impl AgeClock {
    /// Goes on after a record with `mark` whose newest row was of `newest`; begins with 0 and `None`.
    pub(crate) fn new(mark: u64, newest: Option<Timestamp>, max_age: Duration) -> AgeClock {
        AgeClock { mark, newest, longest_step: millis(max_age) / 2 }
    }

    /// The newest mark.
    pub(crate) fn mark(&self) -> u64 {
        self.mark
    }

    /// The mark of a record whose newest row is of `time`, in milliseconds.
    pub(crate) fn step(&mut self, time: Timestamp) -> u64 {
        let step = self.newest.replace(time).map_or(0, |newest| time.millis_since(newest));
        match u64::try_from(step) {
            Ok(step) if step <= self.longest_step => self.mark = self.mark.saturating_add(step),
            _ => {}
        }
        self.mark
    }

    /// The mark below which a record is older than `max_age`; `None` while nothing can be.
    pub(crate) fn oldest_allowed(&self, max_age: Duration) -> Option<u64> {
        self.mark.checked_sub(millis(max_age))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn clock() -> AgeClock {
        AgeClock::new(0, None, Duration::from_secs(72 * 3600))
    }

    #[test]
    fn time_that_passes_makes_older() {
        let mut clock = clock();
        let marks: Vec<u64> = [0, HOUR, 3 * HOUR].map(|time| clock.step(Timestamp::from_millis(time))).into();
        assert_eq!(marks, [0, 3_600_000, 10_800_000]);
        assert_eq!(clock.oldest_allowed(Duration::from_secs(3600)), Some(7_200_000));
        assert_eq!(clock.oldest_allowed(Duration::from_secs(72 * 3600)), None);
    }

    #[test]
    fn a_clock_that_jumps_ahead_by_years_makes_nothing_older() {
        let mut clock = clock();
        clock.step(Timestamp::from_millis(0));
        assert_eq!(clock.step(Timestamp::from_millis(50 * 365 * 24 * HOUR)), 0);
        assert_eq!(clock.step(Timestamp::from_millis(50 * 365 * 24 * HOUR + 5)), 5);
    }

    #[test]
    fn a_clock_that_jumps_back_makes_nothing_younger_and_goes_on_from_there() {
        let mut clock = clock();
        clock.step(Timestamp::from_millis(10 * HOUR));
        clock.step(Timestamp::from_millis(11 * HOUR));
        assert_eq!(clock.step(Timestamp::from_millis(HOUR)), 3_600_000);
        assert_eq!(clock.step(Timestamp::from_millis(2 * HOUR)), 7_200_000);
    }
}
