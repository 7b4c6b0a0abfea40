//! The numbers of the messages of a node: which one is next, and what waits for it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Messages that wait for one before them, at most; then the hole is not waited for any longer.
const MOST_WAITING: usize = 64;
/// A number so far ahead is one that was given up already.
const LATE: u8 = 128;

/// Puts messages in order.
#[derive(Debug)]
pub(super) struct Sequence<T> {
    /// The number that is to come.
    next: u8,
    /// The number that was to come when messages began to wait.
    base: u8,
    /// Messages by how far they are behind `base`.
    waiting: BTreeMap<u8, T>,
    since: Option<Instant>,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<T> {
    /// It is its turn.
    Now(T),
    /// It waits for others.
    Waits,
}

impl<T> Sequence<T> {
    /// After a birth of the node with this number.
    pub(super) fn after(seq: u8) -> Sequence<T> {
        let next = seq.wrapping_add(1);
        Sequence { next, base: next, waiting: BTreeMap::new(), since: None }
    }

    pub(super) fn next(&self) -> u8 {
        self.next
    }

    /// A message with this number has come.
    pub(super) fn came(&mut self, seq: u8, message: T, now: Instant) -> Turn<T> {
        if seq == self.next {
            self.next = self.next.wrapping_add(1);
            return Turn::Now(message);
        }
        if seq.wrapping_sub(self.next) >= LATE {
            return Turn::Now(message);
        }
        if self.waiting.is_empty() {
            (self.base, self.since) = (self.next, Some(now));
        }
        self.waiting.insert(seq.wrapping_sub(self.base), message);
        Turn::Waits
    }

    /// The next message whose turn it is because those before it have come.
    pub(super) fn ready(&mut self) -> Option<T> {
        let (behind, _) = self.waiting.first_key_value()?;
        if self.base.wrapping_add(*behind) != self.next {
            return None;
        }
        let (_, message) = self.waiting.pop_first()?;
        self.next = self.next.wrapping_add(1);
        if self.waiting.is_empty() {
            self.since = None;
        }
        Some(message)
    }

    pub(super) fn wake_at(&self, reorder: Duration) -> Option<Instant> {
        let full = self.waiting.len() > MOST_WAITING;
        self.since.map(|since| if full { since } else { since + reorder })
    }

    /// Gives the hole up that has been waited for long enough: the number of the first message behind it, and all that have waited, in
    /// their order.
    pub(super) fn give_up(&mut self, now: Instant, reorder: Duration) -> Option<(u8, Vec<T>)> {
        if self.wake_at(reorder).is_none_or(|due| due > now) {
            return None;
        }
        self.since = None;
        let waiting = std::mem::take(&mut self.waiting);
        let first = waiting.first_key_value().map_or(0, |(behind, _)| *behind);
        let last = waiting.last_key_value().map_or(0, |(behind, _)| *behind);
        let found = self.base.wrapping_add(first);
        self.next = self.base.wrapping_add(last).wrapping_add(1);
        Some((found, waiting.into_values().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REORDER: Duration = Duration::from_secs(2);

    #[test]
    fn numbers_go_on_behind_255_with_0() {
        let now = Instant::now();
        let mut sequence = Sequence::after(254);
        assert_eq!(sequence.came(255, 'a', now), Turn::Now('a'));
        assert_eq!(sequence.came(0, 'b', now), Turn::Now('b'));
        assert_eq!((sequence.next(), sequence.wake_at(REORDER)), (1, None));
    }

    #[test]
    fn messages_that_come_out_of_order_are_put_in_order() {
        let now = Instant::now();
        let mut sequence = Sequence::after(253);
        assert_eq!(sequence.came(0, 'c', now), Turn::Waits);
        assert_eq!(sequence.came(255, 'b', now), Turn::Waits);
        assert_eq!(sequence.wake_at(REORDER), Some(now + REORDER));
        assert_eq!(sequence.came(254, 'a', now), Turn::Now('a'));
        assert_eq!((sequence.ready(), sequence.ready(), sequence.ready()), (Some('b'), Some('c'), None));
        assert_eq!((sequence.next(), sequence.wake_at(REORDER)), (1, None));
    }

    #[test]
    fn a_hole_is_given_up_when_it_has_been_waited_for_and_what_came_is_taken() {
        let now = Instant::now();
        let mut sequence = Sequence::after(0);
        sequence.came(3, 'c', now);
        sequence.came(5, 'e', now);
        assert_eq!(sequence.give_up(now + REORDER / 2, REORDER), None);
        assert_eq!(sequence.give_up(now + REORDER, REORDER), Some((3, vec!['c', 'e'])));
        assert_eq!(sequence.came(6, 'f', now), Turn::Now('f'));
        // Late, and not a new hole.
        assert_eq!(sequence.came(4, 'd', now), Turn::Now('d'));
        assert_eq!(sequence.next(), 7);
    }

    #[test]
    fn a_hole_with_too_much_behind_it_is_not_waited_for() {
        let now = Instant::now();
        let mut sequence = Sequence::after(0);
        for seq in 2..70 {
            sequence.came(seq, seq, now);
        }
        let (found, waiting) = sequence.give_up(now, REORDER).unwrap();
        assert_eq!((found, waiting.len(), sequence.next()), (2, 68, 70));
    }
}
