//! Numbers of different kinds, compared and converted without losing a bit by accident.

use std::cmp::Ordering;

use tidegate_model::{Value, ValueKind};

/// A number out of a [`Value`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// [`Value::Int`] or [`Value::Uint`].
    Integer(i128),
    /// [`Value::F32`] or [`Value::F64`].
    Float(f64),
}

impl Number {
    pub(crate) fn of(value: &Value) -> Option<Number> {
        match value {
            Value::Int(number) => Some(Number::Integer(i128::from(*number))),
            Value::Uint(number) => Some(Number::Integer(i128::from(*number))),
            Value::F32(number) => Some(Number::Float(f64::from(*number))),
            Value::F64(number) => Some(Number::Float(*number)),
            Value::Bool(_) | Value::Text(_) | Value::Bytes(_) | Value::Array(_) => None,
        }
    }

    /// The nearest 64-bit float.
    pub(crate) fn to_float(self) -> f64 {
        match self {
            Number::Integer(number) => integer_to_float(number),
            Number::Float(number) => number,
        }
    }

    /// Exact comparison; `None` when one of the two is NaN.
    pub(crate) fn compare(self, limit: f64) -> Option<Ordering> {
        match self {
            Number::Float(number) => number.partial_cmp(&limit),
            Number::Integer(_) if limit.is_nan() => None,
            Number::Integer(number) => {
                // Saturates beyond any 64-bit integer; equal whole parts leave the fraction to decide.
                let whole = float_to_integer(limit.floor());
                Some(number.cmp(&whole).then(limit.floor().total_cmp(&limit)))
            }
        }
    }
}

/// The integer as the device's kind of number, if that has room for it.
pub(crate) fn integer_value(number: i128, kind: ValueKind) -> Option<Value> {
    match kind {
        ValueKind::Int => i64::try_from(number).ok().map(Value::Int),
        ValueKind::Uint => u64::try_from(number).ok().map(Value::Uint),
        _ => None,
    }
}

/// The smallest and the largest integer of the kind.
pub(crate) fn integer_ends(kind: ValueKind) -> Option<(i128, i128)> {
    match kind {
        ValueKind::Int => Some((i128::from(i64::MIN), i128::from(i64::MAX))),
        ValueKind::Uint => Some((0, i128::from(u64::MAX))),
        _ => None,
    }
}

/// The integer part, saturating; 0 for NaN.
#[expect(clippy::as_conversions, reason = "no `From` exists; `as` truncates and saturates, which is what is wanted")]
pub(crate) fn float_to_integer(number: f64) -> i128 {
    number as i128
}

/// The nearest 64-bit float.
#[expect(clippy::as_conversions, reason = "no `From` exists; rounding to the nearest is what is wanted")]
pub(crate) fn integer_to_float(number: i128) -> f64 {
    number as f64
}

/// The nearest 64-bit float.
#[inline]
#[expect(clippy::as_conversions, reason = "no `From` exists; rounding to the nearest is what is wanted")]
pub(crate) fn small_to_float(number: i64) -> f64 {
    number as f64
}

/// The nearest 32-bit float; infinite beyond their range.
#[inline]
#[expect(clippy::as_conversions, reason = "no `From` exists; rounding to the nearest is what is wanted")]
pub(crate) fn to_f32(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_beyond_the_precision_of_floats_compare_exactly() {
        let limit = 9_007_199_254_740_992.0;
        assert_eq!(Number::Integer(9_007_199_254_740_993).compare(limit), Some(Ordering::Greater));
        assert_eq!(Number::Integer(9_007_199_254_740_992).compare(limit), Some(Ordering::Equal));
        assert_eq!(Number::Integer(9_007_199_254_740_991).compare(limit), Some(Ordering::Less));
        assert_eq!(Number::Integer(i128::from(u64::MAX)).compare(f64::INFINITY), Some(Ordering::Less));
        assert_eq!(Number::Integer(i128::from(i64::MIN)).compare(f64::NEG_INFINITY), Some(Ordering::Greater));
    }

    #[test]
    fn a_fraction_decides_between_equal_whole_parts() {
        assert_eq!(Number::Integer(2).compare(2.5), Some(Ordering::Less));
        assert_eq!(Number::Integer(3).compare(2.5), Some(Ordering::Greater));
        assert_eq!(Number::Integer(-2).compare(-2.5), Some(Ordering::Greater));
        assert_eq!(Number::Integer(-3).compare(-2.5), Some(Ordering::Less));
        assert_eq!(Number::Integer(2).compare(f64::NAN), None);
        assert_eq!(Number::Integer(0).compare(-0.0), Some(Ordering::Equal));
    }
}
