//! Events as EdgeX 3 and 4 publish them: an event with a reading for each value, every value as text.
//!
//! A value that is not there has no reading, and an event without any is not sent. What is doubtful says so in the reading's `tags`.

use rand::Rng;
use tidegate_codec::json;
use tidegate_model::{Column, Reason, Row, Slot, Timestamp, Value, ValueKind};

use super::{integer, key};

const NANOS_OF_MILLI: i64 = 1_000_000;

/// Some samples of a row.
pub(crate) fn row<'a>(
    row: &Row,
    samples: impl Iterator<Item = (&'a Column, &'a Slot)>,
    profile: &str,
    time: Timestamp,
    out: &mut Vec<u8>,
) -> bool {
    let mut samples = samples.filter_map(|(column, slot)| told(slot).map(|told| (column, told))).peekable();
    if samples.peek().is_none() {
        return false;
    }
    let about = About { device: row.stream.device().as_str(), profile, origin: origin(time) };
    about.begin(out);
    key("sourceName", &mut false, out);
    json::text(row.stream.group().as_str(), out);
    key("readings", &mut false, out);
    out.push(b'[');
    let mut first = true;
    for (column, (value, doubt)) in samples {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        about.reading(column, value, doubt, out);
    }
    out.extend_from_slice(b"]}");
    true
}

/// What an event and its readings have in common.
struct About<'a> {
    device: &'a str,
    profile: &'a str,
    origin: i64,
}

impl About<'_> {
    /// The fields of both, behind the brace.
    fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"apiVersion\":\"v3\"");
        self.fields(out);
    }

    fn fields(&self, out: &mut Vec<u8>) {
        key("id", &mut false, out);
        json::text(&random_id(), out);
        key("deviceName", &mut false, out);
        json::text(self.device, out);
        key("profileName", &mut false, out);
        json::text(self.profile, out);
        key("origin", &mut false, out);
        integer(self.origin, out);
    }

    fn reading(&self, column: &Column, value: &Value, doubt: Option<Reason>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"resourceName\":");
        json::text(column.name.as_str(), out);
        self.fields(out);
        key("valueType", &mut false, out);
        json::text(&type_of(value, column.value_type.kind), out);
        if let Some(unit) = &column.unit {
            key("units", &mut false, out);
            json::text(unit, out);
        }
        if let Some(reason) = doubt {
            key("tags", &mut false, out);
            out.extend_from_slice(b"{\"quality\":\"uncertain\",\"reason\":");
            json::text(reason.as_str(), out);
            out.push(b'}');
        }
        if let Value::Bytes(_) = value {
            out.extend_from_slice(b",\"mediaType\":\"application/octet-stream\",\"binaryValue\":");
            json::value(value, out);
        } else {
            key("value", &mut false, out);
            json::text(&text(value), out);
        }
        out.push(b'}');
    }
}

fn told(slot: &Slot) -> Option<(&Value, Option<Reason>)> {
    match slot {
        Slot::Good(value) => Some((value, None)),
        Slot::Uncertain(value, reason) => Some((value, Some(*reason))),
        Slot::Bad(_) | Slot::Unchanged => None,
    }
}

fn origin(time: Timestamp) -> i64 {
    time.as_millis().saturating_mul(NANOS_OF_MILLI)
}

/// The word for the type of a value; `items` is the kind of an array's items.
fn type_of(value: &Value, items: ValueKind) -> String {
    let single = |kind| match kind {
        ValueKind::Bool => "Bool",
        ValueKind::Int => "Int64",
        ValueKind::Uint => "Uint64",
        ValueKind::F32 => "Float32",
        ValueKind::F64 => "Float64",
        ValueKind::Text => "String",
        ValueKind::Bytes => "Binary",
    };
    match value {
        Value::Bool(_) => single(ValueKind::Bool).to_owned(),
        Value::Int(_) => single(ValueKind::Int).to_owned(),
        Value::Uint(_) => single(ValueKind::Uint).to_owned(),
        Value::F32(_) => single(ValueKind::F32).to_owned(),
        Value::F64(_) => single(ValueKind::F64).to_owned(),
        Value::Text(_) => single(ValueKind::Text).to_owned(),
        Value::Bytes(_) => single(ValueKind::Bytes).to_owned(),
        Value::Array(_) => match items {
            // There are no arrays of binary values.
            ValueKind::Bytes => "StringArray".to_owned(),
            kind => format!("{}Array", single(kind)),
        },
    }
}

/// A value as text. What is no number is written as Go writes and reads it.
fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::F32(number) if !number.is_finite() => no_number(f64::from(*number)).to_owned(),
        Value::F64(number) if !number.is_finite() => no_number(*number).to_owned(),
        _ => {
            let mut text = Vec::new();
            json::value(value, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        }
    }
}

fn no_number(number: f64) -> &'static str {
    match number {
        _ if number.is_nan() => "NaN",
        _ if number > 0.0 => "+Inf",
        _ => "-Inf",
    }
}

/// A random UUID (RFC 9562 §5.4).
fn random_id() -> String {
    let bits: u128 = rand::rng().random();
    let bits = bits & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let digits = format!("{bits:032x}");
    let mut id = String::with_capacity(36);
    for (index, digit) in digits.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit);
    }
    id
}
