//! Comma-separated values, as RFC 4180 describes them.

use std::{
    io::{self, Write},
    ops::Range,
};

use tidegate_codec::{block::Batch, json};
use tidegate_model::{Slot, Timestamp, Value};

use crate::{
    Places, Table,
    fill::Drawn,
    state::{DEVICE_TIME, SEQ, State, TIME, quality_column, value_column},
};

/// Lines are handed on in pieces of about so many bytes.
const PIECE: usize = 64 * 1024;

/// Writes one table as CSV.
pub(crate) struct CsvWriter<W> {
    to: W,
    out: Vec<u8>,
    /// The second half of the line that is being made.
    qualities: Vec<u8>,
}

impl<W: Write> CsvWriter<W> {
    pub(crate) fn new(to: W, table: &Table) -> CsvWriter<W> {
        let mut out = Vec::with_capacity(PIECE);
        // The alphabet of tags needs no quotes.
        out.extend_from_slice([TIME, DEVICE_TIME, SEQ].join(",").as_bytes());
        let tags = || table.columns().iter().map(|column| column.name.as_str());
        for name in tags().map(value_column).chain(tags().map(quality_column)) {
            out.push(b',');
            out.extend_from_slice(name.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        CsvWriter { to, out, qualities: Vec::new() }
    }

    pub(crate) fn write(
        &mut self,
        batch: &Batch,
        drawn: Drawn<'_>,
        rows: Range<usize>,
        places: &Places,
    ) -> io::Result<()> {
        for row in rows {
            self.line(batch, drawn, row, places);
            if self.out.len() >= PIECE {
                self.to.write_all(&self.out)?;
                self.out.clear();
            }
        }
        Ok(())
    }

    fn line(&mut self, batch: &Batch, drawn: Drawn<'_>, row: usize, places: &Places) {
        let (Some(row_time), Some(seq)) = (batch.time(row), batch.seq(row)) else { return };
        let out = &mut self.out;
        time(row_time, out);
        out.push(b',');
        if let Some(device_time) = batch.device_time(row) {
            time(device_time, out);
        }
        out.push(b',');
        out.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
        self.qualities.clear();
        for place in places.iter() {
            out.push(b',');
            self.qualities.push(b',');
            let slot = place.and_then(|place| batch.slot(row, place));
            if let Some(content) = slot.as_ref().and_then(Slot::value) {
                value(content, out);
            }
            let state = slot.as_ref().map_or(State::Absent, State::of).drawn(drawn.has(row, place));
            // Writing to memory does not fail.
            let _ = write!(self.qualities, "{state}");
        }
        out.extend_from_slice(&self.qualities);
        out.extend_from_slice(b"\r\n");
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&self.out)?;
        self.to.flush()?;
        Ok(self.to)
    }
}

fn time(time: Timestamp, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(out, "{}", time.rfc3339());
}

/// Appends a cell with a value: as in JSON, but texts and the words for what is no number without JSON's quotes.
fn value(value: &Value, out: &mut Vec<u8>) {
    let start = out.len();
    match value {
        Value::Text(text) => quoted(text.as_bytes(), out),
        Value::F32(number) if !number.is_finite() => not_finite(f64::from(*number), out),
        Value::F64(number) if !number.is_finite() => not_finite(*number, out),
        Value::Bytes(_) => {
            json::value(value, out);
            out.pop();
            out.remove(start);
        }
        Value::Array(_) => {
            json::value(value, out);
            let text = out.split_off(start);
            quoted(&text, out);
        }
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::F32(_) | Value::F64(_) => json::value(value, out),
    }
}

fn not_finite(number: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(match number {
        _ if number.is_nan() => b"NaN",
        _ if number > 0.0 => b"Infinity",
        _ => b"-Infinity",
    });
}

/// Appends a text, in quotes where it would be misread without. An empty text has quotes, so that it is not like no value.
fn quoted(text: &[u8], out: &mut Vec<u8>) {
    let needs_quotes = text.is_empty() || text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n'));
    if !needs_quotes {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for piece in text.split_inclusive(|byte| *byte == b'"') {
        out.extend_from_slice(piece);
        if piece.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn cell(content: Value) -> String {
        let mut out = b"x,".to_vec();
        value(&content, &mut out);
        String::from_utf8(out).unwrap().split_off(2)
    }

    #[test]
    fn numbers_are_the_shortest_that_give_the_same_bits() {
        assert_eq!(cell(Value::F32(229.8)), "229.8");
        assert_eq!(cell(Value::F64(0.1 + 0.2)), "0.30000000000000004");
        assert_eq!(cell(Value::F64(-0.0)), "-0.0");
        assert_eq!(cell(Value::Uint(u64::MAX)), "18446744073709551615");
        assert_eq!(cell(Value::Bool(true)), "true");
    }

    #[test]
    fn what_is_no_number_is_a_word() {
        assert_eq!(cell(Value::F32(f32::NAN)), "NaN");
        assert_eq!(cell(Value::F64(f64::INFINITY)), "Infinity");
        assert_eq!(cell(Value::F64(f64::NEG_INFINITY)), "-Infinity");
    }

    #[test]
    fn texts_with_commas_quotes_and_line_ends_are_in_quotes() {
        assert_eq!(cell(Value::Text("auto".into())), "auto");
        assert_eq!(cell(Value::Text("".into())), "\"\"");
        assert_eq!(cell(Value::Text("a \"b\", c\n".into())), "\"a \"\"b\"\", c\n\"");
    }

    #[test]
    fn arrays_are_json_and_bytes_are_base64() {
        assert_eq!(cell(Value::Array([Value::Int(1), Value::Int(2)].into())), "\"[1,2]\"");
        assert_eq!(cell(Value::Array([].into())), "[]");
        assert_eq!(cell(Value::Bytes([0xFF, 0].as_slice().into())), "/wA=");
        assert_eq!(cell(Value::Bytes([].as_slice().into())), "");
    }
}
