//! How much a message is, before it is taken apart: an empty metric takes two bytes on the wire and hundreds in memory.
//!
//! Walks over the fields of the messages that we know, and counts the messages in them. Nothing is allocated.

use crate::PayloadError;

/// Messages within messages deeper than this are not read.
const DEEPEST: usize = 16;

/// How much is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a message, at most.
    pub bytes: usize,
    /// Metrics in it, those within structures included, at most.
    pub metrics: usize,
    /// Everything else in it that is counted: names, properties, elements of tables, parameters.
    pub parts: usize,
}

impl Default for Bounds {
    /// 16 MiB, 200,000 metrics, 1,000,000 parts: some 200 MiB of memory while a message of a hostile sender is read.
    fn default() -> Bounds {
        Bounds { bytes: 16 * 1024 * 1024, metrics: 200_000, parts: 1_000_000 }
    }
}

/// The messages that have messages in them.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Payload,
    Metric,
    Properties,
    Property,
    PropertySets,
    Table,
    TableRow,
    Template,
    Leaf,
}

/// What a field holds.
enum Field {
    Message(Kind),
    /// A text in a list of texts, or a number in a list of numbers: something that takes memory of its own.
    Item,
    /// Numbers one after the other.
    Numbers,
    Plain,
}

fn field(kind: Kind, number: u64) -> Field {
    match (kind, number) {
        (Kind::Payload, 2) | (Kind::Template, 2) => Field::Message(Kind::Metric),
        (Kind::Metric, 8) | (Kind::Template, 3) | (Kind::TableRow, 1) => Field::Message(Kind::Leaf),
        (Kind::Metric, 9) | (Kind::Property, 9) | (Kind::PropertySets, 1) => Field::Message(Kind::Properties),
        (Kind::Metric, 17) => Field::Message(Kind::Table),
        (Kind::Metric, 18) => Field::Message(Kind::Template),
        (Kind::Properties, 2) => Field::Message(Kind::Property),
        (Kind::Property, 10) => Field::Message(Kind::PropertySets),
        (Kind::Table, 4) => Field::Message(Kind::TableRow),
        (Kind::Properties, 1) | (Kind::Table, 2) => Field::Item,
        (Kind::Table, 3) => Field::Numbers,
        _ => Field::Plain,
    }
}

/// Checks a message against the bounds.
///
/// # Errors
///
/// [`PayloadError::TooLarge`], [`PayloadError::TooMany`], [`PayloadError::TooDeep`], or [`PayloadError::Malformed`] where the bytes are
/// no fields.
pub(crate) fn check(bytes: &[u8], bounds: Bounds) -> Result<(), PayloadError> {
    if bytes.len() > bounds.bytes {
        return Err(PayloadError::TooLarge { bytes: bytes.len(), most: bounds.bytes });
    }
    let mut left = bounds;
    walk(bytes, Kind::Payload, 0, &mut left)
}

fn walk(mut bytes: &[u8], kind: Kind, depth: usize, left: &mut Bounds) -> Result<(), PayloadError> {
    if depth > DEEPEST {
        return Err(PayloadError::TooDeep);
    }
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let what = field(kind, key >> 3);
        match key & 7 {
            0 => {
                varint(&mut bytes)?;
                if matches!(what, Field::Item | Field::Numbers) {
                    count(&mut left.parts, 1)?;
                }
            }
            1 => skip(&mut bytes, 8)?,
            5 => skip(&mut bytes, 4)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| malformed())?;
                let (inner, rest) = bytes.split_at_checked(length).ok_or_else(malformed)?;
                bytes = rest;
                match what {
                    Field::Message(Kind::Metric) => {
                        count(&mut left.metrics, 1)?;
                        walk(inner, Kind::Metric, depth + 1, left)?;
                    }
                    Field::Message(kind) => {
                        count(&mut left.parts, 1)?;
                        walk(inner, kind, depth + 1, left)?;
                    }
                    Field::Item => count(&mut left.parts, 1)?,
                    Field::Numbers => count(&mut left.parts, inner.len())?,
                    Field::Plain => {}
                }
            }
            // Groups, which nobody sends any more.
            _ => return Err(malformed()),
        }
    }
    Ok(())
}

fn malformed() -> PayloadError {
    PayloadError::Malformed("its fields do not end where it ends".to_owned())
}

fn count(left: &mut usize, of: usize) -> Result<(), PayloadError> {
    *left = left.checked_sub(of).ok_or(PayloadError::TooMany)?;
    Ok(())
}

fn skip(bytes: &mut &[u8], length: usize) -> Result<(), PayloadError> {
    *bytes = bytes.get(length..).ok_or_else(malformed)?;
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, PayloadError> {
    let mut value = 0_u64;
    for place in 0..10_u32 {
        let (byte, rest) = bytes.split_first().ok_or_else(malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F).checked_shl(place * 7).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed())
}
