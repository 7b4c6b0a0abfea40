//! A value of any kind as bytes: texts, byte strings, arrays, and what is of another kind than its column.

use std::sync::Arc;

use tidegate_model::{Value, ValueKind};

use super::{
    BlockError,
    cells::OBJECT_BYTES,
    convert::{count, place},
    error::{TOO_LARGE, malformed},
    input::Input,
};
use crate::record::bytes::put_varint;

/// In the place of a kind: an array.
const ARRAY: u8 = 8;
/// Arrays may be nested so deep.
const DEPTH: usize = 8;
/// What a text, bytes or an array takes beside what is in it, as [`Value::heap_bytes`] counts it.
pub(super) const HEAD_BYTES: usize = 16;
const WHAT: &str = "a value of another kind than its column";

/// Appends a value with its kind.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) {
    let kind = super::cells::kind_of(value);
    out.push(kind.map_or(ARRAY, ValueKind::code));
    match value {
        Value::Bool(on) => out.push(u8::from(*on)),
        Value::Int(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Uint(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::F32(number) => out.extend_from_slice(&number.to_bits().to_le_bytes()),
        Value::F64(number) => out.extend_from_slice(&number.to_bits().to_le_bytes()),
        Value::Text(text) => write_bytes(text.as_bytes(), out),
        Value::Bytes(bytes) => write_bytes(bytes, out),
        Value::Array(items) => {
            put_varint(count(items.len()), out);
            for item in items.iter() {
                write(item, out);
            }
        }
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(count(bytes.len()), out);
    out.extend_from_slice(bytes);
}

/// Takes so much from what values may still take.
pub(super) fn take(budget: &mut usize, bytes: usize) -> Result<(), BlockError> {
    *budget = budget.checked_sub(bytes).ok_or(TOO_LARGE)?;
    Ok(())
}

/// Reads what [`write`] has written. What the value takes beside itself is taken from the budget, before it is allocated.
pub(super) fn read(input: &mut Input, budget: &mut usize) -> Result<Value, BlockError> {
    read_at(input, budget, DEPTH)
}

fn read_at(input: &mut Input, budget: &mut usize, depth: usize) -> Result<Value, BlockError> {
    let code = input.byte(WHAT)?;
    if code == ARRAY {
        let depth = depth.checked_sub(1).ok_or(malformed("arrays in arrays"))?;
        let items = place(input.varint(WHAT)?);
        // Each item takes two bytes at least.
        if items > input.rest().len() / 2 {
            return Err(malformed(WHAT));
        }
        take(budget, HEAD_BYTES + items * OBJECT_BYTES)?;
        let items = (0..items).map(|_| read_at(input, budget, depth)).collect::<Result<Vec<Value>, _>>()?;
        return Ok(Value::Array(items.into()));
    }
    match ValueKind::from_code(code).ok_or(malformed(WHAT))? {
        ValueKind::Bool => match input.byte(WHAT)? {
            0 => Ok(Value::Bool(false)),
            1 => Ok(Value::Bool(true)),
            _ => Err(malformed(WHAT)),
        },
        ValueKind::Int => fixed(input).map(|bytes| Value::Int(i64::from_le_bytes(bytes))),
        ValueKind::Uint => fixed(input).map(|bytes| Value::Uint(u64::from_le_bytes(bytes))),
        ValueKind::F32 => fixed(input).map(|bytes| Value::F32(f32::from_bits(u32::from_le_bytes(bytes)))),
        ValueKind::F64 => fixed(input).map(|bytes| Value::F64(f64::from_bits(u64::from_le_bytes(bytes)))),
        ValueKind::Text => read_bytes(input, budget).and_then(text),
        ValueKind::Bytes => read_bytes(input, budget).map(|bytes| Value::Bytes(bytes.into())),
    }
}

fn fixed<const N: usize>(input: &mut Input) -> Result<[u8; N], BlockError> {
    let bytes = input.take(N, WHAT)?;
    bytes.try_into().map_err(|_| malformed(WHAT))
}

fn read_bytes<'a>(input: &mut Input<'a>, budget: &mut usize) -> Result<&'a [u8], BlockError> {
    let length = place(input.varint(WHAT)?);
    let bytes = input.take(length, WHAT)?;
    take(budget, HEAD_BYTES + bytes.len())?;
    Ok(bytes)
}

/// A text of these bytes.
pub(super) fn text(bytes: &[u8]) -> Result<Value, BlockError> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("a text"))?;
    Ok(Value::Text(Arc::from(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Vec<Value> {
        let single = [
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Uint(u64::MAX),
            Value::F32(-0.0),
            Value::F64(1.5),
            Value::Text("größer".into()),
            Value::Bytes([0, 255].into()),
        ];
        let mut values = single.to_vec();
        values.push(Value::Array(single.into()));
        values.push(Value::Array([Value::Array([].into()), Value::Text("".into())].into()));
        values
    }

    #[test]
    fn every_value_comes_back_and_a_cut_is_refused() {
        for value in values() {
            let mut bytes = Vec::new();
            write(&value, &mut bytes);
            let mut input = Input::new(&bytes);
            let mut budget = value.heap_bytes();
            assert!(read(&mut input, &mut budget).unwrap().same_as(&value), "{value:?}");
            assert_eq!(budget, 0, "{value:?} takes another budget than it takes memory");
            assert!(input.rest().is_empty());
            for length in 0..bytes.len() {
                assert!(read(&mut Input::new(&bytes[..length]), &mut 100_000).is_err(), "{value:?} cut at {length}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_value_are_refused() {
        let deep = [[ARRAY, 1].repeat(DEPTH + 1), vec![1, 1]].concat();
        for bytes in [&[0, 0][..], &[9, 0], &[1, 2], &[6, 1, 0xff], &[ARRAY, 0xff, 0xff, 0x7f, 1, 1], &deep] {
            assert!(read(&mut Input::new(bytes), &mut 100_000).is_err(), "{bytes:?}");
        }
    }
}
