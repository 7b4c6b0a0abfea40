//! The range coder: bits with a probability each, and bits that have none.
//!
//! Modelled bits stand at the front of the body, plain bits at its end, backwards.

use super::convert::{low_byte, low_half};

/// Below this the interval is widened by 32 bits.
const NARROW: u64 = 1 << 32;
/// How often a model has seen a bit, at most; from then on it forgets.
const MEMORY: u16 = 30;
/// No bit is more certain than this, in 65,536ths.
const LEAST: u16 = 48;

/// Of each count: the share of the way to the newest bit, in 65,536ths.
const STEPS: [u16; 32] = steps();

#[expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "calculated by the compiler; the numbers are small"
)]
const fn steps() -> [u16; 32] {
    let mut steps = [0; 32];
    let mut count = 0;
    while count < 32 {
        steps[count] = (131_072 / (2 * count + 3)) as u16;
        count += 1;
    }
    steps
}

/// What is expected of a bit, from the bits before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bit {
    /// How likely a 1 is, in 65,536ths.
    one: u16,
    count: u16,
}

impl Bit {
    /// Nothing is known.
    pub(super) const NEW: Bit = Bit { one: 1 << 15, count: 0 };

    #[inline(always)]
    fn share(self) -> u64 {
        u64::from(self.one.clamp(LEAST, u16::MAX - LEAST))
    }

    #[inline(always)]
    fn learn(&mut self, bit: bool) {
        let step = u32::from(STEPS.get(usize::from(self.count & 31)).copied().unwrap_or(0));
        let one = u32::from(self.one);
        let more = ((u32::from(u16::MAX) - one) * step) >> 16;
        let less = (one * step) >> 16;
        let next = if bit { one + more } else { one - less };
        self.one = u16::try_from(next).unwrap_or(u16::MAX);
        self.count += u16::from(self.count < MEMORY);
    }
}

/// Bits in either direction: a writer takes them and gives them back, a reader ignores what it is given.
pub(super) trait Bits {
    /// A bit of which something is expected.
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool;
    /// The lowest bits of a number, at most 56, of which nothing is expected.
    fn plain(&mut self, number: u64, bits: u32) -> u64;
}

/// Writes bits.
#[derive(Debug, Default)]
pub(super) struct Writer {
    low: u64,
    range: u64,
    front: Vec<u8>,
    back: Vec<u8>,
    /// Plain bits that are no whole byte yet, in the lowest bits.
    pending: u64,
    pending_bits: u32,
}

impl Writer {
    /// Begins anew; memory is kept.
    pub(super) fn begin(&mut self) {
        self.low = 0;
        self.range = u64::MAX;
        self.front.clear();
        self.back.clear();
        self.pending = 0;
        self.pending_bits = 0;
    }

    #[cold]
    fn carry(&mut self) {
        for byte in self.front.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }

    /// Appends the body: the front, and the back in reverse.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.pending_bits > 0 {
            self.back.push(low_byte(self.pending << (8 - self.pending_bits)));
            self.pending_bits = 0;
        }
        self.end();
        out.extend_from_slice(&self.front);
        out.extend(self.back.iter().rev());
    }

    /// The fewest bytes that lie in the interval, whatever follows them; a reader finds zeros after the end.
    fn end(&mut self) {
        let last = u128::from(self.low) + u128::from(self.range) - 1;
        let followed = !self.back.is_empty();
        for bytes in 1..=8_u32 {
            let below = (1_u128 << (64 - 8 * bytes)) - 1;
            let value = (u128::from(self.low) + below) & !below;
            if value + if followed { below } else { 0 } <= last {
                if value >> 64 != 0 {
                    self.carry();
                }
                let value = (value & u128::from(u64::MAX)).to_be_bytes();
                self.front.extend(value.iter().skip(8).take(usize::try_from(bytes).unwrap_or(8)));
                break;
            }
        }
        while !followed && self.front.last() == Some(&0) {
            self.front.pop();
        }
    }
}

impl Bits for Writer {
    #[inline(always)]
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool {
        let bound = (self.range >> 16) * model.share();
        if bit {
            self.range = bound;
        } else {
            let (low, carry) = self.low.overflowing_add(bound);
            self.low = low;
            self.range -= bound;
            if carry {
                self.carry();
            }
        }
        model.learn(bit);
        if self.range < NARROW {
            self.front.extend_from_slice(&low_half(self.low >> 32).to_be_bytes());
            self.low <<= 32;
            self.range <<= 32;
        }
        bit
    }

    #[inline(always)]
    fn plain(&mut self, number: u64, bits: u32) -> u64 {
        let number = number & ((1 << bits) - 1);
        self.pending = self.pending << bits | number;
        self.pending_bits += bits;
        while self.pending_bits >= 8 {
            self.pending_bits -= 8;
            self.back.push(low_byte(self.pending >> self.pending_bits));
        }
        number
    }
}

/// Reads bits; after the end of the body there are zeros.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    code: u64,
    range: u64,
    front: &'a [u8],
    /// What has not been read from the back yet.
    back: &'a [u8],
    length: usize,
    pending: u64,
    pending_bits: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Reader<'a> {
        let mut reader = Reader {
            code: 0,
            range: u64::MAX,
            front: body,
            back: body,
            length: body.len(),
            pending: 0,
            pending_bits: 0,
        };
        reader.code = reader.word() << 32 | reader.word();
        reader
    }

    /// The next four bytes of the front, highest first.
    #[inline(always)]
    fn word(&mut self) -> u64 {
        if let Some((word, rest)) = self.front.split_first_chunk::<4>() {
            self.front = rest;
            return u64::from(u32::from_be_bytes(*word));
        }
        self.last_word()
    }

    #[cold]
    fn last_word(&mut self) -> u64 {
        let rest = std::mem::take(&mut self.front);
        let bytes = rest.iter().chain([0; 4].iter()).take(4);
        bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
    }

    /// Whether every byte of the body has been of use.
    pub(super) fn is_at_end(&self) -> bool {
        // Both ends count what they have read of the same bytes.
        (self.length - self.front.len()) + (self.length - self.back.len()) >= self.length
    }
}

impl Bits for Reader<'_> {
    #[inline(always)]
    fn bit(&mut self, model: &mut Bit, _: bool) -> bool {
        let bound = (self.range >> 16) * model.share();
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        model.learn(bit);
        if self.range < NARROW {
            self.range <<= 32;
            self.code = self.code << 32 | self.word();
        }
        bit
    }

    #[inline(always)]
    fn plain(&mut self, _: u64, bits: u32) -> u64 {
        while self.pending_bits < bits {
            let (byte, rest) = self.back.split_last().map_or((0, self.back), |(byte, rest)| (*byte, rest));
            self.back = rest;
            self.pending = self.pending << 8 | u64::from(byte);
            self.pending_bits += 8;
        }
        self.pending_bits -= bits;
        (self.pending >> self.pending_bits) & ((1 << bits) - 1)
    }
}
