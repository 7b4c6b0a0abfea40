//! A slow, smooth signal is known from few of its samples: the store does not get those that lie on the line between two others.
//!
//! Strict: every sample that is left out lies within the error of the straight line between the two kept samples around it, as
//! whoever reads them draws it. The textbook's swinging door holds its doors open from the first sample on, but keeps the
//! last sample before they close, whose line may miss those between by more than the error. Here a sample ends a line only if
//! that line goes through the corridor of all samples between, so the sample before it is left out only when the line to this
//! one is a good one. That is known when the next sample is there: a row goes to the store one row late.
//!
//! **Invariant:** a kept sample is never changed, and whatever is no good number is kept.

use std::time::Duration;

use tidegate_config as config;
use tidegate_model::{Slot, Timestamp, Value};

use crate::rounding::{below, largest_error};

/// Part of a value's size by which the lines that a receiver may draw in 64-bit floats differ, with what is rounded here: about
/// twenty roundings, each of them half of `EPSILON` at most. The doors are narrower by that.
const ROUNDINGS: f64 = 16.0 * f64::EPSILON;
/// How many errors a value may be above twice the first values of a line; beyond that the line ends.
const REACH: f64 = 1024.0;

/// How far from the line a sample may be, and how long a line is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Door {
    /// The error, or the float below it.
    error: f64,
    /// In milliseconds.
    max_silence: i64,
}

/// What is known of the samples of one tag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Swing {
    /// The last sample was no good number, or there was none: nothing can be drawn from it.
    Apart,
    /// The last sample is kept, and a line may begin there.
    Still(Point),
    /// The line from `from` to `last` is a good one, and nobody knows yet whether it goes on.
    Swinging(Line),
}

/// A sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// Milliseconds.
    time: i64,
    value: f64,
}

/// A line that goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    from: Point,
    last: Point,
    /// The slopes that pass all samples after `from`, `last` included, within the error.
    low: f64,
    high: f64,
    /// The doors' half width.
    width: f64,
    /// No value of the line may be larger: `width` has been calculated for that.
    reach: f64,
}

impl Door {
    /// The error is for a person.
    pub(crate) fn new(door: &config::SwingingDoor) -> Result<Door, String> {
        let error = below(&door.error, largest_error(&door.error)?)?;
        Ok(Door { error, max_silence: millis(door.max_silence) })
    }

    /// The longest time between two kept samples.
    pub(crate) fn max_silence(&self) -> Duration {
        Duration::from_millis(self.max_silence.unsigned_abs())
    }

    /// The next sample. Whether the one before it is left out.
    pub(crate) fn next(&self, swing: &mut Swing, time: Timestamp, slot: &Slot) -> bool {
        let Some(value) = good_number(slot) else {
            *swing = Swing::Apart;
            return false;
        };
        let point = Point { time: time.as_millis(), value };
        match swing {
            Swing::Apart => {
                *swing = Swing::Still(point);
                false
            }
            Swing::Still(from) => {
                *swing = self.begin(*from, point);
                false
            }
            Swing::Swinging(line) if self.goes_on(line, point) => {
                line.pass(point);
                true
            }
            Swing::Swinging(line) => {
                *swing = self.begin(line.last, point);
                false
            }
        }
    }

    /// A line between two samples, the first of which is kept. When the clock has been set back there is none.
    fn begin(&self, from: Point, to: Point) -> Swing {
        if to.time <= from.time {
            return Swing::Still(to);
        }
        let reach = 2.0 * from.value.abs().max(to.value.abs()) + REACH * self.error;
        let width = self.error - ROUNDINGS * (reach + self.error);
        let mut line = Line { from, last: to, low: f64::NEG_INFINITY, high: f64::INFINITY, width, reach };
        line.pass(to);
        Swing::Swinging(line)
    }

    /// Whether the line to this sample passes all others within the error.
    fn goes_on(&self, line: &Line, point: Point) -> bool {
        let slope = line.slope(point, point.value);
        let time = point.time.saturating_sub(line.from.time);
        // Said so that NaN and a door without a width, where floats are coarser than the error, are a no.
        line.low <= slope
            && slope <= line.high
            && line.width > 0.0
            && point.value.abs() <= line.reach
            && point.time > line.last.time
            && time <= self.max_silence
    }
}

impl Line {
    /// Takes a sample that the line goes through or ends at.
    fn pass(&mut self, point: Point) {
        self.low = self.low.max(self.slope(point, point.value - self.width));
        self.high = self.high.min(self.slope(point, point.value + self.width));
        self.last = point;
    }

    /// The slope from the beginning to `value` at the time of the sample.
    fn slope(&self, point: Point, value: f64) -> f64 {
        let time = Value::Int(point.time.saturating_sub(self.from.time)).as_f64().unwrap_or(f64::NAN);
        (value - self.from.value) / time
    }
}

impl Swing {
    /// The last sample is kept, whatever comes.
    pub(crate) fn rest(&mut self) {
        if let Swing::Swinging(line) = self {
            *self = Swing::Still(line.last);
        }
    }

    /// Whether it is still to be seen if the last sample is kept.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Swing::Swinging(_))
    }
}

/// The number of a good sample. Integers beyond 2^53 are rounded, which the doors allow for.
fn good_number(slot: &Slot) -> Option<f64> {
    match slot {
        Slot::Good(Value::Bool(_)) => None,
        Slot::Good(value) => value.as_f64().filter(|number| number.is_finite()),
        Slot::Unchanged | Slot::Uncertain(..) | Slot::Bad(_) => None,
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
