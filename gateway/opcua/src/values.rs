//! Values, qualities and times of the gateway as OPC UA writes them, and back.

use opcua::types::{
    Array, ByteString, DataTypeId, DataValue, DateTime, StatusCode, TimestampsToReturn, UAString, Variant,
    VariantScalarTypeId,
};
use serde_json::Value as Json;
use tidegate_model::{Reason, Slot, Timestamp, Value, ValueKind};
use tidegate_runtime::{TagInfo, TagSample};

/// Ticks of 100 ns from 1601-01-01, where OPC UA begins to count, to 1970-01-01.
const UNIX_EPOCH: i64 = 116_444_736_000_000_000;
const TICKS_PER_MILLI: i64 = 10_000;

/// How an enumeration is written: OPC UA has one form for 0, 1, 2 … and one for any numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enumeration {
    /// The numbers are 0, 1, 2 …: `MultiStateDiscreteType`, values are `UInt32`.
    Counted,
    /// Any numbers: `MultiStateValueDiscreteType`, values are `Int64`.
    Valued,
}

/// How the texts of a tag are written; `None` when it has none.
pub(crate) fn enumeration(tag: &TagInfo) -> Option<Enumeration> {
    let texts = tag.texts.as_ref()?;
    let counted = texts.iter().zip(0..).all(|((number, _), place)| *number == place);
    Some(if counted { Enumeration::Counted } else { Enumeration::Valued })
}

/// The data type of a tag's values.
pub(crate) fn data_type(tag: &TagInfo) -> DataTypeId {
    match (enumeration(tag), tag.value_type.kind) {
        (Some(Enumeration::Counted), _) => DataTypeId::UInt32,
        (Some(Enumeration::Valued), _) => DataTypeId::Int64,
        (None, ValueKind::Bool) => DataTypeId::Boolean,
        (None, ValueKind::Int) => DataTypeId::Int64,
        (None, ValueKind::Uint) => DataTypeId::UInt64,
        (None, ValueKind::F32) => DataTypeId::Float,
        (None, ValueKind::F64) => DataTypeId::Double,
        (None, ValueKind::Text) => DataTypeId::String,
        (None, ValueKind::Bytes) => DataTypeId::ByteString,
    }
}

/// A sample for a client: value, quality and the time of its source; as the server's, the time of its row.
pub(crate) fn data_value(tag: &TagInfo, sample: &TagSample) -> DataValue {
    let (row, device) = (sample.time.map(date_time), sample.device_time.map(date_time));
    DataValue { server_timestamp: row, ..from_slot(tag, &sample.slot, device.or(row)) }
}

/// Puts the time at which the server knew a value to it. The gateway's clock, of which rows have their times, follows the machine's
/// slowly and may be ahead of it: a client is not told of a value that the server has known before there was one.
pub(crate) fn known_at(mut value: DataValue, now: DateTime) -> DataValue {
    let row = value.server_timestamp.filter(|row| row.ticks() > now.ticks());
    value.server_timestamp = Some(row.unwrap_or(now));
    value
}

/// The value and quality of a slot.
pub(crate) fn from_slot(tag: &TagInfo, slot: &Slot, source_timestamp: Option<DateTime>) -> DataValue {
    let (value, status) = match slot {
        Slot::Good(value) => (variant(tag, value), StatusCode::Good),
        Slot::Uncertain(value, reason) => (variant(tag, value), uncertain(*reason)),
        Slot::Bad(reason) => (None, bad(*reason)),
        // Only of tags that are written and never read.
        Slot::Unchanged => (None, StatusCode::BadWaitingForInitialData),
    };
    // A text that is none of the enumeration's has no number.
    let status = if value.is_none() && status.is_good() { StatusCode::BadDataEncodingInvalid } else { status };
    DataValue { value, status: Some(status), source_timestamp, ..DataValue::default() }
}

fn variant(tag: &TagInfo, value: &Value) -> Option<Variant> {
    match (enumeration(tag), value) {
        (Some(form), Value::Text(text)) => {
            let texts = tag.texts.as_ref()?;
            let (number, _) = texts.iter().find(|(_, known)| known.as_str() == &**text)?;
            match form {
                Enumeration::Counted => u32::try_from(*number).ok().map(Variant::UInt32),
                Enumeration::Valued => Some(Variant::Int64(*number)),
            }
        }
        _ => plain(value),
    }
}

fn plain(value: &Value) -> Option<Variant> {
    Some(match value {
        Value::Bool(on) => Variant::Boolean(*on),
        Value::Int(number) => Variant::Int64(*number),
        Value::Uint(number) => Variant::UInt64(*number),
        Value::F32(number) => Variant::Float(*number),
        Value::F64(number) => Variant::Double(*number),
        Value::Text(text) => Variant::String(UAString::from(&**text)),
        Value::Bytes(bytes) => Variant::ByteString(ByteString::from(bytes.to_vec())),
        Value::Array(items) => {
            let items: Vec<Variant> = items.iter().map(plain).collect::<Option<_>>()?;
            let kind = items.first()?.scalar_type_id()?;
            Variant::Array(Box::new(Array::new(kind, items).ok()?))
        }
    })
}

fn uncertain(reason: Reason) -> StatusCode {
    match reason {
        Reason::OutOfRange => StatusCode::UncertainEngineeringUnitsExceeded,
        Reason::Timeout | Reason::Disconnected => StatusCode::UncertainNoCommunicationLastUsableValue,
        Reason::Stale => StatusCode::UncertainLastUsableValue,
        Reason::DeviceFault | Reason::BadAddress | Reason::NotYetRead | Reason::InvalidValue | Reason::NoResult => {
            StatusCode::Uncertain
        }
    }
}

/// The status of a value that is not there (OPC UA Part 8 §6.3.2). The texts of the gateway's own reasons are in
/// `docs/reference/opcua.md`.
fn bad(reason: Reason) -> StatusCode {
    match reason {
        Reason::Timeout => StatusCode::BadTimeout,
        Reason::Disconnected => StatusCode::BadNoCommunication,
        Reason::DeviceFault => StatusCode::BadDeviceFailure,
        Reason::OutOfRange => StatusCode::BadOutOfRange,
        Reason::BadAddress => StatusCode::BadConfigurationError,
        Reason::Stale => StatusCode::BadOutOfService,
        Reason::NotYetRead => StatusCode::BadWaitingForInitialData,
        Reason::InvalidValue => StatusCode::BadDataEncodingInvalid,
        Reason::NoResult => StatusCode::BadNoValue,
    }
}

/// A time of the gateway.
pub(crate) fn date_time(time: Timestamp) -> DateTime {
    DateTime::from(time.as_millis().saturating_mul(TICKS_PER_MILLI).saturating_add(UNIX_EPOCH))
}

/// A time of a client; `None` for the least time there is, by which OPC UA says "none".
pub(crate) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    let ticks = time.ticks();
    (ticks > 0).then(|| Timestamp::from_millis(ticks.saturating_sub(UNIX_EPOCH).div_euclid(TICKS_PER_MILLI)))
}

/// Leaves out the times that a client does not want.
pub(crate) fn with_times(mut value: DataValue, wanted: TimestampsToReturn) -> DataValue {
    if !matches!(wanted, TimestampsToReturn::Source | TimestampsToReturn::Both) {
        value.source_timestamp = None;
    }
    if !matches!(wanted, TimestampsToReturn::Server | TimestampsToReturn::Both) {
        value.server_timestamp = None;
    }
    value
}

/// What a client wants to write, for the command path. `None` for a kind that no tag has.
///
/// A number for an enumeration becomes its text; the checks of value and limits are the command path's.
pub(crate) fn to_json(tag: &TagInfo, variant: &Variant) -> Option<Json> {
    if let (Some(texts), Some(number)) = (&tag.texts, integer(variant)) {
        let text = texts.iter().find(|(known, _)| *known == number).map(|(_, text)| text.as_str());
        return text.map(Json::from);
    }
    match variant {
        Variant::Array(array) => array.values.iter().map(scalar).collect::<Option<Vec<Json>>>().map(Json::Array),
        other => scalar(other),
    }
}

fn integer(variant: &Variant) -> Option<i64> {
    Some(match variant {
        Variant::SByte(number) => i64::from(*number),
        Variant::Byte(number) => i64::from(*number),
        Variant::Int16(number) => i64::from(*number),
        Variant::UInt16(number) => i64::from(*number),
        Variant::Int32(number) => i64::from(*number),
        Variant::UInt32(number) => i64::from(*number),
        Variant::Int64(number) => *number,
        Variant::UInt64(number) => i64::try_from(*number).ok()?,
        _ => return None,
    })
}

fn scalar(variant: &Variant) -> Option<Json> {
    Some(match variant {
        Variant::Boolean(on) => Json::Bool(*on),
        // The shortest decimal number that means this float, not the digits of the nearest 64-bit one.
        Variant::Float(number) => float(number.to_string().parse().unwrap_or(f64::from(*number))),
        Variant::Double(number) => float(*number),
        Variant::UInt64(number) => Json::from(*number),
        Variant::String(text) => Json::from(text.as_ref()),
        Variant::LocalizedText(text) => Json::from(text.text.as_ref()),
        Variant::Variant(inner) => return scalar(inner),
        other => Json::from(integer(other)?),
    })
}

/// JSON has no word for what is no number; the command path reads these texts.
fn float(number: f64) -> Json {
    let words = || {
        if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
    };
    serde_json::Number::from_f64(number).map_or_else(|| Json::from(words()), Json::Number)
}

/// Whether a client may write a value of this kind to the tag. Integers and floats may stand for each other where nothing is
/// lost; the command path finds that out.
pub(crate) fn fits(tag: &TagInfo, variant: &Variant) -> bool {
    let kind = match variant {
        Variant::Array(array) => array.values.first().and_then(Variant::scalar_type_id),
        other => other.scalar_type_id(),
    };
    let Some(kind) = kind else { return false };
    let number = !matches!(
        kind,
        VariantScalarTypeId::Boolean
            | VariantScalarTypeId::String
            | VariantScalarTypeId::LocalizedText
            | VariantScalarTypeId::ByteString
    );
    let text = matches!(kind, VariantScalarTypeId::String | VariantScalarTypeId::LocalizedText);
    match tag.value_type.kind {
        _ if tag.takes_arguments => true,
        ValueKind::Bool => kind == VariantScalarTypeId::Boolean,
        ValueKind::Text => text || (number && tag.texts.is_some()),
        ValueKind::Bytes => kind == VariantScalarTypeId::ByteString,
        ValueKind::Int | ValueKind::Uint | ValueKind::F32 | ValueKind::F64 => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_not_told_of_a_value_before_there_was_one() {
        let now = Timestamp::from_millis(1_600_000_000_500);
        for (row, known) in [(None, 500), (Some(498), 500), (Some(501), 501)] {
            let time = |millis: i64| date_time(Timestamp::from_millis(1_600_000_000_000 + millis));
            let value = DataValue { server_timestamp: row.map(time), ..DataValue::default() };
            assert_eq!(known_at(value, date_time(now)).server_timestamp, Some(time(known)), "{row:?}");
        }
    }
}
