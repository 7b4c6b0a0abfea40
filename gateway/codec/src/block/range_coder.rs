//! Codec 1: everything through the range coder, with models that learn as the block goes on.

use super::{
    BlockError,
    coder::{Choice, Coder, Flag, Number, Set},
    range::{Bit, Bits},
    residual::{Models, State},
};

/// Models of one body.
#[derive(Debug)]
pub(super) struct RangeCoder<B> {
    pub(super) bits: B,
    flags: [Bit; 16],
    choices: [[Bit; 16]; 4],
    bytes: Box<[[Bit; 256]; 4]>,
    /// One a set, and one for single numbers.
    models: Box<[Models; 6]>,
    numbers: [State; 5],
    changes: Models,
    /// Of each row: whether the last columns changed, the newest lowest.
    around: Vec<u8>,
}

impl<B: Bits> RangeCoder<B> {
    pub(super) fn new(bits: B) -> RangeCoder<B> {
        let models = Models::new();
        let state = State::new(&models);
        RangeCoder {
            bits,
            flags: [Bit::NEW; 16],
            choices: [[Bit::NEW; 16]; 4],
            bytes: Box::new([[Bit::NEW; 256]; 4]),
            numbers: std::array::from_fn(|_| state.clone()),
            changes: models.clone(),
            models: Box::new(std::array::from_fn(|_| models.clone())),
            around: Vec::new(),
        }
    }

    /// Begins another body.
    pub(super) fn reset(&mut self) {
        let models = Models::new();
        let state = State::new(&models);
        self.flags = [Bit::NEW; 16];
        self.choices = [[Bit::NEW; 16]; 4];
        self.bytes.fill([Bit::NEW; 256]);
        self.numbers = std::array::from_fn(|_| state.clone());
        self.changes = models.clone();
        for set in self.models.iter_mut() {
            set.clone_from(&models);
        }
    }
}

/// What the neighbours of a value did, 0 to 3.
#[inline(always)]
fn context(around: u8) -> u8 {
    match around & 7 {
        0 => 0,
        1 | 2 | 4 => {
            if around & 1 == 1 {
                2
            } else {
                1
            }
        }
        _ => {
            if around & 1 == 1 {
                3
            } else {
                2
            }
        }
    }
}

/// Every index is the number of a variant, of which there are fewer than models, or what has been seen of so many bits behind
/// a leading 1, for which there are models; the compiler sees neither.
#[expect(clippy::as_conversions, clippy::indexing_slicing, reason = "see above; this is the innermost loop")]
impl<B: Bits> Coder for RangeCoder<B> {
    fn flag(&mut self, which: Flag, on: bool) -> Result<bool, BlockError> {
        Ok(self.bits.bit(&mut self.flags[which as usize], on))
    }

    fn choice(&mut self, which: Choice, value: u8) -> Result<u8, BlockError> {
        let models = &mut self.choices[which as usize];
        let mut seen = 1;
        for bit in (0..4).rev() {
            let bit = self.bits.bit(&mut models[seen], value >> bit & 1 == 1);
            seen = seen << 1 | usize::from(bit);
        }
        Ok((seen & 15) as u8)
    }

    fn number(&mut self, which: Number, value: i64) -> Result<i64, BlockError> {
        let state = &mut self.numbers[which as usize];
        Ok(state.code(&mut self.bits, &mut self.models[5], 0, value))
    }

    fn residuals(&mut self, set: Set, count: usize, residuals: &mut Vec<i64>) -> Result<(), BlockError> {
        residuals.resize(count, 0);
        let models = &mut self.models[set as usize];
        let mut state = State::new(models);
        if set == Set::Values && count + 1 == self.around.len() {
            for (residual, around) in residuals.iter_mut().zip(self.around.iter_mut().skip(1)) {
                *residual = state.code(&mut self.bits, models, context(*around), *residual);
                *around = *around << 1 | u8::from(*residual != 0);
            }
        } else {
            for residual in residuals {
                *residual = state.code(&mut self.bits, models, 0, *residual);
            }
        }
        Ok(())
    }

    fn changes(&mut self, count: usize, changes: &mut Vec<bool>) -> Result<(), BlockError> {
        changes.resize(count, false);
        let mut state = State::new(&self.changes);
        if count == self.around.len() {
            for (change, around) in changes.iter_mut().zip(&mut self.around) {
                *change = !state.zero(&mut self.bits, &mut self.changes, context(*around), !*change);
                *around = *around << 1 | u8::from(*change);
            }
        } else {
            for change in changes {
                *change = !state.zero(&mut self.bits, &mut self.changes, 0, !*change);
            }
        }
        Ok(())
    }

    fn bytes(&mut self, count: usize, bytes: &mut Vec<u8>) -> Result<(), BlockError> {
        bytes.resize(count, 0);
        let mut class = 0_usize;
        for byte in bytes {
            let mut seen = 1_usize;
            for bit in (0..8).rev() {
                let bit = self.bits.bit(&mut self.bytes[class][seen], *byte >> bit & 1 == 1);
                seen = seen << 1 | usize::from(bit);
            }
            *byte = (seen & 255) as u8;
            class = usize::from(*byte >> 6);
        }
        Ok(())
    }

    fn rows(&mut self, rows: usize) {
        self.around.clear();
        self.around.resize(rows, 0);
    }
}
