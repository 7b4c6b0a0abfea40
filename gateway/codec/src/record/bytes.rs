//! Reading bytes without ever reading past them, and numbers of variable length.

use crate::CodecError;

/// The bytes of a body that are still to be read.
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes; `what` they are part of is for the error.
    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CodecError::Malformed { what })?;
        self.rest = rest;
        Ok(taken)
    }

    /// All that is left.
    pub(crate) fn take_rest(&mut self) -> Input<'a> {
        Input::new(std::mem::take(&mut self.rest))
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, CodecError> {
        let (byte, rest) = self.rest.split_first().ok_or(CodecError::Malformed { what })?;
        self.rest = rest;
        Ok(*byte)
    }

    /// A number in groups of seven bits, lowest first, at most 64 bits.
    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, CodecError> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return Err(CodecError::Malformed { what });
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(CodecError::Malformed { what })
    }

    /// A number of things, which memory has to be able to hold.
    pub(crate) fn count(&mut self, what: &'static str) -> Result<usize, CodecError> {
        usize::try_from(self.varint(what)?).map_err(|_| CodecError::Malformed { what })
    }

    /// A signed number whose small values, of both signs, are short.
    pub(crate) fn signed(&mut self, what: &'static str) -> Result<i64, CodecError> {
        Ok(unzigzag(self.varint(what)?))
    }
}

/// What [`Input::varint`] reads; 1 to 10 bytes.
pub(crate) fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(low_byte(number) | 0x80);
        number >>= 7;
    }
    out.push(low_byte(number));
}

/// The same of a length.
pub(crate) fn put_count(count: usize, out: &mut Vec<u8>) {
    // No machine has memory for more than 2^64 of anything.
    put_varint(u64::try_from(count).unwrap_or(u64::MAX), out);
}

/// What [`Input::signed`] reads.
pub(crate) fn put_signed(number: i64, out: &mut Vec<u8>) {
    put_varint(zigzag(number), out);
}

/// 0, -1, 1, -2 … as 0, 1, 2, 3 …
#[inline]
pub(crate) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// The inverse of [`zigzag`].
#[inline]
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// The lowest eight bits.
#[inline]
pub(crate) fn low_byte(number: u64) -> u8 {
    let [byte, ..] = number.to_le_bytes();
    byte
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_come_back() {
        let mut numbers = vec![0, u64::MAX];
        numbers.extend((0..64).flat_map(|shift| [1 << shift, (1 << shift) - 1, (1 << shift) + 1]));
        for number in numbers {
            let mut bytes = Vec::new();
            put_varint(number, &mut bytes);
            let mut input = Input::new(&bytes);
            assert_eq!(input.varint("test"), Ok(number));
            assert!(input.is_empty());
            assert_eq!(zigzag(unzigzag(number)), number);
        }
        assert_eq!([0, -1, 1, i64::MIN, i64::MAX].map(zigzag), [0, 1, 2, u64::MAX, u64::MAX - 1]);
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let refused = Err(CodecError::Malformed { what: "test" });
        let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Input::new(&[&longest[..], &[1]].concat()).varint("test"), Ok(u64::MAX));
        assert_eq!(Input::new(&[&longest[..], &[2]].concat()).varint("test"), refused);
        assert_eq!(Input::new(&[&longest[..], &[0x81, 0]].concat()).varint("test"), refused);
        assert_eq!(Input::new(&longest).varint("test"), refused);
    }
}
