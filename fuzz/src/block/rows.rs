//! Rows of every kind out of any bytes.

use tidegate_codec::block::{Batch, MAX_ROWS};
use tidegate_model::{Column, Reason, Slot, Timestamp, Value, ValueKind, ValueType};

use super::{assert_same, there_and_back};

/// Bytes that are used up one after the other; then there are zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit
    }

    /// Any 64 bits, or few of them.
    fn bits(&mut self) -> u64 {
        let length = self.below(9);
        (0..length).fold(0, |bits, _| bits << 8 | u64::from(self.byte()))
    }
}

/// What the values of a column have in common.
#[derive(Clone, Copy)]
enum Course {
    /// Any bits.
    Bits,
    /// Numbers of so many decimal places, near one another.
    Decimal(u8),
    /// A step each row, and a little.
    Ramp(u64),
    /// One of few.
    Few,
}

/// The bytes say which columns there are, and what each row says about each. Everything comes back from a block, also in parts.
pub fn any_rows(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let count = bytes.below(6);
    let columns: Vec<Column> = (0..count)
        .map(|place| {
            let choice = bytes.byte();
            let kind = ValueKind::ALL[usize::from(choice) % ValueKind::ALL.len()];
            let items = (choice & 0xc0 == 0xc0).then_some(2);
            Column::new(format!("tag{place}").parse().expect("a name"), ValueType { kind, items })
        })
        .collect();
    let courses: Vec<Course> = columns.iter().map(|_| course(&mut bytes)).collect();
    let (rows, clock) = (u64::from(bytes.byte()) + 1, bytes.byte());
    let first = if clock & 1 == 0 { bytes.bits() } else { u64::MAX - rows + 1 };
    let mut batch = Batch::new(&columns);
    for row in 0..rows {
        let slots: Vec<Slot> = (columns.iter().zip(&courses))
            .map(|(column, course)| slot(column.value_type, *course, row, &mut bytes))
            .collect();
        let jitter = if clock & 2 == 0 { 0 } else { bytes.bits().cast_signed() };
        let time = jitter.wrapping_add(1_700_000_000_000).wrapping_add(1000 * row.cast_signed());
        let own = clock & 4 != 0 || clock & 8 != 0 && bytes.byte() & 1 == 0;
        let own = own.then(|| Timestamp::from_millis(time.wrapping_sub(bytes.bits().cast_signed())));
        let Some(seq) = first.checked_add(row) else { break };
        batch.push(seq, Timestamp::from_millis(time), own, &slots).expect("rows follow one another");
    }
    assert!(batch.len() <= MAX_ROWS);
    there_and_back(&batch, &columns);
    let middle = batch.len() / 2;
    let mut joined = batch.slice(0..middle);
    joined.append(&batch.slice(middle..batch.len())).expect("parts fit together again");
    assert_same(&joined, &batch);
    there_and_back(&joined, &columns);
}

fn course(bytes: &mut Bytes) -> Course {
    match bytes.below(5) {
        0 => Course::Bits,
        1 | 2 => Course::Decimal(bytes.below(17)),
        3 => Course::Ramp(bytes.bits()),
        _ => Course::Few,
    }
}

fn slot(value_type: ValueType, course: Course, row: u64, bytes: &mut Bytes) -> Slot {
    let mark = bytes.byte();
    let reason = Reason::ALL[usize::from(mark >> 4) % Reason::ALL.len()];
    match mark & 15 {
        1 => Slot::Unchanged,
        2 => Slot::Bad(reason),
        3 => Slot::Uncertain(value(value_type, course, row, bytes), reason),
        4 => Slot::Uncertain(other(8, bytes), reason),
        5 => Slot::Good(other(8, bytes)),
        _ => Slot::Good(value(value_type, course, row, bytes)),
    }
}

/// A value of any kind, with arrays in arrays.
fn other(depth: u8, bytes: &mut Bytes) -> Value {
    let kind = bytes.below(10);
    match ValueKind::ALL.get(usize::from(kind)) {
        Some(kind) => value(ValueType { kind: *kind, items: None }, Course::Bits, 0, bytes),
        None if depth == 0 => Value::Bool(false),
        None => Value::Array((0..bytes.below(4)).map(|_| other(depth - 1, bytes)).collect()),
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "rounding is what is wanted"
)]
fn value(value_type: ValueType, course: Course, row: u64, bytes: &mut Bytes) -> Value {
    if value_type.items.is_some() {
        let single = ValueType { items: None, ..value_type };
        return Value::Array((0..bytes.below(5)).map(|_| value(single, course, row, bytes)).collect());
    }
    let number = match course {
        Course::Bits => bytes.bits(),
        Course::Decimal(_) => 20_000 + u64::from(bytes.byte()),
        Course::Ramp(step) => step.wrapping_mul(row).wrapping_add(u64::from(bytes.below(3))),
        Course::Few => [0, 1, u64::MAX, 1 << 63, 0x7ff0 << 48, 0xfff8 << 48, 1 << 52, 230][usize::from(bytes.below(8))],
    };
    let float = match course {
        Course::Decimal(places @ ..9) => number as f64 / 10_f64.powi(places.into()),
        Course::Decimal(places) => number as f64 * 10_f64.powi(8 - i32::from(places)),
        Course::Ramp(_) => number.cast_signed() as f64 / 100.0,
        _ => f64::from_bits(number),
    };
    match value_type.kind {
        ValueKind::Bool => Value::Bool(number & 1 == 1),
        ValueKind::Int => Value::Int(number.cast_signed()),
        ValueKind::Uint => Value::Uint(number),
        ValueKind::F32 if matches!(course, Course::Bits) => Value::F32(f32::from_bits(number as u32)),
        ValueKind::F32 => Value::F32(float as f32),
        ValueKind::F64 if matches!(course, Course::Decimal(5)) => Value::F64(f64::from(float as f32)),
        ValueKind::F64 => Value::F64(float),
        ValueKind::Text => Value::Text(format!("{number:x}ß").into()),
        ValueKind::Bytes => Value::Bytes(number.to_le_bytes()[..usize::from(number.to_le_bytes()[0] & 7)].into()),
    }
}
