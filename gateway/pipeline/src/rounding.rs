//! A tag that need not be exact is delivered on a decimal grid: there is less to keep of it, and every sample stays.
//!
//! The grid is the coarsest one with steps of 1, 2 or 5 times a power of ten whose nearest point is never farther away than the
//! error: with an error of 0.05 the steps are 0.1. A point of the grid is the float nearest to its decimal, which lies a little
//! beside it, so each point is compared with the value before it is taken. Where none is near enough, the value stays.

use tidegate_model::{Slot, Value};

use crate::{
    decimal::{Decimal, power_of_ten},
    number::{float_to_integer, integer_to_float, to_f32},
};

/// Integers below this are exact as 64-bit floats.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// The largest and the smallest power of ten of a step; errors end at 1e15 and 1e-15.
const EXPONENTS: std::ops::RangeInclusive<i32> = -16..=16;

/// How far a value may be moved, and onto which grid.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rounding {
    /// The error, or the float below it.
    error: f64,
    /// The step of the grid is `numerator / divisor`, both exact.
    numerator: f64,
    divisor: f64,
    /// The step of the grid for integers, and how far they may be moved.
    step: i128,
    whole_error: i128,
}

impl Rounding {
    /// A rounding by at most this decimal; the error is for a person.
    pub(crate) fn new(error: &str) -> Result<Rounding, String> {
        let decimal = largest_error(error)?;
        let not_above = below(error, decimal)?;
        let whole_error = power_of_ten(decimal.places).map_or(0, |one| decimal.digits / one);
        let steps = || EXPONENTS.rev().flat_map(|exponent| [5, 2, 1].map(|digit| (digit, exponent)));
        let step = steps().find(|(digit, exponent)| is_at_most_twice(*digit, *exponent, decimal));
        let (digit, exponent) = step.ok_or_else(|| format!("`error` is too small: {error}"))?;
        let power = |exponent: i32| power_of_ten(exponent.unsigned_abs()).unwrap_or(1);
        let (numerator, divisor) = if exponent < 0 { (digit, power(exponent)) } else { (digit * power(exponent), 1) };
        // Halves of odd steps do not occur among integers: on a grid of 5 they move by 2 at most.
        let whole_steps =
            steps().filter(|(_, exponent)| *exponent >= 0).map(|(digit, exponent)| digit * power(exponent));
        Ok(Rounding {
            error: not_above,
            numerator: integer_to_float(numerator),
            divisor: integer_to_float(divisor),
            step: whole_steps.into_iter().find(|step| step / 2 <= whole_error).unwrap_or(1),
            whole_error,
        })
    }

    /// Whether integers are rounded at all.
    pub(crate) fn moves_integers(&self) -> bool {
        self.step > 1
    }

    /// Rounds the value of a slot, also a doubtful one.
    #[inline]
    pub(crate) fn apply(&self, slot: &mut Slot) {
        if let Slot::Good(value) | Slot::Uncertain(value, _) = slot {
            self.round(value);
        }
    }

    fn round(&self, value: &mut Value) {
        match value {
            Value::F32(number) => *number = self.single(*number),
            Value::F64(number) => *number = self.double(*number),
            Value::Int(number) => *number = self.integer((*number).into()).unwrap_or(*number),
            Value::Uint(number) => *number = self.integer((*number).into()).unwrap_or(*number),
            Value::Array(items) => {
                let rounded = |item: &Value| {
                    let mut item = item.clone();
                    self.round(&mut item);
                    item
                };
                *items = items.iter().map(rounded).collect();
            }
            Value::Bool(_) | Value::Text(_) | Value::Bytes(_) => {}
        }
    }

    fn double(&self, number: f64) -> f64 {
        self.near_point(number, |point| point).unwrap_or(number)
    }

    fn single(&self, number: f32) -> f32 {
        self.near_point(number.into(), |point| f64::from(to_f32(point))).map_or(number, to_f32)
    }

    /// The nearest point of the grid, or the one on the other side of the number, as the type has it; `None` where the grid is finer
    /// than floats are, where both are too far, and for NaN and the infinities.
    #[inline]
    fn near_point(&self, number: f64, as_typed: impl Fn(f64) -> f64) -> Option<f64> {
        let steps = (number * self.divisor / self.numerator).round_ties_even();
        let point = as_typed(self.point(steps)?);
        if self.is_near(point, number) {
            return Some(point);
        }
        let other = as_typed(self.point(if point > number { steps - 1.0 } else { steps + 1.0 })?);
        self.is_near(other, number).then_some(other)
    }

    /// The float nearest to the decimal that is so many steps from zero, which itself has no sign.
    #[inline]
    fn point(&self, steps: f64) -> Option<f64> {
        let numerator = steps * self.numerator;
        // Below, the product is exact, and a division rounds once. Not so for NaN.
        (numerator.abs() < EXACT).then(|| numerator / self.divisor + 0.0)
    }

    /// Whether the two are not farther apart than the error, to the last bit.
    #[inline]
    fn is_near(&self, a: f64, b: f64) -> bool {
        let difference = a - b;
        if difference.abs() != self.error {
            // Rounding the difference never takes it across the error, which is a float itself.
            return difference.abs() < self.error;
        }
        let back = difference - a;
        let cut_off = (a - (difference - back)) - (b + back);
        cut_off == 0.0 || (cut_off > 0.0) != (difference > 0.0)
    }

    /// The nearest number of the grid for integers that the type has room for.
    fn integer<T: TryFrom<i128>>(&self, number: i128) -> Option<T> {
        if !self.moves_integers() {
            return None;
        }
        let rest = number.rem_euclid(self.step);
        let (below, above) = (number - rest, number - rest + self.step);
        let is_even = (below / self.step) % 2 == 0;
        let down = rest * 2 < self.step || (rest * 2 == self.step && is_even);
        let points = if down { [below, above] } else { [above, below] };
        points
            .into_iter()
            .filter(|point| (point - number).abs() <= self.whole_error)
            .find_map(|point| T::try_from(point).ok())
    }
}

/// The decimal of an error. The error is for a person.
pub(crate) fn largest_error(error: &str) -> Result<Decimal, String> {
    let decimal = Decimal::parse(error).ok_or_else(|| {
        format!("`error` has to be a decimal number of at most 18 digits and 22 places, but is {error}")
    })?;
    if decimal.digits <= 0 {
        return Err(format!("`error` is a distance above 0 and cannot be {error}"));
    }
    Ok(decimal)
}

/// The decimal as a float, or one below it: nobody who compares with the decimal finds a value farther off.
pub(crate) fn below(error: &str, decimal: Decimal) -> Result<f64, String> {
    let nearest: f64 = error.parse().map_err(|_| format!("`error` has to be a decimal number, but is {error}"))?;
    let fives = 5_i128.checked_pow(decimal.places).filter(|fives| decimal.digits % fives == 0);
    // What is left above the fives is over a power of two.
    let is_exact = fives.is_some_and(|fives| decimal.digits / fives <= float_to_integer(EXACT));
    Ok(if is_exact { nearest } else { nearest.next_down() })
}

/// Whether `digit * 10^exponent` is at most twice the decimal. What has no room in an integer is not.
fn is_at_most_twice(digit: i128, exponent: i32, decimal: Decimal) -> bool {
    let twice = decimal.digits.saturating_mul(2);
    let (one, power) = (power_of_ten(decimal.places), power_of_ten(exponent.unsigned_abs()));
    let (Some(one), Some(power)) = (one, power) else { return false };
    let (step, twice) = if exponent < 0 {
        (digit.checked_mul(one), twice.saturating_mul(power))
    } else {
        (digit.checked_mul(power).and_then(|step| step.checked_mul(one)), twice)
    };
    step.is_some_and(|step| step <= twice)
}

#[cfg(test)]
mod tests {
    use tidegate_model::Reason;

    use super::*;
    use crate::testing::Dice;

    fn rounding(error: &str) -> Rounding {
        Rounding::new(error).unwrap()
    }

    fn rounded(error: &str, value: Value) -> Value {
        let mut slot = Slot::Good(value);
        rounding(error).apply(&mut slot);
        slot.value().unwrap().clone()
    }

    #[test]
    fn the_grid_is_the_coarsest_one_within_the_error() {
        let steps = [
            ("0.05", 0.1),
            ("0.049", 0.05),
            ("0.1", 0.2),
            ("0.24", 0.2),
            ("0.25", 0.5),
            ("0.3", 0.5),
            ("0.5", 1.0),
            ("7", 10.0),
            ("1e3", 2000.0),
            ("1e-15", 2e-15),
            ("1e15", 2e15),
            ("0.000123456789012345", 0.0002),
        ];
        for (error, step) in steps {
            let rounding = rounding(error);
            assert_eq!(rounding.numerator / rounding.divisor, step, "{error}");
        }
        let whole =
            [("0.5", 1), ("0.99", 1), ("1", 2), ("2", 5), ("4.9", 5), ("5", 10), ("10", 20), ("24", 20), ("25", 50)];
        for (error, step) in whole {
            assert_eq!(rounding(error).step, step, "{error}");
        }
    }

    #[test]
    fn a_value_goes_to_the_nearest_point_and_is_the_float_of_its_decimal() {
        assert_eq!(rounded("0.05", Value::F64(229.8371)), Value::F64(229.8));
        assert_eq!(rounded("0.05", Value::F64(-229.8671)), Value::F64(-229.9));
        assert_eq!(rounded("0.05", Value::F32(229.8371)), Value::F32(229.8));
        assert_eq!(rounded("0.25", Value::F64(0.74)), Value::F64(0.5));
        assert_eq!(rounded("50", Value::F64(149.0)), Value::F64(100.0));
        assert_eq!(rounded("2", Value::Int(-13)), Value::Int(-15));
        assert_eq!(rounded("5", Value::Uint(1_234)), Value::Uint(1_230));
        assert_eq!(rounded("0.9", Value::Uint(1_234)), Value::Uint(1_234), "integers are whole");
        let array = |items: [f64; 2]| Value::Array(items.map(Value::F64).into());
        assert_eq!(rounded("0.5", array([1.2, 2.9])), array([1.0, 3.0]));
    }

    #[test]
    fn what_is_no_number_or_beyond_the_grid_stays_to_the_last_bit() {
        let stays = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e17, f64::MAX, f64::MIN, 9.007_199_254_740_993e15];
        for number in stays {
            assert!(rounded("0.05", Value::F64(number)).same_as(&Value::F64(number)), "{number}");
        }
        let nan = f32::from_bits(0x7FA0_0001);
        assert!(rounded("0.05", Value::F32(nan)).same_as(&Value::F32(nan)));
        for number in [f32::MAX, f32::INFINITY, 1e9 + 64.0] {
            assert!(rounded("0.05", Value::F32(number)).same_as(&Value::F32(number)), "{number}");
        }
        assert_eq!(rounded("0.05", Value::Bool(true)), Value::Bool(true));
    }

    #[test]
    fn what_is_rounded_to_zero_has_no_sign() {
        assert!(rounded("0.05", Value::F64(-0.01)).same_as(&Value::F64(0.0)));
        assert!(rounded("0.05", Value::F32(-0.0)).same_as(&Value::F32(0.0)));
    }

    #[test]
    fn a_doubtful_value_is_rounded_too_and_a_bad_slot_stays() {
        let mut slot = Slot::Uncertain(Value::F64(1.23), Reason::OutOfRange);
        rounding("0.05").apply(&mut slot);
        assert_eq!(slot, Slot::Uncertain(Value::F64(1.2), Reason::OutOfRange));
        let mut slot = Slot::Bad(Reason::Timeout);
        rounding("0.05").apply(&mut slot);
        assert_eq!(slot, Slot::Bad(Reason::Timeout));
    }

    #[test]
    fn integers_at_the_ends_of_their_type_go_to_the_point_that_is_there() {
        for number in [i64::MAX, i64::MAX - 1, i64::MIN, i64::MIN + 3] {
            let Value::Int(after) = rounded("10", Value::Int(number)) else { panic!() };
            assert!(after.abs_diff(number) <= 10, "{number} became {after}");
        }
        assert_eq!(rounded("5", Value::Uint(u64::MAX)), Value::Uint(u64::MAX - 5));
        assert_eq!(rounded("1e15", Value::Uint(1)), Value::Uint(0));
    }

    /// The float as a whole number of some power of two.
    fn parts(number: f64) -> (i128, i32) {
        let bits = number.to_bits();
        let exponent = i32::try_from((bits >> 52) & 0x7FF).unwrap();
        let fraction = i128::from(bits & ((1 << 52) - 1));
        let (whole, exponent) = if exponent == 0 { (fraction, -1074) } else { (fraction | (1 << 52), exponent - 1075) };
        (if number < 0.0 { -whole } else { whole }, exponent)
    }

    /// Whether |a - b| <= error, in whole numbers.
    fn is_within(a: f64, b: f64, error: f64) -> bool {
        let parts = [a, b, error].map(parts);
        let lowest = parts.iter().filter(|(whole, _)| *whole != 0).map(|(_, exponent)| *exponent).min().unwrap();
        let [a, b, error] = parts.map(|(whole, exponent)| match whole {
            0 => 0,
            _ => {
                assert!(exponent - lowest < 72, "too far apart for this test");
                whole << (exponent - lowest)
            }
        });
        (a - b).abs() <= error
    }

    #[test]
    fn the_error_is_held_to_the_last_bit_by_floats_of_both_widths_and_all_magnitudes() {
        let mut dice = Dice::new(7);
        let (mut kept, mut moved) = (0, 0);
        for error in ["0.05", "0.1", "0.003", "0.25", "2", "700", "1e-9", "1e9"] {
            let rounding = rounding(error);
            for _ in 0..60_000 {
                let magnitude = 10_f64.powf(dice.between(-3.0, 9.0));
                let scale = rounding.error;
                // Half of them just beside the middle between two points, where it is closest.
                let number = match dice.below(2) {
                    0 => dice.between(-magnitude, magnitude) * scale,
                    _ => ((dice.between(-magnitude, magnitude).round() + 0.5) * rounding.numerator) / rounding.divisor,
                };
                let after = rounding.double(number);
                assert!(
                    after == number || is_within(after, number, rounding.error),
                    "{error}: {number} became {after}"
                );
                let single = to_f32(number);
                let after = rounding.single(single);
                let near = is_within(f64::from(after), f64::from(single), rounding.error);
                assert!(after == single || near, "{error}: {single} became {after}");
                if after == single { kept += 1 } else { moved += 1 }
            }
        }
        assert!(moved > kept, "{moved} of {} were moved", moved + kept);
    }

    #[test]
    fn a_float_that_stands_for_an_error_is_never_above_it() {
        // 0.05 as a float is a little more than the decimal, 0.1 too, 0.3 a little less; halves are exact.
        for (error, float) in [("0.05", 0.05_f64.next_down()), ("0.1", 0.1_f64.next_down()), ("0.5", 0.5), ("3", 3.0)] {
            assert_eq!(rounding(error).error, float, "{error}");
        }
        assert!(rounding("0.3").error <= 0.3);
    }

    #[test]
    fn rounding_again_changes_nothing() {
        let mut dice = Dice::new(11);
        for error in ["0.05", "0.007", "3"] {
            let rounding = rounding(error);
            for _ in 0..10_000 {
                let once = rounding.double(dice.between(-1e4, 1e4));
                assert_eq!(rounding.double(once).to_bits(), once.to_bits());
            }
        }
    }

    #[test]
    fn an_error_that_is_no_distance_is_refused() {
        for error in ["0", "-0.1", "nan", "inf", "", "1e-30", "0.0000000000000000000001"] {
            assert!(Rounding::new(error).is_err(), "{error}");
        }
    }
}
