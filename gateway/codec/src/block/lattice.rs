//! An even scale that was rounded to integers: the counts of a converter, seen through a decimal display.

use super::{
    BlockError,
    coder::{Coder, Number},
    error::malformed,
};

/// The number at place `n` is `(n * step + phase) >> bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lattice {
    pub(super) step: i64,
    pub(super) phase: i64,
    pub(super) bits: u8,
}

impl Lattice {
    /// Writes or reads it.
    pub(super) fn code<C: Coder>(self, coder: &mut C) -> Result<Lattice, BlockError> {
        let bits = coder.number(Number::Parameter, i64::from(self.bits))?;
        let bits = u8::try_from(bits).ok().filter(|bits| *bits < 48).ok_or(malformed("a lattice"))?;
        let step = coder.number(Number::Parameter, self.step)?;
        let phase = coder.number(Number::Parameter, self.phase)?;
        Ok(Lattice { step, phase, bits })
    }

    /// The number at a place, less that at place 0.
    #[inline]
    pub(super) fn at(self, place: i64) -> i64 {
        place.wrapping_mul(self.step).wrapping_add(self.phase) >> self.bits
    }
}
