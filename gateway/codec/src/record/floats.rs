//! Floats as the decimal integers they came from.
//!
//! 229.8 is 2298 tenths: two bytes that resemble those of the next row, instead of eight that look like noise. A float that is
//! no short decimal, a NaN or -0.0 stays as it is, bit by bit.

use super::{
    bytes::{Input, put_count, unzigzag, zigzag},
    planes,
};
use crate::CodecError;

/// Powers of ten that a float is multiplied by to see whether it is an integer then. All are exact.
const POWERS: [f64; 8] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];
/// In the place of an exponent: the float stands among the plain ones.
const PLAIN: u8 = 0xff;
/// After so many plain floats in a row only every so manieth is looked at, so that noise is not expensive.
const NOISE: u32 = 16;

/// What is different between the widths of floats.
pub(super) trait Width {
    /// Exponents that are tried: 0 to this less one.
    const EXPONENTS: u8;
    /// Integers from here on are no gain over the float itself.
    const INTEGERS: u64;
    /// The bits of `integer / power`, correctly rounded.
    fn bits(integer: i64, power: f64) -> u64;
    /// The float of these bits, as it is multiplied.
    fn value(bits: u64) -> f64;
    /// The exponent in the highest byte of the width and the sign in the lowest bit, so that planes are alike within.
    fn turn(bits: u64) -> u64;
    /// The inverse of `turn`, if the number is one of the width.
    fn turn_back(turned: u64) -> Option<u64>;
}

/// 32-bit floats.
pub(super) struct Single;

/// 64-bit floats.
pub(super) struct Double;

impl Width for Single {
    const EXPONENTS: u8 = 5;
    const INTEGERS: u64 = 1 << 20;

    #[inline]
    fn bits(integer: i64, power: f64) -> u64 {
        u64::from(to_single(quotient(integer, power)).to_bits())
    }

    #[inline]
    fn value(bits: u64) -> f64 {
        f64::from(f32::from_bits(single_bits(bits)))
    }

    #[inline]
    fn turn(bits: u64) -> u64 {
        u64::from(single_bits(bits).rotate_left(1))
    }

    #[inline]
    fn turn_back(turned: u64) -> Option<u64> {
        u32::try_from(turned).ok().map(|turned| u64::from(turned.rotate_right(1)))
    }
}

impl Width for Double {
    const EXPONENTS: u8 = 8;
    const INTEGERS: u64 = 1 << 48;

    #[inline]
    fn bits(integer: i64, power: f64) -> u64 {
        quotient(integer, power).to_bits()
    }

    #[inline]
    fn value(bits: u64) -> f64 {
        f64::from_bits(bits)
    }

    #[inline]
    fn turn(bits: u64) -> u64 {
        bits.rotate_left(1)
    }

    #[inline]
    fn turn_back(turned: u64) -> Option<u64> {
        Some(turned.rotate_right(1))
    }
}

/// Collects the floats of one width.
pub(super) struct Floats<W> {
    /// One a float: its exponent, or [`PLAIN`].
    exponents: Vec<u8>,
    integers: Vec<u64>,
    plain: Vec<u64>,
    plain_in_a_row: u32,
    /// How far back the same column of the previous row is, when that row has the same shape; else 0.
    previous: usize,
    /// Where the previous row began.
    row_start: usize,
    width: std::marker::PhantomData<W>,
}

impl<W: Width> Floats<W> {
    pub(super) fn new() -> Floats<W> {
        Floats {
            exponents: Vec::new(),
            integers: Vec::new(),
            plain: Vec::new(),
            plain_in_a_row: 0,
            previous: 0,
            row_start: 0,
            width: std::marker::PhantomData,
        }
    }

    /// How many floats there are.
    pub(super) fn len(&self) -> usize {
        self.exponents.len()
    }

    /// Begins a row; its columns are those of the row before when `same_shape`.
    pub(super) fn begin_row(&mut self, same_shape: bool) {
        self.previous = if same_shape { self.exponents.len() - self.row_start } else { 0 };
        self.row_start = self.exponents.len();
    }

    /// Appends the float with these bits.
    #[inline]
    pub(super) fn push(&mut self, bits: u64) {
        match self.decimal(bits) {
            Some((exponent, integer)) => {
                self.plain_in_a_row = 0;
                self.exponents.push(exponent);
                self.integers.push(zigzag(integer));
            }
            None => {
                self.plain_in_a_row = self.plain_in_a_row.wrapping_add(1);
                self.exponents.push(PLAIN);
                self.plain.push(W::turn(bits));
            }
        }
    }

    /// The exponent and the integer that give these bits again. The exponent of the row before is tried first: one
    /// exponent for a whole column is worth more than the smallest integer.
    #[inline]
    fn decimal(&self, bits: u64) -> Option<(u8, i64)> {
        let before = self.exponents.len().checked_sub(self.previous).and_then(|at| self.exponents.get(at)).copied();
        if let Some(exponent) = before
            && let Some(integer) = integer_at::<W>(bits, exponent)
        {
            return Some((exponent, integer));
        }
        if self.plain_in_a_row >= NOISE && !self.plain_in_a_row.is_multiple_of(NOISE) {
            return None;
        }
        search::<W>(bits)
    }

    /// Appends the section: the exponents, the integers, the plain ones.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_count(self.exponents.len(), out);
        out.extend_from_slice(&self.exponents);
        planes::write(&self.integers, out);
        planes::write(&self.plain, out);
    }
}

#[inline(never)]
fn search<W: Width>(bits: u64) -> Option<(u8, i64)> {
    (0..W::EXPONENTS).find_map(|exponent| integer_at::<W>(bits, exponent).map(|integer| (exponent, integer)))
}

/// The integer that gives these bits again when it is divided by ten to the power of `exponent`.
#[inline]
fn integer_at<W: Width>(bits: u64, exponent: u8) -> Option<i64> {
    let power = POWERS.get(usize::from(exponent)).copied()?;
    let integer = nearest(W::value(bits) * power);
    (integer.unsigned_abs() < W::INTEGERS && W::bits(integer, power) == bits).then_some(integer)
}

/// Reads the section that [`Floats::write`] has written, as bits of the floats; there may be at most `limit`.
pub(super) fn read<W: Width>(input: &mut Input, limit: usize, what: &'static str) -> Result<Vec<u64>, CodecError> {
    let malformed = || CodecError::Malformed { what };
    let count = input.count(what)?;
    if count > limit {
        return Err(malformed());
    }
    let exponents = input.take(count, what)?;
    let mut integers = planes::read(input, count, what)?.into_iter();
    let mut plain = planes::read(input, count, what)?.into_iter();
    let mut floats = Vec::with_capacity(count);
    for exponent in exponents {
        let bits = if *exponent == PLAIN {
            plain.next().and_then(W::turn_back)
        } else if *exponent < W::EXPONENTS {
            let power = POWERS.get(usize::from(*exponent)).copied().unwrap_or(1.0);
            integers.next().map(|integer| W::bits(unzigzag(integer), power))
        } else {
            None
        };
        floats.push(bits.ok_or_else(malformed)?);
    }
    if integers.next().is_some() || plain.next().is_some() {
        return Err(malformed());
    }
    Ok(floats)
}

/// The nearest integer; 0 for NaN, and the ends of the range for what is beyond it. Whether it is exact is not its matter.
#[inline]
#[expect(clippy::as_conversions, reason = "no `From` exists; `as` saturates, and the caller compares the result")]
fn nearest(number: f64) -> i64 {
    (number + 0.5_f64.copysign(number)) as i64
}

#[inline]
#[expect(clippy::as_conversions, reason = "no `From` exists; integers of the encoder are below 2^48, so exact")]
fn quotient(integer: i64, power: f64) -> f64 {
    integer as f64 / power
}

#[inline]
#[expect(clippy::as_conversions, reason = "no `From` exists; rounding to the nearest is what is wanted")]
fn to_single(number: f64) -> f32 {
    number as f32
}

/// The lower half, which is all there is of a 32-bit float's bits.
#[inline]
fn single_bits(bits: u64) -> u32 {
    let [a, b, c, d, ..] = bits.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
