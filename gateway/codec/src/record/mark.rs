//! What a slot is without its value: the kind, the quality and the reason, in a byte or two.

use tidegate_model::{Reason, Slot, Value, ValueKind};

use super::bytes::Input;
use crate::CodecError;

const UNCHANGED: u8 = 0;
/// 1 to 6 are the kinds of single values.
const ARRAY: u8 = 7;
const BAD: u8 = 8;
/// Added to the code of a kind.
const UNCERTAIN: u8 = 16;
/// Its code as a kind is the one of arrays here.
const BYTES: u8 = 9;

/// What is in a slot or in an item of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    One(ValueKind),
    Array,
}

impl Content {
    fn code(self) -> u8 {
        match self {
            Content::One(ValueKind::Bytes) => BYTES,
            Content::One(kind) => kind.code(),
            Content::Array => ARRAY,
        }
    }

    fn from_code(code: u8) -> Option<Content> {
        match code {
            ARRAY => Some(Content::Array),
            BYTES => Some(Content::One(ValueKind::Bytes)),
            code => ValueKind::from_code(code).map(Content::One),
        }
    }

    #[inline]
    pub(super) fn of(value: &Value) -> Content {
        match value {
            Value::Bool(_) => Content::One(ValueKind::Bool),
            Value::Int(_) => Content::One(ValueKind::Int),
            Value::Uint(_) => Content::One(ValueKind::Uint),
            Value::F32(_) => Content::One(ValueKind::F32),
            Value::F64(_) => Content::One(ValueKind::F64),
            Value::Text(_) => Content::One(ValueKind::Text),
            Value::Bytes(_) => Content::One(ValueKind::Bytes),
            Value::Array(_) => Content::Array,
        }
    }
}

/// A slot without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Unchanged,
    Bad(Reason),
    Good(Content),
    Uncertain(Content, Reason),
}

impl Mark {
    #[inline]
    pub(super) fn of(slot: &Slot) -> Mark {
        match slot {
            Slot::Unchanged => Mark::Unchanged,
            Slot::Good(value) => Mark::Good(Content::of(value)),
            Slot::Uncertain(value, reason) => Mark::Uncertain(Content::of(value), *reason),
            Slot::Bad(reason) => Mark::Bad(*reason),
        }
    }

    /// Appends the mark: a byte, and the code of the reason where there is one.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Mark::Unchanged => out.push(UNCHANGED),
            Mark::Good(content) => out.push(content.code()),
            Mark::Bad(reason) => out.extend_from_slice(&[BAD, reason.code()]),
            Mark::Uncertain(content, reason) => out.extend_from_slice(&[UNCERTAIN + content.code(), reason.code()]),
        }
    }

    pub(super) fn read(input: &mut Input) -> Result<Mark, CodecError> {
        let content = |code| Content::from_code(code).ok_or(CodecError::Malformed { what: "the kind of a slot" });
        match input.byte("the kind of a slot")? {
            UNCHANGED => Ok(Mark::Unchanged),
            BAD => Ok(Mark::Bad(reason(input)?)),
            code @ UNCERTAIN.. => Ok(Mark::Uncertain(content(code - UNCERTAIN)?, reason(input)?)),
            code => Ok(Mark::Good(content(code)?)),
        }
    }
}

fn reason(input: &mut Input) -> Result<Reason, CodecError> {
    const WHAT: &str = "the reason of a slot";
    Reason::from_code(input.byte(WHAT)?).ok_or(CodecError::Malformed { what: WHAT })
}
