//! Messages as the United Manufacturing Hub takes them: `{"timestamp_ms":1700000000000,"value":229.8}`, and with a name for each value
//! where a message has several.
//!
//! There is no word for a quality, so only good values are told. A value is a number, a boolean or a text there: NaN and infinities
//! are left out, arrays and bytes are texts with their JSON.

use tidegate_codec::json;
use tidegate_model::{Column, Slot, Timestamp, Value};

use super::{integer, is_no_number, key};

/// One sample.
pub(crate) fn sample(slot: &Slot, time: Timestamp, out: &mut Vec<u8>) -> bool {
    let Some(found) = told(slot) else { return false };
    begin(time, out);
    out.extend_from_slice(b",\"value\":");
    value(found, out);
    out.push(b'}');
    true
}

/// Several samples of one time.
pub(crate) fn row<'a>(
    samples: impl Iterator<Item = (&'a Column, &'a Slot)>,
    time: Timestamp,
    out: &mut Vec<u8>,
) -> bool {
    let mut samples = samples.filter_map(|(column, slot)| Some((column, told(slot)?))).peekable();
    if samples.peek().is_none() {
        return false;
    }
    begin(time, out);
    for (column, found) in samples {
        key(column.name.as_str(), &mut false, out);
        value(found, out);
    }
    out.push(b'}');
    true
}

fn told(slot: &Slot) -> Option<&Value> {
    match slot {
        Slot::Good(value) => Some(value).filter(|value| !is_no_number(value)),
        Slot::Uncertain(..) | Slot::Bad(_) | Slot::Unchanged => None,
    }
}

fn begin(time: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"timestamp_ms\":");
    integer(time.as_millis(), out);
}

fn value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(_) => {
            let mut text = Vec::new();
            json::value(value, &mut text);
            json::text(&String::from_utf8_lossy(&text), out);
        }
        _ => json::value(value, out),
    }
}
