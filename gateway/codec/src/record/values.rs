//! The values of a record, by kind, and slots made of them.

use std::{iter::repeat_n, vec::IntoIter};

use tidegate_model::{Slot, Value, ValueKind};

use super::{
    MAX_BYTES,
    bytes::{Input, unzigzag},
    decode::{Run, read_runs},
    floats::{self, Double, Single},
    mark::{Content, Mark},
    planes,
};
use crate::CodecError;

/// Each value takes at least this much memory in rows that `encode` accepts.
const MOST: usize = MAX_BYTES / size_of::<Value>();

/// The values that no slot has taken yet, in the order of the slots.
pub(super) struct Values<'a> {
    /// Of each array: its runs.
    arrays: Input<'a>,
    bools: IntoIter<u64>,
    ints: IntoIter<u64>,
    uints: IntoIter<u64>,
    /// Bits of 32-bit floats.
    singles: IntoIter<u64>,
    /// Bits of 64-bit floats.
    doubles: IntoIter<u64>,
    text_lengths: IntoIter<u64>,
    texts: Input<'a>,
}

impl<'a> Values<'a> {
    /// Reads all sections, to the end of the body.
    pub(super) fn read(input: &mut Input<'a>) -> Result<Values<'a>, CodecError> {
        let mut room = MOST;
        let mut section = |values: Result<Vec<u64>, CodecError>| {
            values.map(|values| {
                room -= values.len();
                (values.into_iter(), room)
            })
        };
        let arrays = input.count("the length of the arrays")?;
        let arrays = Input::new(input.take(arrays, "the arrays")?);
        let (bools, room) = section(planes::read(input, MOST, "the bools"))?;
        let (ints, room) = section(planes::read(input, room, "the integers"))?;
        let (uints, room) = section(planes::read(input, room, "the unsigned integers"))?;
        let (singles, room) = section(floats::read::<Single>(input, room, "the 32-bit floats"))?;
        let (doubles, room) = section(floats::read::<Double>(input, room, "the 64-bit floats"))?;
        let (text_lengths, _) = section(planes::read(input, room, "the lengths of the texts"))?;
        let texts = input.take_rest();
        Ok(Values { arrays, bools, ints, uints, singles, doubles, text_lengths, texts })
    }

    /// The next `columns` slots, which have this shape.
    pub(super) fn slots(&mut self, shape: &[Run], columns: usize) -> Result<Box<[Slot]>, CodecError> {
        let mut slots = Vec::with_capacity(columns);
        for Run { mark, length } in shape {
            let length = *length;
            match *mark {
                Mark::Unchanged => slots.extend(repeat_n(Slot::Unchanged, length)),
                Mark::Bad(reason) => slots.extend(repeat_n(Slot::Bad(reason), length)),
                Mark::Good(content) => {
                    for _ in 0..length {
                        slots.push(Slot::Good(self.value(content)?));
                    }
                }
                Mark::Uncertain(content, reason) => {
                    for _ in 0..length {
                        slots.push(Slot::Uncertain(self.value(content)?, reason));
                    }
                }
            }
        }
        Ok(slots.into())
    }

    #[inline]
    fn value(&mut self, content: Content) -> Result<Value, CodecError> {
        let value = match content {
            Content::One(ValueKind::F32) => self.singles.next().and_then(single),
            Content::One(ValueKind::F64) => self.doubles.next().map(|bits| Value::F64(f64::from_bits(bits))),
            Content::One(ValueKind::Int) => self.ints.next().map(|number| Value::Int(unzigzag(number))),
            Content::One(ValueKind::Uint) => self.uints.next().map(Value::Uint),
            Content::One(ValueKind::Bool) => self.bools.next().and_then(bool_of),
            Content::One(ValueKind::Text) => return self.text(),
            Content::One(ValueKind::Bytes) => return Ok(Value::Bytes(self.bytes("bytes")?.into())),
            Content::Array => return self.array(),
        };
        value.ok_or(CodecError::Malformed { what: "a slot without its value" })
    }

    fn text(&mut self) -> Result<Value, CodecError> {
        const WHAT: &str = "a text";
        let text = std::str::from_utf8(self.bytes(WHAT)?).map_err(|_| CodecError::Malformed { what: WHAT })?;
        Ok(Value::Text(text.into()))
    }

    fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], CodecError> {
        let length = self.text_lengths.next().and_then(|length| usize::try_from(length).ok());
        self.texts.take(length.ok_or(CodecError::Malformed { what })?, what)
    }

    /// An array takes its items from the sections one by one, so it never has more of them than there are.
    fn array(&mut self) -> Result<Value, CodecError> {
        let (_, runs) = read_runs(&mut self.arrays, MOST)?;
        let mut items = Vec::new();
        for Run { mark, length } in runs {
            let Mark::Good(content @ Content::One(_)) = mark else {
                return Err(CodecError::Malformed { what: "the kind of an array's item" });
            };
            for _ in 0..length {
                items.push(self.value(content)?);
            }
        }
        Ok(Value::Array(items.into()))
    }

    /// Makes sure that every value has been taken.
    pub(super) fn finish(mut self) -> Result<(), CodecError> {
        let numbers = [
            &mut self.bools,
            &mut self.ints,
            &mut self.uints,
            &mut self.singles,
            &mut self.doubles,
            &mut self.text_lengths,
        ];
        let taken = numbers.into_iter().all(|numbers| numbers.next().is_none());
        if taken && self.arrays.is_empty() && self.texts.is_empty() {
            Ok(())
        } else {
            Err(CodecError::Malformed { what: "values without a slot" })
        }
    }
}

#[inline]
fn single(bits: u64) -> Option<Value> {
    u32::try_from(bits).ok().map(|bits| Value::F32(f32::from_bits(bits)))
}

#[inline]
fn bool_of(number: u64) -> Option<Value> {
    match number {
        0 => Some(Value::Bool(false)),
        1 => Some(Value::Bool(true)),
        _ => None,
    }
}
