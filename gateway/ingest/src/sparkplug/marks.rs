//! Values that have been taken, in the order in which they were, no more of them than are worth remembering. Pure.

use std::collections::HashMap;

use tidegate_model::Timestamp;

use super::print::{Mark, Print};

/// Values that are remembered to tell those that come again, and beside them the latest of each tag, of so many tags.
pub(crate) const MOST_SEEN: usize = 1_000_000;
pub(crate) const MOST_TAGS: usize = 1_000_000;
/// Values that are listed before the list is made shorter.
pub(crate) const MOST_LISTED: usize = 3_000_000;

/// A list of values.
#[derive(Debug)]
pub(crate) struct Marks {
    list: Vec<Mark>,
    most_seen: usize,
    most_listed: usize,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { list: Vec::new(), most_seen: MOST_SEEN, most_listed: MOST_LISTED }
    }
}

impl Marks {
    /// Adds the next value.
    pub(crate) fn push(&mut self, mark: Mark) {
        if self.list.len() >= self.most_listed {
            self.shorten();
        }
        self.list.push(mark);
    }

    /// Adds others behind.
    pub(crate) fn extend(&mut self, others: &Marks) {
        others.list.iter().for_each(|mark| self.push(*mark));
    }

    /// The values in their order.
    pub(crate) fn as_slice(&self) -> &[Mark] {
        &self.list
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// Keeps the last values, and of those before them the latest of each tag: that is what the next birth says.
    pub(crate) fn shorten(&mut self) {
        let older = self.list.len().saturating_sub(self.most_seen);
        let mut latest: HashMap<u64, (Timestamp, Print)> = HashMap::new();
        for mark in &self.list {
            let known = latest.get(&mark.metric);
            if known.map_or(latest.len() < MOST_TAGS, |(time, _)| *time <= mark.time) {
                latest.insert(mark.metric, (mark.time, mark.print));
            }
        }
        let mut at = 0;
        self.list.retain(|mark| {
            at += 1;
            at > older || latest.get(&mark.metric).is_some_and(|(_, print)| *print == mark.print)
        });
        // Of a tag that says one value of one time for ever.
        let beyond = self.list.len().saturating_sub(self.most_seen.saturating_add(MOST_TAGS));
        self.list.drain(..beyond);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_long_keeps_the_last_values_and_the_latest_of_each_tag() {
        let mark = |metric, time| {
            let print = Print([metric, u64::try_from(time).unwrap()]);
            Mark { metric, time: Timestamp::from_millis(time), print }
        };
        let mut marks = Marks { most_seen: 3, most_listed: 8, ..Marks::default() };
        // The tag 7 is slow; what it says twice at once is two values.
        let said = [mark(7, 1), mark(7, 2), mark(7, 2), mark(7, 0), mark(1, 3), mark(1, 4), mark(1, 5), mark(1, 6)];
        said.into_iter().for_each(|mark| marks.push(mark));
        assert_eq!(marks.as_slice(), said);
        marks.push(mark(1, 7));
        assert_eq!(marks.as_slice(), [said[1], said[2], said[5], said[6], said[7], mark(1, 7)]);
    }
}
