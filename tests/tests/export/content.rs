//! What is put into rows: a column of each type, and values with every bit pattern that a text can say.

use serde_json::Value as Json;
use tidegate_model::{Column, Reason, Slot, Value, ValueKind, ValueType};

pub(crate) fn column(name: &str, kind: ValueKind) -> Column {
    Column::new(name.parse().unwrap(), ValueType::single(kind))
}

/// A column of each type, one of them with a name that every table has already.
pub(crate) fn columns() -> Vec<Column> {
    let curve = Column::new("curve".parse().unwrap(), ValueType { kind: ValueKind::Int, items: Some(2) });
    vec![
        column("running", ValueKind::Bool),
        column("count", ValueKind::Int),
        column("energy", ValueKind::Uint),
        column("voltage", ValueKind::F32),
        column("time", ValueKind::F64),
        column("mode", ValueKind::Text),
        column("raw", ValueKind::Bytes),
        curve,
    ]
}

/// Numbers that look random (splitmix64).
pub(crate) fn mixed(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// A value of a kind, with every bit pattern that a text can say: all NaN are spelled alike.
fn value(kind: ValueKind, items: Option<u32>, random: u64) -> Value {
    if items.is_some() {
        let length = random % 4;
        return Value::Array((0..length).map(|item| value(kind, None, mixed(random + item))).collect());
    }
    let float = f64::from_bits(mixed(random));
    match kind {
        ValueKind::Bool => Value::Bool(random.is_multiple_of(2)),
        ValueKind::Int => Value::Int(random.cast_signed()),
        ValueKind::Uint => Value::Uint(random),
        ValueKind::F32 => {
            let float = f32::from_bits(u32::try_from(mixed(random) >> 32).unwrap());
            Value::F32(if float.is_nan() { f32::NAN } else { float })
        }
        ValueKind::F64 => Value::F64(match random % 8 {
            0 => f64::INFINITY,
            1 => f64::NEG_INFINITY,
            2 => -0.0,
            _ if float.is_nan() => f64::NAN,
            _ => float,
        }),
        ValueKind::Text => Value::Text(
            ["auto", "", "say \"a, b\"\r\n", "\u{e4}\u{1F30A}"][usize::try_from(random % 4).unwrap()].into(),
        ),
        ValueKind::Bytes => Value::Bytes(random.to_le_bytes()[..usize::try_from(random % 8).unwrap()].into()),
    }
}

pub(crate) fn slot(column: &Column, random: u64) -> Slot {
    let content = value(column.value_type.kind, column.value_type.items, random);
    let reason = Reason::ALL[usize::try_from(random % 9).unwrap()];
    match random % 23 {
        0 => Slot::Unchanged,
        1 => Slot::Bad(reason),
        2 => Slot::Uncertain(content, reason),
        _ => Slot::Good(content),
    }
}

/// The numbers of the rows in JSON Lines.
pub(crate) fn seqs(text: &str) -> Vec<u64> {
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    lines.filter_map(|line| line["seq"].as_u64()).collect()
}
