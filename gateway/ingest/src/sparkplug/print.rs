//! What a value says, in 16 bytes: the same at every start, from what a node has said as from the row that it became. Pure.

use sha2::{Digest, Sha256};
use tidegate_model::{Slot, Timestamp, Value};

use super::NUMBERED_HERE;
use crate::{Ranges, StreamKey, piece::Rows};

/// The first 128 bits of a SHA-256: that two values share them by chance does not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Print(pub(crate) [u64; 2]);

/// A tag of a device, in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metric(Print);

/// A value that has been taken, as it is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Of which tag it is.
    pub(crate) metric: u64,
    pub(crate) time: Timestamp,
    /// Of tag, time, quality and value.
    pub(crate) print: Print,
}

impl Print {
    fn of(bytes: &[u8]) -> Print {
        let sum: [u8; 32] = Sha256::digest(bytes).into();
        let half = |at: usize| sum.iter().skip(at).take(8).fold(0, |half, byte| half << 8 | u64::from(*byte));
        Print([half(0), half(8)])
    }
}

impl Metric {
    /// A tag of a device of an edge node.
    pub(super) fn of(key: &StreamKey, tag: &str) -> Metric {
        // None of these names has a character 0.
        let names = [key.gateway.as_str(), key.group.as_str(), key.device.as_str(), tag].join("\0");
        Metric(Print::of(names.as_bytes()))
    }

    /// A value of it.
    pub(super) fn mark(self, time: Timestamp, slot: &Slot) -> Mark {
        let Metric(Print([metric, rest])) = self;
        let mut bytes = Vec::with_capacity(64);
        for number in [metric.to_le_bytes(), rest.to_le_bytes(), time.as_millis().to_le_bytes()] {
            bytes.extend_from_slice(&number);
        }
        put_slot(slot, &mut bytes);
        Mark { metric, time, print: Print::of(&bytes) }
    }
}

/// The values in those rows that are new; none where the rows are not numbered by an ingest.
pub(crate) fn marks(rows: &Rows, new: &Ranges, mut found: impl FnMut(Mark)) {
    let key = &rows.known.key;
    if key.store != NUMBERED_HERE {
        return;
    }
    let metrics: Vec<Metric> =
        rows.known.schema.columns.iter().map(|column| Metric::of(key, column.name.as_str())).collect();
    for row in new.iter().flat_map(|(first, last)| rows.places(first, last)) {
        let Some(time) = rows.batch.times().get(row).copied() else { continue };
        for (column, metric) in metrics.iter().enumerate() {
            match rows.batch.slot(row, column) {
                Some(Slot::Unchanged) | None => {}
                Some(slot) => found(metric.mark(time, &slot)),
            }
        }
    }
}

fn put_slot(slot: &Slot, out: &mut Vec<u8>) {
    match slot {
        Slot::Unchanged => out.push(0),
        Slot::Good(value) => {
            out.push(1);
            put_value(value, out);
        }
        Slot::Uncertain(value, reason) => {
            out.extend([2, reason.code()]);
            put_value(value, out);
        }
        Slot::Bad(reason) => out.extend([3, reason.code()]),
    }
}

fn put_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(on) => out.extend([0, u8::from(*on)]),
        Value::Int(number) => put(1, &number.to_le_bytes(), out),
        Value::Uint(number) => put(2, &number.to_le_bytes(), out),
        Value::F32(number) => put(3, &number.to_bits().to_le_bytes(), out),
        Value::F64(number) => put(4, &number.to_bits().to_le_bytes(), out),
        Value::Text(text) => put(5, text.as_bytes(), out),
        Value::Bytes(bytes) => put(6, bytes, out),
        Value::Array(items) => {
            put(7, &u64::try_from(items.len()).unwrap_or(u64::MAX).to_le_bytes(), out);
            items.iter().for_each(|item| put_value(item, out));
        }
    }
}

fn put(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use bytes::Bytes;
    use tidegate_codec::block::{BlockSchema, Codec, Decoder, Encoder};
    use tidegate_model::{Column, Reason, ValueKind, ValueType};

    use super::{super::columns, *};
    use crate::{
        piece::{self, Known, Piece},
        scene::name,
        sparkplug::streams::Row,
    };

    fn key(device: &str) -> StreamKey {
        StreamKey { gateway: name("line4"), device: name(device), group: name("plant"), store: NUMBERED_HERE }
    }

    fn slots() -> Vec<(ValueKind, bool, Slot)> {
        let good = Slot::Good;
        let texts = |items: &[&str]| {
            let items: Vec<Value> = items.iter().map(|item| Value::Text((*item).into())).collect();
            good(Value::Array(items.into()))
        };
        vec![
            (ValueKind::F64, false, good(Value::F64(0.0))),
            (ValueKind::F64, false, good(Value::F64(-0.0))),
            (ValueKind::F64, false, good(Value::F64(f64::from_bits(0x7ff8_0000_0000_0001)))),
            (ValueKind::F64, false, good(Value::F64(f64::NAN))),
            (ValueKind::F32, false, good(Value::F32(0.0))),
            (ValueKind::F32, false, good(Value::F32(f32::from_bits(0xffc0_0123)))),
            (ValueKind::Int, false, good(Value::Int(0))),
            (ValueKind::Int, false, good(Value::Int(i64::MIN))),
            (ValueKind::Uint, false, good(Value::Uint(0))),
            (ValueKind::Uint, false, good(Value::Uint(u64::MAX))),
            (ValueKind::Bool, false, good(Value::Bool(false))),
            (ValueKind::Text, false, good(Value::Text("".into()))),
            (ValueKind::Text, false, good(Value::Text("läuft".into()))),
            (ValueKind::Bytes, false, good(Value::Bytes([0, 255].as_slice().into()))),
            (ValueKind::Text, true, texts(&["x", "yz"])),
            (ValueKind::Text, true, texts(&["xy", "z"])),
            (ValueKind::Text, true, texts(&[])),
            (ValueKind::F64, false, Slot::Uncertain(Value::F64(0.0), Reason::Stale)),
            (ValueKind::F64, false, Slot::Uncertain(Value::F64(0.0), Reason::Timeout)),
            (ValueKind::F64, false, Slot::Bad(Reason::Stale)),
            (ValueKind::F64, false, Slot::Bad(Reason::Timeout)),
        ]
    }

    #[test]
    fn only_what_is_the_same_to_the_last_bit_has_the_same_print() {
        let at = Timestamp::from_millis;
        let (a, b, other) =
            (Metric::of(&key("pump"), "a"), Metric::of(&key("pump"), "b"), Metric::of(&key("oven"), "a"));
        let mut prints = HashSet::new();
        for (_, _, slot) in slots() {
            for mark in [a.mark(at(5), &slot), b.mark(at(5), &slot), other.mark(at(5), &slot), a.mark(at(6), &slot)] {
                assert!(prints.insert(mark.print), "{slot:?}");
            }
            assert_eq!(a.mark(at(5), &slot), Metric::of(&key("pump"), "a").mark(at(5), &slot));
        }
    }

    #[test]
    fn what_a_row_says_after_it_was_written_has_the_print_of_what_was_heard() {
        for (kind, array, slot) in slots() {
            let value_type = ValueType { kind, items: array.then_some(0) };
            let columns = vec![
                Column::new("other".parse().unwrap(), ValueType::single(ValueKind::Int)),
                Column::new("a".parse().unwrap(), value_type),
            ];
            let key = key("pump");
            let (device, group) = (key.device.clone(), key.group.clone());
            let schema = BlockSchema { store: key.store, device, group, columns: columns.into(), salt: 0 };
            let known = Arc::new(Known::read(key.gateway.clone(), schema.encode().unwrap().into()).unwrap());
            let time = Timestamp::from_millis(-7);
            let row = Row::new(time, vec![(1, slot.clone())], false);
            let rows = columns::encode(&mut Encoder::new(Codec::Range), &known, 3, 9, [row].iter()).unwrap();
            let frame = Bytes::clone(&rows.frame);
            let Piece::Rows(back) = piece::blocks(&frame).0[0].1.unpack(&known, &mut Decoder::new()).unwrap() else {
                panic!()
            };
            let mut found = Vec::new();
            marks(&back, &[(9, 9)].into_iter().collect(), |mark| found.push(mark));
            assert_eq!(found, [Metric::of(&key, "a").mark(time, &slot)], "{slot:?}");
            marks(&back, &Ranges::default(), |mark| panic!("{mark:?}"));
        }
    }
}
