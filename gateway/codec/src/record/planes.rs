//! Numbers as byte planes: the lowest bytes of all numbers, then the second lowest, and so on.
//!
//! Neighbouring numbers resemble each other in their high bytes; side by side those compress to almost nothing.

use super::bytes::{Input, low_byte, put_count};
use crate::CodecError;

/// Appends the count, the number of planes (0 to 8) and the planes.
pub(super) fn write(numbers: &[u64], out: &mut Vec<u8>) {
    put_count(numbers.len(), out);
    let all_bits = numbers.iter().fold(0, |bits, number| bits | number);
    let planes = (64 - all_bits.leading_zeros()).div_ceil(8);
    out.push(low_byte(u64::from(planes)));
    for plane in 0..planes {
        out.extend(numbers.iter().map(|number| low_byte(number >> (8 * plane))));
    }
}

/// Reads what [`write()`] has written, if there are at most `limit` numbers.
pub(super) fn read(input: &mut Input, limit: usize, what: &'static str) -> Result<Vec<u64>, CodecError> {
    let count = input.count(what)?;
    let planes = input.byte(what)?;
    if planes > 8 || count > limit {
        return Err(CodecError::Malformed { what });
    }
    let mut numbers = vec![0; count];
    for plane in 0..planes {
        for (number, byte) in numbers.iter_mut().zip(input.take(count, what)?) {
            *number |= u64::from(*byte) << (8 * plane);
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_every_width_come_back_and_take_no_more_than_they_need() {
        for width in 0..=8_u32 {
            let top = if width == 0 { 0 } else { u64::MAX >> (64 - 8 * width) };
            let numbers = [top, 0, top / 3, top / 7];
            let mut bytes = Vec::new();
            write(&numbers, &mut bytes);
            assert_eq!(bytes.len(), 2 + 4 * usize::try_from(width).unwrap());
            let mut input = Input::new(&bytes);
            assert_eq!(read(&mut input, 4, "test"), Ok(numbers.to_vec()));
            assert!(input.is_empty());
        }
    }

    #[test]
    fn more_numbers_than_the_limit_are_refused_before_memory_is_taken() {
        let refused = Err(CodecError::Malformed { what: "test" });
        assert_eq!(read(&mut Input::new(&[5, 0]), 4, "test"), refused);
        let mut huge = Vec::new();
        put_count(usize::MAX, &mut huge);
        huge.push(0);
        assert_eq!(read(&mut Input::new(&huge), 1 << 20, "test"), refused);
    }

    #[test]
    fn a_ninth_plane_and_a_missing_byte_are_refused() {
        assert!(read(&mut Input::new(&[1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 1, "test").is_err());
        assert!(read(&mut Input::new(&[2, 2, 1, 1, 1]), 2, "test").is_err());
    }
}
