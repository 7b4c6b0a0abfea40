//! How far off predictions were, as modelled bits: whether at all, the number of bits, the highest of them, the sign.

use super::{
    convert::index,
    range::{Bit, Bits},
};

/// Highest number of bits.
const CLASSES: u32 = 64;

/// A table of models, its size a power of two.
#[derive(Debug, Clone)]
struct Bank<const N: usize> {
    models: [Bit; N],
    /// Never used: places are always within the table.
    spare: Bit,
}

impl<const N: usize> Bank<N> {
    const fn new(model: Bit) -> Bank<N> {
        Bank { models: [model; N], spare: model }
    }

    #[inline(always)]
    fn at(&mut self, place: usize) -> &mut Bit {
        match self.models.get_mut(place & (N - 1)) {
            Some(model) => model,
            None => &mut self.spare,
        }
    }
}

/// What has been learnt about the residuals of all series of one sort.
#[derive(Debug, Clone)]
pub(super) struct Models {
    zero: Bank<256>,
    /// Whether there are more bits than expected, by what is expected, in halves of a bit.
    more: Bank<128>,
    /// Whether there are still more, by how many more than expected.
    up: Bank<1024>,
    /// Whether there are still fewer.
    down: Bank<1024>,
    /// The bits below the highest, by how many bits there are and the bits above.
    top: Bank<512>,
    sign: Bank<128>,
    /// What a series begins to expect, in sixteenths of a bit.
    start: i32,
}

impl Models {
    pub(super) fn new() -> Models {
        Models {
            zero: Bank::new(Bit::NEW),
            more: Bank::new(Bit::NEW),
            up: Bank::new(Bit::NEW),
            down: Bank::new(Bit::NEW),
            top: Bank::new(Bit::NEW),
            sign: Bank::new(Bit::NEW),
            start: 64,
        }
    }
}

/// What has been seen of one series.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// How often residuals were 0, in 4,096ths.
    zeros: i32,
    /// Whether the last ones were, the newest lowest.
    last_zeros: usize,
    /// How many bits the others had, in sixteenths.
    mean: i32,
    seen: i32,
    /// 0 at first, then 1 for plus and 2 for minus.
    last_sign: usize,
}

impl State {
    pub(super) fn new(models: &Models) -> State {
        State { zeros: 2048, last_zeros: 0, mean: models.start, seen: 0, last_sign: 0 }
    }

    /// Whether a residual is 0; `around` is 0 to 3.
    #[inline(always)]
    pub(super) fn zero<B: Bits>(&mut self, bits: &mut B, models: &mut Models, around: u8, zero: bool) -> bool {
        let share = usize::try_from((self.zeros >> 9).clamp(0, 7)).unwrap_or(0);
        let place = share << 4 | self.last_zeros << 2 | usize::from(around);
        let zero = bits.bit(models.zero.at(place), zero);
        self.zeros += ((i32::from(zero) << 12) - self.zeros) >> 3;
        self.last_zeros = (self.last_zeros << 1 | usize::from(zero)) & 3;
        zero
    }

    /// Codes one residual.
    #[inline(always)]
    pub(super) fn code<B: Bits>(&mut self, bits: &mut B, models: &mut Models, around: u8, residual: i64) -> i64 {
        if self.zero(bits, models, around, residual == 0) {
            return 0;
        }
        let size = residual.unsigned_abs();
        let expected = u32::try_from((self.mean + 8) >> 4).unwrap_or(1).clamp(1, CLASSES);
        let class = self.class(bits, models, expected, CLASSES - size.leading_zeros());
        let size = mantissa(bits, models, class, size);
        let place = self.last_sign << 4 | index(class).min(15);
        let negative = bits.bit(models.sign.at(place), residual < 0);
        self.last_sign = 1 + usize::from(negative);
        self.seen += 1;
        let class = i32::try_from(class).unwrap_or(0) << 4;
        self.mean += (class - self.mean) / self.seen.min(6);
        if self.seen == 1 {
            models.start += (class - models.start) / 4;
        }
        if negative { size.wrapping_neg().cast_signed() } else { size.cast_signed() }
    }

    /// Codes the number of bits of a residual, 1 to 64, step by step from what is expected.
    #[inline(always)]
    fn class<B: Bits>(&self, bits: &mut B, models: &mut Models, expected: u32, class: u32) -> u32 {
        let place = usize::try_from(self.mean >> 3).unwrap_or(0);
        let mut found = expected;
        if bits.bit(models.more.at(place), class > expected) {
            found += 1;
            while found < CLASSES {
                let step = index(found - expected - 1).min(7);
                if !bits.bit(models.up.at(place << 3 | step), class > found) {
                    break;
                }
                found += 1;
            }
        } else {
            while found > 1 {
                let step = index(expected - found).min(7);
                if !bits.bit(models.down.at(place << 3 | step), class < found) {
                    break;
                }
                found -= 1;
            }
        }
        found.min(CLASSES)
    }
}

/// Codes the bits below the highest: the first ones modelled, the others plain.
#[inline(always)]
fn mantissa<B: Bits>(bits: &mut B, models: &mut Models, class: u32, size: u64) -> u64 {
    let mut found = 1_u64;
    let mut left = class - 1;
    let modelled = if class <= 4 { 3 } else { 2 };
    let mut seen = 1_usize;
    for _ in 0..left.min(modelled) {
        left -= 1;
        let bit = bits.bit(models.top.at(index(class - 1) << 3 | seen), size >> left & 1 == 1);
        found = found << 1 | u64::from(bit);
        seen = seen << 1 | usize::from(bit);
    }
    while left > 0 {
        let some = left.min(32);
        left -= some;
        found = found << some | bits.plain(size >> left, some);
    }
    found
}
