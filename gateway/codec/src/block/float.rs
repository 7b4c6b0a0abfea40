//! Floats as integers: the decimals they came from, the scale they are on, or their place in the order of all floats.
//!
//! Whatever an integer does not give to the last bit is corrected by places in that order, so every bit pattern survives.

use super::{
    BlockError,
    coder::{Choice, Coder, Flag, Number},
    convert::{float, single},
    error::malformed,
};

/// Powers of ten that are exact as floats.
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// Negative powers of ten as floats have them.
const PARTS: [f64; 16] =
    [1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15];
/// Most decimal places.
pub(super) const MOST_PLACES: u8 = 15;

/// What an integer stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// The place of the float among all floats.
    Order,
    /// The integer divided by a power of ten.
    Quotient(u8),
    /// The integer times a negative power of ten.
    Product(u8),
    /// The integer times a step, and an offset.
    Scale {
        /// The distance of two integers.
        step: f64,
        /// What 0 stands for.
        offset: f64,
    },
}

/// How the floats of a column became integers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Floats {
    pub(super) form: Form,
    /// All floats are 32-bit floats, and places are counted among those.
    pub(super) single: bool,
    /// 64-bit floats that were rounded to 32 bits.
    pub(super) rounded: bool,
    /// There are corrections.
    pub(super) corrected: bool,
}

impl Floats {
    pub(super) const ORDER: Floats = Floats { form: Form::Order, single: false, rounded: false, corrected: false };

    /// Writes or reads it. Columns of 32-bit floats need not say that all are.
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, wide: bool) -> Result<(), BlockError> {
        self.single = if wide { coder.flag(Flag::Single, self.single)? } else { true };
        let code = match self.form {
            Form::Order => 0,
            Form::Quotient(_) => 1,
            Form::Product(_) => 2,
            Form::Scale { .. } => 3,
        };
        let form = coder.choice(Choice::Form, code)?;
        self.form = match form {
            0 => Form::Order,
            1 | 2 => {
                let places = if let Form::Quotient(places) | Form::Product(places) = self.form { places } else { 0 };
                let places = coder.choice(Choice::Places, places)?;
                if form == 1 { Form::Quotient(places) } else { Form::Product(places) }
            }
            3 => {
                let (step, offset) =
                    if let Form::Scale { step, offset } = self.form { (step, offset) } else { (0.0, 0.0) };
                Form::Scale { step: code_float(coder, step)?, offset: code_float(coder, offset)? }
            }
            _ => return Err(malformed("the form of floats")),
        };
        if self.form != Form::Order {
            self.rounded = !self.single && coder.flag(Flag::Rounded, self.rounded)?;
            self.corrected = coder.flag(Flag::Corrections, self.corrected)?;
        }
        Ok(())
    }

    /// The place, in the order that is counted in, of what an integer stands for.
    #[inline(always)]
    pub(super) fn place(&self, integer: i64) -> i64 {
        let number = match self.form {
            Form::Order => return integer,
            Form::Quotient(places) => float(integer) / power(places),
            Form::Product(places) => float(integer) * part(places),
            Form::Scale { step, offset } => offset + float(integer) * step,
        };
        if self.single {
            place_of_single(single(number).to_bits())
        } else if self.rounded {
            place_of(f64::from(single(number)).to_bits())
        } else {
            place_of(number.to_bits())
        }
    }
}

/// A float in its places in the order of all.
fn code_float<C: Coder>(coder: &mut C, number: f64) -> Result<f64, BlockError> {
    let place = coder.number(Number::Parameter, place_of(number.to_bits()))?;
    Ok(f64::from_bits(bits_at(place)))
}

/// Ten to that power.
#[inline(always)]
pub(super) fn power(places: u8) -> f64 {
    POWERS.get(usize::from(places)).copied().unwrap_or(1.0)
}

/// Ten to that power, negative.
#[inline(always)]
fn part(places: u8) -> f64 {
    PARTS.get(usize::from(places)).copied().unwrap_or(1.0)
}

/// The place of a 64-bit float with these bits among all of them: 0.0 is at 0, -0.0 at -1.
#[inline(always)]
pub(super) fn place_of(bits: u64) -> i64 {
    let bits = bits.cast_signed();
    bits ^ (bits >> 63).cast_unsigned().wrapping_shr(1).cast_signed()
}

/// The inverse of [`place_of`].
#[inline(always)]
pub(super) fn bits_at(place: i64) -> u64 {
    (place ^ (place >> 63).cast_unsigned().wrapping_shr(1).cast_signed()).cast_unsigned()
}

/// The same for 32-bit floats.
#[inline(always)]
pub(super) fn place_of_single(bits: u32) -> i64 {
    let bits = bits.cast_signed();
    i64::from(bits ^ (bits >> 31).cast_unsigned().wrapping_shr(1).cast_signed())
}

/// The inverse of [`place_of_single`]; the highest bits of other numbers are left out.
#[inline(always)]
pub(super) fn single_bits_at(place: i64) -> u32 {
    let place = super::convert::low_half(place.cast_unsigned()).cast_signed();
    (place ^ (place >> 31).cast_unsigned().wrapping_shr(1).cast_signed()).cast_unsigned()
}

/// The last correction of each integer, or of one that shares its place: what the next one is expected to be.
#[derive(Debug)]
pub(super) struct Corrections {
    last: Vec<i64>,
}

/// Places for corrections.
const SLOTS: usize = 1024;

impl Corrections {
    pub(super) fn new() -> Corrections {
        Corrections { last: vec![0; SLOTS] }
    }

    /// Nothing is expected.
    pub(super) fn clear(&mut self) {
        self.last.fill(0);
    }

    /// The correction that is expected of an integer, to be replaced by the one it has.
    #[inline(always)]
    pub(super) fn of(&mut self, integer: i64) -> Option<&mut i64> {
        let hash = integer.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.last.get_mut(super::convert::place(hash >> 54))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_come_back_from_their_places_in_order() {
        let floats = [f64::NEG_INFINITY, f64::MIN, -1.5, -1.0, -0.0, 0.0, f64::MIN_POSITIVE, 1.0, f64::INFINITY];
        let places = floats.map(|number| place_of(number.to_bits()));
        assert!(places.is_sorted());
        for bits in [0, u64::MAX, 1 << 63, f64::NAN.to_bits(), 0x7ff0_0000_0000_0001] {
            assert_eq!(bits_at(place_of(bits)), bits);
        }
        for bits in [0, u32::MAX, 1 << 31, f32::NAN.to_bits(), 0x7f80_0001] {
            assert_eq!(single_bits_at(place_of_single(bits)), bits);
        }
        assert_eq!((place_of(0), place_of(1 << 63)), (0, -1));
    }
}
