//! Reading bytes without ever reading past them.

use super::{BlockError, error::malformed};
use crate::record::bytes::unzigzag;

/// Bytes that are still to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { rest: bytes }
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes; `what` they are part of is for the error.
    pub(super) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], BlockError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(malformed(what))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self, what: &'static str) -> Result<u8, BlockError> {
        let (byte, rest) = self.rest.split_first().ok_or(malformed(what))?;
        self.rest = rest;
        Ok(*byte)
    }

    /// Four bytes, lowest first.
    pub(super) fn word(&mut self, what: &'static str) -> Result<u32, BlockError> {
        let (word, rest) = self.rest.split_first_chunk::<4>().ok_or(malformed(what))?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*word))
    }

    /// A number in groups of seven bits, lowest first, at most 64 bits.
    pub(super) fn varint(&mut self, what: &'static str) -> Result<u64, BlockError> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return Err(malformed(what));
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(malformed(what))
    }

    /// A signed number whose small values, of both signs, are short.
    pub(super) fn signed(&mut self, what: &'static str) -> Result<i64, BlockError> {
        self.varint(what).map(unzigzag)
    }
}
