//! What is outside of the plausible range is uncertain.

use std::cmp::Ordering;

use tidegate_config as config;
use tidegate_model::Value;

use crate::number::{Number, to_f32};

/// The plausible values of a tag, ends included.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Range {
    low: f64,
    high: f64,
    /// The same as the device would hold them: the 32-bit 0.1 is above the 64-bit 0.1.
    low_f32: f32,
    high_f32: f32,
}

impl Range {
    pub(crate) fn new(range: config::Range) -> Range {
        let config::Range { low, high } = range;
        Range { low, high, low_f32: to_f32(low), high_f32: to_f32(high) }
    }

    /// Whether the value, or every item of an array, is plausible. NaN never is.
    #[inline]
    pub(crate) fn contains(&self, value: &Value) -> bool {
        match value {
            Value::F32(number) => (self.low_f32..=self.high_f32).contains(number),
            Value::F64(number) => (self.low..=self.high).contains(number),
            Value::Array(items) => items.iter().all(|item| self.contains(item)),
            other => Number::of(other).is_none_or(|number| {
                number.compare(self.low).is_some_and(Ordering::is_ge)
                    && number.compare(self.high).is_some_and(Ordering::is_le)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(low: f64, high: f64) -> Range {
        Range::new(config::Range { low, high })
    }

    #[test]
    fn both_ends_are_plausible() {
        let range = range(0.1, 500.0);
        for value in [Value::F32(0.1), Value::F64(0.1), Value::F32(500.0), Value::Int(500), Value::Uint(1)] {
            assert!(range.contains(&value), "{value:?}");
        }
        for value in [Value::F32(0.09), Value::F64(500.1), Value::Int(0), Value::Uint(501), Value::Int(-1)] {
            assert!(!range.contains(&value), "{value:?}");
        }
    }

    #[test]
    fn nan_and_infinity_are_implausible() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!range(-1e300, 1e300).contains(&Value::F64(value)));
            assert!(!range(-1e30, 1e30).contains(&Value::F32(to_f32(value))));
        }
    }

    #[test]
    fn one_implausible_item_makes_an_array_implausible() {
        let array = |items: &[i64]| Value::Array(items.iter().map(|item| Value::Int(*item)).collect());
        assert!(range(0.0, 10.0).contains(&array(&[0, 10])));
        assert!(!range(0.0, 10.0).contains(&array(&[0, 11])));
    }
}
