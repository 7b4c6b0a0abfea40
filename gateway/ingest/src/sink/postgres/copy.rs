//! Samples in the binary format of COPY (PostgreSQL, "COPY", File Formats, Binary Format).

use sqlx::PgConnection;
use tidegate_codec::json;
use tidegate_model::{Reason, Slot, Value};

use super::{
    number::{signed, timestamp},
    patience::Progress,
};
use crate::{Ranges, piece::Rows};

const COPY: &str =
    "COPY tidegate.sample (time, seq, value, tag_id, quality, text, reason, device_time) FROM STDIN BINARY";
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = b"\xff\xff";
const NULL: &[u8] = b"\xff\xff\xff\xff";
/// Integers up to this are exact as 64-bit floats.
const EXACT: u64 = 1 << 53;
/// Bytes that one message to the server carries.
const CHUNK: usize = 1 << 20;

/// Rows of a block that are new: their numbers, and one id for each column.
pub(crate) type New<'a> = (&'a Rows, Ranges, &'a [i32]);

/// Sends samples while it writes them: what is in memory does not grow with their number. Keeps its memory, up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Copy {
    bytes: Vec<u8>,
    text: Vec<u8>,
    values: u64,
    progress: Progress,
}

/// What is common to the samples of a row.
#[derive(Clone, Copy)]
struct Common {
    time: i64,
    seq: i64,
    device_time: Option<i64>,
}

impl Copy {
    /// A copy that tells its progress.
    pub(crate) fn new(progress: Progress) -> Copy {
        Copy { progress, ..Copy::default() }
    }

    /// Sends the rows that are new; returns how many samples they had.
    ///
    /// Tag after tag, so that what is read together lies together.
    pub(crate) async fn send(&mut self, connection: &mut PgConnection, all: &[New<'_>]) -> Result<u64, sqlx::Error> {
        self.values = 0;
        if all.iter().all(|(_, new, _)| new.is_empty()) {
            return Ok(0);
        }
        let mut to = connection.copy_in_raw(COPY).await?;
        self.bytes.clear();
        self.bytes.extend_from_slice(HEADER);
        for (rows, new, tags) in all {
            for (column, tag) in tags.iter().enumerate() {
                for place in new.iter().flat_map(|(first, last)| rows.places(first, last)) {
                    self.cell(rows, place, column, *tag);
                    if self.bytes.len() >= CHUNK {
                        to.send(self.bytes.as_slice()).await?;
                        self.bytes.clear();
                        self.progress.made();
                    }
                }
            }
        }
        self.bytes.extend_from_slice(TRAILER);
        to.send(self.bytes.as_slice()).await?;
        to.finish().await?;
        if self.bytes.capacity() > 4 * CHUNK {
            self.bytes = Vec::new();
        }
        Ok(self.values)
    }

    fn cell(&mut self, rows: &Rows, row: usize, column: usize, tag: i32) {
        let batch = &rows.batch;
        let (Some(seq), Some(time), Some(slot)) = (batch.seq(row), batch.time(row), batch.slot(row, column)) else {
            return;
        };
        let device_time = batch.device_time(row).map(|time| timestamp(time.as_millis()));
        self.sample(Common { time: timestamp(time.as_millis()), seq: signed(seq), device_time }, tag, &slot);
    }

    fn sample(&mut self, common: Common, tag: i32, slot: &Slot) {
        let (quality, value, reason): (&[u8], Option<&Value>, Option<Reason>) = match slot {
            Slot::Unchanged => return,
            Slot::Good(value) => (b"good", Some(value), None),
            Slot::Uncertain(value, reason) => (b"uncertain", Some(value), Some(*reason)),
            Slot::Bad(reason) => (b"bad", None, Some(*reason)),
        };
        self.values += 1;
        self.bytes.extend_from_slice(&8_i16.to_be_bytes());
        self.field(&common.time.to_be_bytes());
        self.field(&common.seq.to_be_bytes());
        match value.and_then(number) {
            Some(number) => self.field(&number.to_be_bytes()),
            None => self.bytes.extend_from_slice(NULL),
        }
        self.field(&tag.to_be_bytes());
        self.field(quality);
        self.text.clear();
        if value.is_some_and(|value| text(value, &mut self.text)) {
            let text = std::mem::take(&mut self.text);
            self.field(&text);
            self.text = text;
        } else {
            self.bytes.extend_from_slice(NULL);
        }
        match reason {
            Some(reason) => self.field(reason.as_str().as_bytes()),
            None => self.bytes.extend_from_slice(NULL),
        }
        match common.device_time {
            Some(time) => self.field(&time.to_be_bytes()),
            None => self.bytes.extend_from_slice(NULL),
        }
    }

    fn field(&mut self, field: &[u8]) {
        // No field is longer than the memory of a block, which is 64 MiB.
        self.bytes.extend_from_slice(&i32::try_from(field.len()).unwrap_or(i32::MAX).to_be_bytes());
        self.bytes.extend_from_slice(field);
    }
}

/// The value as a number, where it is one: bools are 0 and 1, integers beyond 2^53 are rounded.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::F32(number) => Some(widened(*number)),
        other => other.as_f64(),
    }
}

/// The 64-bit float that is written with the same digits: 229.8 stays 229.8 and does not become 229.8000030517578. It is
/// the same 32-bit float when it is rounded again.
fn widened(number: f32) -> f64 {
    let exact = f64::from(number);
    if !number.is_finite() || exact.fract() == 0.0 {
        return exact;
    }
    let mut digits = Vec::with_capacity(24);
    json::value(&Value::F32(number), &mut digits);
    let short = std::str::from_utf8(&digits).ok().and_then(|digits| digits.parse::<f64>().ok());
    short.filter(|short| rounded(*short).to_bits() == number.to_bits()).unwrap_or(exact)
}

#[expect(clippy::as_conversions, reason = "there is no other way to round to a 32-bit float")]
fn rounded(number: f64) -> f32 {
    number as f32
}

/// Appends what the number does not say: the digits of a large integer, a text, bytes in hex, an array as JSON. False when there is
/// nothing to say.
fn text(value: &Value, out: &mut Vec<u8>) -> bool {
    match value {
        Value::Bool(_) | Value::F32(_) | Value::F64(_) => return false,
        Value::Int(number) if number.unsigned_abs() <= EXACT => return false,
        Value::Uint(number) if *number <= EXACT => return false,
        Value::Int(_) | Value::Uint(_) | Value::Array(_) => json::value(value, out),
        // PostgreSQL has no character 0 in texts.
        Value::Text(text) if text.contains('\0') => out.extend_from_slice(text.replace('\0', "\u{fffd}").as_bytes()),
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        Value::Bytes(bytes) => {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or(b'0');
            out.extend_from_slice(b"\\x");
            out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(value: &Value) -> (Option<f64>, Option<String>) {
        let mut out = Vec::new();
        let said = text(value, &mut out);
        (number(value), said.then(|| String::from_utf8(out).unwrap()))
    }

    #[test]
    fn a_32_bit_float_keeps_its_digits_and_its_bits() {
        assert_eq!(told(&Value::F32(229.8)), (Some(229.8), None));
        for bits in (0..u32::MAX).step_by(65_537) {
            let number = f32::from_bits(bits);
            if !number.is_nan() {
                assert_eq!(rounded(widened(number)).to_bits(), bits, "{number}");
            }
        }
        assert!(widened(f32::NAN).is_nan());
        assert_eq!(widened(f32::NEG_INFINITY), f64::NEG_INFINITY);
    }

    #[test]
    fn integers_beyond_the_exact_floats_are_told_in_digits_too() {
        assert_eq!(told(&Value::Int(-42)), (Some(-42.0), None));
        assert_eq!(told(&Value::Uint(1 << 53)), (Some(9_007_199_254_740_992.0), None));
        assert_eq!(told(&Value::Uint(u64::MAX)), (Some(18_446_744_073_709_551_615.0), Some(u64::MAX.to_string())));
        assert_eq!(told(&Value::Int(i64::MIN)).1, Some(i64::MIN.to_string()));
    }

    #[test]
    fn what_is_no_number_is_a_text() {
        assert_eq!(told(&Value::Bool(true)), (Some(1.0), None));
        assert_eq!(told(&Value::Text("a\0b".into())), (None, Some("a\u{fffd}b".to_owned())));
        assert_eq!(told(&Value::Bytes([0, 0xab].into())), (None, Some("\\x00ab".to_owned())));
        let array = Value::Array([Value::F64(f64::NAN), Value::Uint(u64::MAX)].into());
        assert_eq!(told(&array), (None, Some("[\"NaN\",18446744073709551615]".to_owned())));
    }
}
