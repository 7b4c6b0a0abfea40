//! When each group of each device is polled. Pure: the caller says what time it is.
//!
//! Every group has slots at a fixed distance. A poll that could not start within its slot is counted as missed and
//! skipped; nothing is ever queued up. A group with few slots can be given one poll more in between, so that a device
//! that has come back, or a tag that has been written, need not wait an hour to be read.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet, binary_heap::PeekMut},
    time::{Duration, Instant},
};

use tidegate_driver_api::Poll;

/// The slots of all groups of one link.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    heap: BinaryHeap<Reverse<Slot>>,
    /// Groups that are given a poll in between.
    extra: HashSet<Poll>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    due: Instant,
    device: usize,
    group: usize,
    /// `None` for a poll in between.
    interval: Option<Duration>,
}

/// A poll whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) poll: Poll,
    /// Slots of this group that have passed without a poll since the last one.
    pub(crate) missed: u64,
    /// Whether it is a poll in between, of which nothing is missed when it is not made.
    pub(crate) extra: bool,
}

impl Due {
    /// Slots that are missed when the poll is not made.
    pub(crate) fn missed_if_skipped(&self) -> u64 {
        self.missed + u64::from(!self.extra)
    }
}

impl Schedule {
    /// Adds a group whose first slot is at `first`.
    pub(crate) fn add(&mut self, poll: Poll, interval: Duration, first: Instant) {
        let interval = Some(interval.max(Duration::from_millis(1)));
        self.heap.push(Reverse(Slot { due: first, device: poll.device, group: poll.group, interval }));
    }

    /// Gives a group one poll more at `due`, unless it waits for such a poll already.
    pub(crate) fn add_extra(&mut self, poll: Poll, due: Instant) {
        if self.extra.insert(poll) {
            self.heap.push(Reverse(Slot { due, device: poll.device, group: poll.group, interval: None }));
        }
    }

    /// When the next poll is due; `None` when there is nothing to poll.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(slot)| slot.due)
    }

    /// The poll that [`Schedule::take`] would give.
    pub(crate) fn peek(&self, now: Instant) -> Option<Poll> {
        let Reverse(slot) = self.heap.peek().filter(|Reverse(slot)| slot.due <= now)?;
        Some(Poll { device: slot.device, group: slot.group })
    }

    /// Takes the poll that has been due for the longest time, if there is one, and moves its group on to its next slot.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Due> {
        let mut top = self.heap.peek_mut()?;
        let Reverse(slot) = &mut *top;
        if slot.due > now {
            return None;
        }
        let poll = Poll { device: slot.device, group: slot.group };
        let Some(interval) = slot.interval else {
            PeekMut::pop(top);
            self.extra.remove(&poll);
            return Some(Due { poll, missed: 0, extra: true });
        };
        let late = now.duration_since(slot.due).as_nanos() / interval.as_nanos();
        let missed = u32::try_from(late).unwrap_or(u32::MAX);
        slot.due += interval.saturating_mul(missed) + interval;
        Some(Due { poll, missed: u64::from(missed), extra: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const POLL: Poll = Poll { device: 0, group: 0 };

    fn due(poll: Poll, missed: u64) -> Option<Due> {
        Some(Due { poll, missed, extra: false })
    }

    #[test]
    fn a_poll_in_time_misses_nothing_and_keeps_the_distance_of_slots() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(POLL, SECOND, start);
        let late = start + Duration::from_millis(900);
        assert_eq!(schedule.peek(late), Some(POLL));
        assert_eq!(schedule.take(late), due(POLL, 0));
        assert_eq!(schedule.next_due(), Some(start + SECOND));
        assert_eq!(schedule.peek(late), None);
        assert_eq!(schedule.take(late), None);
    }

    #[test]
    fn slots_that_passed_are_counted_and_skipped() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(POLL, SECOND, start);
        let late = start + Duration::from_millis(3_500);
        assert_eq!(schedule.take(late), due(POLL, 3));
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

    #[test]
    fn a_poll_in_between_is_made_once_and_leaves_the_slots_where_they_are() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(POLL, 3600 * SECOND, start + 3600 * SECOND);
        schedule.add_extra(POLL, start + SECOND);
        schedule.add_extra(POLL, start);
        assert_eq!(schedule.next_due(), Some(start + SECOND), "it waits for one already");
        let taken = schedule.take(start + 9 * SECOND);
        assert_eq!(taken, Some(Due { poll: POLL, missed: 0, extra: true }));
        assert_eq!(taken.map(|due| due.missed_if_skipped()), Some(0));
        assert_eq!(schedule.next_due(), Some(start + 3600 * SECOND));
        schedule.add_extra(POLL, start);
        assert_eq!(schedule.peek(start), Some(POLL), "and can be given another");
    }
}
