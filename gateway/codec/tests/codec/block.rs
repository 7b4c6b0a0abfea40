//! Whatever a batch can hold comes back from a block.

use tidegate_codec::block::{Batch, Codec, Decoder, Encoder, Frame, Head, Origin, SchemaId, split};
use tidegate_model::{Column, Reason, Slot, StreamId, Timestamp, Value, ValueKind, ValueType};

const ORIGIN: Origin = Origin { stream: StreamId(7), schema: SchemaId(0xfeed), boot: 3 };

fn column(name: &str, kind: ValueKind, items: Option<u32>) -> Column {
    Column::new(name.parse().unwrap(), ValueType { kind, items })
}

fn head(message: &[u8]) -> Head<'_> {
    let mut blocks = split(message);
    let Some(Ok(Frame::Data(head))) = blocks.next() else { panic!("no block of rows") };
    assert!(blocks.next().is_none());
    head
}

pub(crate) fn assert_same(found: &Batch, expected: &Batch) {
    assert_eq!(found.len(), expected.len());
    assert_eq!((found.first_seq(), found.last_seq()), (expected.first_seq(), expected.last_seq()));
    assert_eq!(found.times(), expected.times());
    for row in 0..expected.len() {
        assert_eq!(found.device_time(row), expected.device_time(row), "row {row}");
        for column in 0..expected.columns() {
            let (found, expected) = (found.slot(row, column).unwrap(), expected.slot(row, column).unwrap());
            let same = match (found.value(), expected.value()) {
                (Some(found), Some(expected)) => found.same_as(expected),
                (None, None) => true,
                _ => false,
            };
            assert!(
                same && found.quality() == expected.quality(),
                "row {row}, column {column}: {found:?} {expected:?}"
            );
        }
    }
}

#[test]
fn a_batch_of_every_kind_comes_back() {
    let columns = [
        column("bool", ValueKind::Bool, None),
        column("int", ValueKind::Int, None),
        column("uint", ValueKind::Uint, None),
        column("f32", ValueKind::F32, None),
        column("f64", ValueKind::F64, None),
        column("text", ValueKind::Text, None),
        column("bytes", ValueKind::Bytes, None),
        column("array", ValueKind::F32, Some(2)),
    ];
    let values = [
        Value::Bool(true),
        Value::Int(-5),
        Value::Uint(u64::MAX),
        Value::F32(229.8),
        Value::F64(f64::NAN),
        Value::Text("größer".into()),
        Value::Bytes([0, 255].into()),
        Value::Array([Value::F32(1.5), Value::F32(-0.0)].into()),
    ];
    let mut batch = Batch::new(&columns);
    for at in 0..20_u64 {
        let shift = usize::try_from(at / 8).unwrap();
        let slots: Vec<Slot> = (0..values.len())
            .map(|column| match (at + u64::try_from(column).unwrap()) % 10 {
                8 => Slot::Unchanged,
                9 => Slot::Bad(Reason::Timeout),
                7 => Slot::Uncertain(values[column].clone(), Reason::Stale),
                _ => Slot::Good(values[(column + shift) % values.len()].clone()),
            })
            .collect();
        let device = (at > 4).then(|| Timestamp::from_millis(-5));
        let time = Timestamp::from_millis(1_700_000_000_000 + i64::try_from(at).unwrap());
        batch.push(100 + at, time, device, &slots).unwrap();
    }
    for codec in [Codec::Planes, Codec::Range, Codec::Parts] {
        let mut message = Vec::new();
        Encoder::new(codec).encode(&ORIGIN, &batch, &mut message).unwrap();
        let head = head(&message);
        assert_eq!((head.codec, head.first_seq, head.last_seq(), head.rows), (codec, 100, 119, 20));
        assert_same(&Decoder::new().decode(&head, ORIGIN.schema, &columns).unwrap(), &batch);
        let mut doubled = batch.slice(0..7);
        doubled.append(&batch.slice(7..20)).unwrap();
        assert_same(&doubled, &batch);
    }
}
