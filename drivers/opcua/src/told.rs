//! What has been told of items, so that the history of an outage tells the rest and nothing twice.

use std::{collections::HashSet, time::Duration};

use opcua::types::DataValue;
use tidegate_driver_api::model::Timestamp;

use crate::{convert, history::Asked};

/// Times that are remembered while a hole is filled. Beyond that something may be told twice; nothing is lost.
const MOST: usize = 200_000;
/// How long before the last sign of life a hole begins: what had changed by then may not have been told.
const MARGIN: Duration = Duration::from_secs(10);

/// What has been told of the items of a link, over all its connections.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// By item: the newest time of its values, as OPC UA counts it. Empty where no hole is to be filled.
    newest: Vec<Option<i64>>,
    /// The newest time of the server that is known.
    heard: Option<i64>,
    /// What was told with its own time while a hole was filled; `None` while there is none.
    exact: Option<HashSet<(u32, i64)>>,
    /// The values of the row that is being made.
    row: Vec<(u32, i64)>,
}

impl Told {
    /// Nothing so far, of so many items.
    pub(crate) fn of(items: usize) -> Told {
        Told { newest: vec![None; items], ..Told::default() }
    }

    /// A value has become part of a row.
    pub(crate) fn note(&mut self, number: usize, value: &DataValue, past: bool) {
        let Some(newest) = self.newest.get_mut(number) else { return };
        self.heard = self.heard.max(value.server_timestamp.as_ref().map(|time| time.ticks()));
        let Some(ticks) = convert::ticks(value) else { return };
        if !past {
            *newest = (*newest).max(Some(ticks));
        }
        if let (Some(_), Ok(number)) = (&self.exact, u32::try_from(number)) {
            self.row.push((number, ticks));
        }
    }

    /// The row is complete; it has that time.
    pub(crate) fn row_ends(&mut self, time: Option<Timestamp>) {
        let Some(exact) = &mut self.exact else { return };
        let is_exact = |(_, ticks): &(u32, i64)| Some(convert::of_ticks(*ticks)) == time;
        let room = MOST.saturating_sub(exact.len());
        exact.extend(self.row.drain(..).filter(is_exact).take(room));
    }

    /// Whether a value of the past has been told with its own time.
    pub(crate) fn has(&self, number: usize, value: &DataValue) -> bool {
        let (Some(exact), Ok(number)) = (&self.exact, u32::try_from(number)) else { return false };
        convert::ticks(value).is_some_and(|ticks| exact.contains(&(number, ticks)))
    }

    /// What the server's history has to be asked for: each item with the time behind which it begins. None are left out but those of
    /// which nothing is known. From now on what is told is remembered.
    pub(crate) fn hole(&mut self) -> Vec<Asked> {
        let margin = i64::try_from(MARGIN.as_nanos() / 100).unwrap_or(i64::MAX);
        let since = self.heard.map_or(i64::MIN, |heard| heard.saturating_sub(margin));
        let asked = |(number, newest): (usize, &Option<i64>)| Some(Asked::new(number, (*newest)?.max(since)));
        let asked: Vec<Asked> = self.newest.iter().enumerate().filter_map(asked).collect();
        if !asked.is_empty() {
            self.exact.get_or_insert_default();
        }
        asked
    }

    /// All holes have been filled.
    pub(crate) fn is_whole(&mut self) {
        self.exact = None;
        self.row = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use opcua::types::DateTime;

    use super::*;

    const SECOND: i64 = 10_000_000;

    fn value(seconds: i64) -> DataValue {
        let time = Some(DateTime::from(DateTime::ymd(2026, 11, 23).ticks() + seconds * SECOND));
        DataValue { source_timestamp: time, server_timestamp: time, ..DataValue::default() }
    }

    fn tell(told: &mut Told, values: &[(usize, i64)], past: bool) {
        for (number, seconds) in values {
            told.note(*number, &value(*seconds), past);
        }
        let newest = values.iter().map(|(_, seconds)| convert::time(&value(*seconds))).max().flatten();
        told.row_ends(newest);
    }

    #[test]
    fn a_hole_begins_behind_what_was_told_last_of_each_item() {
        let ticks = |seconds| convert::ticks(&value(seconds)).unwrap();
        let mut told = Told::of(3);
        tell(&mut told, &[(0, 100), (1, 99)], false);
        tell(&mut told, &[(0, 101)], false);
        tell(&mut told, &[(0, 105)], true);
        let hole = told.hole();
        assert_eq!(hole, [Asked::new(0, ticks(101)), Asked::new(1, ticks(99))], "of the third nothing is known");
    }

    #[test]
    fn what_was_unchanged_for_long_is_asked_for_from_the_last_sign_of_life_on() {
        let ticks = |seconds| convert::ticks(&value(seconds)).unwrap();
        let mut told = Told::of(2);
        tell(&mut told, &[(0, 1)], false);
        tell(&mut told, &[(1, 1000)], false);
        assert_eq!(told.hole()[0], Asked::new(0, ticks(990)));
    }

    #[test]
    fn a_value_that_was_told_with_its_own_time_is_known() {
        let mut told = Told::of(2);
        tell(&mut told, &[(0, 1), (1, 1)], false);
        told.hole();
        tell(&mut told, &[(0, 30), (1, 40)], false);
        assert!(told.has(1, &value(40)) && !told.has(0, &value(30)), "the row has the time of the newest");
        told.is_whole();
        assert!(!told.has(1, &value(40)));
        assert_eq!(Told::default().hole(), [], "without `backfill` nothing is remembered");
    }
}
