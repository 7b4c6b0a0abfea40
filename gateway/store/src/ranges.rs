//! Sets of positions, kept as ranges.

use std::collections::BTreeMap;

/// Positions from `first` to the one before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) end: u64,
}

impl Range {
    pub(crate) fn new(first: u64, end: u64) -> Range {
        Range { first, end }
    }

    /// How many positions.
    pub(crate) fn len(self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// The part that both have; empty when there is none.
    pub(crate) fn within(self, other: Range) -> Range {
        let first = self.first.max(other.first);
        Range { first, end: self.end.min(other.end).max(first) }
    }
}

/// A set of positions. Ranges in it neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    by_first: BTreeMap<u64, u64>,
    positions: u64,
}

impl Ranges {
    /// How many positions are in it.
    pub(crate) fn positions(&self) -> u64 {
        self.positions
    }

    /// How many ranges it has.
    pub(crate) fn count(&self) -> usize {
        self.by_first.len()
    }

    /// All ranges, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Range> {
        self.by_first.iter().map(|(first, end)| Range::new(*first, *end))
    }

    /// The position behind the range that holds `position`.
    pub(crate) fn end_of(&self, position: u64) -> Option<u64> {
        self.by_first.range(..=position).next_back().map(|(_, end)| *end).filter(|end| *end > position)
    }

    /// The parts of `range` that are in the set, in order.
    pub(crate) fn parts_in(&self, range: Range) -> impl Iterator<Item = Range> {
        let from = self.by_first.range(..=range.first).next_back().map_or(range.first, |(first, _)| *first);
        let ranges = self.by_first.range(from..range.end.max(from));
        ranges.map(move |(first, end)| Range::new(*first, *end).within(range)).filter(|part| part.len() > 0)
    }

    /// Adds a range. Gives how many positions are new.
    pub(crate) fn insert(&mut self, range: Range) -> u64 {
        if range.len() == 0 {
            return 0;
        }
        let (mut first, mut end) = (range.first, range.end);
        let before = self.positions;
        // What overlaps or touches becomes a part of it.
        while let Some((other_first, other_end)) = self.by_first.range(..=end).next_back().map(|(a, b)| (*a, *b)) {
            if other_end < first {
                break;
            }
            self.by_first.remove(&other_first);
            self.positions -= other_end - other_first;
            (first, end) = (first.min(other_first), end.max(other_end));
        }
        self.by_first.insert(first, end);
        self.positions += end - first;
        self.positions - before
    }

    /// Takes a range out.
    pub(crate) fn remove(&mut self, range: Range) {
        let parts: Vec<Range> = self.parts_in(range).collect();
        for part in parts {
            let Some((first, end)) = self.by_first.range(..=part.first).next_back().map(|(a, b)| (*a, *b)) else {
                continue;
            };
            self.by_first.remove(&first);
            if first < part.first {
                self.by_first.insert(first, part.first);
            }
            if part.end < end {
                self.by_first.insert(part.end, end);
            }
            self.positions -= part.len();
        }
    }
}

/// What a target has acknowledged: everything before a floor, and ranges behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    floor: u64,
    ahead: Ranges,
}

impl Acknowledged {
    /// Everything before `floor`.
    pub(crate) fn before(floor: u64) -> Acknowledged {
        Acknowledged { floor, ahead: Ranges::default() }
    }

    /// The first position that is not in it.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// The ranges behind the floor.
    pub(crate) fn ahead(&self) -> &Ranges {
        &self.ahead
    }

    /// Adds a range. Gives how many positions are new.
    pub(crate) fn insert(&mut self, range: Range) -> u64 {
        let first = range.first.max(self.floor);
        let new = self.ahead.insert(Range::new(first, range.end.max(first)));
        if let Some(end) = self.ahead.end_of(self.floor) {
            self.ahead.remove(Range::new(self.floor, end));
            self.floor = end;
        }
        new
    }

    /// Adds everything before `floor`.
    pub(crate) fn raise(&mut self, floor: u64) {
        if floor > self.floor {
            self.insert(Range::new(self.floor, floor));
        }
    }

    /// The first position from `position` on that is not in it.
    pub(crate) fn next_missing(&self, position: u64) -> u64 {
        let position = position.max(self.floor);
        self.ahead.end_of(position).unwrap_or(position)
    }

    /// Whether the whole range is in it.
    pub(crate) fn has_all(&self, range: Range) -> bool {
        self.next_missing(range.first) >= range.end
    }

    /// Whether nothing of the range is in it.
    pub(crate) fn has_none(&self, range: Range) -> bool {
        range.first >= self.floor && self.ahead.parts_in(range).next().is_none()
    }

    /// The parts of `range` that are in it, in order.
    pub(crate) fn parts_in(&self, range: Range) -> Vec<Range> {
        let below = Range::new(0, self.floor).within(range);
        std::iter::once(below).filter(|part| part.len() > 0).chain(self.ahead.parts_in(range)).collect()
    }

    /// The parts of `range` that are not in it, in order.
    pub(crate) fn missing_in(&self, range: Range) -> Vec<Range> {
        let mut missing = Vec::new();
        let mut at = self.next_missing(range.first);
        for part in self.ahead.parts_in(range) {
            if part.first > at {
                missing.push(Range::new(at, part.first));
            }
            at = at.max(part.end);
        }
        if at < range.end {
            missing.push(Range::new(at, range.end));
        }
        missing
    }

    /// Has these parts of `range` in it, and nothing else of `range`: its rows have got other positions.
    pub(crate) fn replace(&mut self, range: Range, parts: &[Range]) {
        if self.floor > range.first {
            self.ahead.insert(Range::new(range.first, self.floor));
            self.floor = range.first;
        }
        self.ahead.remove(range);
        for part in parts {
            self.ahead.insert(part.within(range));
        }
        self.insert(Range::new(self.floor, self.floor));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::numbers::count;

    fn random(state: &mut u64, below: u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % below
    }

    #[test]
    fn a_set_of_ranges_is_the_set_of_their_positions() {
        let mut state = 88_172_645_463_325_252;
        for _ in 0..200 {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for _ in 0..40 {
                let first = random(&mut state, 60);
                let range = Range::new(first, first + random(&mut state, 9));
                if random(&mut state, 3) == 0 {
                    ranges.remove(range);
                    model.retain(|position| !(range.first..range.end).contains(position));
                } else {
                    let before = model.len();
                    model.extend(range.first..range.end);
                    assert_eq!(ranges.insert(range), count(model.len() - before));
                }
                let listed: BTreeSet<u64> = ranges.iter().flat_map(|range| range.first..range.end).collect();
                assert_eq!((listed, ranges.positions()), (model.clone(), count(model.len())));
                let ends: Vec<Range> = ranges.iter().collect();
                assert!(ends.windows(2).all(|pair| pair[0].end < pair[1].first), "{ends:?}");
                let within = Range::new(random(&mut state, 60), 40 + random(&mut state, 30));
                let parts: Vec<u64> = ranges.parts_in(within).flat_map(|part| part.first..part.end).collect();
                assert_eq!(parts, model.range(within.first..within.end.max(within.first)).copied().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_floor_rises_when_what_is_behind_it_is_acknowledged() {
        let mut done = Acknowledged::before(10);
        done.insert(Range::new(12, 14));
        assert_eq!((done.floor(), done.next_missing(12), done.next_missing(3)), (10, 14, 10));
        assert_eq!(done.missing_in(Range::new(5, 20)), [Range::new(10, 12), Range::new(14, 20)]);
        assert_eq!(done.parts_in(Range::new(5, 13)), [Range::new(5, 10), Range::new(12, 13)]);
        assert!(done.has_all(Range::new(0, 10)) && !done.has_all(Range::new(9, 11)));
        done.insert(Range::new(10, 12));
        assert_eq!((done.floor(), done.ahead().count()), (14, 0));
        done.raise(16);
        assert_eq!(done.floor(), 16);
    }

    #[test]
    fn rows_that_get_other_positions_stay_acknowledged() {
        let mut done = Acknowledged::before(14);
        done.insert(Range::new(18, 30));
        done.replace(Range::new(10, 20), &[Range::new(11, 13), Range::new(16, 20)]);
        assert_eq!(done.floor(), 10);
        assert_eq!(done.ahead().iter().collect::<Vec<_>>(), [Range::new(11, 13), Range::new(16, 30)]);
        done.replace(Range::new(10, 20), &[Range::new(10, 15)]);
        assert_eq!((done.floor(), done.ahead().iter().collect::<Vec<_>>()), (15, vec![Range::new(20, 30)]));
    }
}
