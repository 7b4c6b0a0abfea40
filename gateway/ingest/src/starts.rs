//! Which numbers each start of a gateway has given to its rows. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Ranges, ledger::Arrival};

/// Starts that are remembered of one stream; beyond, the earliest is forgotten.
const MOST: usize = 64;

/// The numbers that each start of a gateway has given to the rows of one stream.
///
/// A gateway counts its starts and its rows in the same store, so that a later start gives higher numbers. Where that does not hold,
/// the store was set back: restored from a copy, or cut off by a power failure behind what had been sent already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64, u64)>", into = "Vec<(u64, u64, u64)>")]
pub struct Starts {
    /// Start → its first and its last number, as far as they have come.
    spans: BTreeMap<u64, (u64, u64)>,
}

impl Starts {
    /// The starts in rising order, each with the first and the last number that has come of it.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.spans.iter().map(|(boot, (first, last))| (*boot, *first, *last))
    }

    /// Enters rows that are new.
    pub(crate) fn enter(&mut self, boot: u64, new: &Ranges) {
        let (Some(first), Some(last)) = (new.first(), new.last()) else { return };
        let span = self.spans.entry(boot).or_insert((first, last));
        *span = (span.0.min(first), span.1.max(last));
        while self.spans.len() > MOST {
            self.spans.pop_first();
        }
    }

    /// Those of the numbers that arrive which belong to another start.
    pub(crate) fn given_by_others(&self, arrival: Arrival) -> Ranges {
        let Arrival { first_seq, last_seq, boot } = arrival;
        let mut others = Ranges::default();
        if let Some(last) = self.spans.range(..boot).map(|(_, (_, last))| *last).max() {
            others.insert(first_seq, last.min(last_seq));
        }
        if let Some(first) = self.spans.range(boot.saturating_add(1)..).map(|(_, (first, _))| *first).min() {
            others.insert(first.max(first_seq), last_seq);
        }
        others
    }
}

impl From<Vec<(u64, u64, u64)>> for Starts {
    fn from(spans: Vec<(u64, u64, u64)>) -> Starts {
        Starts { spans: spans.into_iter().map(|(boot, first, last)| (boot, (first, last))).collect() }
    }
}

impl From<Starts> for Vec<(u64, u64, u64)> {
    fn from(starts: Starts) -> Vec<(u64, u64, u64)> {
        starts.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(spans: &[(u64, u64, u64)]) -> Starts {
        spans.to_vec().into()
    }

    fn others(starts: &Starts, boot: u64, first_seq: u64, last_seq: u64) -> Vec<(u64, u64)> {
        starts.given_by_others(Arrival { first_seq, last_seq, boot }).iter().collect()
    }

    #[test]
    fn numbers_that_rise_with_the_starts_belong_to_one_start_each() {
        let mut starts = Starts::default();
        for (boot, first, last) in [(6, 1001, 1010), (5, 900, 1000), (6, 1011, 1020), (7, 2000, 2000)] {
            assert!(others(&starts, boot, first, last).is_empty(), "{boot}");
            starts.enter(boot, &[(first, last)].into_iter().collect());
            assert!(others(&starts, boot, first, last).is_empty(), "again: {boot}");
        }
        assert_eq!(starts.iter().collect::<Vec<_>>(), [(5, 900, 1000), (6, 1001, 1020), (7, 2000, 2000)]);
    }

    #[test]
    fn a_later_start_that_gives_known_numbers_is_found_and_so_is_the_earlier_one_after_it() {
        let set_back = starts(&[(5, 1, 1000), (6, 1001, 1050)]);
        assert_eq!(others(&set_back, 6, 801, 860), [(801, 860)]);
        assert_eq!(others(&set_back, 6, 990, 1010), [(990, 1000)]);
        assert_eq!(others(&set_back, 7, 1040, 1060), [(1040, 1050)]);
        assert_eq!(others(&set_back, 5, 990, 1010), [(1001, 1010)]);
        assert!(others(&set_back, 6, 1001, 1060).is_empty());
    }

    #[test]
    fn a_gateway_that_starts_for_ever_does_not_fill_the_ledger() {
        let mut starts = Starts::default();
        (0..1000).for_each(|boot| starts.enter(boot, &[(boot * 10, boot * 10 + 9)].into_iter().collect()));
        assert_eq!((starts.iter().count(), starts.iter().next()), (MOST, Some((936, 9360, 9369))));
    }
}
