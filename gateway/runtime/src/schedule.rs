//! When each group of each device is polled. Pure: the caller says what time it is.
//!
//! Every group has slots at a fixed distance. A poll that could not start within its slot is counted as missed and
//! skipped; nothing is ever queued up.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use tidegate_driver_api::Poll;

/// The slots of all groups of one link.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    heap: BinaryHeap<Reverse<Slot>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    due: Instant,
    device: usize,
    group: usize,
    interval: Duration,
}

/// A poll whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) poll: Poll,
    /// Slots of this group that have passed without a poll since the last one.
    pub(crate) missed: u64,
}

impl Schedule {
    /// Adds a group whose first slot is at `first`.
    pub(crate) fn add(&mut self, poll: Poll, interval: Duration, first: Instant) {
        let interval = interval.max(Duration::from_millis(1));
        self.heap.push(Reverse(Slot { due: first, device: poll.device, group: poll.group, interval }));
    }

    /// When the next poll is due; `None` when there is nothing to poll.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(slot)| slot.due)
    }

    /// Takes the poll that has been due for the longest time, if there is one, and moves its group on to its next slot.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Due> {
        let mut top = self.heap.peek_mut()?;
        let Reverse(slot) = &mut *top;
        if slot.due > now {
            return None;
        }
        let late = now.duration_since(slot.due).as_nanos() / slot.interval.as_nanos();
        let missed = u32::try_from(late).unwrap_or(u32::MAX);
        let poll = Poll { device: slot.device, group: slot.group };
        slot.due += slot.interval.saturating_mul(missed) + slot.interval;
        Some(Due { poll, missed: u64::from(missed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const POLL: Poll = Poll { device: 0, group: 0 };

    #[test]
    fn a_poll_in_time_misses_nothing_and_keeps_the_distance_of_slots() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(POLL, SECOND, start);
        let late = start + Duration::from_millis(900);
        assert_eq!(schedule.take(late), Some(Due { poll: POLL, missed: 0 }));
        assert_eq!(schedule.next_due(), Some(start + SECOND));
        assert_eq!(schedule.take(late), None);
    }

    #[test]
    fn slots_that_passed_are_counted_and_skipped() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(POLL, SECOND, start);
        let late = start + Duration::from_millis(3_500);
        assert_eq!(schedule.take(late), Some(Due { poll: POLL, missed: 3 }));
        assert_eq!(schedule.take(late), None);
        assert_eq!(schedule.next_due(), Some(start + 4 * SECOND));
    }

    #[test]
    fn the_group_that_has_waited_longest_comes_first() {
        let start = Instant::now();
        let other = Poll { device: 1, group: 0 };
        let mut schedule = Schedule::default();
        schedule.add(POLL, SECOND, start + Duration::from_millis(20));
        schedule.add(other, SECOND, start + Duration::from_millis(10));
        let now = start + Duration::from_millis(30);
        assert_eq!(schedule.take(now).map(|due| due.poll), Some(other));
        assert_eq!(schedule.take(now).map(|due| due.poll), Some(POLL));
    }
}
