//! What the writers write, read again by other code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod blocks;
mod csv;
mod fill;
mod json_lines;
mod parquet;

use std::sync::Arc;

use tidegate_codec::block::Batch;
use tidegate_export::{Finished, Format, Table, Writer};
use tidegate_model::{Column, Reason, Slot, Timestamp, Value, ValueKind, ValueType};

const START: i64 = 1_700_000_000_000;

fn column(name: &str, kind: ValueKind) -> Column {
    Column::new(name.parse().unwrap(), ValueType::single(kind))
}

/// A column of each type.
fn columns() -> Vec<Column> {
    let curve = Column::new("curve".parse().unwrap(), ValueType { kind: ValueKind::Int, items: Some(3) });
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

fn table(columns: &[Column]) -> Table {
    Table::new(Some("line3".parse().unwrap()), "meter-1".parse().unwrap(), "fast".parse().unwrap(), columns).unwrap()
}

fn array(items: &[i64]) -> Value {
    Value::Array(items.iter().copied().map(Value::Int).collect())
}

/// Rows with the ends of each type, and every quality.
fn batch() -> Batch {
    let mut batch = Batch::new(&columns());
    let rows: [Vec<Slot>; 4] = [
        [
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Uint(u64::MAX),
            Value::F32(229.8),
            Value::F64(0.1 + 0.2),
            Value::Text("say \"a, b\"".into()),
            Value::Bytes(Arc::new([0, 255])),
            array(&[1, -2, 3]),
        ]
        .map(Slot::Good)
        .into(),
        vec![Slot::Unchanged; 8],
        vec![Slot::Bad(Reason::Timeout); 8],
        [
            Value::Bool(false),
            Value::Int(7),
            Value::Uint(0),
            Value::F32(f32::NAN),
            Value::F64(f64::NEG_INFINITY),
            Value::Text("".into()),
            Value::Bytes([].as_slice().into()),
            array(&[]),
        ]
        .map(|value| Slot::Uncertain(value, Reason::OutOfRange))
        .into(),
    ];
    for (row, slots) in (0..).zip(&rows) {
        let device_time = (row == 0).then(|| Timestamp::from_millis(START - 5));
        batch
            .push(40 + row, Timestamp::from_millis(START + 1000 * i64::try_from(row).unwrap()), device_time, slots)
            .unwrap();
    }
    batch
}

/// The file of one table.
fn file(format: Format, table: Table, batches: &[(&[Column], &Batch)]) -> Finished<Vec<u8>> {
    let mut writer = Writer::new(format, Vec::new(), table).unwrap();
    for (columns, batch) in batches {
        let places = writer.places(columns).unwrap();
        writer.write(batch, 0..batch.len(), &places).unwrap();
    }
    writer.finish().unwrap()
}

fn text(format: Format, table: Table, batches: &[(&[Column], &Batch)]) -> String {
    String::from_utf8(file(format, table, batches).to).unwrap()
}
