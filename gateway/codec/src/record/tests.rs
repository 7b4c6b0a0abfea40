//! What goes in comes out, and what is damaged is refused.

use std::sync::Arc;

use tidegate_model::{Column, Reason, Row, Slot, Stream, StreamId, Timestamp, Value, ValueKind, ValueType};

use super::{RawRow, Record, encode};

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
    let column = |index| Column {
        name: format!("t{index}").parse().unwrap(),
        value_type: ValueType::single(ValueKind::F32),
        unit: None,
    };
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
