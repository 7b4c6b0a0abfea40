//! From a value of OPC UA to a value of a tag. What does not fit without loss is no value.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use opcua::types::{DataValue, DateTime, LocalizedText, StatusCode, Variant};
use tidegate_driver_api::{
    Readings,
    model::{Reason, Timestamp, Value, ValueKind},
};

use crate::{
    point::{Part, Point},
    status,
    types::Types,
};

/// Whole numbers up to this fit a 64-bit float.
const EXACT: u64 = 1 << 53;

/// Notes what a value of its node says about a tag.
pub(crate) fn note(point: &Point, value: &DataValue, types: &Types, out: &mut Readings) {
    let status = value.status.unwrap_or(StatusCode::Good);
    if status.is_bad() {
        out.fail(point.column, status::bad(status));
        return;
    }
    let found = value.value.as_ref().and_then(|whole| part(whole, &point.parts, types));
    match found.and_then(|found| converted(point, &found)) {
        None => out.fail(point.column, Reason::InvalidValue),
        Some(value) if status.is_uncertain() => out.doubt(point.column, value, status::uncertain(status)),
        Some(value) => out.set(point.column, value),
    }
}

/// When the value was so, by the clock of its source, or else by the server's.
pub(crate) fn time(value: &DataValue) -> Option<Timestamp> {
    let time = value.source_timestamp.as_ref().or(value.server_timestamp.as_ref())?;
    (!time.is_null()).then(|| timestamp(time))
}

/// The same as OPC UA counts it, in steps of 100 ns.
pub(crate) fn ticks(value: &DataValue) -> Option<i64> {
    let time = value.source_timestamp.as_ref().or(value.server_timestamp.as_ref())?;
    (!time.is_null()).then(|| time.ticks())
}

/// A number that tells a value, with what is said of its quality, from others of the same time. Numbers are alike whatever their type:
/// a history may keep them in another one. The historian's own bits of the status do not count.
pub(crate) fn print(value: &DataValue) -> u64 {
    let mut hasher = DefaultHasher::new();
    (value.status.unwrap_or(StatusCode::Good).bits() >> 16).hash(&mut hasher);
    match &value.value {
        None => 0_u8.hash(&mut hasher),
        Some(whole) => match number(whole) {
            Some(number) => number.to_bits().hash(&mut hasher),
            None => format!("{whole:?}").hash(&mut hasher),
        },
    }
    hasher.finish()
}

/// A number of any type.
fn number(value: &Variant) -> Option<f64> {
    match value {
        Variant::Float(number) => Some(f64::from(*number)),
        Variant::Double(number) => Some(*number),
        Variant::DateTime(_) => None,
        value => {
            signed(value).filter(|number| number.unsigned_abs() <= EXACT).and_then(|number| Value::Int(number).as_f64())
        }
    }
}

/// A time in steps of 100 ns as the gateway counts it.
pub(crate) fn of_ticks(ticks: i64) -> Timestamp {
    timestamp(&DateTime::from(ticks))
}

/// A time as the gateway counts it.
pub(crate) fn timestamp(time: &DateTime) -> Timestamp {
    Timestamp::from_millis(time.as_chrono().timestamp_millis())
}

/// The tag's value of this part of the node's.
pub(crate) fn converted(point: &Point, value: &Variant) -> Option<Value> {
    let Some(items) = point.items else { return single(point.kind, value) };
    let Variant::Array(array) = value else { return None };
    if array.values.len() != usize::try_from(items).ok()? {
        return None;
    }
    let values: Option<Arc<[Value]>> = array.values.iter().map(|value| single(point.kind, value)).collect();
    values.map(Value::Array)
}

/// The part of a value at the end of a way into it.
fn part<'v>(value: &'v Variant, parts: &[Part], types: &Types) -> Option<Cow<'v, Variant>> {
    let Some((first, rest)) = parts.split_first() else { return Some(Cow::Borrowed(value)) };
    match (first, value) {
        (_, Variant::Variant(inner)) => part(inner, parts, types),
        (Part::Field(name), Variant::ExtensionObject(object)) => match types.field(object, name)? {
            Cow::Borrowed(field) => part(field, rest, types),
            Cow::Owned(field) => part(&field, rest, types).map(|found| Cow::Owned(found.into_owned())),
        },
        (Part::Item(item), Variant::Array(array)) => part(array.values.get(*item)?, rest, types),
        _ => None,
    }
}

/// One value of that kind.
pub(crate) fn single(kind: ValueKind, value: &Variant) -> Option<Value> {
    match (kind, value) {
        (_, Variant::Variant(inner)) => single(kind, inner),
        (ValueKind::Bool, Variant::Boolean(on)) => Some(Value::Bool(*on)),
        (ValueKind::Int, value) => signed(value).map(Value::Int),
        (ValueKind::Uint, value) => unsigned(value).map(Value::Uint),
        (ValueKind::F32, Variant::Float(number)) => Some(Value::F32(*number)),
        (ValueKind::F64, Variant::Double(number)) => Some(Value::F64(*number)),
        (ValueKind::F64, Variant::Float(number)) => Some(Value::F64(f64::from(*number))),
        (ValueKind::F64, value) => {
            let number = Value::Int(signed(value)?);
            let Value::Int(whole) = number else { return None };
            (whole.unsigned_abs() <= EXACT).then(|| number.as_f64().map(Value::F64))?
        }
        (ValueKind::Text, value) => text(value).map(|text| Value::Text(text.into())),
        (ValueKind::Bytes, Variant::ByteString(bytes)) => Some(Value::Bytes(bytes.as_ref().into())),
        (ValueKind::Bytes, Variant::Array(array)) => {
            let byte = |value: &Variant| if let Variant::Byte(byte) = value { Some(*byte) } else { None };
            let bytes: Option<Arc<[u8]>> = array.values.iter().map(byte).collect();
            bytes.map(Value::Bytes)
        }
        _ => None,
    }
}

fn signed(value: &Variant) -> Option<i64> {
    Some(match value {
        Variant::SByte(number) => i64::from(*number),
        Variant::Int16(number) => i64::from(*number),
        Variant::Int32(number) => i64::from(*number),
        Variant::Int64(number) => *number,
        Variant::DateTime(time) => timestamp(time).as_millis(),
        value => i64::try_from(unsigned(value)?).ok()?,
    })
}

fn unsigned(value: &Variant) -> Option<u64> {
    Some(match value {
        Variant::Byte(number) => u64::from(*number),
        Variant::UInt16(number) => u64::from(*number),
        Variant::UInt32(number) => u64::from(*number),
        Variant::UInt64(number) => *number,
        Variant::StatusCode(status) => u64::from(status.bits()),
        Variant::SByte(number) => u64::try_from(*number).ok()?,
        Variant::Int16(number) => u64::try_from(*number).ok()?,
        Variant::Int32(number) => u64::try_from(*number).ok()?,
        Variant::Int64(number) => u64::try_from(*number).ok()?,
        _ => return None,
    })
}

/// A value whose natural form is text, as text.
fn text(value: &Variant) -> Option<String> {
    Some(match value {
        Variant::String(text) => text.as_ref().to_owned(),
        Variant::LocalizedText(text) => localized(text),
        Variant::DateTime(time) => timestamp(time).rfc3339().to_string(),
        Variant::Guid(guid) => guid.to_string(),
        Variant::StatusCode(status) => status.to_string(),
        Variant::QualifiedName(name) => name.name.as_ref().to_owned(),
        Variant::NodeId(node) => node.to_string(),
        Variant::ExpandedNodeId(node) => node.to_string(),
        Variant::XmlElement(element) => element.to_string(),
        _ => return None,
    })
}

/// The text without its language.
pub(crate) fn localized(text: &LocalizedText) -> String {
    text.text.as_ref().to_owned()
}

#[cfg(test)]
mod tests {
    use opcua::types::{Guid, QualifiedName};

    use super::*;

    #[test]
    fn a_number_becomes_a_kind_that_holds_all_of_it_or_nothing() {
        assert_eq!(single(ValueKind::Int, &Variant::UInt64(u64::MAX)), None);
        assert_eq!(single(ValueKind::Int, &Variant::Int16(-5)), Some(Value::Int(-5)));
        assert_eq!(single(ValueKind::Uint, &Variant::Int32(-1)), None);
        assert_eq!(single(ValueKind::Uint, &Variant::Int32(7)), Some(Value::Uint(7)));
        assert_eq!(single(ValueKind::F64, &Variant::Int64(1 << 53)), Some(Value::F64(9_007_199_254_740_992.0)));
        assert_eq!(single(ValueKind::F64, &Variant::Int64((1 << 53) + 1)), None);
        assert_eq!(single(ValueKind::F64, &Variant::Float(0.5)), Some(Value::F64(0.5)));
        assert_eq!(single(ValueKind::F32, &Variant::Double(0.1)), None);
        assert_eq!(single(ValueKind::Int, &Variant::Double(1.0)), None);
        assert_eq!(single(ValueKind::Bool, &Variant::Int32(1)), None);
        assert_eq!(single(ValueKind::F64, &Variant::Empty), None);
    }

    #[test]
    fn what_is_no_number_becomes_text() {
        let text = |value: Variant| single(ValueKind::Text, &value);
        let is = |text: &str| Some(Value::Text(text.into()));
        assert_eq!(text(Variant::from(LocalizedText::new("de", "Druck"))), is("Druck"));
        assert_eq!(text(Variant::from(QualifiedName::new(2, "T1"))), is("T1"));
        let guid: Guid = "09087e75-8e5e-499b-954f-f2a9603db28a".parse().unwrap();
        assert_eq!(text(Variant::from(guid)), is("09087e75-8e5e-499b-954f-f2a9603db28a"));
        let time = DateTime::ymd_hms(2026, 11, 23, 9, 15, 0);
        assert_eq!(text(Variant::from(time)), is("2026-11-23T09:15:00.000Z"));
        assert_eq!(single(ValueKind::Int, &Variant::from(time)), Some(Value::Int(1_795_425_300_000)));
        assert_eq!(text(Variant::Int32(1)), None);
    }
}
