//! The forms of messages. Each function appends to a buffer and says whether there is anything to send; if not, it has appended
//! nothing.

pub(crate) mod edgex;
pub(crate) mod neuron;
pub(crate) mod umh;

use tidegate_codec::json;
use tidegate_config::PayloadForm;
use tidegate_model::{Column, Row, Slot, Timestamp, Value};

/// A whole row. `samples`: its columns with their slots. `past`: whether it is not of now, and the time to tell where there is only one.
pub(crate) fn row<'a>(
    form: PayloadForm,
    row: &Row,
    samples: impl Iterator<Item = (&'a Column, &'a Slot)> + Clone,
    profile: &str,
    (past, time): (bool, Timestamp),
    out: &mut Vec<u8>,
) -> bool {
    match form {
        PayloadForm::Tidegate => {
            json::row(row, past, out);
            true
        }
        // The site is not accepted with it.
        PayloadForm::Value => false,
        PayloadForm::Umh => umh::row(samples, time, out),
        PayloadForm::Neuron => neuron::row(row, samples, time, out),
        PayloadForm::EdgeX => edgex::row(row, samples, profile, time, out),
    }
}

/// One sample in the gateway's own form.
pub(crate) fn sample(slot: &Slot, time: Timestamp, column: &Column, out: &mut Vec<u8>) -> bool {
    json::tag(slot, time, column.unit.as_deref(), out);
    true
}

/// The value alone, if it is good: a text as it is, anything else as in JSON.
pub(crate) fn value_alone(slot: &Slot, out: &mut Vec<u8>) -> bool {
    match slot {
        Slot::Good(Value::Text(text)) => out.extend_from_slice(text.as_bytes()),
        Slot::Good(value) => json::value(value, out),
        Slot::Uncertain(..) | Slot::Bad(_) | Slot::Unchanged => return false,
    }
    // An empty text would take away what is retained: that there is none is what it says.
    true
}

/// Whether a value is a float that is no number.
pub(crate) fn is_no_number(value: &Value) -> bool {
    match value {
        Value::F32(number) => !number.is_finite(),
        Value::F64(number) => !number.is_finite(),
        _ => false,
    }
}

/// Appends `"name":`, with a comma before it unless it is the first. Names need no escapes.
pub(crate) fn key(name: &str, first: &mut bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if std::mem::take(first) { b"\"" } else { b",\"" });
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a whole number.
pub(crate) fn integer(number: i64, out: &mut Vec<u8>) {
    json::value(&Value::Int(number), out);
}
