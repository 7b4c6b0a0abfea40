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
    /// How many rows have been handed on: the number of the first that waits.
    passed: usize,
    last_seq: Option<u64>,
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
        let fill = Fill { columns: columns.to_vec(), doors, rows: VecDeque::new(), passed: 0, last_seq: None };
        (!fill.doors.is_empty()).then_some(fill)
    }

    /// Takes rows up. What does not follow the last row, and what was numbered in another start of the gateway, needs an
    /// [`Fill::end`] before it: no line goes there.
    pub fn push(&mut self, batch: &Batch) {
        for at in 0..batch.len() {
            let (Some(seq), Some(time)) = (batch.seq(at), batch.time(at)) else { return };
            let slots: Vec<Slot> = (0..batch.columns()).filter_map(|column| batch.slot(at, column)).collect();
            let row = self.passed + self.rows.len();
            let device_time = batch.device_time(at);
            self.rows.push_back(Waiting { seq, time, device_time, slots, drawn: Vec::new() });
            self.last_seq = Some(seq);
            for door in &mut self.doors {
                door.next(row, self.passed, &mut self.rows);
            }
        }
    }

    /// The number of the last row that was taken up.
    pub fn last_seq(&self) -> Option<u64> {
        self.last_seq
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

    /// Lets go of all lines: what waits is handed on by [`Fill::ready`] as it is.
    pub fn end(&mut self) {
        for door in &mut self.doors {
            door.from = None;
        }
    }

    fn take(&mut self, rows: usize) -> Result<Option<Filled>, BlockError> {
        let rows = rows.min(ROWS).min(self.rows.len());
        if rows == 0 {
            return Ok(None);
        }
        let (mut batch, mut drawn) = (Batch::new(&self.columns), Vec::with_capacity(rows));
        for row in self.rows.drain(..rows) {
            batch.push(row.seq, row.time, row.device_time, &row.slots)?;
            drawn.push(row.drawn);
        }
        self.passed += rows;
        Ok(Some(Filled { batch, drawn }))
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
mod tests {
    use tidegate_model::{Reason, ValueType};

    use super::*;

    fn columns() -> Vec<Column> {
        let mut level = Column::new("level".parse().unwrap(), ValueType::single(ValueKind::F64));
        level.loss = Some(Loss::SwingingDoor { error: "0.5".to_owned(), max_silence: 10_000 });
        let mut count = Column::new("count".parse().unwrap(), ValueType::single(ValueKind::Int));
        count.loss = Some(Loss::SwingingDoor { error: "1".to_owned(), max_silence: 10_000 });
        vec![level, count, Column::new("plain".parse().unwrap(), ValueType::single(ValueKind::F64))]
    }

    /// A row a second from `seq` on: what a text says about `level` and `count`; `plain` is always unchanged.
    fn batch(seq: u64, rows: &[(&str, &str)]) -> Batch {
        let mut batch = Batch::new(&columns());
        for (at, (level, count)) in (0..).zip(rows) {
            let slot = |text: &str, of: fn(f64) -> Value| match text {
                "-" => Slot::Unchanged,
                "bad" => Slot::Bad(Reason::Timeout),
                number => Slot::Good(of(number.parse().unwrap())),
            };
            let slots = [
                slot(level, Value::F64),
                slot(count, |number| of_kind(ValueKind::Int, number).unwrap()),
                Slot::Unchanged,
            ];
            let time = Timestamp::from_millis(1000 * i64::try_from(seq + at).unwrap());
            batch.push(seq + at, time, None, &slots).unwrap();
        }
        batch
    }

    /// What comes, a line a row: the values, those that were drawn with a `~`.
    fn all(fill: &mut Fill) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(filled) = fill.ready().unwrap() {
            for row in 0..filled.batch.len() {
                let cell = |column: usize| match filled.batch.slot(row, column).unwrap() {
                    Slot::Good(value) => {
                        let mark = if filled.drawn[row].contains(&column) { "~" } else { "" };
                        format!("{mark}{}", value.as_f64().unwrap())
                    }
                    Slot::Unchanged => "-".to_owned(),
                    _ => "bad".to_owned(),
                };
                lines.push(format!("{} {} {}", cell(0), cell(1), cell(2)));
            }
        }
        lines
    }

    fn filled(rows: &[(&str, &str)]) -> Vec<String> {
        let mut fill = Fill::new(&columns()).unwrap();
        fill.push(&batch(1, rows));
        fill.end();
        all(&mut fill)
    }

    #[test]
    fn what_was_left_out_lies_on_the_line_between_the_samples_around_it() {
        let rows = [("1", "10"), ("-", "-"), ("-", "-"), ("4", "-"), ("-", "20"), ("3", "20")];
        assert_eq!(filled(&rows), ["1 10 -", "~2 ~13 -", "~3 ~15 -", "4 ~18 -", "~3.5 20 -", "3 20 -"]);
    }

    #[test]
    fn no_line_goes_from_or_to_what_is_not_good() {
        let rows = [("-", "1"), ("1", "2"), ("-", "3"), ("bad", "4"), ("-", "5"), ("2", "6"), ("-", "7")];
        assert_eq!(filled(&rows), ["- 1 -", "1 2 -", "- 3 -", "bad 4 -", "- 5 -", "2 6 -", "- 7 -"]);
    }

    #[test]
    fn no_line_is_longer_than_a_tag_may_be_silent() {
        let rows = |silent: usize| {
            let mut rows = vec![("0", "1")];
            rows.extend(vec![("-", "1"); silent]);
            rows.push(("11", "1"));
            filled(&rows)
        };
        assert_eq!(rows(9)[9], "~9.9 1 -");
        assert_eq!(rows(10)[9], "- 1 -");
    }

    #[test]
    fn rows_go_on_as_soon_as_their_lines_have_ended_and_no_line_crosses_an_end() {
        let mut fill = Fill::new(&columns()).unwrap();
        fill.push(&batch(1, &[("1", "1"), ("-", "2")]));
        assert_eq!(all(&mut fill), ["1 1 -"]);
        fill.push(&batch(3, &[("3", "3"), ("-", "4")]));
        assert_eq!(all(&mut fill), ["~2 2 -", "3 3 -"]);
        assert_eq!(fill.last_seq(), Some(4));
        fill.end();
        fill.push(&batch(5, &[("5", "5")]));
        fill.end();
        assert_eq!(all(&mut fill), ["- 4 -", "5 5 -"]);
    }

    #[test]
    fn without_a_door_there_is_nothing_to_draw() {
        assert!(Fill::new(&columns()[2..]).is_none());
    }
}
