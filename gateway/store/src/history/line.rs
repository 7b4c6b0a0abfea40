//! The samples that a swinging door left out, on the lines between those that it kept.

use tidegate_model::{Slot, Timestamp, Value};

use super::Sample;

/// Rows that wait for the end of a line at most; with more there is none.
const WAITING: usize = 1 << 17;

/// Draws the lines of one tag, whose rows come in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The last sample that was kept, from which a line may go.
    from: Option<(Timestamp, f64)>,
    /// The rows since.
    waiting: Vec<Timestamp>,
    /// The number of the last row, and the start of the gateway in which it was given.
    last: Option<(u64, u64)>,
    /// The newest time of all rows of this start: a row before it is one of the past, which lies by its number between others.
    newest: Option<Timestamp>,
    /// Whether a row of the present has come since the last hole in the numbers. Before one, nobody knows what rows of the past lie
    /// between; but such a row has the device's time for its own.
    has_present: bool,
}

/// What one row says of the tag.
pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) boot: u64,
    pub(super) time: Timestamp,
    /// Whether its time is the device's, as that of every row of the past is.
    pub(super) is_of_device: bool,
    pub(super) slot: Slot,
}

impl Lines {
    /// Takes the next row, whose tag may be silent for so many milliseconds, and gives what is known now.
    pub(super) fn take(&mut self, row: Row, silence: Option<i64>, mut give: impl FnMut(Sample)) {
        let Row { seq, boot, time, is_of_device, slot } = row;
        let follows = self.last.is_some_and(|(last, of)| last.checked_add(1) == Some(seq) && of == boot);
        let newest = self.newest.filter(|_| self.last.is_some_and(|(_, of)| of == boot));
        self.last = Some((seq, boot));
        self.newest = newest.max(Some(time));
        let may_be_past = is_of_device && !(follows && self.has_present);
        let is_past = may_be_past || newest.is_some_and(|newest| time < newest);
        self.has_present = !is_past || (follows && self.has_present);
        if is_past {
            if !follows {
                self.from = None;
                self.waiting.clear();
            }
            if slot != Slot::Unchanged {
                give(Sample { time, slot, drawn: false });
            }
            return;
        }
        let from = self.from.take().filter(|_| follows).zip(silence);
        let since = |from: Timestamp| time.millis_since(from);
        match slot {
            Slot::Unchanged => {
                // Beyond that the line can have no end, or the clock was set back.
                let goes_on = from.filter(|((from, _), most)| since(*from) > 0 && since(*from) < *most);
                self.from = goes_on.map(|(from, _)| from).filter(|_| self.waiting.len() < WAITING);
                match self.from {
                    Some(_) => self.waiting.push(time),
                    None => self.waiting.clear(),
                }
                return;
            }
            Slot::Good(ref value) => {
                let number = value.as_f64().filter(|number| number.is_finite() && !matches!(value, Value::Bool(_)));
                if let Some((((from, first), most), last)) = from.zip(number)
                    && since(from) > 0
                    && since(from) <= most
                {
                    let slope = (last - first) / millis(since(from));
                    for at in &self.waiting {
                        let number = first + millis(at.millis_since(from)) * slope;
                        let slot = Slot::Good(like(value, number));
                        give(Sample { time: *at, slot, drawn: true });
                    }
                }
                self.from = number.map(|number| (time, number));
            }
            _ => {}
        }
        self.waiting.clear();
        give(Sample { time, slot, drawn: false });
    }
}

#[expect(clippy::as_conversions, reason = "a time between two samples is far below 2^53 milliseconds")]
fn millis(time: i64) -> f64 {
    time as f64
}

/// The nearest value of the same kind.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounding to the nearest is what is wanted; it ends at the ends of the integers"
)]
fn like(value: &Value, number: f64) -> Value {
    match value {
        Value::Int(_) => Value::Int(number.round() as i64),
        Value::Uint(_) => Value::Uint(number.round() as u64),
        Value::F32(_) => Value::F32(number as f32),
        _ => Value::F64(number),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::Reason;

    use super::*;

    /// What comes of rows a second apart, with `~` before what was drawn; `|` begins another start, `.` leaves a number out.
    fn drawn(rows: &str) -> String {
        let (mut lines, mut found, mut seq, mut boot) = (Lines::default(), Vec::new(), 0, 1);
        for word in rows.split(' ') {
            seq += 1;
            let slot = match word {
                "|" => {
                    (seq, boot) = (seq - 1, boot + 1);
                    continue;
                }
                "." => continue,
                "-" => Slot::Unchanged,
                "bad" => Slot::Bad(Reason::Timeout),
                number => Slot::Good(Value::F64(number.parse().unwrap())),
            };
            let time = Timestamp::from_millis(1_000 * i64::try_from(seq).unwrap());
            lines.take(Row { seq, boot, time, is_of_device: false, slot }, Some(10_000), |sample| {
                let mark = if sample.drawn { "~" } else { "" };
                let value = sample.slot.value().map_or("bad".to_owned(), |value| value.as_f64().unwrap().to_string());
                found.push(format!("{mark}{value}"));
            });
        }
        found.join(" ")
    }

    #[test]
    fn what_was_left_out_lies_on_the_line_between_the_samples_around_it() {
        assert_eq!(drawn("1 - - 4 - 3 3"), "1 ~2 ~3 4 ~3.5 3 3");
        assert_eq!(drawn("- - 1 - -"), "1");
    }

    #[test]
    fn no_line_crosses_a_start_a_hole_or_what_is_not_good_and_none_is_longer_than_the_silence() {
        assert_eq!(drawn("1 - | 3 - 5"), "1 3 ~4 5");
        assert_eq!(drawn("1 - . - 5 - 7"), "1 5 ~6 7");
        assert_eq!(drawn("1 - bad - 5 - 7"), "1 bad 5 ~6 7");
        assert_eq!(drawn("1 - inf - 5"), "1 inf 5");
        assert_eq!(drawn("0 - - - - - - - - - 10"), "0 ~1 ~2 ~3 ~4 ~5 ~6 ~7 ~8 ~9 10");
        assert_eq!(drawn("0 - - - - - - - - - - 11 - 13"), "0 11 ~12 13");
    }

    /// What comes of rows by number, start, time and value, some of which have the device's time for theirs.
    fn drawn_of(rows: &[(u64, u64, i64, Option<i64>)], is_of_device: fn(i64) -> bool) -> Vec<(i64, f64, bool)> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for (seq, boot, at, value) in rows.iter().copied() {
            let slot = value.map_or(Slot::Unchanged, |value| Slot::Good(Value::Int(value)));
            let row = Row { seq, boot, time: Timestamp::from_millis(at), is_of_device: is_of_device(at), slot };
            lines.take(row, Some(10), |Sample { time, slot, drawn }| {
                found.push((time.as_millis(), slot.value().unwrap().as_f64().unwrap(), drawn));
            });
        }
        found
    }

    #[test]
    fn rows_of_the_past_are_known_by_their_times_where_nothing_before_them_is_read() {
        let past = [(5, 1, 50, Some(0)), (6, 1, 51, None), (7, 1, 52, Some(8))];
        let is_of_past = |at| at < 100;
        let kept = [(50, 0.0, false), (52, 8.0, false)];
        assert_eq!(drawn_of(&past, is_of_past), kept);
        // The present goes on behind them, and behind a hole and after a start nobody knows again.
        let present = [(8, 1, 100, Some(0)), (9, 1, 101, None), (10, 1, 60, Some(9)), (11, 1, 102, Some(4))];
        let line = [(100, 0.0, false), (60, 9.0, false), (101, 2.0, true), (102, 4.0, false)];
        assert_eq!(drawn_of(&[past.as_slice(), &present].concat(), is_of_past), [kept.as_slice(), &line].concat());
        for (seq, boot) in [(3, 1), (4, 0)] {
            let rows = [[(seq, boot, 49, Some(9))].as_slice(), &past].concat();
            let found = drawn_of(&rows, |at| at > 49);
            assert_eq!(found, [[(49, 9.0, false)].as_slice(), &kept].concat(), "{seq} {boot}");
        }
        // As soon as one row is of the present, a device whose answer takes no time is told from the past by the order alone.
        let rows = [[(4, 1, 49, None)].as_slice(), &past].concat();
        assert_eq!(drawn_of(&rows, |at| at > 49), [kept[0], (51, 4.0, true), kept[1]]);
    }

    #[test]
    fn a_row_of_the_past_is_on_no_line_and_ends_none() {
        let drawn = |rows: &[(u64, u64, i64, Option<i64>)]| drawn_of(rows, |_| false);
        let past =
            [(1, 1, 100, Some(0)), (2, 1, 101, None), (3, 1, 50, Some(9)), (4, 1, 52, None), (5, 1, 54, Some(5))];
        let mut rows = past.to_vec();
        rows.extend([(6, 1, 102, None), (7, 1, 103, Some(3))]);
        let line = [(100, 0.0, false), (50, 9.0, false), (54, 5.0, false)];
        let end = [(101, 1.0, true), (102, 2.0, true), (103, 3.0, false)];
        assert_eq!(drawn(&rows), [line, end].concat());
        // A number that is left out ends it there, too.
        rows.remove(3);
        assert_eq!(drawn(&rows), [line.as_slice(), &[(103, 3.0, false)]].concat());
        // After a start the clock may be another.
        let rows = [(1, 1, 100, Some(0)), (2, 2, 50, Some(1)), (3, 2, 51, None), (4, 2, 52, Some(3))];
        assert_eq!(drawn(&rows), [(100, 0.0, false), (50, 1.0, false), (51, 2.0, true), (52, 3.0, false)]);
    }

    #[test]
    fn a_tag_without_a_door_has_no_lines() {
        let (mut lines, mut found) = (Lines::default(), 0);
        for (seq, slot) in (1..).zip([Slot::Good(Value::Int(1)), Slot::Unchanged, Slot::Good(Value::Int(3))]) {
            let time = Timestamp::from_millis(i64::try_from(seq).unwrap());
            lines.take(Row { seq, boot: 1, time, is_of_device: false, slot }, None, |_| found += 1);
        }
        assert_eq!(found, 2);
    }
}
