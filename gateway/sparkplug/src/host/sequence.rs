//! The numbers of the messages of a node: which one is next, and what waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Messages that wait for one before them, at most; then the hole is not waited for any longer.
const MOST_WAITING: usize = 64;
/// Bytes that wait, at most; then likewise.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// A number so far ahead is one that was given up already, or so many are missing that waiting for them is of no use.
const LATE: u64 = 128;

/// Puts messages in order.
#[derive(Debug)]
pub(super) struct Sequence<T> {
    /// The number that is to come, counted on beyond 255.
    next: u64,
    /// Messages and how many bytes they are, by their numbers, counted on beyond 255.
    waiting: BTreeMap<u64, (T, usize)>,
    /// Bytes of all that wait.
    bytes: usize,
    since: Option<Instant>,
    /// Numbers that were given up lately, counted on beyond 255.
    given_up: BTreeSet<u64>,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is its turn.
    Now,
    /// Its turn was given up: what it says is of the past.
    Late,
    /// It waits for others, until it is taken as [`Sequence::ready`] or by [`Sequence::drain`].
    Waits,
    /// A great many before it are missing. Its turn is after [`Sequence::resume`].
    Far,
}

impl<T> Sequence<T> {
    /// After a birth of the node with this number.
    pub(super) fn after(seq: u8) -> Sequence<T> {
        Sequence {
            next: u64::from(seq) + 1,
            waiting: BTreeMap::new(),
            bytes: 0,
            since: None,
            given_up: BTreeSet::new(),
        }
    }

    pub(super) fn next(&self) -> u8 {
        number(self.next)
    }

    /// How far a number is ahead of the one that is to come.
    fn ahead(&self, seq: u8) -> u64 {
        seq.wrapping_sub(self.next()).into()
    }

    /// A message with this number has come. One that waits is to be handed to [`Sequence::wait`].
    pub(super) fn turn(&mut self, seq: u8) -> Turn {
        match self.ahead(seq) {
            0 => {
                self.next += 1;
                Turn::Now
            }
            ahead @ LATE.. => {
                let counted = (self.next + ahead).checked_sub(256);
                if counted.is_some_and(|counted| self.given_up.remove(&counted)) { Turn::Late } else { Turn::Far }
            }
            _ => Turn::Waits,
        }
    }

    /// Goes on behind this number. Nothing may wait.
    pub(super) fn resume(&mut self, seq: u8) {
        self.next += self.ahead(seq) + 1;
        self.given_up.clear();
    }

    /// Keeps a message of so many bytes until its turn.
    pub(super) fn wait(&mut self, seq: u8, message: T, bytes: usize, now: Instant) {
        self.since.get_or_insert(now);
        let before = self.waiting.insert(self.next + self.ahead(seq), (message, bytes));
        let before = before.map_or(0, |(_, bytes)| bytes);
        self.bytes = self.bytes.saturating_sub(before).saturating_add(bytes);
    }

    /// The next message whose turn it is because those before it have come.
    pub(super) fn ready(&mut self) -> Option<T> {
        let (message, bytes) = self.waiting.remove(&self.next)?;
        self.next += 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.waiting.is_empty() {
            self.since = None;
        }
        Some(message)
    }

    pub(super) fn wake_at(&self, reorder: Duration) -> Option<Instant> {
        let full = self.waiting.len() > MOST_WAITING || self.bytes > MOST_BYTES;
        self.since.map(|since| if full { since } else { since + reorder })
    }

    /// Gives the hole up: the number of the first message behind it, and all that have waited, in their order; `None` where there is none.
    pub(super) fn drain(&mut self) -> Option<(u8, Vec<T>)> {
        let (first, last) = (*self.waiting.first_key_value()?.0, *self.waiting.last_key_value()?.0);
        let missing = (self.next..last).filter(|counted| !self.waiting.contains_key(counted));
        self.given_up.extend(missing);
        self.given_up = self.given_up.split_off(&last.saturating_sub(LATE));
        (self.since, self.bytes, self.next) = (None, 0, last + 1);
        let waiting = std::mem::take(&mut self.waiting);
        Some((number(first), waiting.into_values().map(|(message, _)| message).collect()))
    }
}

/// A number as messages have it.
fn number(counted: u64) -> u8 {
    u8::try_from(counted % 256).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REORDER: Duration = Duration::from_secs(2);

    #[test]
    fn numbers_go_on_behind_255_with_0() {
        let mut sequence = Sequence::<char>::after(254);
        assert_eq!((sequence.turn(255), sequence.turn(0)), (Turn::Now, Turn::Now));
        assert_eq!((sequence.next(), sequence.wake_at(REORDER)), (1, None));
    }

    #[test]
    fn messages_that_come_out_of_order_are_put_in_order() {
        let now = Instant::now();
        let mut sequence = Sequence::after(253);
        assert_eq!(sequence.turn(0), Turn::Waits);
        sequence.wait(0, 'c', 1, now);
        sequence.wait(255, 'b', 1, now);
        assert_eq!(sequence.wake_at(REORDER), Some(now + REORDER));
        assert_eq!(sequence.turn(254), Turn::Now);
        assert_eq!((sequence.ready(), sequence.ready(), sequence.ready()), (Some('b'), Some('c'), None));
        assert_eq!((sequence.next(), sequence.wake_at(REORDER)), (1, None));
    }

    #[test]
    fn a_hole_is_given_up_when_it_has_been_waited_for_and_what_came_is_taken() {
        let now = Instant::now();
        let mut sequence = Sequence::after(0);
        sequence.wait(3, 'c', 1, now);
        sequence.wait(5, 'e', 1, now);
        assert_eq!(sequence.wake_at(REORDER), Some(now + REORDER));
        assert_eq!(sequence.drain(), Some((3, vec!['c', 'e'])));
        assert_eq!(sequence.turn(6), Turn::Now);
        // Not a new hole.
        assert_eq!(sequence.turn(4), Turn::Late);
        assert_eq!((sequence.next(), sequence.drain(), sequence.wake_at(REORDER)), (7, None, None));
    }

    #[test]
    fn a_number_that_was_not_given_up_and_is_far_ahead_is_gone_on_from() {
        let mut sequence = Sequence::<char>::after(9);
        assert_eq!(sequence.turn(160), Turn::Far);
        sequence.resume(160);
        assert_eq!((sequence.next(), sequence.turn(161)), (161, Turn::Now));
    }

    #[test]
    fn a_hole_with_too_much_behind_it_is_not_waited_for() {
        let now = Instant::now();
        let mut sequence = Sequence::after(0);
        (2..70).for_each(|seq| sequence.wait(seq, seq, 1, now));
        assert_eq!(sequence.wake_at(REORDER), Some(now));
        let (found, waiting) = sequence.drain().unwrap();
        assert_eq!((found, waiting.len(), sequence.next()), (2, 68, 70));
        sequence.wait(80, 80, MOST_BYTES, now);
        sequence.wait(80, 80, MOST_BYTES, now);
        assert_eq!(sequence.wake_at(REORDER), Some(now + REORDER), "the same one, and not too large");
        sequence.wait(90, 90, 1, now);
        assert_eq!(sequence.wake_at(REORDER), Some(now));
    }
}
