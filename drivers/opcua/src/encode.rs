//! From a value that is to be written to a value of the server's own type. What would lose something is refused.

use opcua::types::{
    Array, ByteString, DateTime, Guid, LocalizedText, NodeId, QualifiedName, StatusCode, Variant, VariantScalarTypeId,
};
use tidegate_driver_api::model::{Timestamp, Value};

use crate::history::date_time;

/// What a node takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Taken {
    /// The type of its value, or of an array's items.
    pub(crate) scalar: VariantScalarTypeId,
    /// Whether it is an array.
    pub(crate) array: bool,
}

/// The value as the server takes it, or why it cannot be written.
pub(crate) fn encode(value: &Value, taken: Taken) -> Result<Variant, String> {
    match (value, taken.array) {
        (Value::Array(items), true) => {
            let items: Result<Vec<Variant>, String> = items.iter().map(|item| single(item, taken.scalar)).collect();
            let array =
                Array::new(taken.scalar, items?).map_err(|error| format!("the array cannot be written: {error:?}"))?;
            Ok(Variant::Array(Box::new(array)))
        }
        (Value::Array(_), false) => Err("the server holds one value there, not an array".to_owned()),
        (_, true) => Err("the server holds an array there".to_owned()),
        (value, false) => single(value, taken.scalar),
    }
}

/// A value whose type nobody states, as the type that it has by itself.
pub(crate) fn natural(value: &Value) -> Variant {
    match value {
        Value::Bool(on) => Variant::Boolean(*on),
        Value::Int(number) => i32::try_from(*number).map_or(Variant::Int64(*number), Variant::Int32),
        Value::Uint(number) => u32::try_from(*number).map_or(Variant::UInt64(*number), Variant::UInt32),
        Value::F32(number) => Variant::Float(*number),
        Value::F64(number) => Variant::Double(*number),
        Value::Text(text) => Variant::String((**text).into()),
        Value::Bytes(bytes) => Variant::ByteString(ByteString::from(&**bytes)),
        Value::Array(items) => {
            let items: Vec<Variant> = items.iter().map(natural).collect();
            let scalar = items.first().and_then(Variant::scalar_type_id).unwrap_or(VariantScalarTypeId::String);
            Array::new(scalar, items).map_or(Variant::Empty, |array| Variant::Array(Box::new(array)))
        }
    }
}

fn single(value: &Value, scalar: VariantScalarTypeId) -> Result<Variant, String> {
    use VariantScalarTypeId as Type;
    let refused = || format!("{} does not fit the server's type {scalar}", shown(value));
    let variant = match scalar {
        Type::Boolean => {
            if let Value::Bool(on) = value {
                Some(Variant::Boolean(*on))
            } else {
                None
            }
        }
        Type::SByte => whole(value).and_then(|number| number.try_into().ok()).map(Variant::SByte),
        Type::Byte => whole(value).and_then(|number| number.try_into().ok()).map(Variant::Byte),
        Type::Int16 => whole(value).and_then(|number| number.try_into().ok()).map(Variant::Int16),
        Type::UInt16 => whole(value).and_then(|number| number.try_into().ok()).map(Variant::UInt16),
        Type::Int32 => whole(value).and_then(|number| number.try_into().ok()).map(Variant::Int32),
        Type::UInt32 => whole(value).and_then(|number| number.try_into().ok()).map(Variant::UInt32),
        Type::Int64 => whole(value).and_then(|number| number.try_into().ok()).map(Variant::Int64),
        Type::UInt64 => whole(value).and_then(|number| number.try_into().ok()).map(Variant::UInt64),
        Type::Float => float(value).map(Variant::Float),
        Type::Double => double(value).map(Variant::Double),
        Type::String => text(value).map(|text| Variant::String(text.into())),
        Type::LocalizedText => text(value).map(|text| Variant::from(LocalizedText::new("", text))),
        Type::QualifiedName => text(value).map(|text| Variant::from(QualifiedName::new(0, text))),
        Type::Guid => text(value).and_then(|text| text.parse::<Guid>().ok()).map(Variant::from),
        Type::NodeId => text(value).and_then(|text| text.parse::<NodeId>().ok()).map(Variant::from),
        Type::DateTime => time(value).map(Variant::from),
        Type::StatusCode => whole(value)
            .and_then(|number| u32::try_from(number).ok())
            .map(|code| Variant::StatusCode(StatusCode::from(code))),
        Type::ByteString => match value {
            Value::Bytes(bytes) => Some(Variant::ByteString(ByteString::from(&**bytes))),
            _ => None,
        },
        Type::Variant => Some(natural(value)),
        _ => return Err(format!("values of the server's type {scalar} cannot be written")),
    };
    variant.ok_or_else(refused)
}

/// A whole number: also a float that is one.
fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::Uint(number) => Some(i128::from(*number)),
        Value::F32(_) | Value::F64(_) => {
            let number = value.as_f64()?;
            // Beyond this a float may stand for its neighbours too.
            let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
            exact.then(|| format!("{number:.0}").parse().ok())?
        }
        _ => None,
    }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::F64(number) => Some(*number),
        Value::F32(number) => Some(f64::from(*number)),
        Value::Int(number) if number.unsigned_abs() <= 1 << 53 => value.as_f64(),
        Value::Uint(number) if *number <= 1 << 53 => value.as_f64(),
        _ => None,
    }
}

/// A 32-bit float. One that was asked for with decimals is the nearest there is; a whole number has to be that number.
#[expect(
    clippy::as_conversions,
    reason = "no `From` exists; the nearest float is what is wanted, and range is looked at"
)]
fn float(value: &Value) -> Option<f32> {
    if let Value::F32(number) = value {
        return Some(*number);
    }
    let number = double(value)?;
    let near = number as f32;
    let is_whole = !matches!(value, Value::F64(_));
    let fits = if is_whole { f64::from(near) == number } else { near.is_finite() == number.is_finite() };
    fits.then_some(near)
}

fn text(value: &Value) -> Option<&str> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

/// A time: text with its zone, or milliseconds since 1970.
fn time(value: &Value) -> Option<DateTime> {
    let time = match value {
        Value::Text(text) => text.parse::<Timestamp>().ok()?,
        value => Timestamp::from_millis(i64::try_from(whole(value)?).ok()?),
    };
    Some(date_time(time))
}

/// The value for a person.
fn shown(value: &Value) -> String {
    match value {
        Value::Bool(on) => on.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::Array(items) => format!("an array of {}", items.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: Value, scalar: VariantScalarTypeId) -> Result<Variant, String> {
        encode(&value, Taken { scalar, array: false })
    }

    #[test]
    fn a_value_is_written_as_the_servers_type_or_not_at_all() {
        use VariantScalarTypeId as Type;
        assert_eq!(one(Value::Int(255), Type::Byte), Ok(Variant::Byte(255)));
        assert!(one(Value::Int(256), Type::Byte).is_err());
        assert_eq!(one(Value::F64(3.0), Type::Int16), Ok(Variant::Int16(3)));
        assert!(one(Value::F64(3.5), Type::Int16).is_err());
        assert!(one(Value::F64(f64::NAN), Type::Int16).is_err());
        assert_eq!(one(Value::F64(0.1), Type::Float), Ok(Variant::Float(0.1)));
        assert!(one(Value::F64(1e300), Type::Float).is_err());
        assert!(one(Value::Int((1 << 24) + 1), Type::Float).is_err());
        assert!(one(Value::Int((1 << 53) + 1), Type::Double).is_err());
        assert!(one(Value::Bool(true), Type::Int32).is_err());
        assert_eq!(one(Value::Text("a".into()), Type::String), Ok(Variant::String("a".into())));
        let time = one(Value::Int(1_795_425_300_000), Type::DateTime).unwrap();
        assert_eq!(time, Variant::from(DateTime::ymd_hms(2026, 11, 23, 9, 15, 0)));
        assert!(encode(&Value::Int(1), Taken { scalar: Type::Int32, array: true }).is_err());
    }
}
