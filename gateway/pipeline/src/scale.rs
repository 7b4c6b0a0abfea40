//! delivered = raw * scale + offset, and its inverse.
//!
//! Scale and offset are decimals, so they are kept as integers over one power of ten: with a scale of `0.1` the raw integer 2298
//! is 2298 / 10, which is the float nearest to 229.8. Multiplying by the float 0.1 would give 229.8 or its neighbour.

use std::{cmp::Ordering, iter::successors};

use tidegate_model::{Value, ValueKind};

use crate::{
    decimal::{Decimal, power_of_ten},
    number::{Number, float_to_integer, integer_ends, integer_to_float, integer_value, small_to_float, to_f32},
};

/// Integers below this are exact as 64-bit floats.
const EXACT: u128 = 1 << 53;
/// How far the inverse of a float may be from the raw float that gives it, in steps of the raw float.
const NEIGHBOURS: usize = 4;

/// A linear scaling: `(raw * factor + summand) / 10^places`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    factor: i128,
    summand: i128,
    places: u32,
    /// Factor and summand, when both are small.
    small: Option<(i64, i64)>,
    /// Factor, summand and `10^places` as floats; the last is exact.
    factor_float: f64,
    summand_float: f64,
    divisor: f64,
}

/// Why there is no raw number for a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NoRaw {
    /// The value lies between two that the device can hold, the lower one first.
    Between(Value, Value),
    /// The device's number has no room for it.
    OutOfReach,
}

impl Scale {
    /// A scaling with these decimals; the error is for a person.
    pub(crate) fn new(scale: &str, offset: &str) -> Result<Scale, String> {
        let read = |key: &str, text: &str| {
            Decimal::parse(text).ok_or_else(|| {
                format!("`{key}` has to be a decimal number of at most 18 digits and 22 places, but is {text}")
            })
        };
        let (scale, offset) = (read("scale", scale)?, read("offset", offset)?);
        if scale.digits == 0 {
            return Err("`scale` may not be 0".to_owned());
        }
        let places = scale.places.max(offset.places);
        let far_apart = || "`scale` and `offset` are too far apart to be calculated exactly".to_owned();
        let factor = scale.over(places).ok_or_else(far_apart)?;
        let summand = offset.over(places).ok_or_else(far_apart)?;
        // The largest raw integer must not overflow, so that no poll has to check.
        let largest = i128::from(u64::MAX).checked_mul(factor.abs()).and_then(|most| most.checked_add(summand.abs()));
        largest.ok_or_else(far_apart)?;
        Ok(Scale {
            factor,
            summand,
            places,
            small: i64::try_from(factor).ok().zip(i64::try_from(summand).ok()),
            factor_float: integer_to_float(factor),
            summand_float: integer_to_float(summand),
            divisor: power_of_ten(places).map(integer_to_float).ok_or_else(far_apart)?,
        })
    }

    /// Whether the delivered value is the raw one.
    pub(crate) fn is_identity(&self) -> bool {
        self.factor == 1 && self.summand == 0 && self.places == 0
    }

    /// The kind of the delivered values; `None` when raw values of this kind cannot be scaled.
    pub(crate) fn delivered(raw: ValueKind) -> Option<ValueKind> {
        match raw {
            ValueKind::Int | ValueKind::Uint | ValueKind::F64 => Some(ValueKind::F64),
            ValueKind::F32 => Some(ValueKind::F32),
            ValueKind::Bool | ValueKind::Text | ValueKind::Bytes => None,
        }
    }

    /// The delivered value; `None` when the raw one is no number.
    #[inline]
    pub(crate) fn apply(&self, raw: &Value) -> Option<Value> {
        match raw {
            Value::Int(raw) => Some(Value::F64(self.of_small(*raw).unwrap_or_else(|| self.of_integer((*raw).into())))),
            Value::Uint(raw) => {
                let small = i64::try_from(*raw).ok().and_then(|raw| self.of_small(raw));
                Some(Value::F64(small.unwrap_or_else(|| self.of_integer((*raw).into()))))
            }
            Value::F32(raw) => Some(Value::F32(to_f32(self.of_float(f64::from(*raw))))),
            Value::F64(raw) => Some(Value::F64(self.of_float(*raw))),
            Value::Array(items) => items.iter().map(|item| self.apply(item)).collect::<Option<_>>().map(Value::Array),
            Value::Bool(_) | Value::Text(_) | Value::Bytes(_) => None,
        }
    }

    /// The same as [`of_integer`](Self::of_integer) in 64 bits, where they are enough, as they nearly always are.
    #[inline]
    fn of_small(&self, raw: i64) -> Option<f64> {
        let (factor, summand) = self.small?;
        let numerator = raw.checked_mul(factor)?.checked_add(summand)?;
        (u128::from(numerator.unsigned_abs()) < EXACT).then(|| small_to_float(numerator) / self.divisor)
    }

    /// The float nearest to the exact decimal. `raw` is a 64-bit integer, which `new` has made sure not to overflow.
    #[inline]
    fn of_integer(&self, raw: i128) -> f64 {
        let numerator = raw.wrapping_mul(self.factor).wrapping_add(self.summand);
        if numerator.unsigned_abs() < EXACT {
            // Both are exact, and a division rounds once.
            integer_to_float(numerator) / self.divisor
        } else {
            self.of_large(numerator)
        }
    }

    /// Reading a decimal text rounds correctly, whatever its length.
    #[cold]
    fn of_large(&self, numerator: i128) -> f64 {
        let text = format!("{numerator}e-{}", self.places);
        text.parse().unwrap_or_else(|_| integer_to_float(numerator) / self.divisor)
    }

    #[inline]
    fn of_float(&self, raw: f64) -> f64 {
        (raw * self.factor_float + self.summand_float) / self.divisor
    }

    /// The raw number of this kind that gives `value`: [`apply`](Self::apply) of it is `value` again, or, when the device holds
    /// floats, the nearest it can hold.
    pub(crate) fn invert(&self, value: Number, raw: ValueKind) -> Result<Value, NoRaw> {
        let estimate = (value.to_float() * self.divisor - self.summand_float) / self.factor_float;
        match raw {
            ValueKind::F32 => self.invert_f32(to_f32(value.to_float()), to_f32(estimate)),
            ValueKind::F64 => self.invert_f64(value.to_float(), estimate),
            _ => self.invert_integer(value, estimate, raw),
        }
    }

    fn invert_integer(&self, value: Number, estimate: f64, kind: ValueKind) -> Result<Value, NoRaw> {
        let near = self.raw_near(value);
        if let Some((raw, true)) = near
            && let Some(exact) = integer_value(raw, kind)
        {
            return Ok(exact);
        }
        let near = near.map_or_else(|| float_to_integer(estimate.floor()), |(raw, _)| raw);
        // Near the end of the device's range the float may mean a decimal beyond it, and yet come from the end.
        let (lowest, highest) = integer_ends(kind).ok_or(NoRaw::OutOfReach)?;
        let candidates: Vec<(i128, f64)> = (-1..=2)
            .map(|step| near.saturating_add(step).clamp(lowest, highest))
            .map(|raw| (raw, self.of_integer(raw)))
            .collect();
        // Beyond 15 digits a delivered float may mean another decimal than the one it came from.
        if let Number::Float(number) = value
            && let Some((raw, _)) = candidates.iter().find(|(_, delivered)| delivered.to_bits() == number.to_bits())
        {
            return integer_value(*raw, kind).ok_or(NoRaw::OutOfReach);
        }
        let delivered = || candidates.iter().map(|(_, delivered)| *delivered);
        let is_below = |step: &f64| value.compare(*step) == Some(Ordering::Greater);
        let below = delivered().filter(is_below).max_by(f64::total_cmp);
        let above = delivered().filter(|step| !is_below(step)).min_by(f64::total_cmp);
        match (below, above) {
            (Some(below), Some(above)) => Err(NoRaw::Between(Value::F64(below), Value::F64(above))),
            _ => Err(NoRaw::OutOfReach),
        }
    }

    /// The raw integer by exact decimals, or one next to where it would be; whether it is exact. `None` when the decimal is too
    /// long or too large for that.
    fn raw_near(&self, value: Number) -> Option<(i128, bool)> {
        let decimal = match value {
            Number::Integer(number) => Decimal::of_integer(number),
            Number::Float(number) => Decimal::of_float(number)?,
        };
        let (numerator, whole) = if decimal.places <= self.places {
            (decimal.over(self.places)?, true)
        } else {
            (decimal.digits.div_euclid(power_of_ten(decimal.places - self.places)?), false)
        };
        let scaled = numerator.checked_sub(self.summand)?;
        Some((scaled.div_euclid(self.factor), whole && scaled.rem_euclid(self.factor) == 0))
    }

    fn invert_f32(&self, wanted: f32, estimate: f32) -> Result<Value, NoRaw> {
        let gives = |raw: &f32| to_f32(self.of_float(f64::from(*raw))).to_bits() == wanted.to_bits();
        let raw = steps_around(estimate, f32::next_down, f32::next_up).find(gives).unwrap_or(estimate);
        if raw.is_finite() && wanted.is_finite() { Ok(Value::F32(raw)) } else { Err(NoRaw::OutOfReach) }
    }

    fn invert_f64(&self, wanted: f64, estimate: f64) -> Result<Value, NoRaw> {
        let gives = |raw: &f64| self.of_float(*raw).to_bits() == wanted.to_bits();
        let raw = steps_around(estimate, f64::next_down, f64::next_up).find(gives).unwrap_or(estimate);
        if raw.is_finite() { Ok(Value::F64(raw)) } else { Err(NoRaw::OutOfReach) }
    }
}

/// `estimate` and a few steps in both directions.
fn steps_around<F: Copy>(estimate: F, down: impl Fn(F) -> F, up: impl Fn(F) -> F) -> impl Iterator<Item = F> {
    let steps = NEIGHBOURS + 1;
    let up = successors(Some(estimate), move |number| Some(up(*number))).take(steps);
    up.chain(successors(Some(estimate), move |number| Some(down(*number))).take(steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALINGS: [(&str, &str); 10] = [
        ("0.1", "0"),
        ("0.01", "0"),
        ("0.001", "-40"),
        ("2.5", "0"),
        ("-0.5", "-40"),
        ("1e-3", "0.05"),
        ("10", "0"),
        ("0.3", "0.1"),
        ("1", "-273.15"),
        ("0.000244140625", "1e3"),
    ];

    fn scale(scale: &str, offset: &str) -> Scale {
        Scale::new(scale, offset).unwrap()
    }

    fn delivered(scale: &Scale, raw: &Value) -> f64 {
        match scale.apply(raw) {
            Some(Value::F64(number)) => number,
            other => panic!("{other:?}"),
        }
    }

    /// The same calculation in whole numbers, and the standard library's rounding.
    fn expected(factor: &str, offset: &str, raw: i64) -> f64 {
        let (factor, offset) = (Decimal::parse(factor).unwrap(), Decimal::parse(offset).unwrap());
        let places = factor.places.max(offset.places);
        let sum = i128::from(raw) * factor.over(places).unwrap() + offset.over(places).unwrap();
        format!("{sum}e-{places}").parse().unwrap()
    }

    #[test]
    fn raw_integers_are_delivered_as_the_nearest_float_and_come_back() {
        for (factor, offset) in SCALINGS {
            let scale = scale(factor, offset);
            for raw in (i64::from(i16::MIN)..=i64::from(u16::MAX)).step_by(7) {
                let value = delivered(&scale, &Value::Int(raw));
                assert_eq!(value.to_bits(), expected(factor, offset, raw).to_bits(), "{raw} * {factor} + {offset}");
                assert_eq!(scale.invert(Number::Float(value), ValueKind::Int), Ok(Value::Int(raw)), "{value}");
            }
        }
    }

    #[test]
    fn large_integers_are_delivered_as_the_nearest_float_and_come_back_to_the_same_float() {
        let mut raw = 1_i64;
        for (factor, offset) in SCALINGS {
            let scale = scale(factor, offset);
            for _ in 0..2_000 {
                raw = raw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let raw = raw >> (raw & 63);
                let value = delivered(&scale, &Value::Int(raw));
                assert_eq!(value.to_bits(), expected(factor, offset, raw).to_bits(), "{raw} * {factor} + {offset}");
                let back = scale.invert(Number::Float(value), ValueKind::Int).unwrap();
                assert_eq!(delivered(&scale, &back).to_bits(), value.to_bits(), "{raw} * {factor} + {offset}");
            }
        }
        let scale = scale("0.1", "0");
        assert_eq!(delivered(&scale, &Value::Uint(u64::MAX)).to_bits(), 1_844_674_407_370_955_161.5_f64.to_bits());
    }

    #[test]
    fn a_value_between_two_steps_names_both() {
        let between = |low: f64, high: f64| Err(NoRaw::Between(Value::F64(low), Value::F64(high)));
        assert_eq!(scale("0.1", "0").invert(Number::Float(42.03), ValueKind::Int), between(42.0, 42.1));
        assert_eq!(scale("-0.5", "-40").invert(Number::Float(-40.2), ValueKind::Int), between(-40.5, -40.0));
        assert_eq!(scale("10", "0").invert(Number::Integer(42), ValueKind::Uint), between(40.0, 50.0));
        assert_eq!(scale("0.1", "0").invert(Number::Float(0.05), ValueKind::Uint), between(0.0, 0.1));
        assert_eq!(scale("0.1", "0").invert(Number::Float(1e-300), ValueKind::Int), between(0.0, 0.1));
    }

    #[test]
    fn a_value_beyond_the_number_of_the_device_is_out_of_reach() {
        let out_of_reach = Err(NoRaw::OutOfReach);
        assert_eq!(scale("0.1", "0").invert(Number::Float(-0.1), ValueKind::Uint), out_of_reach);
        assert_eq!(scale("0.1", "0").invert(Number::Float(1e18), ValueKind::Int), out_of_reach);
        assert_eq!(scale("0.1", "0").invert(Number::Float(1e300), ValueKind::Int), out_of_reach);
        assert_eq!(scale("1e-3", "0").invert(Number::Integer(i128::from(u64::MAX)), ValueKind::Uint), out_of_reach);
        assert_eq!(scale("0.1", "0").invert(Number::Float(1e300), ValueKind::F32), out_of_reach);
        assert_eq!(scale("1e-3", "0").invert(Number::Float(1e307), ValueKind::F64), out_of_reach);
    }

    #[test]
    fn floats_come_back_to_the_delivered_float() {
        let mut bits = 1_u32;
        for (factor, offset) in SCALINGS {
            let scale = scale(factor, offset);
            for _ in 0..5_000 {
                bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let raw = f32::from(i16::from_le_bytes([bits.to_le_bytes()[2], bits.to_le_bytes()[3]])) / 7.0;
                let Some(Value::F32(value)) = scale.apply(&Value::F32(raw)) else { panic!("{raw}") };
                let Ok(Value::F32(back)) = scale.invert(Number::Float(f64::from(value)), ValueKind::F32) else {
                    panic!("{value}")
                };
                let Some(Value::F32(again)) = scale.apply(&Value::F32(back)) else { panic!("{back}") };
                assert_eq!(again.to_bits(), value.to_bits(), "{raw} * {factor} + {offset}");

                let raw = f64::from(raw) / 3.0;
                let value = delivered(&scale, &Value::F64(raw));
                let back = scale.invert(Number::Float(value), ValueKind::F64).unwrap();
                assert_eq!(delivered(&scale, &back).to_bits(), value.to_bits(), "{raw} * {factor} + {offset}");
            }
        }
    }

    #[test]
    fn a_scaling_that_cannot_be_calculated_exactly_is_a_mistake() {
        assert_eq!(Scale::new("0", "0"), Err("`scale` may not be 0".to_owned()));
        assert_eq!(Scale::new("0.0", "0"), Err("`scale` may not be 0".to_owned()));
        assert!(Scale::new("ten", "0").unwrap_err().contains("but is ten"));
        assert!(Scale::new("1", "1e-99").is_err());
        assert!(Scale::new("1e22", "1e-22").unwrap_err().contains("too far apart"));
    }

    #[test]
    fn scaled_arrays_are_scaled_item_by_item() {
        let raw = Value::Array([Value::Int(1), Value::Int(25)].into());
        let delivered = Value::Array([Value::F64(0.1), Value::F64(2.5)].into());
        assert_eq!(scale("0.1", "0").apply(&raw), Some(delivered));
        assert_eq!(scale("0.1", "0").apply(&Value::Array([Value::Bool(true)].into())), None);
    }
}
