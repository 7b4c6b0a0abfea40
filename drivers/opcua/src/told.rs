//! What has been told of items, so that the history of an outage tells the rest and nothing twice.

use std::{collections::HashSet, time::Duration};

use opcua::types::DataValue;
use tidegate_driver_api::model::Timestamp;

use crate::{
    convert,
    history::{self, Asked},
};

/// Values that are remembered while a hole is filled. Beyond that something may be told twice; nothing is lost.
const MOST: usize = 200_000;
/// How long before the last sign of life a hole begins: what had changed by then may not have been told.
const MARGIN: Duration = Duration::from_secs(10);

/// Values of one item and one time that are told apart; further ones may be told twice.
const MOST_AT_ONE_TIME: usize = 1000;

/// What was told last of an item: a time, and which values had it. A machine may give several the same time, and an answer of
/// the server may end between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Last {
    time: i64,
    /// The values of that time, each by what tells it from others; `None` when all have been told, whatever they are.
    values: Option<Values>,
}

/// One value nearly always; further ones cost memory only where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Values {
    first: u64,
    others: Vec<u64>,
}

impl Last {
    /// Everything up to that time, that time included.
    pub(crate) fn until(time: i64) -> Last {
        Last { time, values: None }
    }

    fn of(time: i64, value: u64) -> Last {
        Last { time, values: Some(Values { first: value, others: Vec::new() }) }
    }

    /// As OPC UA counts it.
    pub(crate) fn time(&self) -> i64 {
        self.time
    }

    /// Whether a value of that time has been told.
    fn knows(&self, time: i64, value: u64) -> bool {
        let is_of = |values: &Values| values.first == value || values.others.contains(&value);
        time < self.time || (time == self.time && self.values.as_ref().is_none_or(is_of))
    }

    /// A value has been told.
    fn note(&mut self, time: i64, value: u64) {
        if time > self.time {
            *self = Last::of(time, value);
        } else if !self.knows(time, value)
            && let Some(values) = self.values.as_mut().filter(|values| values.others.len() < MOST_AT_ONE_TIME)
        {
            values.others.push(value);
        }
    }

    /// Those of the values that have not been told; they count as told now. What a server gives beyond what it was asked for has been.
    pub(crate) fn news(&mut self, values: Vec<DataValue>) -> Vec<DataValue> {
        let before = self.clone();
        let is_new = |value: &DataValue| {
            let (Some(time), print) = (convert::ticks(value), convert::print(value)) else { return false };
            let is_known = before.knows(time, print) || (time == self.time && self.knows(time, print));
            self.note(time, print);
            !is_known
        };
        values.into_iter().filter(is_new).collect()
    }
}

/// What has been told of the items of a link, over all its connections.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// By item: the newest of its values. Empty where no hole is to be filled.
    newest: Vec<Option<Last>>,
    /// The newest time of the server that is known.
    heard: Option<i64>,
    /// What was told with its own time while a hole was filled; `None` while there is none.
    exact: Option<HashSet<(u32, i64, u64)>>,
    /// The values of the row that is being made.
    row: Vec<(u32, i64, u64)>,
}

impl Told {
    /// Nothing so far, of so many items.
    pub(crate) fn of(items: usize) -> Told {
        Told { newest: vec![None; items], ..Told::default() }
    }

    /// A row is begun. One that was not completed, as the connection ended before, is nobody's.
    pub(crate) fn row_begins(&mut self) {
        self.row.clear();
    }

    /// A value has become part of a row.
    pub(crate) fn note(&mut self, number: usize, value: &DataValue, past: bool) {
        let Some(newest) = self.newest.get_mut(number) else { return };
        self.heard = self.heard.max(value.server_timestamp.as_ref().map(|time| time.ticks()));
        let Some(ticks) = convert::ticks(value) else { return };
        let print = convert::print(value);
        match newest {
            _ if past => {}
            Some(last) => last.note(ticks, print),
            None => *newest = Some(Last::of(ticks, print)),
        }
        if let (Some(_), Ok(number)) = (&self.exact, u32::try_from(number)) {
            self.row.push((number, ticks, print));
        }
    }

    /// The row is complete; it has that time.
    pub(crate) fn row_ends(&mut self, time: Option<Timestamp>) {
        let Some(exact) = &mut self.exact else { return };
        let is_exact = |(_, ticks, _): &(u32, i64, u64)| Some(convert::of_ticks(*ticks)) == time;
        let room = MOST.saturating_sub(exact.len());
        exact.extend(self.row.drain(..).filter(is_exact).take(room));
    }

    /// Whether a value of the past has been told with its own time.
    pub(crate) fn has(&self, number: usize, value: &DataValue) -> bool {
        let (Some(exact), Ok(number)) = (&self.exact, u32::try_from(number)) else { return false };
        convert::ticks(value).is_some_and(|ticks| exact.contains(&(number, ticks, convert::print(value))))
    }

    /// Before this was made a value of the item was told, with that time by the device's own clock: nothing up to it is to be told
    /// again. The last that was stored at all was stored at the other time, by the gateway's clock. Where a device's clock is ahead,
    /// as one that is set to local time, its times say nothing about when the server was heard of last.
    pub(crate) fn recorded(&mut self, number: usize, time: Timestamp, stored: Timestamp) {
        let Some(newest) = self.newest.get_mut(number) else { return };
        let ticks = last_ticks(time);
        self.heard = self.heard.max(Some(ticks.min(last_ticks(stored))));
        *newest = Some(Last::until(ticks));
    }

    /// The same of an item of which nothing was told with a newer time than that.
    pub(crate) fn recorded_nothing_since(&mut self, number: usize, time: Timestamp, stored: Timestamp) {
        let margin = i64::try_from(MARGIN.as_millis()).unwrap_or(i64::MAX);
        let latest = Timestamp::from_millis(stored.as_millis().saturating_sub(margin));
        self.recorded(number, time.min(latest), stored);
    }

    /// What the server's history has to be asked for: each of these items with what was told of it last. None are left out but those
    /// of which nothing is known. From now on what is told is remembered.
    pub(crate) fn hole(&mut self, wanted: impl Fn(usize) -> bool) -> Vec<Asked> {
        let margin = i64::try_from(MARGIN.as_nanos() / 100).unwrap_or(i64::MAX);
        let since = self.heard.map_or(i64::MIN, |heard| heard.saturating_sub(margin));
        let asked = |(number, newest): (usize, &Option<Last>)| {
            let newest = newest.as_ref().filter(|_| wanted(number))?;
            Some(Asked::new(number, if newest.time < since { Last::until(since) } else { newest.clone() }))
        };
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

/// The last that OPC UA counts within a millisecond of the gateway.
fn last_ticks(time: Timestamp) -> i64 {
    history::date_time(time).ticks().saturating_add(TICKS_PER_MILLI - 1)
}

/// 100 nanoseconds in a millisecond.
const TICKS_PER_MILLI: i64 = 10_000;

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
        let last = |seconds| Last::of(ticks(seconds), convert::print(&value(seconds)));
        let hole = told.hole(|_| true);
        assert_eq!(hole, [Asked::new(0, last(101)), Asked::new(1, last(99))], "of the third nothing is known");
        assert_eq!(told.hole(|number| number == 1), [Asked::new(1, last(99))]);
    }

    #[test]
    fn what_was_unchanged_for_long_is_asked_for_from_the_last_sign_of_life_on() {
        let ticks = |seconds| convert::ticks(&value(seconds)).unwrap();
        let mut told = Told::of(2);
        tell(&mut told, &[(0, 1)], false);
        tell(&mut told, &[(1, 1000)], false);
        assert_eq!(told.hole(|_| true)[0], Asked::new(0, Last::until(ticks(990))));
    }

    #[test]
    fn a_value_that_was_told_with_its_own_time_is_known() {
        let mut told = Told::of(2);
        tell(&mut told, &[(0, 1), (1, 1)], false);
        told.hole(|_| true);
        tell(&mut told, &[(0, 30), (1, 40)], false);
        assert!(told.has(1, &value(40)) && !told.has(0, &value(30)), "the row has the time of the newest");
        told.is_whole();
        assert!(!told.has(1, &value(40)));
        assert_eq!(Told::default().hole(|_| true), [], "without `backfill` nothing is remembered");
    }

    #[test]
    fn another_value_of_the_same_time_is_another_one() {
        let with = |number: f64| DataValue { value: Some(number.into()), ..value(30) };
        let mut told = Told::of(1);
        told.note(0, &with(1.0), false);
        told.hole(|_| true);
        told.note(0, &with(2.0), true);
        told.row_ends(convert::time(&with(2.0)));
        assert!(told.has(0, &with(2.0)) && !told.has(0, &with(3.0)));
        let mut last = Last::of(convert::ticks(&with(1.0)).unwrap(), convert::print(&with(1.0)));
        let news = last.news(vec![with(1.0), with(2.0), with(2.0), with(3.0)]);
        assert_eq!(news, [with(2.0), with(3.0)], "what is alike in everything is told once");
        assert_eq!(last.news(vec![with(2.0), with(4.0), value(29)]), [with(4.0)]);
    }

    #[test]
    fn what_was_recorded_before_the_gateway_was_started_is_not_told_again() {
        let mut told = Told::of(2);
        let time = convert::time(&value(100)).unwrap();
        told.recorded(0, time, time);
        let mut hole = told.hole(|_| true);
        assert_eq!(hole.len(), 1, "of the second nothing was");
        let mut last = Last::until(last_ticks(time));
        assert_eq!(hole.pop(), Some(Asked::new(0, last.clone())));
        let within = |ticks: i64| {
            let time = Some(DateTime::from(convert::ticks(&value(100)).unwrap() + ticks));
            DataValue { source_timestamp: time, ..DataValue::default() }
        };
        assert_eq!(last.news(vec![within(0), within(9_999), within(10_000)]), [within(10_000)]);
    }

    #[test]
    fn a_device_whose_clock_is_ahead_hides_nothing_of_the_others() {
        let time = |seconds| convert::time(&value(seconds)).unwrap();
        let (local, stored) = (time(7300), time(100));
        let mut told = Told::of(3);
        told.recorded(0, local, stored);
        told.recorded(1, time(98), stored);
        told.recorded_nothing_since(2, local, stored);
        let last = |seconds| Last::until(last_ticks(time(seconds)));
        let hole = [Asked::new(0, last(7300)), Asked::new(1, last(98)), Asked::new(2, last(90))];
        assert_eq!(told.hole(|_| true), hole);
    }

    #[test]
    fn of_a_row_that_was_not_completed_nothing_counts_as_told() {
        let mut told = Told::of(1);
        tell(&mut told, &[(0, 1)], false);
        told.hole(|_| true);
        told.note(0, &value(30), false);
        told.row_begins();
        told.row_ends(convert::time(&value(30)));
        assert!(!told.has(0, &value(30)), "the connection ended before the row was made");
    }
}
