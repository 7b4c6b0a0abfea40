//! Arrays as one run of bytes: numbers little-endian one after the other, bits eight to a byte, texts with a zero after each.
//!
//! Source: Sparkplug 3.0.0 §6.4.17.

use tidegate_model::Value;

use crate::{DataType, ValueError};

/// Items of one array, at most: those of the longest array of bits that a message of the largest size could have are more.
const MOST_ITEMS: usize = 4 * 1024 * 1024;

/// The bytes of an array.
///
/// # Errors
///
/// [`ValueError`] when an item is not of the array's type, or a text has a zero in it.
pub(crate) fn encode(items: &[Value], datatype: DataType) -> Result<Vec<u8>, ValueError> {
    let mut out = Vec::with_capacity(items.len().saturating_mul(8));
    match datatype {
        DataType::BooleanArray => return bits(items),
        DataType::StringArray => {
            for item in items {
                let Value::Text(text) = item else { return Err(ValueError::Kind(datatype)) };
                if text.contains('\0') {
                    return Err(ValueError::ZeroInText);
                }
                out.extend_from_slice(text.as_bytes());
                out.push(0);
            }
            return Ok(out);
        }
        _ => {}
    }
    for item in items {
        number(item, datatype, &mut out)?;
    }
    Ok(out)
}

fn number(item: &Value, datatype: DataType, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let signed = || match item {
        Value::Int(number) => Ok(*number),
        Value::Uint(number) => i64::try_from(*number).map_err(|_| ValueError::Range(datatype)),
        _ => Err(ValueError::Kind(datatype)),
    };
    let unsigned = || match item {
        Value::Uint(number) => Ok(*number),
        Value::Int(number) => u64::try_from(*number).map_err(|_| ValueError::Range(datatype)),
        _ => Err(ValueError::Kind(datatype)),
    };
    macro_rules! put {
        ($kind:ty, $number:expr) => {
            out.extend_from_slice(&<$kind>::try_from($number?).map_err(|_| ValueError::Range(datatype))?.to_le_bytes())
        };
    }
    match (datatype, item) {
        (DataType::Int8Array, _) => put!(i8, signed()),
        (DataType::Int16Array, _) => put!(i16, signed()),
        (DataType::Int32Array, _) => put!(i32, signed()),
        (DataType::Int64Array, _) => put!(i64, signed()),
        (DataType::UInt8Array, _) => put!(u8, unsigned()),
        (DataType::UInt16Array, _) => put!(u16, unsigned()),
        (DataType::UInt32Array, _) => put!(u32, unsigned()),
        (DataType::UInt64Array | DataType::DateTimeArray, _) => put!(u64, unsigned()),
        (DataType::FloatArray, Value::F32(number)) => out.extend_from_slice(&number.to_le_bytes()),
        (DataType::DoubleArray, Value::F64(number)) => out.extend_from_slice(&number.to_le_bytes()),
        (DataType::DoubleArray, Value::F32(number)) => out.extend_from_slice(&f64::from(*number).to_le_bytes()),
        _ => return Err(ValueError::Kind(datatype)),
    }
    Ok(())
}

/// How many bits, as four bytes little-endian, then the bits, the first one the highest of its byte.
fn bits(items: &[Value]) -> Result<Vec<u8>, ValueError> {
    let count = u32::try_from(items.len()).map_err(|_| ValueError::TooLong)?;
    let mut out = count.to_le_bytes().to_vec();
    for eight in items.chunks(8) {
        let mut byte = 0_u8;
        for (place, item) in eight.iter().enumerate() {
            match item {
                Value::Bool(true) => byte |= 0x80 >> place,
                Value::Bool(false) => {}
                _ => return Err(ValueError::Kind(DataType::BooleanArray)),
            }
        }
        out.push(byte);
    }
    Ok(out)
}

/// The items of an array.
///
/// # Errors
///
/// [`ValueError`] when the bytes are not a whole number of items, or are no text.
pub(crate) fn decode(bytes: &[u8], datatype: DataType) -> Result<Value, ValueError> {
    let items = match datatype {
        DataType::Int8Array => numbers(bytes, datatype, |item| Value::Int(i8::from_le_bytes(item).into()))?,
        DataType::Int16Array => numbers(bytes, datatype, |item| Value::Int(i16::from_le_bytes(item).into()))?,
        DataType::Int32Array => numbers(bytes, datatype, |item| Value::Int(i32::from_le_bytes(item).into()))?,
        DataType::Int64Array => numbers(bytes, datatype, |item| Value::Int(i64::from_le_bytes(item)))?,
        DataType::UInt8Array => numbers(bytes, datatype, |item| Value::Uint(u8::from_le_bytes(item).into()))?,
        DataType::UInt16Array => numbers(bytes, datatype, |item| Value::Uint(u16::from_le_bytes(item).into()))?,
        DataType::UInt32Array => numbers(bytes, datatype, |item| Value::Uint(u32::from_le_bytes(item).into()))?,
        DataType::UInt64Array => numbers(bytes, datatype, |item| Value::Uint(u64::from_le_bytes(item)))?,
        DataType::DateTimeArray => {
            let time = |item| Value::Int(i64::try_from(u64::from_le_bytes(item)).unwrap_or(i64::MAX));
            numbers(bytes, datatype, time)?
        }
        DataType::FloatArray => numbers(bytes, datatype, |item| Value::F32(f32::from_le_bytes(item)))?,
        DataType::DoubleArray => numbers(bytes, datatype, |item| Value::F64(f64::from_le_bytes(item)))?,
        DataType::BooleanArray => return decode_bits(bytes),
        DataType::StringArray => return decode_texts(bytes),
        _ => return Err(ValueError::Kind(datatype)),
    };
    Ok(Value::Array(items.into()))
}

fn numbers<const SIZE: usize>(
    bytes: &[u8],
    datatype: DataType,
    read: impl Fn([u8; SIZE]) -> Value,
) -> Result<Vec<Value>, ValueError> {
    let (items, rest) = bytes.as_chunks::<SIZE>();
    if !rest.is_empty() {
        return Err(ValueError::Cut(datatype));
    }
    if items.len() > MOST_ITEMS {
        return Err(ValueError::TooLong);
    }
    Ok(items.iter().map(|item| read(*item)).collect())
}

fn decode_bits(bytes: &[u8]) -> Result<Value, ValueError> {
    let cut = ValueError::Cut(DataType::BooleanArray);
    let Some((count, bytes)) = bytes.split_first_chunk::<4>() else { return Err(cut) };
    let count = usize::try_from(u32::from_le_bytes(*count)).map_err(|_| ValueError::TooLong)?;
    if count > MOST_ITEMS {
        return Err(ValueError::TooLong);
    }
    if bytes.len() < count.div_ceil(8) {
        return Err(cut);
    }
    let bits = bytes.iter().flat_map(|byte| (0..8).map(move |place| byte & (0x80 >> place) != 0));
    Ok(Value::Array(bits.take(count).map(Value::Bool).collect()))
}

fn decode_texts(bytes: &[u8]) -> Result<Value, ValueError> {
    // The last text may lack its zero: some leave it out.
    let whole = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    if bytes.is_empty() {
        return Ok(Value::Array([].into()));
    }
    if whole.split(|byte| *byte == 0).count() > MOST_ITEMS {
        return Err(ValueError::TooLong);
    }
    let texts = whole.split(|byte| *byte == 0);
    let read = |text| std::str::from_utf8(text).map(|text| Value::Text(text.into())).map_err(|_| ValueError::NotUtf8);
    Ok(Value::Array(texts.map(read).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn both(datatype: DataType, items: &[Value], bytes: &[u8]) {
        assert_eq!(encode(items, datatype).unwrap(), bytes, "{datatype:?}");
        assert!(decode(bytes, datatype).unwrap().same_as(&Value::Array(items.into())), "{datatype:?}");
    }

    /// The examples of §6.4.17.
    #[test]
    fn arrays_are_packed_as_the_examples_of_the_specification() {
        let ints = |items: &[i64]| items.iter().map(|item| Value::Int(*item)).collect::<Vec<_>>();
        let uints = |items: &[u64]| items.iter().map(|item| Value::Uint(*item)).collect::<Vec<_>>();
        both(DataType::Int8Array, &ints(&[-23, 123]), &[0xE9, 0x7B]);
        both(DataType::Int16Array, &ints(&[-30_000, 30_000]), &[0xD0, 0x8A, 0x30, 0x75]);
        both(DataType::Int32Array, &ints(&[-1, 315_338_746]), &[0xFF, 0xFF, 0xFF, 0xFF, 0xFA, 0xAF, 0xCB, 0x12]);
        both(
            DataType::Int64Array,
            &ints(&[-4_270_929_666_821_191_986, -3_601_064_768_563_266_876]),
            &[0xCE, 0x06, 0x72, 0xAC, 0x18, 0x9C, 0xBA, 0xC4, 0xC4, 0xBA, 0x9C, 0x18, 0xAC, 0x72, 0x06, 0xCE],
        );
        both(DataType::UInt8Array, &uints(&[23, 250]), &[0x17, 0xFA]);
        both(DataType::UInt16Array, &uints(&[30, 52_360]), &[0x1E, 0x00, 0x88, 0xCC]);
        both(DataType::UInt32Array, &uints(&[52, 3_293_969_225]), &[0x34, 0, 0, 0, 0x49, 0xFB, 0x55, 0xC4]);
        both(
            DataType::UInt64Array,
            &uints(&[5_245, 16_444_743_074_749_521_625]),
            &[0x7D, 0x14, 0, 0, 0, 0, 0, 0, 0xD9, 0x9E, 0x02, 0xD1, 0xB2, 0x76, 0x37, 0xE4],
        );
        both(
            DataType::FloatArray,
            &[Value::F32(1.23), Value::F32(89.341)],
            &[0xA4, 0x70, 0x9D, 0x3F, 0x98, 0xAE, 0xB2, 0x42],
        );
        let bits = [false, false, true, true, false, true, false, false, true, true, false, true].map(Value::Bool);
        both(DataType::BooleanArray, &bits, &[0x0C, 0x00, 0x00, 0x00, 0x34, 0xD0]);
        let texts = ["ABC", "hello"].map(|text| Value::Text(text.into()));
        both(DataType::StringArray, &texts, b"ABC\0hello\0");
        let times = ints(&[1_256_102_875_335, 1_656_107_875_000]);
        let bytes = [0xC7, 0xD0, 0x90, 0x75, 0x24, 0x01, 0, 0, 0xB8, 0xBA, 0xB8, 0x97, 0x81, 0x01, 0, 0];
        both(DataType::DateTimeArray, &times, &bytes);
    }

    #[test]
    fn an_empty_array_is_an_array() {
        for datatype in DataType::ALL.into_iter().filter(|datatype| datatype.code() >= DataType::Int8Array.code()) {
            let bytes = encode(&[], datatype).unwrap();
            assert_eq!(decode(&bytes, datatype).unwrap(), Value::Array([].into()), "{datatype:?}");
        }
    }

    #[test]
    fn an_array_that_is_cut_is_no_array() {
        for datatype in [DataType::Int16Array, DataType::DoubleArray, DataType::DateTimeArray] {
            assert_eq!(decode(&[0; 9], datatype), Err(ValueError::Cut(datatype)));
        }
        let cut = Err(ValueError::Cut(DataType::BooleanArray));
        assert_eq!(decode(&[9, 0, 0, 0, 0], DataType::BooleanArray), cut);
        assert_eq!(decode(&[9, 0, 0], DataType::BooleanArray), cut);
        assert_eq!(decode(&[0xFF; 5], DataType::BooleanArray), Err(ValueError::TooLong));
    }

    #[test]
    fn an_item_of_another_kind_or_beyond_the_range_is_refused() {
        assert_eq!(encode(&[Value::Int(128)], DataType::Int8Array), Err(ValueError::Range(DataType::Int8Array)));
        assert_eq!(encode(&[Value::Int(-1)], DataType::UInt64Array), Err(ValueError::Range(DataType::UInt64Array)));
        assert_eq!(encode(&[Value::Bool(true)], DataType::Int8Array), Err(ValueError::Kind(DataType::Int8Array)));
        assert_eq!(encode(&[Value::Text("a\0b".into())], DataType::StringArray), Err(ValueError::ZeroInText));
        assert_eq!(decode(&[0xFF, 0], DataType::StringArray), Err(ValueError::NotUtf8));
    }
}
