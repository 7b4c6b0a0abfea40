//! How fast the codec is and how many bytes it takes: `cargo run --release -p tidegate-codec --example codec_speed`.
//!
//! One commit of 100 devices at 1 s: 25 rows of 1,000 tags, each with noise around a value of its own. Every figure is the best of several runs, so that
//! a neighbour on the machine disturbs little.

use std::{
    error::Error,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_codec::{CodecError, json, record};
use tidegate_model::{Column, NameError, Row, Slot, Stream, StreamId, Timestamp, Value, ValueKind, ValueType};

const ROWS: u32 = 25;
const TAGS: u32 = 1_000;
const RUNS: u32 = 60;

/// Numbers between -1 and 1 that look random (a linear congruential generator).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [_, _, _, _, a, b, c, d] = self.0.to_le_bytes();
        f64::from(i32::from_le_bytes([a, b, c, d])) / f64::from(i32::MAX)
    }
}

/// Rows of as many devices of one profile, whose values `value` makes of noise around a level.
fn rows(kind: ValueKind, value: impl Fn(f64) -> Value) -> Result<Vec<Arc<Row>>, NameError> {
    let mut columns = Vec::new();
    for tag in 0..TAGS {
        let name = format!("measured_value_{tag}").parse()?;
        columns.push(Column::new(name, ValueType::single(kind)));
    }
    let columns: Arc<[Column]> = columns.into();
    let mut noise = Noise(1);
    let mut rows = Vec::new();
    for id in 0..ROWS {
        let device = format!("device-{id}").parse()?;
        let stream = Arc::new(Stream::new(StreamId(id), device, "fast".parse()?, Arc::clone(&columns)));
        let slots = (0..TAGS).map(|tag| Slot::Good(value(f64::from(tag) + 10.0 * noise.next()))).collect();
        let time = Timestamp::from_millis(1_700_000_000_000 + i64::from(id));
        rows.push(Arc::new(Row { stream, seq: 86_400 + u64::from(id), time, device_time: None, slots }));
    }
    Ok(rows)
}

/// The shortest time that `work` takes.
fn best(mut work: impl FnMut() -> Result<(), CodecError>) -> Result<Duration, CodecError> {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

fn measure(title: &str, rows: &[Arc<Row>]) -> Result<(), CodecError> {
    let values = f64::from(ROWS * TAGS);
    let mut payload = Vec::new();
    let json = best(|| {
        for row in rows {
            payload.clear();
            json::row(row, false, &mut payload);
            black_box(&payload);
        }
        Ok(())
    })?;
    let encode = best(|| record::encode(rows).map(|bytes| drop(black_box(bytes))))?;
    let bytes = record::encode(rows)?;
    let decode = best(|| record::Record::decode(&bytes).map(|record| drop(black_box(record))))?;

    let nanos = |time: Duration| time.as_secs_f64() * 1e9 / values;
    let per_second = |time: Duration| values / time.as_secs_f64() / 1e6;
    let size = u32::try_from(bytes.len()).map(f64::from).unwrap_or(f64::NAN) / values;
    println!(
        "{title:<34} json {:5.1} ns   encode {:5.1} ns {:5.1} M/s   decode {:5.1} ns {:5.1} M/s   {size:5.2} bytes",
        nanos(json),
        nanos(encode),
        per_second(encode),
        nanos(decode),
        per_second(decode),
    );
    Ok(())
}

#[expect(clippy::as_conversions, reason = "what a device with 32-bit floats would say")]
fn single(number: f64) -> f32 {
    number as f32
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("per value, {ROWS} rows of {TAGS} tags:");
    let sets = [
        ("f32, full precision", rows(ValueKind::F32, |number| Value::F32(single(number)))),
        ("f32, two decimals", rows(ValueKind::F32, |number| Value::F32(single((number * 100.0).round() / 100.0)))),
        (
            "f64, one decimal (scaled integer)",
            rows(ValueKind::F64, |number| Value::F64((number * 10.0).round() / 10.0)),
        ),
        ("f64, 31 random bits", rows(ValueKind::F64, Value::F64)),
        ("bool", rows(ValueKind::Bool, |number| Value::Bool(number.fract() > 0.5))),
    ];
    for (title, rows) in sets {
        measure(title, &rows?)?;
    }
    Ok(())
}
