//! The built-in types of OPC UA (Part 6 §5.1.2) as the simulator makes them.

use opcua::types::{
    ByteString, DataTypeId, DateTime, Guid, LocalizedText, StatusCode, UAString, Variant, VariantScalarTypeId,
};
use tidegate_model::ValueKind;

use crate::{motion::Moment, plausible::Holds, scaling::narrow};

/// The type of a scalar, or of the items of an array.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kind(VariantScalarTypeId);

/// Words of the key `type`, and what a server has then.
const WORDS: [(&str, VariantScalarTypeId); 36] = [
    ("bool", VariantScalarTypeId::Boolean),
    ("i8", VariantScalarTypeId::SByte),
    ("u8", VariantScalarTypeId::Byte),
    ("i16", VariantScalarTypeId::Int16),
    ("u16", VariantScalarTypeId::UInt16),
    ("i32", VariantScalarTypeId::Int32),
    ("u32", VariantScalarTypeId::UInt32),
    ("i64", VariantScalarTypeId::Int64),
    ("u64", VariantScalarTypeId::UInt64),
    ("f32", VariantScalarTypeId::Float),
    ("f64", VariantScalarTypeId::Double),
    ("string", VariantScalarTypeId::String),
    ("bytes", VariantScalarTypeId::ByteString),
    ("datetime", VariantScalarTypeId::DateTime),
    ("localized_text", VariantScalarTypeId::LocalizedText),
    ("guid", VariantScalarTypeId::Guid),
    ("status", VariantScalarTypeId::StatusCode),
    ("enum", VariantScalarTypeId::Int32),
    ("Boolean", VariantScalarTypeId::Boolean),
    ("SByte", VariantScalarTypeId::SByte),
    ("Byte", VariantScalarTypeId::Byte),
    ("Int16", VariantScalarTypeId::Int16),
    ("UInt16", VariantScalarTypeId::UInt16),
    ("Int32", VariantScalarTypeId::Int32),
    ("UInt32", VariantScalarTypeId::UInt32),
    ("Int64", VariantScalarTypeId::Int64),
    ("UInt64", VariantScalarTypeId::UInt64),
    ("Float", VariantScalarTypeId::Float),
    ("Double", VariantScalarTypeId::Double),
    ("String", VariantScalarTypeId::String),
    ("ByteString", VariantScalarTypeId::ByteString),
    ("DateTime", VariantScalarTypeId::DateTime),
    ("LocalizedText", VariantScalarTypeId::LocalizedText),
    ("Guid", VariantScalarTypeId::Guid),
    ("StatusCode", VariantScalarTypeId::StatusCode),
    ("Enumeration", VariantScalarTypeId::Int32),
];

/// Integers are exact up to here in the floats that the motions calculate with.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Kind {
    /// A double.
    pub(crate) const DOUBLE: Kind = Kind(VariantScalarTypeId::Double);

    /// The type of a word of the key `type`.
    pub(crate) fn of_word(word: &str) -> Option<Kind> {
        WORDS.iter().find(|(known, _)| *known == word).map(|(_, id)| Kind(*id))
    }

    /// The type in an array variant.
    pub(crate) fn id(self) -> VariantScalarTypeId {
        self.0
    }

    /// The node of the data type.
    pub(crate) fn data_type(self) -> DataTypeId {
        use VariantScalarTypeId as Id;
        match self.0 {
            Id::Boolean => DataTypeId::Boolean,
            Id::SByte => DataTypeId::SByte,
            Id::Byte => DataTypeId::Byte,
            Id::Int16 => DataTypeId::Int16,
            Id::UInt16 => DataTypeId::UInt16,
            Id::Int32 => DataTypeId::Int32,
            Id::UInt32 => DataTypeId::UInt32,
            Id::Int64 => DataTypeId::Int64,
            Id::UInt64 => DataTypeId::UInt64,
            Id::Float => DataTypeId::Float,
            Id::Double => DataTypeId::Double,
            Id::DateTime => DataTypeId::DateTime,
            Id::Guid => DataTypeId::Guid,
            Id::ByteString => DataTypeId::ByteString,
            Id::LocalizedText => DataTypeId::LocalizedText,
            Id::StatusCode => DataTypeId::StatusCode,
            _ => DataTypeId::String,
        }
    }

    /// What it can hold.
    pub(crate) fn holds(self) -> Holds {
        use VariantScalarTypeId as Id;
        let (kind, low, high) = match self.0 {
            Id::Boolean => (ValueKind::Bool, 0.0, 1.0),
            Id::SByte => (ValueKind::Int, i8::MIN.into(), i8::MAX.into()),
            Id::Byte => (ValueKind::Uint, 0.0, u8::MAX.into()),
            Id::Int16 => (ValueKind::Int, i16::MIN.into(), i16::MAX.into()),
            Id::UInt16 => (ValueKind::Uint, 0.0, u16::MAX.into()),
            Id::Int32 => (ValueKind::Int, i32::MIN.into(), i32::MAX.into()),
            Id::UInt32 | Id::StatusCode => (ValueKind::Uint, 0.0, u32::MAX.into()),
            Id::Int64 => (ValueKind::Int, -EXACT, EXACT),
            Id::UInt64 => (ValueKind::Uint, 0.0, EXACT),
            Id::Float => (ValueKind::F32, f32::MIN.into(), f32::MAX.into()),
            Id::Double => (ValueKind::F64, f64::MIN, f64::MAX),
            Id::ByteString => (ValueKind::Bytes, f64::MIN, f64::MAX),
            _ => (ValueKind::Text, f64::MIN, f64::MAX),
        };
        Holds { kind, low, high }
    }

    /// Whether it is a number or a bit; the others say their tag's name or the time.
    pub(crate) fn is_number(self) -> bool {
        !matches!(self.holds().kind, ValueKind::Text | ValueKind::Bytes)
    }

    /// A number of the device as a value of the type: the nearest one.
    pub(crate) fn number(self, number: f64) -> Variant {
        use VariantScalarTypeId as Id;
        let Holds { low, high, .. } = self.holds();
        let whole = number.round().clamp(low, high);
        match self.0 {
            Id::Boolean => Variant::Boolean(number >= 0.5),
            Id::Float => Variant::Float(narrow(number)),
            Id::Double => Variant::Double(number),
            Id::SByte => Variant::SByte(integer(whole)),
            Id::Byte => Variant::Byte(integer(whole)),
            Id::Int16 => Variant::Int16(integer(whole)),
            Id::UInt16 => Variant::UInt16(integer(whole)),
            Id::Int32 => Variant::Int32(integer(whole)),
            Id::UInt32 => Variant::UInt32(integer(whole)),
            Id::Int64 => Variant::Int64(wide(whole)),
            Id::UInt64 => Variant::UInt64(integer(whole)),
            _ => Variant::Empty,
        }
    }

    /// What is no number: the time, or the text in the words of the type.
    pub(crate) fn text(self, text: &str, moment: Moment) -> Variant {
        use VariantScalarTypeId as Id;
        match self.0 {
            Id::DateTime => Variant::from(time(moment)),
            Id::ByteString => Variant::from(ByteString::from(text.as_bytes())),
            Id::LocalizedText => Variant::from(LocalizedText::from(text)),
            Id::Guid => Variant::from(Guid::null()),
            Id::StatusCode => Variant::StatusCode(StatusCode::Good),
            _ => Variant::String(UAString::from(text)),
        }
    }
}

/// The moment on the wall clock.
pub(crate) fn time(moment: Moment) -> DateTime {
    let millis = i64::try_from(moment.unix_millis).unwrap_or(i64::MAX);
    // Ticks of 100 ns from 1601-01-01 on (Part 6 §5.2.2.5).
    DateTime::from(millis.saturating_add(11_644_473_600_000).saturating_mul(10_000))
}

/// A whole number within the bounds of its type.
fn integer<T: TryFrom<i64> + Default>(whole: f64) -> T {
    T::try_from(wide(whole)).unwrap_or_default()
}

/// A whole number of at most 2^53.
#[expect(clippy::as_conversions, reason = "no `TryFrom` exists; the number is whole and within 2^53")]
fn wide(whole: f64) -> i64 {
    whole as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_becomes_the_nearest_of_its_type() {
        let of = |word: &str, number: f64| Kind::of_word(word).unwrap().number(number);
        assert_eq!(of("Byte", 300.0), Variant::Byte(255));
        assert_eq!(of("i16", -3.6), Variant::Int16(-4));
        assert_eq!(of("UInt64", 1e6), Variant::UInt64(1_000_000));
        assert_eq!(of("f32", 0.1), Variant::Float(0.1));
        assert_eq!(of("bool", 1.0), Variant::Boolean(true));
        assert!(Kind::of_word("complex").is_none());
    }

    #[test]
    fn a_time_is_counted_from_1601_in_ticks() {
        let moment = Moment { millis: 0, step: 0, unix_millis: 1_764_000_000_123 };
        assert_eq!(time(moment).as_chrono().timestamp_millis(), 1_764_000_000_123);
    }
}
