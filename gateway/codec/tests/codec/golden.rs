//! Records of every released version are read for ever.

use std::sync::Arc;

use tidegate_codec::record::{self, Record};
use tidegate_model::{Column, Reason, Row, Slot, Stream, StreamId, Timestamp, Value, ValueKind, ValueType};

const VERSION_1: &[u8] = include_bytes!("../golden/record-1.tgfr");

/// What is in the golden record: every kind of value, every quality, every reason, and two rows of one shape.
fn rows() -> Vec<Arc<Row>> {
    let text = |text: &str| Value::Text(text.into());
    let mut all = vec![
        Slot::Unchanged,
        Slot::Good(Value::Bool(true)),
        Slot::Good(Value::Bool(false)),
        Slot::Good(Value::Int(i64::MIN)),
        Slot::Good(Value::Int(-1)),
        Slot::Good(Value::Uint(u64::MAX)),
        Slot::Good(Value::F32(229.8)),
        Slot::Good(Value::F32(-0.0)),
        Slot::Good(Value::F32(f32::from_bits(0x7fc0_1234))),
        Slot::Good(Value::F64(229.8)),
        Slot::Good(Value::F64(f64::NEG_INFINITY)),
        Slot::Good(Value::F64(std::f64::consts::PI)),
        Slot::Good(text("")),
        Slot::Good(text("größer")),
        Slot::Good(Value::Array([Value::F32(1.5), Value::F32(2.5)].into())),
        Slot::Good(Value::Array([Value::Int(1), text("two"), Value::Bool(true)].into())),
        Slot::Good(Value::Array([].into())),
        Slot::Uncertain(Value::F64(600.5), Reason::OutOfRange),
    ];
    all.extend(Reason::ALL.map(Slot::Bad));
    let voltages = |volts: f64| (0..60).map(|tag| Slot::Good(Value::F64(volts + f64::from(tag)))).collect::<Vec<_>>();
    vec![
        row(7, 1, 1_700_000_000_000, None, all),
        row(3, 86_400, 1_700_000_000_017, Some(1_699_999_999_000), voltages(229.5)),
        row(4, 86_399, 1_700_000_000_004, None, voltages(-17.25)),
        row(u32::MAX, u64::MAX, i64::MIN, Some(i64::MAX), Vec::new()),
    ]
}

fn row(stream: u32, seq: u64, time: i64, device_time: Option<i64>, slots: Vec<Slot>) -> Arc<Row> {
    let column = |index| Column::new(format!("t{index}").parse().unwrap(), ValueType::single(ValueKind::F64));
    let columns: Vec<Column> = (0..slots.len()).map(column).collect();
    let (device, group) = ("meter-1".parse().unwrap(), "fast".parse().unwrap());
    Arc::new(Row {
        stream: Arc::new(Stream::new(StreamId(stream), device, group, columns)),
        seq,
        time: Timestamp::from_millis(time),
        device_time: device_time.map(Timestamp::from_millis),
        slots: slots.into(),
    })
}

/// Compared as text, in which NaN is like NaN and -0.0 is not like 0.0.
fn assert_rows(record: Record) {
    let rows = rows();
    assert_eq!(record.rows().len(), rows.len());
    for (found, expected) in record.into_rows().into_iter().zip(rows) {
        let found = found.into_row(&expected.stream).unwrap();
        assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    }
}

#[test]
fn a_record_of_version_1_is_read() {
    assert_rows(Record::decode(VERSION_1).unwrap());
}

#[test]
fn the_nan_of_the_golden_record_keeps_its_payload() {
    let record = Record::decode(VERSION_1).unwrap();
    assert!(matches!(record.rows()[0].slots[8], Slot::Good(Value::F32(nan)) if nan.to_bits() == 0x7fc0_1234));
}

#[test]
fn what_is_written_today_holds_the_same_rows() {
    assert_rows(Record::decode(&record::encode(&rows()).unwrap()).unwrap());
}

#[test]
fn a_golden_record_cut_anywhere_is_refused() {
    for length in 0..VERSION_1.len() {
        let error = Record::decode(&VERSION_1[..length]).unwrap_err();
        assert!(error.to_string().starts_with("the record is cut off"), "cut at {length}: {error}");
    }
    let longer = [VERSION_1, &[0]].concat();
    assert_eq!(Record::decode(&longer).unwrap_err().to_string(), "1 bytes follow the end of the record");
}

#[test]
fn a_golden_record_with_any_bit_flipped_is_refused() {
    for at in 0..VERSION_1.len() {
        for bit in 0..8 {
            let mut bytes = VERSION_1.to_vec();
            bytes[at] ^= 1 << bit;
            assert!(Record::decode(&bytes).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_row_belongs_to_one_stream_only() {
    let expected = rows();
    let found = Record::decode(VERSION_1).unwrap().into_rows();
    assert!(found[1].clone().into_row(&expected[2].stream).is_none(), "another stream");
    let other_columns = row(3, 1, 0, None, Vec::new());
    assert!(found[1].clone().into_row(&other_columns.stream).is_none(), "other columns");
}

/// The example of FORMAT.md, byte by byte.
const EXAMPLE: &[&[u8]] = &[
    // Frame: mark, version 1, packing 0, packed length 41, body length 41, checksum.
    b"TGFR",
    &[1, 0, 41, 0, 0, 0, 41, 0, 0, 0, 0x6d, 0xde, 0xa9, 0x7e],
    // One row; no flags, stream 7, number 1, time 1000.
    &[1, 0, 14, 2, 0xd0, 0x0f],
    // Four slots: one 32-bit float, one text, one bad with timeout, one unchanged.
    &[4, 4, 1, 6, 1, 8, 1, 1, 0, 1],
    // No arrays, bools, integers and unsigned integers.
    &[0, 0, 0, 0, 0, 0, 0],
    // One 32-bit float: exponent 1, integer 2298 (zigzag 4596), nothing plain.
    &[1, 1, 1, 2, 0xf4, 0x11, 0, 0],
    // No 64-bit floats.
    &[0, 0, 0, 0, 0],
    // One text of two bytes.
    &[1, 1, 2],
    b"on",
];

#[test]
fn the_example_of_the_format_is_what_is_written_and_read() {
    let slots = vec![
        Slot::Good(Value::F32(229.8)),
        Slot::Good(Value::Text("on".into())),
        Slot::Bad(Reason::Timeout),
        Slot::Unchanged,
    ];
    let row = row(7, 1, 1000, None, slots);
    let example = EXAMPLE.concat();
    assert_eq!(record::encode(&[Arc::clone(&row)]).unwrap(), example);
    let found = Record::decode(&example).unwrap().into_rows().remove(0).into_row(&row.stream).unwrap();
    assert_eq!(format!("{found:?}"), format!("{row:?}"));
}
