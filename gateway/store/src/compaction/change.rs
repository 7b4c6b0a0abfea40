//! What compaction does to a stretch of the log: the same rows in other blocks, at other positions.

use tidegate_model::StreamId;

use crate::{
    epochs::{BlockHead, Epoch},
    ranges::{Acknowledged, Range},
};

/// Rows that get other positions, in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    /// Where they are.
    pub(crate) old: Range,
    /// Where the first of them will be.
    pub(crate) new: u64,
}

/// Rows that are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Where they are.
    pub(crate) old: Range,
    /// Their stream.
    pub(crate) stream: StreamId,
    /// The number of the first; the others follow.
    pub(crate) first_seq: u64,
}

/// The encoded rows of a new block.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) id: u64,
    pub(crate) bytes: Vec<u8>,
}

/// What becomes of a stretch of the log.
#[derive(Debug)]
pub(crate) struct Change {
    /// The epoch that takes its place; its positions are those of the stretch.
    pub(crate) epoch: Epoch,
    /// Whether it was records until now.
    pub(crate) was_fresh: bool,
    /// All blocks of the epoch, in order.
    pub(crate) blocks: Vec<BlockHead>,
    /// By the old positions.
    pub(crate) moves: Vec<Move>,
    /// By the old positions; each becomes a gap for the targets that have not acknowledged it.
    pub(crate) removed: Vec<Removed>,
    /// The bodies of new blocks, until they are written.
    pub(crate) bodies: Vec<Body>,
    /// The numbers of all new bodies.
    pub(crate) new_bodies: Range,
    /// Bodies that are of no use afterwards.
    pub(crate) old_bodies: Vec<Range>,
}

impl Change {
    /// What a target has acknowledged of the stretch, at the new positions. Positions without a row count, too.
    pub(crate) fn acknowledged(&self, done: &Acknowledged) -> Vec<Range> {
        let range = self.epoch.range;
        if done.has_all(range) {
            return vec![range];
        }
        let mut parts = vec![Range::new(range.first.saturating_add(self.epoch.rows), range.end)];
        if !done.has_none(range) {
            let acknowledged = done.parts_in(range);
            let mut from = 0;
            for part in acknowledged {
                // Both are in order: what ends before this part ends before all later ones.
                from += self.moves.get(from..).unwrap_or_default().partition_point(|moved| moved.old.end <= part.first);
                let moved = self.moves.iter().skip(from).take_while(|moved| moved.old.first < part.end);
                parts.extend(moved.map(|moved| moved.of(part)));
            }
        }
        parts
    }
}

impl Move {
    /// Where the rows of a part of the old positions will be.
    fn of(&self, part: Range) -> Range {
        let old = self.old.within(part);
        let first = self.new + (old.first - self.old.first);
        Range::new(first, first + old.len())
    }
}

/// Numbers as ranges.
pub(crate) fn ranges(mut numbers: Vec<u64>) -> Vec<Range> {
    numbers.sort_unstable();
    let mut ranges: Vec<Range> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end >= number => last.end = last.end.max(number + 1),
            _ => ranges.push(Range::new(number, number + 1)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use tidegate_model::Timestamp;

    use super::*;

    fn change(range: Range, rows: u64, moves: &[(u64, u64, u64)]) -> Change {
        let zero = Timestamp::from_millis(0);
        let epoch = Epoch {
            range,
            level: 0,
            rows,
            blocks: 0,
            short_blocks: 0,
            bytes: 0,
            time_min: zero,
            time_max: zero,
            age: 0,
        };
        let moves = moves.iter().map(|(first, end, new)| Move { old: Range::new(*first, *end), new: *new }).collect();
        Change {
            epoch,
            was_fresh: true,
            blocks: Vec::new(),
            moves,
            removed: Vec::new(),
            bodies: Vec::new(),
            new_bodies: Range::new(1, 1),
            old_bodies: Vec::new(),
        }
    }

    #[test]
    fn what_is_acknowledged_moves_with_its_rows() {
        // Rows of two streams, two of each by turns, are put in order.
        let change = change(Range::new(10, 18), 8, &[(10, 12, 10), (12, 14, 14), (14, 16, 12), (16, 18, 16)]);
        let mut done = Acknowledged::before(13);
        done.insert(Range::new(15, 16));
        done.insert(Range::new(17, 30));
        done.replace(Range::new(10, 18), &change.acknowledged(&done));
        assert_eq!(done.floor(), 12);
        let ahead: Vec<(u64, u64)> = done.ahead().iter().map(|range| (range.first, range.end)).collect();
        assert_eq!(ahead, [(13, 15), (17, 30)]);
    }

    #[test]
    fn positions_without_a_row_are_acknowledged() {
        let change = change(Range::new(10, 18), 3, &[(11, 12, 10), (14, 16, 11)]);
        let mut done = Acknowledged::before(12);
        done.replace(Range::new(10, 18), &change.acknowledged(&done));
        assert_eq!(
            (done.floor(), done.missing_in(Range::new(0, 20))),
            (11, vec![Range::new(11, 13), Range::new(18, 20)])
        );
    }

    #[test]
    fn all_and_nothing_stay_all_and_nothing() {
        let change = change(Range::new(10, 18), 8, &[(10, 18, 10)]);
        assert_eq!(change.acknowledged(&Acknowledged::before(18)), [Range::new(10, 18)]);
        assert_eq!(change.acknowledged(&Acknowledged::before(10)), [Range::new(18, 18)]);
    }

    #[test]
    fn numbers_become_ranges() {
        assert_eq!(ranges(vec![5, 1, 2, 7, 6]), [Range::new(1, 3), Range::new(5, 8)]);
    }
}
