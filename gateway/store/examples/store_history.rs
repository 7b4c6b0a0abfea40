//! How long the history of one tag takes out of a store that has run for days.
//!
//! `cargo run --release -p tidegate-store --example store_history -- [DEVICES] [TAGS] [HOURS]` fills a store in a directory of its
//! own with one row a second of each device (the clock is a number here), waits until the rows are in blocks, and asks for the
//! history of the first, the middle and the last tag of a device again and again.
//!
//! `… --example store_history -- DIR DEVICE` asks a store that is there, such as one that `store_days` has made.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use tidegate_config::{ByteSize, WhenFull};
use tidegate_model::{Column, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_store::{Fill, HistoryQuery, Reader, Store};

const START: i64 = 1_700_000_000_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    if let Some(dir) = arguments.next().filter(|text| text.parse::<u32>().is_err()) {
        let device = arguments.next().context("which device?")?;
        return ask(&Reader::open(dir.as_ref()).await?, &device).await;
    }
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default));
    let (devices, tags, hours) = (next(1)?, next(10)?, next(72)?);
    let dir = tempfile::tempdir()?;
    let options = tidegate_config::Store {
        commit: Duration::from_millis(5),
        max_age: Duration::from_secs(365 * 86_400),
        max_size: ByteSize(16 << 30),
        when_full: WhenFull::DropOldest,
    };
    let store = Store::open(dir.path(), &options).await?.store;
    let begun = Instant::now();
    let rows = fill(&store, devices, tags, hours).await?;
    println!("{rows} rows of {tags} tags written in {:.1} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let mut before = u64::MAX;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let bytes = store.status().bytes;
        if bytes == before {
            break;
        }
        before = bytes;
    }
    println!("at rest after {:.1} s with {} MB", begun.elapsed().as_secs_f64(), before / 1_000_000);

    ask(&store.reader(), "device0").await?;
    store.close().await;
    Ok(())
}

/// How long the history of some tags of a device takes.
async fn ask(reader: &Reader, device: &str) -> anyhow::Result<()> {
    let recorded = reader.streams().await?;
    let group = recorded.iter().find(|group| group.device.as_str() == device).context("no such device")?;
    let columns = group.versions.last().context("it has columns")?.stream.columns();
    let tags = columns.len();
    for (what, at) in [("first", 0), ("middle", tags / 2), ("last", tags.saturating_sub(1))] {
        let tag = columns.get(at).context("it has tags")?.name.clone();
        let query =
            HistoryQuery { device: device.parse()?, tag, from: None, to: None, max_points: 1000, fill: Fill::Nothing };
        let mut times = Vec::new();
        let mut points = (0, 0);
        for _ in 0..21 {
            let begun = Instant::now();
            let history = reader.history(&query).await?.context("it has a history")?;
            times.push(begun.elapsed());
            points = (history.total, history.samples.len());
        }
        times.sort_unstable();
        println!(
            "{what} tag of {tags}: {} samples, {} points: shortest {:.1} ms, median {:.1} ms, longest {:.1} ms",
            points.0,
            points.1,
            millis(times.first()),
            millis(times.get(times.len() / 2)),
            millis(times.last())
        );
    }
    Ok(())
}

fn millis(time: Option<&Duration>) -> f64 {
    time.map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

/// One row a second of each device, in commits of about ten minutes.
async fn fill(store: &Store, devices: u32, tags: u32, hours: u32) -> anyhow::Result<u64> {
    let column = |tag| Ok(Column::new(format!("tag{tag}").parse()?, ValueType::single(ValueKind::F64)));
    let columns = (0..tags).map(column).collect::<anyhow::Result<Vec<Column>>>()?;
    let mut streams: Vec<Arc<Stream>> = Vec::new();
    for device in 0..devices {
        streams.push(store.stream(&format!("device{device}").parse()?, &"fast".parse()?, columns.clone()).await?.0);
    }
    // A walk with one decimal, as a sensor has it.
    let mut walk: Vec<i64> = (0..i64::from(tags)).map(|tag| 200 + tag * 37).collect();
    let mut random = 1_u64;
    let mut rows = 0;
    for second in 0..u64::from(hours) * 3600 {
        for value in &mut walk {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *value += i64::try_from((random >> 33) % 7)? - 3;
        }
        for stream in &streams {
            let slots = walk
                .iter()
                .map(|value| i32::try_from(*value).map(|value| Slot::Good(Value::F64(f64::from(value) / 10.0))));
            let time = Timestamp::from_millis(START + i64::try_from(second)? * 1000);
            let slots = slots.collect::<Result<_, _>>()?;
            let row = Row { stream: Arc::clone(stream), seq: second + 1, time, device_time: None, slots };
            store.append(Arc::new(row), Bytes::new());
            rows += 1;
        }
        if second % 600 == 599 {
            while store.status().rows_committed < rows {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
    }
    Ok(rows)
}
