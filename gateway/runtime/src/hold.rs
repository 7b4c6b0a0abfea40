//! A row that waits for the next one before it goes to the store, because some of its samples may lie on a line.
//!
//! Only groups with a swinging door have one. Everybody on the spot has seen the row by then. It goes without waiting any longer
//! when the link stops and when the next row is overdue; a row in which nothing is open does not wait at all, as the one that says
//! that a device is gone.
//!
//! **Invariant:** rows go to the store in their order, each once, whatever becomes of the link. Only a task that had to be left
//! behind, because its driver holds the thread, takes its row with it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_model::Row;
use tidegate_pipeline::{Stages, Thinning};

use crate::outputs::Outputs;

/// So many intervals after a row the next one is overdue.
const INTERVALS: u32 = 3;
/// A row waits for that long at least, or a poll that is a little late would end the line.
const AT_LEAST: Duration = Duration::from_secs(5);

/// What waits of one group.
#[derive(Debug)]
pub(crate) struct Hold {
    thinning: Thinning,
    /// The row, and the payload that the local broker has got for it.
    held: Option<(Row, Bytes)>,
    patience: Duration,
    overdue: Option<Instant>,
}

impl Hold {
    /// For a group with these stages; `None` when none of its tags has a swinging door.
    pub(crate) fn new(stages: &Stages, interval: Duration) -> Option<Hold> {
        let thinning = stages.thinning()?;
        let patience = interval.saturating_mul(INTERVALS).max(AT_LEAST).min(thinning.longest_wait());
        Some(Hold { thinning, held: None, patience, overdue: None })
    }

    /// Takes the next row: the one before it goes to the store, without what is not needed of it.
    pub(crate) fn next(&mut self, row: Row, payload: Bytes, now: Instant, outputs: &Outputs) {
        let mut before = self.held.take();
        let slots = before.as_mut().map(|(row, _)| &mut *row.slots);
        let thinned = self.thinning.next(slots, row.time, &row.slots);
        match before {
            Some((before, _)) if thinned.before => outputs.keep_thinned(before),
            Some((before, payload)) => outputs.keep(before, payload),
            None => {}
        }
        if thinned.waits {
            self.held = Some((row, payload));
            self.overdue = Some(now + self.patience);
        } else {
            outputs.keep(row, payload);
            self.overdue = None;
        }
    }

    /// When the row that waits, if there is one, waits no longer.
    pub(crate) fn overdue(&self) -> Option<Instant> {
        self.overdue
    }

    /// Lets the row that waits go as it is.
    pub(crate) fn release(&mut self, outputs: &Outputs) {
        self.overdue = None;
        if let Some((row, payload)) = self.held.take() {
            self.thinning.rest();
            outputs.keep(row, payload);
        }
    }
}
