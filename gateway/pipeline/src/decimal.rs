//! Decimal numbers as a profile writes them, exactly.

/// A decimal number: `digits / 10^places`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) digits: i128,
    pub(crate) places: u32,
}

/// Significant digits of a decimal: what an `i64` has room for.
const MAX_DIGITS: usize = 18;
/// Places behind the point, and zeros before it. Powers of ten up to the 22nd are exact as 64-bit floats.
const MAX_PLACES: u32 = 22;

impl Decimal {
    /// Reads `0.1`, `-40`, `1e-3` or `1_000.5`, as TOML writes floats and decimal integers.
    ///
    /// `None` when it is something else, or has more than 18 digits or 22 places.
    pub(crate) fn parse(text: &str) -> Option<Decimal> {
        let text = text.trim().replace('_', "");
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text.as_str(), 0),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = all.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return Some(Decimal { digits: 0, places: 0 });
        }
        if significant.len() > MAX_DIGITS {
            return None;
        }
        // Trailing zeros of the digits move into the exponent, so that equal numbers are equal.
        let zeros = i32::try_from(all.len() - all.trim_end_matches('0').len()).ok()?;
        let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(zeros)?;
        let digits: i128 = significant.parse().ok()?;
        let digits = if negative { -digits } else { digits };
        let shift = exponent.unsigned_abs();
        if shift > MAX_PLACES {
            return None;
        }
        if exponent < 0 {
            Some(Decimal { digits, places: shift })
        } else {
            Some(Decimal { digits: digits.checked_mul(power_of_ten(shift)?)?, places: 0 })
        }
    }

    /// The numerator over `10^places`, if it is exact there and not too large.
    pub(crate) fn over(self, places: u32) -> Option<i128> {
        self.digits.checked_mul(power_of_ten(places.checked_sub(self.places)?)?)
    }

    /// The decimal that a float means: the one with the fewest digits that gives the float again.
    pub(crate) fn of_float(number: f64) -> Option<Decimal> {
        Decimal::parse(&format!("{number:e}"))
    }

    pub(crate) fn of_integer(number: i128) -> Decimal {
        Decimal { digits: number, places: 0 }
    }
}

/// Ten to the power of `exponent`, if an `i128` has room for it.
pub(crate) fn power_of_ten(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(i128, u32)> {
        Decimal::parse(text).map(|decimal| (decimal.digits, decimal.places))
    }

    #[test]
    fn decimals_are_read_exactly() {
        assert_eq!(parsed("0.1"), Some((1, 1)));
        assert_eq!(parsed("-40"), Some((-40, 0)));
        assert_eq!(parsed("+2.50"), Some((25, 1)));
        assert_eq!(parsed("1e-3"), Some((1, 3)));
        assert_eq!(parsed("1_000.5E+2"), Some((100_050, 0)));
        assert_eq!(parsed("12.5e1"), Some((125, 0)));
        assert_eq!(parsed("0.000"), Some((0, 0)));
        assert_eq!(parsed("-0.0"), Some((0, 0)));
        assert_eq!(parsed("100"), Some((100, 0)));
        assert_eq!(parsed("123456789012345678"), Some((123_456_789_012_345_678, 0)));
    }

    #[test]
    fn what_is_no_decimal_or_too_fine_is_refused() {
        for text in ["", ".", "-", "e5", "1e", "1.2.3", "inf", "nan", "0x10", "1e-23", "1e23", "1e99999999999", "１"] {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert_eq!(parsed("1234567890123456789"), None);
    }

    #[test]
    fn a_float_means_its_shortest_decimal() {
        assert_eq!(Decimal::of_float(229.8), Some(Decimal { digits: 2298, places: 1 }));
        assert_eq!(Decimal::of_float(-0.001), Some(Decimal { digits: -1, places: 3 }));
        assert_eq!(Decimal::of_float(1e21), Some(Decimal { digits: 1_000_000_000_000_000_000_000, places: 0 }));
        assert_eq!(Decimal::of_float(f64::NAN), None);
    }
}
