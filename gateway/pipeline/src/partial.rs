//! Rows of what has changed: what a device sends by itself, and what it remembers of the past.

use std::time::Duration;

use tidegate_model::{Reading, Slot, Timestamp};

use crate::{Outcome, Stages, State, stages::Coverage};

impl Stages {
    /// Takes what has changed through all stages, as [`Stages::run`] does with a whole poll. A reading that is missing is as it was,
    /// and so unchanged in the row; in the first row it is bad with `not_yet_read`.
    ///
    /// - An expression is calculated when one of its tags has come, with what came last of the others.
    /// - A constant is in the first row.
    /// - A tag with a swinging door is in every row with what is known of it: a straight line may only be drawn through rows that
    ///   have it.
    /// - A tag with a deadband that has been silent for its longest silence is reported, also when it has not come.
    ///
    /// Besides the row, nothing is allocated for a tag that has not come. The answer is `None` when nothing is worth a report.
    pub fn run_partial(
        &self,
        state: &mut State,
        readings: &mut [Reading],
        since_start: Duration,
        time: Timestamp,
    ) -> Option<Outcome> {
        if !state.polled {
            return self.run(state, readings, since_start, time);
        }
        let mut slots = self.read(readings, Coverage::Partial);
        self.calculate_changed(&mut slots, state);
        let device_time = self.own_time(&slots, time);
        self.round(&mut slots, &mut state.exact);
        let worth_a_row = self.report(state, &mut slots, since_start, Coverage::Partial);
        if !worth_a_row {
            return None;
        }
        for (column, _) in &self.doors {
            if let (Some(slot @ Slot::Unchanged), Some(latest)) = (slots.get_mut(*column), state.latest.get(*column)) {
                slot.clone_from(latest);
            }
        }
        Some(Outcome { slots: slots.into(), device_time })
    }

    /// Takes what the device remembers of the past through the stages. What is known of the present stays as it is, and so do
    /// deadbands: every reading is reported, and an expression is calculated where the row has all its tags.
    ///
    /// The answer is `None` when there is nothing to report.
    pub fn run_past(&self, readings: &mut [Reading], now: Timestamp) -> Option<Outcome> {
        let mut slots = self.read(readings, Coverage::Partial);
        let mut numbers = Vec::new();
        for calculated in &self.expressions {
            let is_there = |column: &usize| slots.get(*column).is_some_and(|slot| !matches!(slot, Slot::Unchanged));
            if calculated.expression.inputs().iter().all(is_there) {
                let result = calculated.result(|column| slots.get(column), &mut numbers);
                put(&mut slots, calculated.column, result);
            }
        }
        let device_time = self.own_time(&slots, now);
        self.round(&mut slots, &mut []);
        let clock = self.device_time.map(|(column, _)| column);
        let mut told = slots.iter().enumerate();
        let worth_a_row = told.any(|(column, slot)| !matches!(slot, Slot::Unchanged) && clock != Some(column));
        worth_a_row.then(|| Outcome { slots: slots.into(), device_time })
    }

    /// Whether time alone can make a tag worth a report. [`Stages::run_partial`] with readings that are all missing finds those.
    pub fn has_longest_silence(&self) -> bool {
        self.deadbands.iter().any(|(_, deadband)| deadband.has_longest_silence())
    }

    /// Calculates the expressions that have a changed tag among theirs.
    fn calculate_changed(&self, slots: &mut [Slot], state: &mut State) {
        let State { latest, exact, numbers, .. } = state;
        for calculated in &self.expressions {
            let has_come = |column: &usize| slots.get(*column).is_some_and(|slot| !matches!(slot, Slot::Unchanged));
            if !calculated.expression.inputs().iter().any(has_come) {
                continue;
            }
            let known = |column: usize| match slots.get(column) {
                Some(Slot::Unchanged) => self.exact_of(column, exact).or_else(|| latest.get(column)),
                slot => slot,
            };
            let result = calculated.result(known, numbers);
            put(slots, calculated.column, result);
        }
    }

    /// What a column was before it was rounded, if it is.
    fn exact_of<'a>(&self, column: usize, exact: &'a [Slot]) -> Option<&'a Slot> {
        let place = self.roundings.binary_search_by_key(&column, |(rounded, _)| *rounded).ok()?;
        exact.get(place)
    }
}

fn put(slots: &mut [Slot], column: usize, result: Slot) {
    if let Some(slot) = slots.get_mut(column) {
        *slot = result;
    }
}
