//! Codec 0: descriptions as bytes, residuals as byte planes after them, and zstd over both.

use super::{
    BlockError, MAX_BYTES,
    coder::{Choice, Coder, Flag, Number, Set},
    convert::{count, low_byte, place},
    error::malformed,
    input::Input,
};
use crate::{
    packing,
    record::bytes::{put_signed, put_varint, unzigzag, zigzag},
};

/// zstd's level: from here on more time gains little.
const LEVEL: i32 = 3;
/// Bytes that a body takes unpacked at most.
const MOST: usize = 2 * MAX_BYTES;

/// Writes a body.
#[derive(Debug, Default)]
pub(super) struct PlaneWriter {
    descriptions: Vec<u8>,
    planes: Vec<u8>,
}

impl PlaneWriter {
    /// Begins another body; memory is kept.
    pub(super) fn reset(&mut self) {
        self.descriptions.clear();
        self.planes.clear();
    }

    /// Appends the body.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BlockError> {
        let mut whole = Vec::with_capacity(self.descriptions.len() + self.planes.len() + 8);
        put_varint(count(self.descriptions.len()), &mut whole);
        whole.extend_from_slice(&self.descriptions);
        whole.extend_from_slice(&self.planes);
        match packing::compress(&whole, LEVEL).map_err(|detail| BlockError::Compression { detail })? {
            Some(packed) => {
                put_varint(count(whole.len()), out);
                out.extend_from_slice(&packed);
            }
            None => {
                put_varint(0, out);
                out.extend_from_slice(&whole);
            }
        }
        Ok(())
    }
}

impl Coder for PlaneWriter {
    fn flag(&mut self, _: Flag, on: bool) -> Result<bool, BlockError> {
        self.descriptions.push(u8::from(on));
        Ok(on)
    }

    fn choice(&mut self, _: Choice, value: u8) -> Result<u8, BlockError> {
        self.descriptions.push(value);
        Ok(value)
    }

    fn number(&mut self, _: Number, value: i64) -> Result<i64, BlockError> {
        put_signed(value, &mut self.descriptions);
        Ok(value)
    }

    fn residuals(&mut self, _: Set, _: usize, residuals: &mut Vec<i64>) -> Result<(), BlockError> {
        let all = residuals.iter().fold(0, |bits, residual| bits | zigzag(*residual));
        let planes = (64 - all.leading_zeros()).div_ceil(8);
        self.descriptions.push(low_byte(u64::from(planes)));
        for plane in 0..planes {
            self.planes.extend(residuals.iter().map(|residual| low_byte(zigzag(*residual) >> (8 * plane))));
        }
        Ok(())
    }

    fn changes(&mut self, _: usize, changes: &mut Vec<bool>) -> Result<(), BlockError> {
        self.planes.extend(changes.iter().map(|change| u8::from(*change)));
        Ok(())
    }

    fn bytes(&mut self, _: usize, bytes: &mut Vec<u8>) -> Result<(), BlockError> {
        self.planes.extend_from_slice(bytes);
        Ok(())
    }

    fn rows(&mut self, _: usize) {}
}

/// An unpacked body.
pub(super) fn unpack(body: &[u8]) -> Result<Vec<u8>, BlockError> {
    let mut input = Input::new(body);
    let length = place(input.varint("the length of the body")?);
    if length == 0 {
        return Ok(input.rest().to_vec());
    }
    if length > MOST {
        return Err(BlockError::TooLarge { what: "the unpacked body", limit: MOST });
    }
    let whole = packing::decompress(input.rest(), length).map_err(|detail| BlockError::Compression { detail })?;
    if whole.len() == length { Ok(whole) } else { Err(malformed("the length of the body")) }
}

/// Reads an unpacked body.
#[derive(Debug)]
pub(super) struct PlaneReader<'a> {
    descriptions: Input<'a>,
    planes: Input<'a>,
}

impl<'a> PlaneReader<'a> {
    pub(super) fn new(whole: &'a [u8]) -> Result<PlaneReader<'a>, BlockError> {
        let mut input = Input::new(whole);
        let length = place(input.varint("the length of the descriptions")?);
        let descriptions = Input::new(input.take(length, "the descriptions")?);
        Ok(PlaneReader { descriptions, planes: input })
    }

    /// Whether everything has been read.
    pub(super) fn is_at_end(&self) -> bool {
        self.descriptions.rest().is_empty() && self.planes.rest().is_empty()
    }
}

impl Coder for PlaneReader<'_> {
    fn flag(&mut self, _: Flag, _: bool) -> Result<bool, BlockError> {
        match self.descriptions.byte("a flag")? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(malformed("a flag")),
        }
    }

    fn choice(&mut self, _: Choice, _: u8) -> Result<u8, BlockError> {
        Some(self.descriptions.byte("a choice")?).filter(|value| *value < 16).ok_or(malformed("a choice"))
    }

    fn number(&mut self, _: Number, _: i64) -> Result<i64, BlockError> {
        self.descriptions.signed("a number")
    }

    fn residuals(&mut self, _: Set, count: usize, residuals: &mut Vec<i64>) -> Result<(), BlockError> {
        let planes = self.descriptions.byte("the number of planes")?;
        if planes > 8 {
            return Err(malformed("the number of planes"));
        }
        residuals.clear();
        residuals.resize(count, 0);
        for plane in 0..planes {
            for (residual, byte) in residuals.iter_mut().zip(self.planes.take(count, "a plane")?) {
                *residual |= i64::from(*byte) << (8 * plane);
            }
        }
        for residual in residuals {
            *residual = unzigzag(residual.cast_unsigned());
        }
        Ok(())
    }

    fn changes(&mut self, count: usize, changes: &mut Vec<bool>) -> Result<(), BlockError> {
        changes.clear();
        for byte in self.planes.take(count, "changes")? {
            changes.push(match byte {
                0 => false,
                1 => true,
                _ => return Err(malformed("changes")),
            });
        }
        Ok(())
    }

    fn bytes(&mut self, count: usize, bytes: &mut Vec<u8>) -> Result<(), BlockError> {
        bytes.clear();
        bytes.extend_from_slice(self.planes.take(count, "bytes")?);
        Ok(())
    }

    fn rows(&mut self, _: usize) {}
}
