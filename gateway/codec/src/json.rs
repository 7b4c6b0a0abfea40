//! The JSON payloads of the topics. Everything is appended to a buffer of the caller's; nothing else is allocated.
//!
//! Floats are written with the fewest digits that give the same bits again, a 32-bit float with those of a 32-bit float.
//! Integers are exact. JSON has no NaN and no infinity: they are the strings `"NaN"`, `"Infinity"` and `"-Infinity"`.

use base64::{Engine, prelude::BASE64_STANDARD};
use tidegate_model::{Reason, Row, Slot, Timestamp, Value};

/// Bytes that a number takes at most: `-2.2250738585072014e-308`, with some room.
const NUMBER: usize = 32;

/// Appends one row as it is published on `…/data/<group>`:
///
/// `{"ts":1700000000000,"seq":7,"values":{"voltage_l1":229.8},"bad":{"setpoint":"timeout"}}`
///
/// `"device_ts"` is there when the row has the device's own time, `"hist":true` when `hist` (the row is older than the
/// target's connection), `"uncertain":{tag:reason}` and `"bad":{tag:reason}` when they are not empty. What is uncertain has a
/// value too. Slots without news are left out. Times are Unix milliseconds.
pub fn row(row: &Row, hist: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"ts\":");
    integer(row.time.as_millis(), out);
    out.extend_from_slice(b",\"seq\":");
    integer(row.seq, out);
    if let Some(time) = row.device_time {
        out.extend_from_slice(b",\"device_ts\":");
        integer(time.as_millis(), out);
    }
    if hist {
        out.extend_from_slice(b",\"hist\":true");
    }
    out.extend_from_slice(b",\"values\":{");
    let mut doubtful = false;
    let mut first = true;
    for (column, slot) in row.stream.columns().iter().zip(&row.slots) {
        let slot_value = match slot {
            Slot::Good(value) => value,
            Slot::Uncertain(value, _) => {
                doubtful = true;
                value
            }
            Slot::Bad(_) => {
                doubtful = true;
                continue;
            }
            Slot::Unchanged => continue,
        };
        key(column.name.as_str(), &mut first, out);
        value(slot_value, out);
    }
    out.push(b'}');
    if doubtful {
        reasons(row, "uncertain", |slot| if let Slot::Uncertain(_, reason) = slot { Some(*reason) } else { None }, out);
        reasons(row, "bad", |slot| if let Slot::Bad(reason) = slot { Some(*reason) } else { None }, out);
    }
    out.push(b'}');
}

/// Appends `,"<field>":{tag:reason,…}`, or nothing when no slot has such a reason.
fn reasons(row: &Row, field: &str, reason_of: impl Fn(&Slot) -> Option<Reason>, out: &mut Vec<u8>) {
    let mut first = true;
    for (column, slot) in row.stream.columns().iter().zip(&row.slots) {
        let Some(reason) = reason_of(slot) else { continue };
        if first {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(field.as_bytes());
            out.extend_from_slice(b"\":{");
        }
        key(column.name.as_str(), &mut first, out);
        out.push(b'"');
        out.extend_from_slice(reason.as_str().as_bytes());
        out.push(b'"');
    }
    if !first {
        out.push(b'}');
    }
}

/// Appends `"name":`, with a comma before it unless it is the first. The alphabet of tag names needs no escapes.
#[inline]
fn key(name: &str, first: &mut bool, out: &mut Vec<u8>) {
    // One growth for the whole field; most are shorter.
    out.reserve(name.len() + 4 + NUMBER);
    out.extend_from_slice(if *first { b"\"" } else { b",\"" });
    *first = false;
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends one sample as it is published on `…/tag/<tag>`:
///
/// `{"v":229.8,"q":"good","t":1700000000000,"u":"V"}`, `{"v":600.5,"q":"uncertain","reason":"out_of_range","t":…,"u":"V"}`,
/// `{"v":null,"q":"bad","reason":"timeout","t":…,"u":"V"}`.
///
/// `"u"` is left out without a unit. A slot without news appends nothing.
pub fn tag(slot: &Slot, time: Timestamp, unit: Option<&str>, out: &mut Vec<u8>) {
    match slot {
        Slot::Unchanged => return,
        Slot::Good(slot_value) => {
            out.extend_from_slice(b"{\"v\":");
            value(slot_value, out);
            out.extend_from_slice(b",\"q\":\"good\"");
        }
        Slot::Uncertain(slot_value, reason) => {
            out.extend_from_slice(b"{\"v\":");
            value(slot_value, out);
            out.extend_from_slice(b",\"q\":\"uncertain\",\"reason\":");
            text(reason.as_str(), out);
        }
        Slot::Bad(reason) => {
            out.extend_from_slice(b"{\"v\":null,\"q\":\"bad\",\"reason\":");
            text(reason.as_str(), out);
        }
    }
    out.extend_from_slice(b",\"t\":");
    integer(time.as_millis(), out);
    if let Some(unit) = unit {
        out.extend_from_slice(b",\"u\":");
        text(unit, out);
    }
    out.push(b'}');
}

/// Appends the gap record of the rows `from` to `to`, both included, that will never be sent:
/// `{"gap":{"from":5,"to":9,"reason":"disk_full"}}`.
pub fn gap(from: u64, to: u64, reason: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"gap\":{\"from\":");
    integer(from, out);
    out.extend_from_slice(b",\"to\":");
    integer(to, out);
    out.extend_from_slice(b",\"reason\":");
    text(reason, out);
    out.extend_from_slice(b"}}");
}

/// Appends one value.
#[inline]
pub fn value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::F32(number) => float(*number, number.is_nan(), number.is_finite(), *number > 0.0, out),
        Value::F64(number) => float(*number, number.is_nan(), number.is_finite(), *number > 0.0, out),
        Value::Int(number) => integer(*number, out),
        Value::Uint(number) => integer(*number, out),
        Value::Bool(on) => out.extend_from_slice(if *on { b"true" } else { b"false" }),
        Value::Text(string) => text(string, out),
        Value::Bytes(content) => bytes(content, out),
        Value::Array(items) => array(items, out),
    }
}

#[inline]
fn float(number: impl zmij::Float, nan: bool, finite: bool, positive: bool, out: &mut Vec<u8>) {
    if finite {
        out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
    } else {
        let word: &[u8] = match (nan, positive) {
            (true, _) => b"\"NaN\"",
            (false, true) => b"\"Infinity\"",
            (false, false) => b"\"-Infinity\"",
        };
        out.extend_from_slice(word);
    }
}

#[inline]
fn integer(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Base64 with padding (RFC 4648 §4).
fn bytes(content: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(BASE64_STANDARD.encode(content).as_bytes());
    out.push(b'"');
}

fn array(items: &[Value], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        value(item, out);
    }
    out.push(b']');
}

/// Appends a string with its quotes, escaped as RFC 8259 §7 wants: quote, backslash and the control characters.
pub fn text(text: &str, out: &mut Vec<u8>) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let digit = |value: u8| HEX.get(usize::from(value & 15)).copied().unwrap_or(b'0');
    out.push(b'"');
    for piece in text.as_bytes().split_inclusive(|byte| needs_escape(*byte)) {
        let Some((last, plain)) = piece.split_last() else { continue };
        if !needs_escape(*last) {
            out.extend_from_slice(piece);
            continue;
        }
        out.extend_from_slice(plain);
        match last {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(other >> 4), digit(*other)]),
        }
    }
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}
