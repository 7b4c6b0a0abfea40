//! How much is done at once, and how long blocks become.

use std::time::Duration;

use tidegate_codec::block::Codec;

use crate::{epochs::Epoch, numbers::count, starts::Starts};

/// Rows of a long block, about.
const ROWS: u64 = 480;
/// Values of a block at most, about: what a reader has to unpack for one of them.
const VALUES: u64 = 262_144;
/// Epochs that are joined to one.
pub(crate) const FANOUT: usize = 10;
/// Blocks of one epoch at most: all of them get other positions when it is joined.
const BLOCKS: u64 = 32_768;
/// Bytes of bodies that are written anew at once, at most.
const BYTES: u64 = 32 << 20;
/// Memory for the rows of fresh records at most, unless a single record has more.
pub(crate) const MEMORY: usize = 24 << 20;
/// The level of epochs that have been thinned, or that cannot be changed.
pub(crate) const THINNED: u64 = 100;
/// Bytes of bodies in one transaction, about.
pub(crate) const SLICE: usize = 512 << 10;

/// When fresh records become blocks: at 60 seconds when there is enough for it, later when there is little.
const ENOUGH: (i64, u64) = (60_000, 256 << 10);
const MUCH: u64 = 4 << 20;
const LONG: i64 = 600_000;

/// Rows of a long block with so many columns.
pub(crate) fn long(columns: usize) -> u64 {
    (VALUES / count(columns).max(1)).clamp(1, ROWS)
}

/// Whether a block of so many rows is worth to be joined with others.
pub(crate) fn is_short(rows: u64, columns: usize) -> bool {
    rows < long(columns) / 2 + 1
}

/// How a block of so many rows is packed. A column of many is wanted alone by who draws a chart; short blocks, for which parts
/// would cost more, become long ones soon.
pub(crate) fn codec(rows: u64, columns: usize) -> Codec {
    if columns > Codec::PART_COLUMNS && !is_short(rows, columns) { Codec::Parts } else { Codec::Range }
}

/// The lengths of the blocks that so many rows make.
pub(crate) fn cut(rows: u64, columns: usize) -> Vec<u64> {
    let long = long(columns);
    let pieces = ((rows + long / 2) / long).max(1);
    (0..pieces).map(|piece| rows * (piece + 1) / pieces - rows * piece / pieces).filter(|rows| *rows > 0).collect()
}

/// What an epoch may become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Largest {
    /// Milliseconds between its oldest and its newest row: all of it is dropped at once.
    span: i64,
    bytes: u64,
    /// The same of fresh records that become an epoch.
    fresh: i64,
}

impl Largest {
    /// In a store with these bounds.
    pub(crate) fn new(max_age: Duration, max_size: u64) -> Largest {
        let max_age = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
        Largest { span: max_age / 16, bytes: (max_size / 32).max(64 << 10), fresh: LONG.min(max_age / 64) }
    }

    /// Whether fresh records of so many bytes, whose times lie so many milliseconds apart, are worth to become blocks.
    pub(crate) fn is_ripe(&self, bytes: u64, span: i64) -> bool {
        let enough = span >= ENOUGH.0 && bytes >= ENOUGH.1;
        bytes >= MUCH.min(self.bytes) || span >= self.fresh || enough
    }

    /// What fresh records become one epoch at most: milliseconds between the oldest and the newest, and bytes.
    pub(crate) fn fresh(&self) -> (u64, u64) {
        (u64::try_from(self.fresh.saturating_mul(2)).unwrap_or(0).max(1), 2 * MUCH.min(self.bytes))
    }

    /// Whether there are so many bytes of fresh records that these go first.
    pub(crate) fn is_much(&self, bytes: u64) -> bool {
        bytes > 4 * MUCH.min(self.bytes)
    }

    /// Whether compaction falls behind, and is to work without pauses.
    pub(crate) fn is_behind(&self, bytes: u64, span: i64) -> bool {
        self.is_much(bytes) || (bytes >= 2 * ENOUGH.1 && span >= 2 * ENOUGH.0)
    }

    /// Epochs to be joined, from the oldest on, all of one start; none when nothing is to be done.
    pub(crate) fn choose<'a>(&self, epochs: impl Iterator<Item = &'a Epoch>, starts: &Starts) -> Vec<Epoch> {
        let mut group: Vec<Epoch> = Vec::new();
        for epoch in epochs {
            if group.last().is_some_and(|last| !starts.is_one(last.range.first, epoch.range.first)) {
                // Nothing will come after it any more.
                if self.cut(&mut group) {
                    return group;
                }
                group.clear();
            }
            let follows =
                group.last().is_none_or(|last| last.level == epoch.level && last.range.end == epoch.range.first);
            if self.is_final(epoch) || !follows {
                group.clear();
            }
            if !self.is_final(epoch) {
                group.push(*epoch);
            }
            if group.len() == FANOUT {
                if self.cut(&mut group) {
                    return group;
                }
                // The first is as large as it can be; the others may still be joined with each other.
                group.clear();
            }
        }
        Vec::new()
    }

    /// Leaves as many as fit together. False when that is one.
    fn cut(&self, group: &mut Vec<Epoch>) -> bool {
        while group.len() > 1 && !self.fits(group) {
            group.pop();
        }
        group.len() > 1
    }

    /// Whether it is not worth to be joined with others, or too large for it.
    fn is_final(&self, epoch: &Epoch) -> bool {
        let large = epoch.blocks > BLOCKS / 2
            || epoch.bytes > self.bytes.min(BYTES) / 2
            || epoch.time_max.millis_since(epoch.time_min) > self.span / 2;
        large || epoch.level >= THINNED || epoch.short_blocks <= epoch.blocks / 16
    }

    fn fits(&self, group: &[Epoch]) -> bool {
        let sum = |of: fn(&Epoch) -> u64| group.iter().map(of).fold(0, u64::saturating_add);
        let first = group.iter().map(|epoch| epoch.time_min).min();
        let last = group.iter().map(|epoch| epoch.time_max).max();
        let span = first.zip(last).map_or(0, |(first, last)| last.millis_since(first));
        sum(|epoch| epoch.blocks) <= BLOCKS && sum(|epoch| epoch.bytes) <= self.bytes.min(BYTES) && span <= self.span
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::Timestamp;

    use super::*;
    use crate::ranges::Range;

    fn epoch(at: u64, level: u64) -> Epoch {
        let time = |minutes: u64| Timestamp::from_millis(i64::try_from(60_000 * minutes).unwrap());
        Epoch {
            range: Range::new(100 * at, 100 * at + 100),
            level,
            rows: 100,
            blocks: 10,
            short_blocks: 10,
            bytes: 5_000,
            time_min: time(at),
            time_max: time(at + 1),
            age: 0,
        }
    }

    fn largest() -> Largest {
        Largest::new(Duration::from_secs(72 * 3600), 4 << 30)
    }

    #[test]
    fn rows_are_cut_into_blocks_of_like_length() {
        assert_eq!(cut(60, 10), [60]);
        assert_eq!(cut(600, 10), [600]);
        assert_eq!(cut(1_000, 10), [500, 500]);
        assert_eq!(cut(1_000, 100_000), [2; 500]);
        assert_eq!(cut(3, 1_000_000), [1, 1, 1]);
    }

    #[test]
    fn ten_neighbours_of_a_level_are_joined() {
        let epochs: Vec<Epoch> = (0..3).map(|at| epoch(at, 1)).chain((3..14).map(|at| epoch(at, 0))).collect();
        let chosen = largest().choose(epochs.iter(), &Starts::default());
        assert_eq!((chosen.len(), chosen[0].range.first), (10, 300));
        assert!(largest().choose(epochs[..12].iter(), &Starts::default()).is_empty());
    }

    #[test]
    fn epochs_of_two_starts_are_never_joined_and_those_before_a_start_at_once() {
        let epochs: Vec<Epoch> = (0..20).map(|at| epoch(at, 0)).collect();
        let mut starts = Starts::new(0, 1);
        starts.begin(700, 2);
        starts.begin(1_800, 3);
        let chosen = |from: usize, to: usize| {
            let group = largest().choose(epochs[from..to].iter(), &starts);
            group.first().map(|first| (first.range.first, group.len()))
        };
        assert_eq!(chosen(0, 7), None, "more of the first may come");
        assert_eq!(chosen(0, 8), Some((0, 7)));
        assert_eq!((chosen(7, 16), chosen(7, 17), chosen(9, 19)), (None, Some((700, 10)), Some((900, 9))));
        assert_eq!(chosen(6, 8), None, "one alone stays");
    }

    #[test]
    fn epochs_with_long_blocks_stay_as_they_are() {
        let epochs: Vec<Epoch> = (0..20).map(|at| Epoch { short_blocks: 0, ..epoch(at, 1) }).collect();
        assert!(largest().choose(epochs.iter(), &Starts::default()).is_empty());
    }

    #[test]
    fn no_epoch_becomes_longer_than_a_sixteenth_of_what_is_kept() {
        let epochs: Vec<Epoch> = (0..10).map(|at| epoch(at, 0)).collect();
        let largest = Largest::new(Duration::from_secs(3_600), 4 << 30);
        assert_eq!(largest.choose(epochs.iter(), &Starts::default()).len(), 3);
        let largest = Largest::new(Duration::from_secs(600), 4 << 30);
        assert!(largest.choose(epochs.iter(), &Starts::default()).is_empty());
    }

    #[test]
    fn a_step_is_ripe_by_time_or_by_size() {
        let largest = largest();
        assert!(largest.is_ripe(4 << 20, 0) && largest.is_ripe(1, 600_000) && largest.is_ripe(256 << 10, 60_000));
        assert!(!largest.is_ripe(255 << 10, 60_000) && !largest.is_ripe(1 << 20, 59_000));
    }
}
