//! Sets of sequence numbers, as the ranges that they are made of. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A set of sequence numbers.
///
/// **Invariant:** no range is empty, and no two of them touch: a set has one form only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ranges {
    /// First number → last number, both in the set.
    parts: BTreeMap<u64, u64>,
}

impl Ranges {
    /// The ranges in rising order, each with its first and its last number.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.parts.iter().map(|(first, last)| (*first, *last))
    }

    /// Whether no number is in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// How many ranges it is made of.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u64 {
        self.iter().fold(0, |sum, (first, last)| sum.saturating_add((last - first).saturating_add(1)))
    }

    /// The smallest number.
    pub fn first(&self) -> Option<u64> {
        self.parts.first_key_value().map(|(first, _)| *first)
    }

    /// The largest number.
    pub fn last(&self) -> Option<u64> {
        self.parts.last_key_value().map(|(_, last)| *last)
    }

    /// Adds the numbers from `first` to `last`; nothing when `last` is before `first`.
    pub fn insert(&mut self, first: u64, last: u64) {
        if last < first {
            return;
        }
        let (mut first, mut last) = (first, last);
        // Whatever overlaps or touches the new range begins at most one behind its end: it is swallowed, from the right.
        while let Some((&start, &end)) = self.parts.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            self.parts.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        self.parts.insert(first, last);
    }

    /// Adds all numbers of another set.
    pub fn extend(&mut self, other: &Ranges) {
        other.iter().for_each(|(first, last)| self.insert(first, last));
    }

    /// The numbers from `first` to `last` that are not in the set.
    pub fn missing(&self, first: u64, last: u64) -> Ranges {
        let mut missing = Ranges::default();
        let before = self.parts.range(..=first).next_back();
        let mut next = Some(first);
        for (&start, &end) in before.into_iter().chain(self.parts.range(first..=last.max(first))) {
            let Some(from) = next else { break };
            if end < from {
                continue;
            }
            if start > last {
                break;
            }
            if start > from {
                missing.insert(from, start - 1);
            }
            next = end.checked_add(1);
        }
        if let Some(from) = next {
            missing.insert(from, last);
        }
        missing
    }

    /// The numbers of this set that are not in the other.
    pub fn without(&self, other: &Ranges) -> Ranges {
        let mut left = Ranges::default();
        for (first, last) in self.iter() {
            left.extend(&other.missing(first, last));
        }
        left
    }
}

impl From<Vec<(u64, u64)>> for Ranges {
    fn from(parts: Vec<(u64, u64)>) -> Ranges {
        parts.into_iter().collect()
    }
}

impl From<Ranges> for Vec<(u64, u64)> {
    fn from(ranges: Ranges) -> Vec<(u64, u64)> {
        ranges.parts.into_iter().collect()
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<T: IntoIterator<Item = (u64, u64)>>(parts: T) -> Ranges {
        let mut ranges = Ranges::default();
        parts.into_iter().for_each(|(first, last)| ranges.insert(first, last));
        ranges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn parts(ranges: &Ranges) -> Vec<(u64, u64)> {
        ranges.iter().collect()
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut ranges: Ranges = [(5, 6), (1, 2)].into_iter().collect();
        ranges.insert(3, 4);
        assert_eq!(parts(&ranges), [(1, 6)]);
        ranges.insert(8, 9);
        assert_eq!(parts(&ranges), [(1, 6), (8, 9)]);
        assert_eq!((ranges.count(), ranges.first(), ranges.last()), (8, Some(1), Some(9)));
    }

    #[test]
    fn what_is_missing_lies_between() {
        let ranges: Ranges = [(3, 4), (8, 8)].into_iter().collect();
        assert_eq!(parts(&ranges.missing(1, 10)), [(1, 2), (5, 7), (9, 10)]);
        assert_eq!(parts(&ranges.missing(4, 8)), [(5, 7)]);
        assert!(ranges.missing(3, 4).is_empty());
        assert_eq!(parts(&Ranges::default().missing(7, 7)), [(7, 7)]);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut ranges = Ranges::default();
        ranges.insert(u64::MAX - 1, u64::MAX);
        ranges.insert(0, 0);
        ranges.insert(9, 3);
        assert_eq!(parts(&ranges), [(0, 0), (u64::MAX - 1, u64::MAX)]);
        assert_eq!(parts(&ranges.missing(0, u64::MAX)), [(1, u64::MAX - 2)]);
        ranges.insert(0, u64::MAX);
        assert_eq!(parts(&ranges), [(0, u64::MAX)]);
        assert!(ranges.missing(0, u64::MAX).is_empty());
        assert_eq!(ranges.count(), u64::MAX);
    }

    #[test]
    fn a_set_of_ranges_is_the_same_as_a_plain_set() {
        let mut dice = StdRng::seed_from_u64(3);
        for _ in 0..200 {
            let (mut ranges, mut plain) = (Ranges::default(), BTreeSet::new());
            let mut other = Ranges::default();
            for _ in 0..dice.random_range(1..40) {
                let first = dice.random_range(0_u64..100);
                let last = first + dice.random_range(0..8);
                ranges.insert(first, last);
                plain.extend(first..=last);
                let first = dice.random_range(0_u64..100);
                other.insert(first, first + dice.random_range(0..4));
            }
            let numbers = |ranges: &Ranges| ranges.iter().flat_map(|(a, b)| a..=b).collect::<BTreeSet<u64>>();
            assert_eq!(numbers(&ranges), plain);
            assert_eq!(ranges.count(), u64::try_from(plain.len()).unwrap());
            let touching = parts(&ranges).windows(2).any(|pair| pair[0].1 + 1 >= pair[1].0);
            assert!(!touching, "{ranges:?}");
            let (first, last) = (dice.random_range(0..60), dice.random_range(40..110));
            let missing: BTreeSet<u64> = (first..=last).filter(|number| !plain.contains(number)).collect();
            assert_eq!(numbers(&ranges.missing(first, last)), missing);
            let without: BTreeSet<u64> = plain.difference(&numbers(&other)).copied().collect();
            assert_eq!(numbers(&ranges.without(&other)), without);
        }
    }
}
