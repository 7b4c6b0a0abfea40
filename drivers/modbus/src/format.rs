//! What the registers of a value mean, and the way from their bytes to a value.

use std::{borrow::Cow, ops::RangeInclusive, sync::Arc};

use tidegate_driver_api::model::{Value, ValueKind};

use crate::ByteOrder;

/// Which byte of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Half {
    /// Bits 8 to 15.
    High,
    /// Bits 0 to 7.
    Low,
}

/// What one value is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One address of a table of bits.
    Coil,
    /// One register: 0 is off, everything else on; on is written as 1.
    Flag,
    /// One bit of a register, 0 (lowest) to 15.
    Bit(u8),
    /// One byte of a register, unsigned.
    U8(Half),
    /// One byte of a register, signed.
    I8(Half),
    /// One register, unsigned.
    U16(ByteOrder),
    /// One register, signed.
    I16(ByteOrder),
    /// Two registers, unsigned.
    U32(ByteOrder),
    /// Two registers, signed.
    I32(ByteOrder),
    /// Four registers, unsigned.
    U64(ByteOrder),
    /// Four registers, signed.
    I64(ByteOrder),
    /// Two registers, IEEE 754 single precision.
    F32(ByteOrder),
    /// Four registers, IEEE 754 double precision.
    F64(ByteOrder),
    /// One register, four decimal digits, one in each four bits.
    Bcd16(ByteOrder),
    /// Two registers, eight decimal digits, one in each four bits.
    Bcd32(ByteOrder),
    /// UTF-8 text, two bytes a register; it ends at the first NUL or after that many bytes, spaces at its end do not count.
    Text {
        /// Bytes on the wire, at least 1.
        bytes: u16,
        /// Whether the bytes inside a register are swapped; registers never are.
        order: ByteOrder,
    },
    /// That many bytes as they are, two a register.
    Bytes {
        /// Bytes on the wire, at least 1; when they are odd, the second byte of the last register is not part of the value.
        bytes: u16,
        /// Whether the bytes inside a register are swapped; registers never are.
        order: ByteOrder,
    },
}

impl Format {
    /// Addresses that one value takes: registers, or 1 for a coil.
    pub fn addresses(self) -> u16 {
        match self {
            Format::Coil | Format::Flag | Format::Bit(_) | Format::U8(_) | Format::I8(_) => 1,
            Format::U16(_) | Format::I16(_) | Format::Bcd16(_) => 1,
            Format::U32(_) | Format::I32(_) | Format::F32(_) | Format::Bcd32(_) => 2,
            Format::U64(_) | Format::I64(_) | Format::F64(_) => 4,
            Format::Text { bytes, .. } | Format::Bytes { bytes, .. } => bytes.div_ceil(2),
        }
    }

    /// The kind of the values.
    pub fn kind(self) -> ValueKind {
        match self {
            Format::Coil | Format::Flag | Format::Bit(_) => ValueKind::Bool,
            Format::I8(_) | Format::I16(_) | Format::I32(_) | Format::I64(_) => ValueKind::Int,
            Format::U8(_) | Format::U16(_) | Format::U32(_) | Format::U64(_) => ValueKind::Uint,
            Format::Bcd16(_) | Format::Bcd32(_) => ValueKind::Uint,
            Format::F32(_) => ValueKind::F32,
            Format::F64(_) => ValueKind::F64,
            Format::Text { .. } => ValueKind::Text,
            Format::Bytes { .. } => ValueKind::Bytes,
        }
    }

    /// The numbers that a value can be, when they are whole ones.
    pub fn integers(self) -> Option<RangeInclusive<i128>> {
        match self {
            Format::I8(_) => Some(i8::MIN.into()..=i8::MAX.into()),
            Format::I16(_) => Some(i16::MIN.into()..=i16::MAX.into()),
            Format::I32(_) => Some(i32::MIN.into()..=i32::MAX.into()),
            Format::I64(_) => Some(i64::MIN.into()..=i64::MAX.into()),
            Format::U8(_) => Some(0..=u8::MAX.into()),
            Format::U16(_) => Some(0..=u16::MAX.into()),
            Format::U32(_) => Some(0..=u32::MAX.into()),
            Format::U64(_) => Some(0..=u64::MAX.into()),
            Format::Bcd16(_) => Some(0..=9999),
            Format::Bcd32(_) => Some(0..=99_999_999),
            Format::Coil | Format::Flag | Format::Bit(_) | Format::F32(_) | Format::F64(_) => None,
            Format::Text { .. } | Format::Bytes { .. } => None,
        }
    }

    /// Whether the value is a part of a register that others share.
    pub fn is_part(self) -> bool {
        matches!(self, Format::Bit(_) | Format::U8(_) | Format::I8(_))
    }

    /// The value of the registers whose bytes these are, as they came; `None` when they are no value of the format (a
    /// digit above 9, text that is not UTF-8, not enough bytes). A coil is not in registers and has none.
    #[inline]
    pub fn decode(self, bytes: &[u8]) -> Option<Value> {
        Some(match self {
            Format::F32(order) => Value::F32(f32::from_bits(order.join4(*bytes.first_chunk()?))),
            Format::U16(order) => Value::Uint(order.join2(*bytes.first_chunk()?).into()),
            Format::I16(order) => Value::Int(order.join2(*bytes.first_chunk()?).cast_signed().into()),
            Format::U32(order) => Value::Uint(order.join4(*bytes.first_chunk()?).into()),
            Format::I32(order) => Value::Int(order.join4(*bytes.first_chunk()?).cast_signed().into()),
            Format::U64(order) => Value::Uint(order.join8(*bytes.first_chunk()?)),
            Format::I64(order) => Value::Int(order.join8(*bytes.first_chunk()?).cast_signed()),
            Format::F64(order) => Value::F64(f64::from_bits(order.join8(*bytes.first_chunk()?))),
            Format::Flag => Value::Bool(*bytes.first_chunk::<2>()? != [0, 0]),
            Format::Bit(bit) => Value::Bool((u16::from_be_bytes(*bytes.first_chunk()?) >> (bit & 15)) & 1 == 1),
            Format::U8(half) => Value::Uint(half.of(*bytes.first_chunk()?).into()),
            Format::I8(half) => Value::Int(half.of(*bytes.first_chunk()?).cast_signed().into()),
            Format::Bcd16(order) => Value::Uint(decimal(order.join2(*bytes.first_chunk()?).into())?),
            Format::Bcd32(order) => Value::Uint(decimal(order.join4(*bytes.first_chunk()?))?),
            Format::Text { bytes: length, order } => text(&whole(bytes, length.into(), order)?)?,
            Format::Bytes { bytes: length, order } => Value::Bytes(whole(bytes, length.into(), order)?.as_ref().into()),
            Format::Coil => return None,
        })
    }

    /// The array of that many values whose bytes these are; `None` when one of them is no value.
    pub fn decode_array(self, bytes: &[u8], items: u16) -> Option<Value> {
        let width = usize::from(self.addresses()) * 2;
        let values: Option<Arc<[Value]>> =
            bytes.chunks_exact(width).take(items.into()).map(|item| self.decode(item)).collect();
        values.filter(|values| values.len() == usize::from(items)).map(Value::Array)
    }
}

impl Half {
    /// That byte of a register as it came.
    fn of(self, [high, low]: [u8; 2]) -> u8 {
        match self {
            Half::High => high,
            Half::Low => low,
        }
    }
}

/// The number whose decimal digits stand in each four bits; `None` when one of them is above 9.
fn decimal(digits: u32) -> Option<u64> {
    (0..8)
        .rev()
        .map(|place| (digits >> (4 * place)) & 0xF)
        .try_fold(0_u64, |number, digit| (digit <= 9).then(|| number * 10 + u64::from(digit)))
}

/// The first `length` of these bytes, each register turned around where it is swapped; `None` when there are fewer.
fn whole(bytes: &[u8], length: usize, order: ByteOrder) -> Option<Cow<'_, [u8]>> {
    if !order.swaps_bytes() {
        return bytes.get(..length).map(Cow::Borrowed);
    }
    // The last register is swapped as a whole, also when only one byte of it belongs to the value.
    let registers = bytes.get(..length.next_multiple_of(2))?;
    let swapped = registers.chunks_exact(2).flat_map(|pair| pair.iter().rev().copied());
    Some(Cow::Owned(swapped.take(length).collect()))
}

/// The text in these bytes; `None` when they are not UTF-8.
fn text(bytes: &[u8]) -> Option<Value> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = std::str::from_utf8(bytes.get(..end)?).ok()?;
    Some(Value::Text(Arc::from(text.trim_end_matches(' '))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABCD: ByteOrder = ByteOrder::Abcd;

    #[test]
    fn numbers_keep_their_sign_and_every_bit() {
        assert_eq!(Format::I16(ABCD).decode(&[0xFF, 0xFE]), Some(Value::Int(-2)));
        assert_eq!(Format::U16(ABCD).decode(&[0xFF, 0xFE]), Some(Value::Uint(0xFFFE)));
        assert_eq!(Format::I32(ABCD).decode(&[0x80, 0, 0, 0]), Some(Value::Int(i32::MIN.into())));
        assert_eq!(Format::U64(ABCD).decode(&[0xFF; 8]), Some(Value::Uint(u64::MAX)));
        assert_eq!(Format::I64(ABCD).decode(&[0xFF; 8]), Some(Value::Int(-1)));
        assert_eq!(Format::F32(ByteOrder::Cdab).decode(&[0x66, 0x66, 0x43, 0x65]), Some(Value::F32(229.4)));
        let signalling = f32::from_bits(0x7FA0_0001);
        let read = Format::F32(ABCD).decode(&[0x7F, 0xA0, 0x00, 0x01]).unwrap();
        assert!(read.same_as(&Value::F32(signalling)));
    }

    #[test]
    fn parts_of_a_register_are_its_bits_and_bytes() {
        let register = [0x80, 0x01];
        assert_eq!(Format::Bit(0).decode(&register), Some(Value::Bool(true)));
        assert_eq!(Format::Bit(1).decode(&register), Some(Value::Bool(false)));
        assert_eq!(Format::Bit(15).decode(&register), Some(Value::Bool(true)));
        assert_eq!(Format::I8(Half::High).decode(&register), Some(Value::Int(-128)));
        assert_eq!(Format::U8(Half::Low).decode(&register), Some(Value::Uint(1)));
        assert_eq!(Format::Flag.decode(&[0, 0]), Some(Value::Bool(false)));
    }

    #[test]
    fn decimal_digits_above_nine_are_no_value() {
        assert_eq!(Format::Bcd16(ABCD).decode(&[0x12, 0x34]), Some(Value::Uint(1234)));
        assert_eq!(Format::Bcd32(ABCD).decode(&[0x12, 0x34, 0x56, 0x78]), Some(Value::Uint(12_345_678)));
        assert_eq!(Format::Bcd16(ABCD).decode(&[0x12, 0x3A]), None);
    }

    #[test]
    fn a_text_ends_at_its_first_nul_and_without_trailing_spaces() {
        let straight = Format::Text { bytes: 6, order: ABCD };
        let swapped = Format::Text { bytes: 5, order: ByteOrder::Badc };
        assert_eq!(straight.decode(b"PM\0xyz"), Some(Value::Text("PM".into())));
        assert_eq!(straight.decode(b"PM 5  "), Some(Value::Text("PM 5".into())));
        assert_eq!(swapped.decode(b"EHLL?O"), Some(Value::Text("HELLO".into())));
        assert_eq!(straight.decode(&[0xFF; 6]), None);
        assert_eq!(straight.decode(b"short"), None);
    }

    #[test]
    fn bytes_stay_as_they_are_all_of_them() {
        let bytes = |bytes: &[u8]| Some(Value::Bytes(bytes.into()));
        let straight = Format::Bytes { bytes: 4, order: ABCD };
        let swapped = Format::Bytes { bytes: 3, order: ByteOrder::Badc };
        assert_eq!(straight.decode(&[0, 0xFF, 0x20, 0, 7]), bytes(&[0, 0xFF, 0x20, 0]));
        assert_eq!(swapped.decode(&[2, 1, 9, 3]), bytes(&[1, 2, 3]));
        assert_eq!(straight.decode(&[1, 2, 3]), None);
        assert_eq!(swapped.decode(&[2, 1, 9]), None);
        assert_eq!((straight.addresses(), swapped.addresses()), (2, 2));
    }

    #[test]
    fn too_few_bytes_are_no_value() {
        for format in [Format::U16(ABCD), Format::F32(ABCD), Format::F64(ABCD), Format::Flag, Format::Bit(3)] {
            let needed = usize::from(format.addresses()) * 2;
            assert_eq!(format.decode(&[0; 8][..needed - 1]), None, "{format:?}");
        }
        assert_eq!(Format::U16(ABCD).decode_array(&[0; 5], 3), None);
    }

    #[test]
    fn an_array_is_its_items_in_order() {
        let items = [Value::Uint(1), Value::Uint(2)];
        assert_eq!(Format::U16(ABCD).decode_array(&[0, 1, 0, 2, 0, 3], 2), Some(Value::Array(items.into())));
    }
}
