//! What goes in comes out, and what is damaged is refused.

use std::sync::Arc;

use tidegate_model::{Column, Reason, Row, Slot, Stream, StreamId, Timestamp, Value, ValueKind, ValueType};

use super::{FRAME, MAX_BYTES, PACKING_NONE, PACKING_ZSTD, RawRow, Record, decode, encode, encode::frame};
use crate::CodecError;

/// A small deterministic source of numbers (SplitMix64), so that a failing case fails again.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

const INTS: [i64; 7] = [i64::MIN, i64::MAX, 0, -1, 1, 2298, -70_000];
const UINTS: [u64; 5] = [u64::MAX, 0, 1, 1 << 53, (1 << 53) + 1];
const TEXTS: [&str; 5] = ["", "off", "größer als 100 °C", "\0\"\\\n", "\u{10ffff}"];

fn f32_bits(dice: &mut Dice) -> u32 {
    let special = [0x7fc0_0000, 0x7f80_0001, 0xffff_ffff, 0x7f80_0000, 0xff80_0000, 0x8000_0000, 0, 1, 0x7f7f_ffff];
    let number = u32::try_from(dice.next() >> 32).unwrap();
    let hundredths = f32::from(u16::try_from(dice.below(60_000)).unwrap()) / 100.0;
    let choice = dice.of(&special);
    dice.of(&[choice, number, hundredths.to_bits(), (-hundredths).to_bits()])
}

fn f64_bits(dice: &mut Dice) -> u64 {
    let special =
        [f64::NAN.to_bits(), 0x7ff0_0000_0000_0001, u64::MAX, f64::INFINITY.to_bits(), (-0.0_f64).to_bits(), 1];
    let number = dice.next();
    let thousandths = f64::from(i32::try_from(dice.below(1 << 30)).unwrap() - (1 << 29)) / 1000.0;
    let choice = dice.of(&special);
    dice.of(&[choice, number, thousandths.to_bits(), 9_007_199_254_740_993_f64.to_bits(), 1e300_f64.to_bits()])
}

fn single_value(dice: &mut Dice) -> Value {
    match dice.below(6) {
        0 => Value::Bool(dice.below(2) == 1),
        1 => Value::Int(dice.of(&INTS)),
        2 => Value::Uint(dice.of(&UINTS)),
        3 => Value::F32(f32::from_bits(f32_bits(dice))),
        4 => Value::F64(f64::from_bits(f64_bits(dice))),
        _ => Value::Text(dice.of(&TEXTS).into()),
    }
}

fn slot(dice: &mut Dice) -> Slot {
    let value = match dice.below(4) {
        0 => Value::Array((0..dice.below(5)).map(|_| single_value(dice)).collect()),
        _ => single_value(dice),
    };
    match dice.below(6) {
        0 => Slot::Unchanged,
        1 => Slot::Bad(dice.of(&Reason::ALL)),
        2 => Slot::Uncertain(value, dice.of(&Reason::ALL)),
        _ => Slot::Good(value),
    }
}

/// A stream with so many columns. What the columns are does not matter to a record.
fn stream(id: u32, columns: usize) -> Arc<Stream> {
    let column = |index| Column::new(format!("t{index}").parse().unwrap(), ValueType::single(ValueKind::F32));
    Arc::new(Stream::new(
        StreamId(id),
        "meter-1".parse().unwrap(),
        "fast".parse().unwrap(),
        (0..columns).map(column).collect::<Vec<Column>>(),
    ))
}

fn row(stream: &Arc<Stream>, seq: u64, time: i64, device_time: Option<i64>, slots: Vec<Slot>) -> Arc<Row> {
    Arc::new(Row {
        stream: Arc::clone(stream),
        seq,
        time: Timestamp::from_millis(time),
        device_time: device_time.map(Timestamp::from_millis),
        slots: slots.into(),
    })
}

fn random_rows(dice: &mut Dice) -> Vec<Arc<Row>> {
    let mut rows = Vec::new();
    for _ in 0..dice.below(6) {
        let columns = dice.below(40);
        let stream = stream(u32::try_from(dice.next() >> 32).unwrap(), columns);
        let pattern: Vec<Slot> = (0..columns).map(|_| slot(dice)).collect();
        for _ in 0..dice.below(4) {
            // Rows of the same shape, some after rows of another.
            let slots = pattern.iter().map(|of| if dice.below(9) == 0 { slot(dice) } else { of.clone() }).collect();
            let time = dice.of(&[1_700_000_000_000, 0, -1, i64::MIN, i64::MAX]);
            let device_time = dice.of(&[None, Some(1_700_000_000_123), Some(i64::MIN), Some(i64::MAX)]);
            let seq = dice.of(&[1, 2, 700, u64::MAX, 0]);
            rows.push(row(&stream, seq, time, device_time, slots));
        }
    }
    rows
}

/// The same to the last bit.
fn same(a: &Slot, b: &Slot) -> bool {
    match (a, b) {
        (Slot::Good(a), Slot::Good(b)) => a.same_as(b),
        (Slot::Uncertain(a, why_a), Slot::Uncertain(b, why_b)) => why_a == why_b && a.same_as(b),
        (a, b) => a == b,
    }
}

fn assert_same(decoded: &[RawRow], rows: &[Arc<Row>]) {
    assert_eq!(decoded.len(), rows.len());
    for (decoded, row) in decoded.iter().zip(rows) {
        assert_eq!(decoded.stream, row.stream.id());
        assert_eq!((decoded.seq, decoded.time, decoded.device_time), (row.seq, row.time, row.device_time));
        assert_eq!(decoded.slots.len(), row.slots.len());
        for (column, (a, b)) in decoded.slots.iter().zip(&row.slots).enumerate() {
            assert!(same(a, b), "column {column}: {a:?} is not {b:?}");
        }
    }
}

#[test]
fn rows_of_every_kind_come_back_to_the_last_bit() {
    let mut dice = Dice(1);
    for _ in 0..2_000 {
        let rows = random_rows(&mut dice);
        let bytes = encode(&rows).unwrap();
        assert_same(Record::decode(&bytes).unwrap().rows(), &rows);
    }
}

#[test]
fn a_record_without_rows_and_a_row_without_columns_come_back() {
    assert_same(Record::decode(&encode(&[]).unwrap()).unwrap().rows(), &[]);
    let rows = [row(&stream(0, 0), 0, 0, None, Vec::new())];
    assert_same(Record::decode(&encode(&rows).unwrap()).unwrap().rows(), &rows);
}

/// A body with a right frame around it.
fn record_of(body: &[u8]) -> Vec<u8> {
    frame(PACKING_NONE, body, body.len()).unwrap()
}

fn refused(body: &[u8]) -> CodecError {
    Record::decode(&record_of(body)).unwrap_err()
}

/// All sections behind the arrays, without a value in any.
const NO_VALUES: [u8; 18] = [0; 18];

#[test]
fn bodies_that_were_tampered_with_never_panic() {
    let mut dice = Dice(4);
    let (mut accepted, mut rejected) = (0, 0);
    for _ in 0..3_000 {
        let bytes = encode(&random_rows(&mut dice)).unwrap();
        let mut body = decode::unpack(&bytes).unwrap();
        for _ in 0..=dice.below(3) {
            let at = dice.below(body.len());
            match dice.below(4) {
                0 => body[at] = u8::try_from(dice.below(256)).unwrap(),
                1 => body[at] ^= 1 << dice.below(8),
                2 => body.truncate(at.max(1)),
                _ => body.insert(at, dice.of(&[0, 1, 0x7f, 0x80, 0xff])),
            }
        }
        match Record::decode(&record_of(&body)) {
            Ok(_) => accepted += 1,
            Err(_) => rejected += 1,
        }
    }
    assert!(accepted > 100 && rejected > 100, "{accepted} accepted, {rejected} rejected");
}

#[test]
fn every_cut_of_a_body_is_refused_even_with_a_right_checksum() {
    let mut dice = Dice(5);
    for _ in 0..30 {
        let rows = random_rows(&mut dice);
        let body = decode::unpack(&encode(&rows).unwrap()).unwrap();
        for length in 0..body.len() {
            assert!(matches!(refused(&body[..length]), CodecError::Malformed { .. }), "{length} of {}", body.len());
        }
        let longer = [&body[..], &[0]].concat();
        assert_eq!(refused(&longer), CodecError::Malformed { what: "values without a slot" });
    }
}

#[test]
fn bodies_that_promise_more_than_a_record_may_hold_are_refused() {
    let too_large = CodecError::TooLarge { limit: MAX_BYTES };
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(refused(&huge), too_large, "rows");
    assert_eq!(refused(&[&[1, 0, 0, 0, 0], &huge[..]].concat()), too_large, "columns of a row");
    // 70,000 rows like the first, which has 1,000 slots without a value.
    let mut body = vec![0xf0, 0xa2, 0x04, 0, 0, 0, 0, 0xe8, 0x07, 0, 0xe8, 0x07];
    body.extend([2, 0, 0, 0].repeat(69_999));
    assert_eq!(refused(&body), too_large, "slots of all rows");
}

#[test]
fn sections_that_promise_more_values_than_slots_can_hold_are_refused() {
    let huge = [0xff, 0xff, 0xff, 0x7f, 0];
    for empty_sections in 0..4 {
        let body = [&[0, 0][..], &[0, 0].repeat(empty_sections), &huge].concat();
        assert!(matches!(refused(&body), CodecError::Malformed { .. }), "after {empty_sections} sections");
    }
}

#[test]
fn an_array_cannot_be_longer_than_there_are_items_for_it() {
    // One row with one array; the array claims two million integers, and there are none.
    let body = [&[1, 0, 0, 0, 0, 1, 7, 1, 7, 0x80, 0x89, 0x7a, 2, 0x80, 0x89, 0x7a][..], &NO_VALUES].concat();
    assert_eq!(refused(&body), CodecError::Malformed { what: "a slot without its value" });
    let body = [&[1, 0, 0, 0, 0, 1, 7, 1, 8, 0x80, 0x80, 0x80, 0x7f, 2, 0xff, 0xff, 0x7f][..], &NO_VALUES].concat();
    assert_eq!(refused(&body), CodecError::TooLarge { limit: MAX_BYTES });
}

#[test]
fn shapes_that_make_no_sense_are_refused() {
    let malformed = |what| CodecError::Malformed { what };
    assert_eq!(refused(&[1, 2, 0, 0, 0]), malformed("the first row has no shape"));
    assert_eq!(refused(&[1, 4, 0, 0, 0]), malformed("the flags of a row"));
    assert_eq!(refused(&[1, 0, 1, 0, 0]), malformed("the stream of a row"), "stream -1");
    assert_eq!(refused(&[1, 0, 0, 0, 0, 1, 10, 1]), malformed("the kind of a slot"));
    assert_eq!(refused(&[1, 0, 0, 0, 0, 1, 16, 1]), malformed("the kind of a slot"), "uncertain nothing");
    assert_eq!(refused(&[1, 0, 0, 0, 0, 1, 8, 0, 1]), malformed("the reason of a slot"));
    assert_eq!(refused(&[1, 0, 0, 0, 0, 1, 8, 10, 1]), malformed("the reason of a slot"));
    assert_eq!(refused(&[1, 0, 0, 0, 0, 1, 4, 0]), malformed("a run of slots"), "an empty run");
    assert_eq!(refused(&[1, 0, 0, 0, 0, 1, 4, 2]), malformed("a run of slots"), "a run beyond the last column");
}

#[test]
fn values_that_make_no_sense_are_refused() {
    /// One row with one slot of this kind, and these sections.
    fn with(kind: u8, sections: &[u8]) -> CodecError {
        refused(&[&[1, 0, 0, 0, 0, 1, kind, 1], sections].concat())
    }
    let missing = CodecError::Malformed { what: "a slot without its value" };
    let no_arrays_and_values = [&[0][..], &NO_VALUES].concat();
    for kind in 1..=6 {
        let expected = if kind == 6 { CodecError::Malformed { what: "a text" } } else { missing.clone() };
        assert_eq!(with(kind, &no_arrays_and_values), expected);
    }
    assert_eq!(with(1, &[&[0, 1, 1, 2][..], &NO_VALUES[2..]].concat()), missing, "a bool that is 2");
    let unknown_exponent = [0, 0, 0, 0, 0, 0, 0, 1, 5, 1, 1, 1];
    assert_eq!(with(4, &unknown_exponent), CodecError::Malformed { what: "the 32-bit floats" });
    let too_few_integers = [0, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0];
    assert_eq!(with(4, &too_few_integers), CodecError::Malformed { what: "the 32-bit floats" });
    let too_wide = [0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1, 5, 1, 1, 1, 1, 1];
    assert_eq!(with(4, &too_wide), CodecError::Malformed { what: "the 32-bit floats" });
    let no_utf8 = [&[0][..], &NO_VALUES[2..], &[1, 1, 1, 0xff]].concat();
    assert_eq!(with(6, &no_utf8), CodecError::Malformed { what: "a text" });
}

#[cfg(feature = "zstd")]
#[test]
fn an_unknown_packing_and_a_wrong_length_are_refused() {
    let body = decode::unpack(&encode(&[]).unwrap()).unwrap();
    let decoded = |packing, packed: &[u8], length| Record::decode(&frame(packing, packed, length).unwrap());
    assert!(decoded(PACKING_NONE, &body, body.len()).is_ok());
    assert_eq!(decoded(2, &body, body.len()), Err(CodecError::Malformed { what: "the packing is not known" }));
    assert_eq!(
        decoded(PACKING_NONE, &body, body.len() + 1),
        Err(CodecError::Malformed { what: "the length of the body" })
    );
    assert!(matches!(decoded(PACKING_ZSTD, &body, body.len()), Err(CodecError::Compression { .. })));
    let compressed = zstd::bulk::compress(&body, 1).unwrap();
    assert!(decoded(PACKING_ZSTD, &compressed, body.len()).is_ok());
    assert_eq!(
        decoded(PACKING_ZSTD, &compressed, body.len() + 1),
        Err(CodecError::Malformed { what: "the length of the body" })
    );
    assert!(matches!(decoded(PACKING_ZSTD, &compressed, body.len() - 1), Err(CodecError::Compression { .. })));
}

#[cfg(feature = "zstd")]
#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let zeros = vec![0; MAX_BYTES + 1];
    let bomb = zstd::bulk::compress(&zeros, 1).unwrap();
    let stated = frame(PACKING_ZSTD, &bomb, zeros.len()).unwrap();
    assert_eq!(Record::decode(&stated), Err(CodecError::TooLarge { limit: MAX_BYTES }));
    let understated = frame(PACKING_ZSTD, &bomb, 1000).unwrap();
    assert!(matches!(Record::decode(&understated), Err(CodecError::Compression { .. })));
}

#[test]
fn a_frame_that_is_not_of_this_version_is_told_apart() {
    let good = encode(&[]).unwrap();
    assert_eq!(Record::decode(b"SQLite format 3"), Err(CodecError::NotARecord));
    assert_eq!(Record::decode(b""), Err(CodecError::Cut { expected: FRAME, found: 0 }));
    let mut later = good.clone();
    later[4] = 2;
    assert_eq!(Record::decode(&later), Err(CodecError::Version { version: 2 }));
    let mut damaged = good;
    damaged[14] ^= 1;
    assert!(matches!(Record::decode(&damaged), Err(CodecError::Checksum { .. })));
}

#[test]
fn an_array_of_arrays_is_bad_and_spoils_nothing_else() {
    let nested = Value::Array([Value::Array([Value::Int(1)].into()), Value::Int(2)].into());
    let slots = vec![Slot::Good(nested.clone()), Slot::Good(Value::Int(3)), Slot::Uncertain(nested, Reason::Stale)];
    let bytes = encode(&[row(&stream(1, 3), 1, 0, None, slots)]).unwrap();
    let bad = Slot::Bad(Reason::InvalidValue);
    assert_eq!(*Record::decode(&bytes).unwrap().rows()[0].slots, [bad.clone(), Slot::Good(Value::Int(3)), bad]);
}

#[test]
fn rows_beyond_the_limit_are_refused_and_rows_at_the_limit_come_back() {
    let text = |bytes: usize| Slot::Good(Value::Text("x".repeat(bytes).into()));
    let fixed = row(&stream(1, 1), 1, 0, None, vec![text(0)]).heap_bytes();
    let at_limit = [row(&stream(1, 1), 1, 0, None, vec![text(MAX_BYTES - fixed)])];
    assert_same(Record::decode(&encode(&at_limit).unwrap()).unwrap().rows(), &at_limit);
    let beyond = [row(&stream(1, 1), 1, 0, None, vec![text(MAX_BYTES - fixed + 1)])];
    assert_eq!(encode(&beyond), Err(CodecError::TooLarge { limit: MAX_BYTES }));
}

#[test]
fn many_tiny_rows_at_the_limit_come_back() {
    let stream = stream(u32::MAX, 0);
    let one = row(&stream, 0, i64::MIN, Some(i64::MAX), Vec::new());
    let other = row(&stream, 1 << 63, i64::MAX, Some(i64::MIN), Vec::new());
    let count = MAX_BYTES / one.heap_bytes();
    let rows: Vec<Arc<Row>> = (0..count).map(|at| Arc::clone(if at % 2 == 0 { &one } else { &other })).collect();
    assert_same(Record::decode(&encode(&rows).unwrap()).unwrap().rows(), &rows);
}
