//! 16 bytes a sample, time and value, one after the other, and zstd at its usual level.

use anyhow::Context;
use tidegate_model::Value;
use zstd::bulk::{Compressor, Decompressor};

use crate::{data::Piece, packing::Packing};

/// In the place of a value that is missing.
const MISSING: u64 = 0x7ff8_dead_dead_dead;
const LEVEL: i32 = 3;

/// Samples of 16 bytes. Texts are their number in the list of a piece's texts, which is sent with them.
pub(crate) struct Raw {
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
    samples: Vec<u8>,
    unpacked: Vec<u8>,
}

impl Raw {
    pub(crate) fn new() -> anyhow::Result<Raw> {
        let (compressor, decompressor) = (Compressor::new(LEVEL)?, Decompressor::new()?);
        Ok(Raw { compressor, decompressor, samples: Vec::new(), unpacked: Vec::new() })
    }

    fn write(piece: &Piece<'_>, out: &mut Vec<u8>) {
        let mut texts: Vec<&str> = Vec::new();
        for (time, values) in piece.rows {
            for value in values {
                out.extend_from_slice(&time.to_le_bytes());
                let word = match value {
                    None => MISSING,
                    Some(Value::F64(number)) => number.to_bits(),
                    Some(Value::Int(number)) => number.cast_unsigned(),
                    Some(Value::Bool(on)) => u64::from(*on),
                    Some(Value::Text(text)) => {
                        let known = texts.iter().position(|known| *known == &**text);
                        let code = known.unwrap_or(texts.len());
                        texts.extend(known.is_none().then_some(&**text));
                        u64::try_from(code).unwrap_or(u64::MAX)
                    }
                    Some(_) => MISSING,
                };
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
        for text in texts {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
    }
}

impl Packing for Raw {
    fn pack(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) -> anyhow::Result<()> {
        self.samples.clear();
        Raw::write(piece, &mut self.samples);
        // The length is in front, as a receiver needs it.
        out.extend_from_slice(&u32::try_from(self.samples.len())?.to_le_bytes());
        out.extend_from_slice(&self.compressor.compress(&self.samples)?);
        Ok(())
    }

    fn unpack(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let (length, packed) = bytes.split_first_chunk().context("cut")?;
        let length = usize::try_from(u32::from_le_bytes(*length))?;
        self.unpacked = self.decompressor.decompress(packed, length)?;
        Ok(())
    }

    fn is(&self, piece: &Piece<'_>) -> bool {
        let mut samples = Vec::new();
        Raw::write(piece, &mut samples);
        samples == self.unpacked
    }
}
