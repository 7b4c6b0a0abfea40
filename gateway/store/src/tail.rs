//! The newest committed rows, kept in memory until every target that keeps up has read them.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use tidegate_model::{Row, Timestamp};

use crate::{numbers::count, pending::Entry};

/// Rows of the past that are passed by when a row of the present is looked for.
const LOOK: usize = 256;

/// The newest committed rows, without a hole up to the end of the log.
#[derive(Debug)]
pub(crate) struct Tail {
    limit: usize,
    /// Position of the first entry; the end of the log when there is none.
    first: u64,
    /// Position of the first row of the newest commit, which stays whatever its size as long as somebody wants it.
    newest: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Commits so far.
    commits: u64,
}

impl Tail {
    /// Holds rows of up to `limit` bytes, or those of the newest commit if that is more; begins empty at the end of
    /// the log.
    pub(crate) fn new(limit: usize, end: u64) -> Tail {
        Tail { limit, first: end, newest: end, entries: VecDeque::new(), bytes: 0, commits: 0 }
    }

    /// The position after the last row.
    pub(crate) fn end(&self) -> u64 {
        self.first + count(self.entries.len())
    }

    /// The position of the first row that is here.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Position of the first row of the newest commit.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.max(self.first)
    }

    /// The time of the row at this position, if it is here.
    pub(crate) fn time_at(&self, position: u64) -> Option<Timestamp> {
        let at = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.entries.get(at).map(|entry| entry.row.time)
    }

    /// How many milliseconds the rows from `position` on are behind the newest; `None` when nothing tells. Rows of the past
    /// do not.
    pub(crate) fn lag(&self, position: u64) -> Option<i64> {
        let skip = crate::numbers::length(position.saturating_sub(self.first));
        let mut waiting = self.entries.range(skip.min(self.entries.len())..);
        let time = waiting.by_ref().take(LOOK).find(|entry| !entry.past)?.row.time;
        let newest = self.entries.iter().rev().take(LOOK).find(|entry| !entry.past)?.row.time;
        Some(newest.millis_since(time))
    }

    /// Commits so far.
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    /// Memory taken, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a cursor that reads at `position` next finds everything here.
    pub(crate) fn reaches(&self, position: u64) -> bool {
        position >= self.first
    }

    /// Adds the rows of a commit; `wanted` is the smallest position that a target which keeps up has not read.
    pub(crate) fn add(&mut self, entries: impl Iterator<Item = Entry>, wanted: Option<u64>) {
        self.newest = self.end();
        self.commits += 1;
        for entry in entries {
            self.bytes += entry.bytes;
            self.entries.push_back(entry);
        }
        self.trim(wanted);
    }

    /// Begins anew at another end, when the log has been replaced.
    pub(crate) fn restart(&mut self, end: u64) {
        *self = Tail::new(self.limit, end);
    }

    /// Drops what nobody wants, and of the rest what is too much.
    pub(crate) fn trim(&mut self, wanted: Option<u64>) {
        let wanted = wanted.unwrap_or(u64::MAX);
        while self.first < wanted || (self.bytes > self.limit && self.first < self.newest) {
            let Some(entry) = self.entries.pop_front() else { break };
            self.bytes -= entry.bytes;
            self.first += 1;
        }
        if self.entries.is_empty() {
            // A burst must not keep its memory.
            self.entries.shrink_to(64);
        }
    }

    /// Drops everything before `position`: its rows have got other positions.
    pub(crate) fn pass(&mut self, position: u64) {
        if position > self.first {
            self.trim(Some(position.min(self.end())));
        }
    }

    /// Rows from `position` on, with their positions.
    pub(crate) fn read(&self, position: u64) -> impl Iterator<Item = (u64, &Arc<Row>, &Bytes)> {
        let skip = crate::numbers::length(position.saturating_sub(self.first));
        let numbered = (position..).zip(self.entries.range(skip.min(self.entries.len())..));
        numbered.map(|(position, entry)| (position, &entry.row, &entry.payload))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::{Stream, StreamId};

    use super::*;

    fn entry(seq: u64) -> Entry {
        let name = |text: &str| text.parse().unwrap();
        let stream = Arc::new(Stream::new(StreamId(1), name("d"), name("g"), Vec::new()));
        let row = Row { stream, seq, time: Timestamp::from_millis(0), device_time: None, slots: Box::default() };
        Entry { row: Arc::new(row), payload: Bytes::new(), bytes: 100, past: false }
    }

    fn positions(tail: &Tail, from: u64) -> Vec<u64> {
        tail.read(from).map(|(position, ..)| position).collect()
    }

    #[test]
    fn rows_stay_until_the_slowest_that_keeps_up_has_read_them() {
        let mut tail = Tail::new(1_000, 7);
        tail.add((1..=3).map(entry), Some(7));
        assert_eq!((positions(&tail, 7), positions(&tail, 9)), (vec![7, 8, 9], vec![9]));
        tail.add((4..=4).map(entry), Some(9));
        assert!(tail.reaches(9) && !tail.reaches(8));
        tail.trim(None);
        assert_eq!((tail.bytes(), tail.end()), (0, 11));
        assert!(tail.reaches(11));
    }

    #[test]
    fn what_has_got_other_positions_is_not_here_any_more() {
        let mut tail = Tail::new(1_000, 7);
        tail.add((1..=4).map(entry), Some(7));
        tail.pass(6);
        assert_eq!(positions(&tail, 7), [7, 8, 9, 10]);
        tail.pass(9);
        assert!(tail.reaches(9) && !tail.reaches(8));
        assert_eq!(positions(&tail, 9), [9, 10]);
    }

    #[test]
    fn rows_of_the_past_say_nothing_about_how_late_it_is() {
        let mut tail = Tail::new(10_000, 7);
        let at = |seq: u64, time: i64, past| {
            let entry = entry(seq);
            let row = Row { time: Timestamp::from_millis(time), ..(*entry.row).clone() };
            Entry { row: Arc::new(row), past, ..entry }
        };
        tail.add([at(1, 5_000, false), at(2, 100, true), at(3, 6_000, false), at(4, 200, true)].into_iter(), Some(7));
        assert_eq!([7, 8, 9, 10, 11].map(|position| tail.lag(position)), [Some(1_000), Some(0), Some(0), None, None]);
    }

    #[test]
    fn too_much_is_dropped_from_the_front_but_never_of_the_newest_commit() {
        let mut tail = Tail::new(200, 0);
        tail.add((1..=3).map(entry), Some(0));
        assert_eq!(tail.bytes(), 300);
        tail.add((4..=4).map(entry), Some(0));
        assert_eq!(positions(&tail, 2), [2, 3]);
        tail.add((5..=9).map(entry), Some(0));
        assert_eq!(positions(&tail, 4), [4, 5, 6, 7, 8]);
    }
}
