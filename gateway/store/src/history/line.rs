//! The samples that a swinging door left out, on the lines between those that it kept.

use tidegate_model::{Loss, Slot, Stream, TagName, Timestamp, Value};

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
}

/// What one row says of the tag.
pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) boot: u64,
    pub(super) time: Timestamp,
    pub(super) slot: Slot,
}

/// How long the tag may be silent in rows of this stream, in milliseconds; `None` when it has no swinging door there.
pub(super) fn silence(stream: &Stream, tag: &TagName) -> Option<i64> {
    let column = stream.columns().iter().find(|column| column.name == *tag)?;
    match column.loss {
        Some(Loss::SwingingDoor { max_silence, .. }) if column.value_type.items.is_none() => {
            Some(i64::try_from(max_silence).unwrap_or(i64::MAX))
        }
        _ => None,
    }
}

impl Lines {
    /// Takes the next row, whose tag may be silent for so many milliseconds, and gives what is known now.
    pub(super) fn take(&mut self, row: Row, silence: Option<i64>, mut give: impl FnMut(Sample)) {
        let Row { seq, boot, time, slot } = row;
        let follows = self.last.is_some_and(|(last, of)| last.checked_add(1) == Some(seq) && of == boot);
        self.last = Some((seq, boot));
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
            lines.take(Row { seq, boot, time, slot }, Some(10_000), |sample| {
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

    #[test]
    fn a_tag_without_a_door_has_no_lines() {
        let (mut lines, mut found) = (Lines::default(), 0);
        for (seq, slot) in (1..).zip([Slot::Good(Value::Int(1)), Slot::Unchanged, Slot::Good(Value::Int(3))]) {
            let time = Timestamp::from_millis(i64::try_from(seq).unwrap());
            lines.take(Row { seq, boot: 1, time, slot }, None, |_| found += 1);
        }
        assert_eq!(found, 2);
    }
}
