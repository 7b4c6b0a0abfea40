//! A gateway as tests need it: schemas, blocks and the pieces that they become.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_codec::block::{Batch, BlockSchema, Codec, Decoder, Encoder, Origin, StoreId};
use tidegate_model::{Column, Name, Slot, StreamId, Timestamp, Value, ValueKind, ValueType};

use crate::piece::{self, Known, Piece};

/// Monday, 23 November 2026, 00:00 UTC.
pub(crate) const MIDNIGHT: i64 = 1_795_392_000_000;

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn schema(device: &str, columns: usize) -> BlockSchema {
    let column = |at| Column::new(format!("tag{at}").parse().unwrap(), ValueType::single(ValueKind::Int));
    let columns: Vec<Column> = (0..columns).map(column).collect();
    BlockSchema { store: StoreId(7), device: name(device), group: name("fast"), columns: columns.into(), salt: 0 }
}

pub(crate) fn known(schema: &BlockSchema) -> Arc<Known> {
    Arc::new(Known::read(name("line3"), schema.encode().unwrap().into()).unwrap())
}

/// A block of the rows with these numbers, a second apart; each value is the number of its row.
pub(crate) fn block(schema: &BlockSchema, boot: u64, first: u64, last: u64, first_time: i64) -> Bytes {
    block_of(schema, boot, first, last, first_time, |seq| Slot::Good(Value::Int(i64::try_from(seq).unwrap())))
}

pub(crate) fn block_of(
    schema: &BlockSchema,
    boot: u64,
    first: u64,
    last: u64,
    first_time: i64,
    slot: impl Fn(u64) -> Slot,
) -> Bytes {
    let mut batch = Batch::new(&schema.columns);
    for seq in first..=last {
        let time = Timestamp::from_millis(first_time + i64::try_from(seq - first).unwrap() * 1000);
        let slots = vec![slot(seq); schema.columns.len()];
        batch.push(seq, time, None, &slots).unwrap();
    }
    let origin = Origin { stream: StreamId(1), schema: schema.id().unwrap(), boot };
    let mut bytes = Vec::new();
    Encoder::new(Codec::Range).encode(&origin, &batch, &mut bytes).unwrap();
    bytes.into()
}

/// What a block is once it has been unpacked.
pub(crate) fn piece(known: &Arc<Known>, block: &Bytes) -> Piece {
    let (mut whole, errors) = piece::blocks(block);
    assert!(errors.is_empty() && whole.len() == 1, "{errors:?}");
    whole.pop().unwrap().1.unpack(known, &mut Decoder::new()).unwrap()
}
