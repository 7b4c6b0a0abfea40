//! From the device's number to the delivered one and back, exact in decimals.

use tidegate_config::Scaling;
use tidegate_model::Value;

/// delivered = raw * scale + offset.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    /// scale and offset as integers over the same power of ten, where they are decimals of sensible length.
    decimal: Option<(i128, i128, u32)>,
    scale: f64,
    offset: f64,
}

impl Scale {
    /// From the decimal texts of the profile. A text that is no number leaves the value as it is.
    pub(crate) fn new(scaling: &Scaling) -> Scale {
        let number = |text: &str, otherwise: f64| text.replace('_', "").parse().unwrap_or(otherwise);
        Scale {
            decimal: common(decimal(&scaling.scale), decimal(&scaling.offset)),
            scale: number(&scaling.scale, 1.0),
            offset: number(&scaling.offset, 0.0),
        }
    }

    /// The delivered value: an integer becomes the double nearest to the exact decimal, a float stays of its size.
    pub(crate) fn deliver(&self, raw: &Value) -> Value {
        match raw {
            Value::Int(number) => Value::F64(self.exact(i128::from(*number)).unwrap_or_else(|| self.rounded(raw))),
            Value::Uint(number) => Value::F64(self.exact(i128::from(*number)).unwrap_or_else(|| self.rounded(raw))),
            Value::F32(number) => Value::F32(narrow(self.apply(f64::from(*number)))),
            Value::F64(number) => Value::F64(self.apply(*number)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.deliver(item)).collect()),
            Value::Bool(_) | Value::Text(_) | Value::Bytes(_) => raw.clone(),
        }
    }

    /// The delivered number for the device's, as a double.
    pub(crate) fn apply(&self, raw: f64) -> f64 {
        raw * self.scale + self.offset
    }

    /// The device's number for a delivered one, not yet rounded to the device's type.
    pub(crate) fn undo(&self, delivered: f64) -> f64 {
        (delivered - self.offset) / self.scale
    }

    fn exact(&self, raw: i128) -> Option<f64> {
        let (scale, offset, places) = self.decimal?;
        let numerator = raw.checked_mul(scale)?.checked_add(offset)?;
        // Parsing rounds correctly; a multiplication with 0.1 would not.
        format!("{numerator}e-{places}").parse().ok()
    }

    fn rounded(&self, raw: &Value) -> f64 {
        self.apply(raw.as_f64().unwrap_or_default())
    }
}

/// The nearest 32-bit float.
#[expect(clippy::as_conversions, reason = "no `From` exists; rounding is what is meant")]
pub(crate) fn narrow(number: f64) -> f32 {
    number as f32
}

/// A decimal text as an integer and the number of decimal places.
fn decimal(text: &str) -> Option<(i128, i32)> {
    let text = text.replace('_', "").to_ascii_lowercase();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()?.checked_sub(exponent.parse().ok()?)?;
    Some((digits, places))
}

/// Both numbers over the larger of their powers of ten.
fn common(scale: Option<(i128, i32)>, offset: Option<(i128, i32)>) -> Option<(i128, i128, u32)> {
    let ((scale, scale_places), (offset, offset_places)) = (scale?, offset?);
    let places = scale_places.max(offset_places).max(0);
    let raise = |number: i128, from: i32| {
        let by = u32::try_from(places - from).ok()?;
        number.checked_mul(10_i128.checked_pow(by)?)
    };
    Some((raise(scale, scale_places)?, raise(offset, offset_places)?, u32::try_from(places).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(scale: &str, offset: &str) -> Scale {
        Scale::new(&Scaling { scale: scale.to_owned(), offset: offset.to_owned() })
    }

    #[test]
    fn an_integer_becomes_the_double_nearest_to_the_decimal() {
        assert_eq!(scale("0.1", "0").deliver(&Value::Int(2298)), Value::F64(229.8));
        assert_eq!(scale("0.1", "0").deliver(&Value::Uint(3)), Value::F64(0.3));
        assert_eq!(scale("1e-3", "-40").deliver(&Value::Int(61_500)), Value::F64(21.5));
        assert_eq!(scale("10", "0.5").deliver(&Value::Int(-2)), Value::F64(-19.5));
        assert_eq!(scale("2.5e2", "0").deliver(&Value::Int(4)), Value::F64(1000.0));
    }

    #[test]
    fn a_float_keeps_its_size() {
        assert_eq!(scale("0.5", "1").deliver(&Value::F32(3.0)), Value::F32(2.5));
        assert_eq!(scale("0.5", "1").deliver(&Value::F64(3.0)), Value::F64(2.5));
    }

    #[test]
    fn the_way_back_gives_the_raw_number() {
        let scale = scale("0.1", "-40");
        for raw in [-1000_i64, 0, 1, 615, 30_000] {
            let delivered = scale.deliver(&Value::Int(raw)).as_f64().unwrap();
            assert_eq!(scale.undo(delivered).round().to_string(), raw.to_string());
        }
    }
}
