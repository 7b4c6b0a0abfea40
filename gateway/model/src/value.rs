//! What a tag can hold.

use std::{fmt, sync::Arc};

/// One value of one tag.
///
/// Integers keep every bit up to 64; a number read as 32-bit float stays one, so that it prints as the device meant it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// On or off.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A 32-bit float, every bit pattern.
    F32(f32),
    /// A 64-bit float, every bit pattern.
    F64(f64),
    /// Text, also the text of an enumeration.
    Text(Arc<str>),
    /// Bytes with a meaning that only the device and its user know.
    Bytes(Arc<[u8]>),
    /// Several values of one kind.
    Array(Arc<[Value]>),
}

/// The kind of a tag's values, fixed when the configuration is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// [`Value::Bool`].
    Bool,
    /// [`Value::Int`].
    Int,
    /// [`Value::Uint`].
    Uint,
    /// [`Value::F32`].
    F32,
    /// [`Value::F64`].
    F64,
    /// [`Value::Text`].
    Text,
    /// [`Value::Bytes`].
    Bytes,
}

/// The type of a tag: the kind of its values, and how many there are when it is an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// The kind of the value, or of an array's items.
    pub kind: ValueKind,
    /// Number of items when the tag is an array.
    pub items: Option<u32>,
}

impl ValueType {
    /// The type of a tag with one value.
    pub fn single(kind: ValueKind) -> ValueType {
        ValueType { kind, items: None }
    }
}

impl ValueKind {
    /// Every kind, in the order of its code.
    pub const ALL: [ValueKind; 7] = [
        ValueKind::Bool,
        ValueKind::Int,
        ValueKind::Uint,
        ValueKind::F32,
        ValueKind::F64,
        ValueKind::Text,
        ValueKind::Bytes,
    ];

    /// The code used on disk, 1 to 7. Codes are never given a new meaning.
    pub fn code(self) -> u8 {
        match self {
            ValueKind::Bool => 1,
            ValueKind::Int => 2,
            ValueKind::Uint => 3,
            ValueKind::F32 => 4,
            ValueKind::F64 => 5,
            ValueKind::Text => 6,
            ValueKind::Bytes => 7,
        }
    }

    /// The kind with that code, if there is one.
    pub fn from_code(code: u8) -> Option<ValueKind> {
        ValueKind::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether values of this kind are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, ValueKind::Int | ValueKind::Uint | ValueKind::F32 | ValueKind::F64)
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueKind::Bool => "bool",
            ValueKind::Int => "integer",
            ValueKind::Uint => "unsigned integer",
            ValueKind::F32 => "32-bit float",
            ValueKind::F64 => "64-bit float",
            ValueKind::Text => "text",
            ValueKind::Bytes => "bytes",
        })
    }
}

impl Value {
    /// The value as a 64-bit float: numbers (integers beyond 2^53 rounded) and bools (0 or 1); `None` for text, bytes and arrays.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Bool(on) => Some(f64::from(u8::from(*on))),
            Value::Int(number) => Some(int_to_f64(*number)),
            Value::Uint(number) => Some(uint_to_f64(*number)),
            Value::F32(number) => Some(f64::from(*number)),
            Value::F64(number) => Some(*number),
            Value::Text(_) | Value::Bytes(_) | Value::Array(_) => None,
        }
    }

    /// The same value to the last bit: unlike `==`, NaN is the same as itself and 0.0 differs from -0.0.
    pub fn same_as(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::F32(a), Value::F32(b)) => a.to_bits() == b.to_bits(),
            (Value::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits(),
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.same_as(b))
            }
            (a, b) => a == b,
        }
    }

    /// Bytes that the value takes on the heap, about; for the bounds of queues.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Value::Text(text) => text.len() + 16,
            Value::Bytes(bytes) => bytes.len() + 16,
            Value::Array(items) => 16 + items.iter().map(|item| size_of::<Value>() + item.heap_bytes()).sum::<usize>(),
            _ => 0,
        }
    }
}

/// The nearest 64-bit float.
#[expect(clippy::as_conversions, reason = "no `From` exists; rounding beyond 2^53 is what the caller asks for")]
fn int_to_f64(number: i64) -> f64 {
    number as f64
}

/// The nearest 64-bit float.
#[expect(clippy::as_conversions, reason = "no `From` exists; rounding beyond 2^53 is what the caller asks for")]
fn uint_to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sameness_is_by_bits_not_by_arithmetic() {
        assert!(Value::F64(f64::NAN).same_as(&Value::F64(f64::NAN)));
        assert!(!Value::F64(0.0).same_as(&Value::F64(-0.0)));
        assert!(!Value::Int(1).same_as(&Value::Uint(1)));
    }

    #[test]
    fn a_value_takes_24_bytes() {
        assert_eq!(size_of::<Value>(), 24);
    }
}
