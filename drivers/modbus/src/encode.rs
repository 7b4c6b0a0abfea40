//! The way from a value to what is written to the device. Nothing is ever cut off to make it fit.

use tidegate_driver_api::model::Value;

use crate::{ByteOrder, Format, Half, Point};

/// What has to be written for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoded {
    /// The bits of so many coils.
    Coils(Vec<bool>),
    /// The contents of so many registers.
    Registers(Vec<u16>),
    /// A part of one register: the new contents are `(old & keep) | (set & !keep)`.
    Part {
        /// Bits of the register that stay as they are.
        keep: u16,
        /// The bits to set; none of them is in `keep`.
        set: u16,
    },
}

/// Why a value cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The value is of another kind than the tag.
    #[error("the tag takes {wanted}, not {value}")]
    Kind {
        /// What the tag takes.
        wanted: &'static str,
        /// The value, for a person.
        value: String,
    },
    /// The number is outside of what the device's type can hold.
    #[error("{value} does not fit {wanted}")]
    Range {
        /// What the tag takes.
        wanted: &'static str,
        /// The value, for a person.
        value: String,
    },
    /// The text has more bytes than the device has room for.
    #[error("the text has {bytes} bytes, but the device has room for {room}")]
    TextTooLong {
        /// Bytes of the text.
        bytes: usize,
        /// Bytes of the tag.
        room: u16,
    },
    /// The text has a NUL in it, which would end it early.
    #[error("the text has a NUL character in it")]
    TextWithNul,
    /// There are more or fewer bytes than the device has.
    #[error("there are {bytes} bytes, but the device has exactly {wanted}")]
    ByteCount {
        /// Bytes of the value.
        bytes: usize,
        /// Bytes of the tag.
        wanted: u16,
    },
    /// The array has another number of items than the tag.
    #[error("the tag is an array of {wanted} items, the value has {got}")]
    Items {
        /// Items of the tag.
        wanted: u16,
        /// Items of the value.
        got: usize,
    },
}

impl Point {
    /// What has to be written so that the tag has this value.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when the value does not fit the tag: it is never cut off or wrapped around. A 64-bit float for a 32-bit
    /// one is rounded to the nearest.
    pub fn encode(&self, value: &Value) -> Result<Encoded, Refusal> {
        let single = std::slice::from_ref(value);
        let values: &[Value] = match (self.items(), value) {
            (None, Value::Array(_)) => return Err(wrong_kind("a single value", value)),
            (None, _) => single,
            (Some(wanted), Value::Array(values)) if values.len() == usize::from(wanted) => values,
            (Some(wanted), Value::Array(values)) => return Err(Refusal::Items { wanted, got: values.len() }),
            (Some(wanted), _) => return Err(Refusal::Items { wanted, got: 1 }),
        };
        match self.format() {
            Format::Coil => values.iter().map(boolean).collect::<Result<_, _>>().map(Encoded::Coils),
            Format::Bit(bit) => boolean(value).map(|on| {
                let mask = 1 << (bit & 15);
                Encoded::Part { keep: !mask, set: if on { mask } else { 0 } }
            }),
            Format::U8(half) => number::<u8>(value, "an unsigned 8-bit integer").map(|byte| part(half, byte)),
            Format::I8(half) => {
                number::<i8>(value, "a signed 8-bit integer").map(|byte| part(half, byte.cast_unsigned()))
            }
            format => {
                let mut registers = Vec::with_capacity(usize::from(self.addresses()));
                for value in values {
                    append(format, value, &mut registers)?;
                }
                Ok(Encoded::Registers(registers))
            }
        }
    }
}

/// The registers of one value that fills whole registers.
fn append(format: Format, value: &Value, out: &mut Vec<u16>) -> Result<(), Refusal> {
    match format {
        Format::Flag => out.push(boolean(value)?.into()),
        Format::U16(order) => push(out, &order.split2(number(value, "an unsigned 16-bit integer")?)),
        Format::I16(order) => {
            push(out, &order.split2(number::<i16>(value, "a signed 16-bit integer")?.cast_unsigned()));
        }
        Format::U32(order) => push(out, &order.split4(number(value, "an unsigned 32-bit integer")?)),
        Format::I32(order) => {
            push(out, &order.split4(number::<i32>(value, "a signed 32-bit integer")?.cast_unsigned()));
        }
        Format::U64(order) => push(out, &order.split8(number(value, "an unsigned 64-bit integer")?)),
        Format::I64(order) => {
            push(out, &order.split8(number::<i64>(value, "a signed 64-bit integer")?.cast_unsigned()));
        }
        Format::F32(order) => push(out, &order.split4(single(value)?.to_bits())),
        Format::F64(order) => push(out, &order.split8(double(value)?.to_bits())),
        Format::Bcd16(order) => {
            let digits = digits(value, 9_999, "a decimal number of four digits")?;
            let digits = u16::try_from(digits).map_err(|_| out_of_range("a decimal number of four digits", value))?;
            push(out, &order.split2(digits));
        }
        Format::Bcd32(order) => {
            push(out, &order.split4(digits(value, 99_999_999, "a decimal number of eight digits")?));
        }
        Format::Text { bytes, order } => push_bytes(text(value, bytes)?, bytes, order, out),
        Format::Bytes { bytes, order } => push_bytes(exactly(value, bytes)?, bytes, order, out),
        // These are no whole registers; `Point::encode` has its own arms for them.
        Format::Coil | Format::Bit(_) | Format::U8(_) | Format::I8(_) => {
            return Err(wrong_kind("a part of a register", value));
        }
    }
    Ok(())
}

/// The bytes as registers, two by two.
fn push(out: &mut Vec<u16>, bytes: &[u8]) {
    out.extend(bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)));
}

/// The bytes of a text for which there is room.
fn text(value: &Value, room: u16) -> Result<&[u8], Refusal> {
    let Value::Text(text) = value else { return Err(wrong_kind("a text", value)) };
    if text.len() > usize::from(room) {
        return Err(Refusal::TextTooLong { bytes: text.len(), room });
    }
    if text.contains('\0') {
        return Err(Refusal::TextWithNul);
    }
    Ok(text.as_bytes())
}

/// Bytes that are as many as the tag has: nobody can tell what others would be filled up with.
fn exactly(value: &Value, wanted: u16) -> Result<&[u8], Refusal> {
    match value {
        Value::Bytes(bytes) if bytes.len() == usize::from(wanted) => Ok(bytes),
        Value::Bytes(bytes) => Err(Refusal::ByteCount { bytes: bytes.len(), wanted }),
        _ => Err(wrong_kind("bytes", value)),
    }
}

/// The bytes and NULs up to so many registers as `room` bytes take.
fn push_bytes(bytes: &[u8], room: u16, order: ByteOrder, out: &mut Vec<u16>) {
    let mut bytes = bytes.iter().copied().chain(std::iter::repeat(0));
    for _ in 0..room.div_ceil(2) {
        let pair = [bytes.next().unwrap_or(0), bytes.next().unwrap_or(0)];
        out.push(if order.swaps_bytes() { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) });
    }
}

fn part(half: Half, byte: u8) -> Encoded {
    match half {
        Half::High => Encoded::Part { keep: 0x00FF, set: u16::from_be_bytes([byte, 0]) },
        Half::Low => Encoded::Part { keep: 0xFF00, set: byte.into() },
    }
}

/// On or off; 1 and 0 are taken for it too.
fn boolean(value: &Value) -> Result<bool, Refusal> {
    match value {
        Value::Bool(on) => Ok(*on),
        Value::Int(0) | Value::Uint(0) => Ok(false),
        Value::Int(1) | Value::Uint(1) => Ok(true),
        _ => Err(wrong_kind("true or false", value)),
    }
}

/// An integer of a type; floats are taken when they are whole.
fn number<T: TryFrom<i128>>(value: &Value, wanted: &'static str) -> Result<T, Refusal> {
    let number = match value {
        Value::Int(number) => i128::from(*number),
        Value::Uint(number) => i128::from(*number),
        Value::F32(number) => whole(f64::from(*number)).ok_or_else(|| out_of_range(wanted, value))?,
        Value::F64(number) => whole(*number).ok_or_else(|| out_of_range(wanted, value))?,
        _ => return Err(wrong_kind(wanted, value)),
    };
    T::try_from(number).map_err(|_| out_of_range(wanted, value))
}

/// The integer that a float is, if it is one and small enough to be exact.
#[expect(clippy::as_conversions, reason = "no `From` exists; the value is whole and below 2^53")]
fn whole(number: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i128)
}

fn single(value: &Value) -> Result<f32, Refusal> {
    const WANTED: &str = "a 32-bit float";
    match value {
        Value::F32(number) => Ok(*number),
        Value::F64(number) => {
            let nearest = nearest_single(*number);
            if nearest.is_infinite() && number.is_finite() { Err(out_of_range(WANTED, value)) } else { Ok(nearest) }
        }
        Value::Int(_) | Value::Uint(_) => {
            let exact = double(value)?;
            let nearest = nearest_single(exact);
            if f64::from(nearest) == exact { Ok(nearest) } else { Err(out_of_range(WANTED, value)) }
        }
        _ => Err(wrong_kind(WANTED, value)),
    }
}

#[expect(clippy::as_conversions, reason = "no `From` exists; rounding to the nearest is what is wanted")]
fn nearest_single(number: f64) -> f32 {
    number as f32
}

fn double(value: &Value) -> Result<f64, Refusal> {
    const WANTED: &str = "a 64-bit float";
    match value {
        Value::F32(number) => Ok(f64::from(*number)),
        Value::F64(number) => Ok(*number),
        Value::Int(_) | Value::Uint(_) => {
            let exact: i64 = number(value, WANTED)?;
            let float = Value::Int(exact).as_f64().filter(|float| whole(*float) == Some(exact.into()));
            float.ok_or_else(|| out_of_range(WANTED, value))
        }
        _ => Err(wrong_kind(WANTED, value)),
    }
}

/// The decimal digits of a number, four bits each.
fn digits(value: &Value, largest: u32, wanted: &'static str) -> Result<u32, Refusal> {
    let mut rest: u32 = number(value, wanted)?;
    if rest > largest {
        return Err(out_of_range(wanted, value));
    }
    let mut digits = 0;
    for place in 0..8 {
        digits |= (rest % 10) << (4 * place);
        rest /= 10;
    }
    Ok(digits)
}

fn wrong_kind(wanted: &'static str, value: &Value) -> Refusal {
    Refusal::Kind { wanted, value: shown(value) }
}

fn out_of_range(wanted: &'static str, value: &Value) -> Refusal {
    Refusal::Range { wanted, value: shown(value) }
}

/// The value in a sentence.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Bool(on) => on.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::Array(items) => format!("an array of {} items", items.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(format: Format, value: Value) -> Result<Vec<u16>, Refusal> {
        let mut out = Vec::new();
        append(format, &value, &mut out).map(|()| out)
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same_value() {
        let cdab = ByteOrder::Cdab;
        let cases = [
            (Format::U16(ByteOrder::Badc), Value::Uint(0xA1B2)),
            (Format::I16(cdab), Value::Int(-32768)),
            (Format::U32(cdab), Value::Uint(0xA1B2_C3D4)),
            (Format::I32(cdab), Value::Int(-2)),
            (Format::U64(cdab), Value::Uint(u64::MAX - 1)),
            (Format::I64(ByteOrder::Dcba), Value::Int(i64::MIN)),
            (Format::F32(cdab), Value::F32(-0.0)),
            (Format::F64(cdab), Value::F64(f64::MIN_POSITIVE)),
            (Format::Bcd16(cdab), Value::Uint(9999)),
            (Format::Bcd32(cdab), Value::Uint(12_345_678)),
            (Format::Flag, Value::Bool(true)),
            (Format::Text { bytes: 7, order: ByteOrder::Badc }, Value::Text("Pumpe 1".into())),
            (Format::Bytes { bytes: 5, order: ByteOrder::Badc }, Value::Bytes([0, 0xFF, 0, 0x20, 7].into())),
            (Format::Bytes { bytes: 4, order: ByteOrder::Abcd }, Value::Bytes([1, 2, 3, 0].into())),
        ];
        for (format, value) in cases {
            let bytes: Vec<u8> =
                registers(format, value.clone()).unwrap().into_iter().flat_map(u16::to_be_bytes).collect();
            assert!(format.decode(&bytes).unwrap().same_as(&value), "{format:?}");
        }
    }

    #[test]
    fn nothing_is_cut_off_to_make_it_fit() {
        let abcd = ByteOrder::Abcd;
        let refused = [
            (Format::U16(abcd), Value::Int(65_536)),
            (Format::U16(abcd), Value::Int(-1)),
            (Format::I16(abcd), Value::Int(32_768)),
            (Format::U32(abcd), Value::Uint(1 << 32)),
            (Format::I64(abcd), Value::Uint(1 << 63)),
            (Format::U16(abcd), Value::F64(1.5)),
            (Format::U16(abcd), Value::F64(f64::NAN)),
            (Format::F32(abcd), Value::F64(1e39)),
            (Format::F32(abcd), Value::Int(16_777_217)),
            (Format::F64(abcd), Value::Int(9_007_199_254_740_993)),
            (Format::Bcd16(abcd), Value::Uint(10_000)),
            (Format::Bcd32(abcd), Value::Int(100_000_000)),
        ];
        for (format, value) in refused {
            assert!(matches!(registers(format, value.clone()), Err(Refusal::Range { .. })), "{format:?} {value:?}");
        }
        let text = Format::Text { bytes: 3, order: abcd };
        assert_eq!(registers(text, Value::Text("Tür".into())), Err(Refusal::TextTooLong { bytes: 4, room: 3 }));
        assert_eq!(registers(text, Value::Text("a\0b".into())), Err(Refusal::TextWithNul));
        let bytes = Format::Bytes { bytes: 3, order: abcd };
        for length in [0, 2, 4] {
            let refused = registers(bytes, Value::Bytes(vec![1; length].into()));
            assert_eq!(refused, Err(Refusal::ByteCount { bytes: length, wanted: 3 }));
        }
        assert!(matches!(registers(bytes, Value::Text("abc".into())), Err(Refusal::Kind { .. })));
        assert!(matches!(registers(Format::U16(abcd), Value::Bool(true)), Err(Refusal::Kind { .. })));
    }

    #[test]
    fn whole_floats_are_taken_for_integers_and_doubles_are_rounded_to_singles() {
        assert_eq!(registers(Format::I16(ByteOrder::Abcd), Value::F64(-2.0)), Ok(vec![0xFFFE]));
        assert_eq!(registers(Format::F32(ByteOrder::Abcd), Value::F64(0.1)), Ok(vec![0x3DCC, 0xCCCD]));
    }
}
