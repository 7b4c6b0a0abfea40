//! Numbers by which a device says that it has no value.

use tidegate_config::RawNumber;
use tidegate_model::{Value, ValueKind};

use crate::number::{Number, integer_value, to_f32};

/// The raw numbers of one tag that are no value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Invalid {
    numbers: Box<[Number]>,
    /// Whether NaN is one of them, which is equal to nothing.
    nan: bool,
}

impl Invalid {
    /// `numbers` as [`in_kind`] has made them.
    pub(crate) fn new(numbers: Vec<Number>) -> Invalid {
        let nan = numbers.iter().any(|number| is_nan(*number));
        Invalid { numbers: numbers.into(), nan }
    }

    /// Whether the raw value, or an item of the array, is no value. Any NaN is one if one is.
    pub(crate) fn contains(&self, raw: &Value) -> bool {
        match (raw, Number::of(raw)) {
            (Value::Array(items), _) => items.iter().any(|item| self.contains(item)),
            (_, Some(number)) => self.numbers.contains(&number) || (self.nan && is_nan(number)),
            (_, None) => false,
        }
    }

    /// Whether the number is one of these already.
    pub(crate) fn is_among(number: Number, numbers: &[Number]) -> bool {
        numbers.contains(&number) || (is_nan(number) && numbers.iter().any(|known| is_nan(*known)))
    }
}

/// The number as a device with numbers of this kind holds it; `None` when it never does.
///
/// A number with a fraction is the nearest float of that width: whoever writes -999.9 means the device's -999.9.
pub(crate) fn in_kind(number: RawNumber, kind: ValueKind) -> Option<Number> {
    match (number, kind) {
        (RawNumber::Integer(number), ValueKind::Int | ValueKind::Uint) => {
            integer_value(number, kind).map(|_| Number::Integer(number))
        }
        (RawNumber::Integer(number), ValueKind::F32 | ValueKind::F64) => {
            let nearest = in_width(Number::Integer(number).to_float(), kind);
            (Number::Integer(number).compare(nearest)?.is_eq()).then_some(Number::Float(nearest))
        }
        (RawNumber::Float(number), ValueKind::F32 | ValueKind::F64) => {
            let nearest = in_width(number, kind);
            (nearest.is_finite() == number.is_finite()).then_some(Number::Float(nearest))
        }
        (RawNumber::Float(_), ValueKind::Int | ValueKind::Uint)
        | (_, ValueKind::Bool | ValueKind::Text | ValueKind::Bytes) => None,
    }
}

fn in_width(number: f64, kind: ValueKind) -> f64 {
    if kind == ValueKind::F32 { f64::from(to_f32(number)) } else { number }
}

fn is_nan(number: Number) -> bool {
    matches!(number, Number::Float(number) if number.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid(numbers: &[RawNumber], kind: ValueKind) -> Invalid {
        Invalid::new(numbers.iter().map(|number| in_kind(*number, kind).unwrap()).collect())
    }

    #[test]
    fn a_number_is_compared_as_the_device_holds_it() {
        let int = invalid(&[RawNumber::Integer(-32768), RawNumber::Integer(32767)], ValueKind::Int);
        assert!(int.contains(&Value::Int(-32768)) && int.contains(&Value::Int(32767)));
        assert!(!int.contains(&Value::Int(-32767)) && !int.contains(&Value::Int(0)));
        let uint = invalid(&[RawNumber::Integer(u64::MAX.into())], ValueKind::Uint);
        assert!(uint.contains(&Value::Uint(u64::MAX)) && !uint.contains(&Value::Uint(u64::MAX - 1)));
        let single = invalid(&[RawNumber::Float(-999.9), RawNumber::Float(3.402_823_5e38)], ValueKind::F32);
        assert!(single.contains(&Value::F32(-999.9)) && single.contains(&Value::F32(f32::MAX)));
        assert!(!single.contains(&Value::F32((-999.9_f32).next_up())) && !single.contains(&Value::F32(f32::NAN)));
        let double = invalid(&[RawNumber::Integer(-9999)], ValueKind::F64);
        assert!(double.contains(&Value::F64(-9999.0)) && !double.contains(&Value::F64(-9999.1)));
    }

    #[test]
    fn every_bit_pattern_of_nan_is_nan() {
        let invalid = invalid(&[RawNumber::Float(f64::NAN)], ValueKind::F32);
        for bits in [0x7FC0_0000, 0xFFC0_0000, 0x7FA0_0001, 0xFFFF_FFFF] {
            assert!(invalid.contains(&Value::F32(f32::from_bits(bits))), "{bits:x}");
        }
        assert!(!invalid.contains(&Value::F32(f32::INFINITY)) && !invalid.contains(&Value::F32(0.0)));
    }

    #[test]
    fn the_infinities_are_two() {
        let invalid = invalid(&[RawNumber::Float(f64::NEG_INFINITY)], ValueKind::F64);
        assert!(invalid.contains(&Value::F64(f64::NEG_INFINITY)) && !invalid.contains(&Value::F64(f64::INFINITY)));
    }

    #[test]
    fn one_item_makes_an_array_invalid() {
        let invalid = invalid(&[RawNumber::Integer(0xFFFF)], ValueKind::Uint);
        let array = |items: [u64; 3]| Value::Array(items.map(Value::Uint).into());
        assert!(invalid.contains(&array([1, 2, 0xFFFF])) && !invalid.contains(&array([1, 2, 3])));
    }

    #[test]
    fn what_a_kind_never_holds_is_told() {
        for (number, kind) in [
            (RawNumber::Integer(-1), ValueKind::Uint),
            (RawNumber::Integer(1 << 63), ValueKind::Int),
            (RawNumber::Float(1.0), ValueKind::Int),
            (RawNumber::Float(f64::NAN), ValueKind::Uint),
            (RawNumber::Integer(16_777_217), ValueKind::F32),
            (RawNumber::Integer((1 << 53) + 1), ValueKind::F64),
            (RawNumber::Float(1e39), ValueKind::F32),
            (RawNumber::Integer(1), ValueKind::Bool),
            (RawNumber::Integer(1), ValueKind::Text),
        ] {
            assert_eq!(in_kind(number, kind), None, "{number} {kind}");
        }
    }
}
