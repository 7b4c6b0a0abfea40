//! Every conversion between numbers in this module that may round or cut, by name.
#![expect(
    clippy::as_conversions,
    reason = "no `From` exists for these, and what is rounded or cut is what each is for"
)]

/// The nearest 64-bit float.
#[inline]
pub(super) fn float(number: i64) -> f64 {
    number as f64
}

/// The nearest 64-bit float.
#[inline]
pub(super) fn float_unsigned(number: u64) -> f64 {
    number as f64
}

/// The nearest 32-bit float.
#[inline]
pub(super) fn single(number: f64) -> f32 {
    number as f32
}

/// A whole number as an integer; 0 for NaN, the nearest end beyond the integers.
#[inline]
pub(super) fn integer(number: f64) -> i64 {
    number as i64
}

/// The lowest 32 bits.
#[inline]
pub(super) fn low_half(number: u64) -> u32 {
    number as u32
}

/// The lowest eight bits.
#[inline]
pub(super) fn low_byte(number: u64) -> u8 {
    number as u8
}

/// A length in memory as a number; no machine has room for more than 2^64 of anything.
#[inline]
pub(super) fn count(length: usize) -> u64 {
    length as u64
}

/// A number as a place in memory; where memory has fewer places, one that no table and no slice has.
#[inline]
pub(super) fn place(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A small number as a place in a table.
#[inline]
pub(super) fn index(number: u32) -> usize {
    number as usize
}
