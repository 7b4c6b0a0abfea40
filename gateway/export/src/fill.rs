//! Drawing the samples that a swinging door left out: straight lines between those that were kept.
//!
//! **Invariant:** what was recorded is never changed, and a value that was drawn is marked.

use std::collections::VecDeque;

use tidegate_codec::block::{Batch, BlockError};
use tidegate_model::{Column, Loss, Slot, Timestamp, Value, ValueKind};

/// Slots that wait for the end of a line at most; beyond them the oldest rows go as they are.
const WAITING: usize = 1 << 20;
/// Rows of a batch that is handed on.
const ROWS: usize = 4096;

/// Draws lines in the rows of one stream, which come in their order. Rows wait until the next kept sample of each tag is there, at
/// most as long as the tag may be silent.
#[derive(Debug)]
pub struct Fill {
    columns: Vec<Column>,
    doors: Vec<Door>,
    rows: VecDeque<Waiting>,
    /// How many rows have been handed on or left out: the number of the first that waits.
    passed: usize,
    last_seq: Option<u64>,
    /// The newest time of all rows: a row before it is one of the past, which lies by its number between others.
    newest: Option<Timestamp>,
    /// Whether a row of the present has come since the last hole in the numbers. Before one, nobody knows what rows of the past lie
    /// between; but such a row has the device's time for its own.
    has_present: bool,
    /// From when until before when rows are handed on.
    wanted: (Option<Timestamp>, Option<Timestamp>),
}

/// Consecutive rows, some values of which may have been drawn.
#[derive(Debug)]
pub struct Filled {
    /// The rows; a value that was drawn is good.
    pub batch: Batch,
    /// By row, which columns were drawn; empty where none was.
    pub(crate) drawn: Vec<Vec<usize>>,
}

impl Filled {
    /// How many values were drawn.
    pub fn drawn(&self) -> usize {
        self.drawn.iter().map(Vec::len).sum()
    }
}

/// Which values of a batch were drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn<'a>(&'a [Vec<usize>]);

impl<'a> Drawn<'a> {
    /// None.
    pub(crate) const NONE: Drawn<'static> = Drawn(&[]);

    pub(crate) fn of(filled: &'a Filled) -> Drawn<'a> {
        Drawn(&filled.drawn)
    }

    /// Whether the value of a row at this place was.
    pub(crate) fn has(self, row: usize, place: Option<usize>) -> bool {
        let Some(place) = place else { return false };
        self.0.get(row).is_some_and(|columns| columns.contains(&place))
    }
}

#[derive(Debug)]
struct Waiting {
    seq: u64,
    time: Timestamp,
    device_time: Option<Timestamp>,
    slots: Vec<Slot>,
    drawn: Vec<usize>,
    /// Whether it is on no line and ends none.
    is_past: bool,
}

/// A column with a swinging door.
#[derive(Debug)]
struct Door {
    column: usize,
    kind: ValueKind,
    /// In milliseconds.
    max_silence: i64,
    /// The last kept sample, from which a line may go.
    from: Option<Point>,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    /// The number of its row, from the first that was pushed.
    row: usize,
    time: i64,
    value: f64,
}

impl Fill {
    /// For rows with these columns; `None` when none of them has a swinging door, and there is nothing to draw.
    pub fn new(columns: &[Column]) -> Option<Fill> {
        let door = |(at, column): (usize, &Column)| match column.loss {
            Some(Loss::SwingingDoor { max_silence, .. }) if column.value_type.items.is_none() => Some(Door {
                column: at,
                kind: column.value_type.kind,
                max_silence: i64::try_from(max_silence).unwrap_or(i64::MAX),
                from: None,
            }),
            _ => None,
        };
        let doors: Vec<Door> = columns.iter().enumerate().filter_map(door).collect();
        let (columns, rows) = (columns.to_vec(), VecDeque::new());
        let fill = Fill {
            columns,
            doors,
            rows,
            passed: 0,
            last_seq: None,
            newest: None,
            has_present: false,
            wanted: (None, None),
        };
        (!fill.doors.is_empty()).then_some(fill)
    }

    /// Hands on only rows of these times: not before the first, and before the second. The others are taken up for the lines
    /// that begin or end at them.
    #[must_use]
    pub fn within(mut self, from: Option<Timestamp>, to: Option<Timestamp>) -> Fill {
        self.wanted = (from, to);
        self
    }

    /// Takes rows up, which were all numbered in one start of the gateway. No line goes over a hole in their numbers. A row with an
    /// earlier time than one before it is one of the past, which a device has handed over later: it is on no line and ends none. So
    /// are the first rows, and those behind a hole, as long as their time is the device's.
    pub fn push(&mut self, batch: &Batch) {
        if self.last_seq.is_some_and(|last| last.checked_add(1) != batch.first_seq()) {
            self.end();
            self.has_present = false;
        }
        for at in 0..batch.len() {
            let (Some(seq), Some(time)) = (batch.seq(at), batch.time(at)) else { return };
            let slots: Vec<Slot> = (0..batch.columns()).filter_map(|column| batch.slot(at, column)).collect();
            let row = self.passed + self.rows.len();
            let device_time = batch.device_time(at);
            let may_be_past = !self.has_present && device_time == Some(time);
            let is_past = may_be_past || self.newest.is_some_and(|newest| time < newest);
            self.has_present |= !is_past;
            self.newest = self.newest.max(Some(time));
            self.rows.push_back(Waiting { seq, time, device_time, slots, drawn: Vec::new(), is_past });
            self.last_seq = Some(seq);
            for door in self.doors.iter_mut().filter(|_| !is_past) {
                door.next(row, self.passed, &mut self.rows);
            }
        }
    }

    /// The next rows of which everything is known.
    ///
    /// # Errors
    ///
    /// [`BlockError::TooLarge`], which rows out of batches do not cause.
    pub fn ready(&mut self) -> Result<Option<Filled>, BlockError> {
        let all = self.passed + self.rows.len();
        let open = self.doors.iter().filter_map(|door| door.from).map(|from| from.row + 1).min().unwrap_or(all);
        let most = self.passed + self.rows.len().saturating_sub(WAITING / self.columns.len().max(1));
        self.take(open.max(most).saturating_sub(self.passed))
    }

    fn is_wanted(&self, time: Timestamp) -> bool {
        let (from, to) = self.wanted;
        from.is_none_or(|from| time >= from) && to.is_none_or(|to| time < to)
    }

    /// Lets go of all lines: what waits is handed on by [`Fill::ready`] as it is.
    pub fn end(&mut self) {
        for door in &mut self.doors {
            door.from = None;
        }
    }

    /// Hands on rows up to so many, as far as their numbers follow each other.
    fn take(&mut self, known: usize) -> Result<Option<Filled>, BlockError> {
        let mut known = known.min(self.rows.len());
        let (mut batch, mut drawn) = (Batch::new(&self.columns), Vec::new());
        while known > 0 && batch.len() < ROWS {
            let is_wanted = self.rows.front().is_some_and(|row| self.is_wanted(row.time));
            let follows = self
                .rows
                .front()
                .is_some_and(|row| batch.last_seq().is_none_or(|last| last.checked_add(1) == Some(row.seq)));
            if is_wanted && !follows {
                break;
            }
            let Some(row) = self.rows.pop_front() else { break };
            (known, self.passed) = (known - 1, self.passed + 1);
            if is_wanted {
                batch.push(row.seq, row.time, row.device_time, &row.slots)?;
                drawn.push(row.drawn);
            }
        }
        Ok((!batch.is_empty()).then_some(Filled { batch, drawn }))
    }
}

impl Door {
    /// Looks at the newest row, the number of which is `row`; the first that waits is `passed`.
    fn next(&mut self, row: usize, passed: usize, rows: &mut VecDeque<Waiting>) {
        let Some(newest) = rows.back() else { return };
        let time = newest.time.as_millis();
        let silence = self.from.map(|from| time.saturating_sub(from.time));
        match newest.slots.get(self.column) {
            Some(Slot::Unchanged) => {
                // The line can have no end any more, or the clock was set back.
                if silence.is_some_and(|silence| silence <= 0 || silence >= self.max_silence) {
                    self.from = None;
                }
            }
            Some(Slot::Good(value)) => {
                let number = value.as_f64().filter(|number| number.is_finite() && !matches!(value, Value::Bool(_)));
                let to = number.map(|value| Point { row, time, value });
                if let (Some(from), Some(to)) = (self.from, to)
                    && silence.is_some_and(|silence| silence > 0 && silence <= self.max_silence)
                {
                    self.draw(from, to, passed, rows);
                }
                self.from = to;
            }
            _ => self.from = None,
        }
    }

    /// Draws what is unchanged between two samples.
    fn draw(&self, from: Point, to: Point, passed: usize, rows: &mut VecDeque<Waiting>) {
        let span = millis(to.time.saturating_sub(from.time));
        let slope = (to.value - from.value) / span;
        for row in from.row + 1..to.row {
            let Some(waiting) = row.checked_sub(passed).and_then(|place| rows.get_mut(place)) else { continue };
            if waiting.is_past {
                continue;
            }
            let value = from.value + millis(waiting.time.as_millis().saturating_sub(from.time)) * slope;
            if let Some(slot @ Slot::Unchanged) = waiting.slots.get_mut(self.column)
                && let Some(value) = of_kind(self.kind, value)
            {
                *slot = Slot::Good(value);
                waiting.drawn.push(self.column);
            }
        }
    }
}

#[expect(clippy::as_conversions, reason = "a time between two samples is far below 2^53 milliseconds")]
fn millis(time: i64) -> f64 {
    time as f64
}

/// The nearest value of a kind.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounding to the nearest is what is wanted; it ends at the ends of the integers"
)]
fn of_kind(kind: ValueKind, number: f64) -> Option<Value> {
    match kind {
        ValueKind::Int => Some(Value::Int(number.round() as i64)),
        ValueKind::Uint => Some(Value::Uint(number.round() as u64)),
        ValueKind::F32 => Some(Value::F32(number as f32)),
        ValueKind::F64 => Some(Value::F64(number)),
        ValueKind::Bool | ValueKind::Text | ValueKind::Bytes => None,
    }
}

#[cfg(test)]
mod tests;
