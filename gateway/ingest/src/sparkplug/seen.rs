//! The values that have been taken, to tell those that come again. Pure.
//!
//! A value is the same when device, tag, time, quality and value are, to the last bit. Equal ones of one message are counted, so that a
//! message that tells the same twice is taken as it stands, and as a whole when it comes again. The last values are remembered, and the latest
//! of each tag however long ago it was: births repeat it. What was forgotten because too much has come since is told ([`Seen::add`]).

use std::collections::{HashMap, HashSet, VecDeque};

use tidegate_model::Timestamp;

use super::{
    marks::{MOST_TAGS, Marks},
    print::{Mark, Print},
};

/// The values that have been taken, as far as they are remembered.
pub(super) struct Seen {
    prints: HashSet<Print>,
    /// How often more than once.
    more: HashMap<Print, u32>,
    order: VecDeque<(Print, Option<u32>, Timestamp)>,
    latest: HashMap<u64, Latest>,
    most: usize,
}

/// The latest value of a tag.
struct Latest {
    time: Timestamp,
    print: Print,
    copies: u32,
}

impl Seen {
    /// Remembers so many values, and those that are known already.
    pub(super) fn new(most: usize, known: &Marks) -> Seen {
        let (prints, order) = (HashSet::new(), VecDeque::new());
        let mut seen = Seen { prints, order, more: HashMap::new(), latest: HashMap::new(), most: most.max(1) };
        for mark in known.as_slice() {
            // A sink that keeps them is not asked for others.
            seen.add(mark, None);
        }
        seen
    }

    /// Whether a value has been taken; `copies`: how many equal ones are before it in its message.
    pub(super) fn is_known(&self, mark: &Mark, copies: u32) -> bool {
        let more = self.more.get(&mark.print).copied().unwrap_or(0);
        let of_last = if self.prints.contains(&mark.print) { more.saturating_add(1) } else { 0 };
        let latest = self.latest.get(&mark.metric).filter(|latest| latest.print == mark.print);
        copies < latest.map_or(0, |latest| latest.copies).max(of_last)
    }

    /// Remembers a value once more. The stream and the time of one that was forgotten for it.
    pub(super) fn add(&mut self, mark: &Mark, stream: Option<u32>) -> Option<(u32, Timestamp)> {
        self.enter_latest(mark);
        if !self.prints.insert(mark.print) {
            let more = self.more.entry(mark.print).or_default();
            *more = more.saturating_add(1);
        }
        self.order.push_back((mark.print, stream, mark.time));
        if self.order.len() <= self.most {
            return None;
        }
        let (print, stream, time) = self.order.pop_front()?;
        match self.more.get_mut(&print) {
            Some(more) if *more > 1 => *more -= 1,
            Some(_) => drop(self.more.remove(&print)),
            None => drop(self.prints.remove(&print)),
        }
        stream.map(|stream| (stream, time))
    }

    fn enter_latest(&mut self, mark: &Mark) {
        let Mark { metric, time, print } = *mark;
        let has_room = self.latest.len() < MOST_TAGS;
        match self.latest.get_mut(&metric) {
            Some(latest) if latest.print == print => latest.copies = latest.copies.saturating_add(1),
            Some(latest) if latest.time <= time => *latest = Latest { time, print, copies: 1 },
            Some(_) => {}
            None if has_room => drop(self.latest.insert(metric, Latest { time, print, copies: 1 })),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(metric: u64, time: i64, value: u64) -> Mark {
        let print = Print([metric << 32 | value, u64::try_from(time).unwrap()]);
        Mark { metric, time: Timestamp::from_millis(time), print }
    }

    #[test]
    fn the_oldest_is_forgotten_and_told_but_for_the_latest_of_each_tag() {
        let mut seen = Seen::new(2, &Marks::default());
        let at = Timestamp::from_millis;
        assert_eq!(seen.add(&mark(1, 5, 0), Some(3)), None);
        assert_eq!(seen.add(&mark(2, 9, 0), Some(3)), None);
        assert_eq!(seen.add(&mark(2, 7, 0), Some(3)), Some((3, at(5))));
        assert_eq!(seen.add(&mark(2, 8, 0), Some(3)), Some((3, at(9))));
        assert!(seen.is_known(&mark(1, 5, 0), 0) && seen.is_known(&mark(2, 9, 0), 0), "what births say");
        assert!(seen.is_known(&mark(2, 7, 0), 0) && seen.is_known(&mark(2, 8, 0), 0), "the last");
        seen.add(&mark(2, 10, 0), Some(3));
        assert!(!seen.is_known(&mark(2, 9, 0), 0) && !seen.is_known(&mark(2, 7, 0), 0), "forgotten");
    }

    #[test]
    fn equal_values_are_known_as_often_as_they_were_taken() {
        let value = mark(1, 5, 0);
        let mut marks = Marks::default();
        [value, value, mark(1, 4, 0)].into_iter().for_each(|mark| marks.push(mark));
        let mut seen = Seen::new(2, &marks);
        assert!(seen.is_known(&value, 1) && !seen.is_known(&value, 2));
        for time in 0..3 {
            seen.add(&mark(1, time, 0), None);
        }
        assert!(seen.is_known(&value, 1), "one of them is not among the last any more, and they are the latest");
        seen.add(&mark(1, 5, 1), None);
        assert!(!seen.is_known(&value, 0) && seen.is_known(&mark(1, 5, 1), 0));
    }
}
