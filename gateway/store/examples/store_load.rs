//! What the store costs: `cargo run --release -p tidegate-store --example store_load -- [ROWS_PER_SECOND] [SECONDS]
//! [TARGETS] [COMMIT_MS] [COLUMNS]`.
//!
//! Rows of 32-bit floats that move like a plant's (a random walk with one decimal) are appended at the given rate by
//! devices with one row a second each; every target reads and acknowledges everything. The same rows are made once
//! without a store and once with it: the difference of the process's CPU time, as the scheduler counts it, is the
//! store's.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use tidegate_config::{ByteSize, StartAt, WhenFull};
use tidegate_model::{Column, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_store::{Cursor, Store};
use tokio::time::Instant;

/// Rows are appended so many times a second, a share each time.
const SLICES: u32 = 100;

fn columns(count: usize) -> Result<Vec<Column>> {
    let value_type = ValueType::single(ValueKind::F32);
    (0..count).map(|at| Ok(Column::new(format!("tag{at}").parse()?, value_type))).collect()
}

/// One decimal, a random walk.
struct Walk {
    state: u64,
    tenths: Vec<i16>,
}

impl Walk {
    fn new(seed: u64, columns: usize) -> Walk {
        let tenths = (0..columns).map(|at| i16::try_from(at * 13 % 5_000).unwrap_or(0)).collect();
        Walk { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, tenths }
    }

    fn slots(&mut self) -> Box<[Slot]> {
        let Walk { state, tenths } = self;
        let step = |tenths: &mut i16| {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            let change = i16::try_from(*state % 11).unwrap_or(0) - 5;
            *tenths = tenths.wrapping_add(change).clamp(0, 20_000);
            Slot::Good(Value::F32(f32::from(*tenths) / 10.0))
        };
        tenths.iter_mut().map(step).collect()
    }
}

/// CPU time of this process, user and system, in nanoseconds: the sum over its threads, as the scheduler counts it.
fn cpu() -> Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        // A thread that has ended in between has no file any more.
        if let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) {
            sum += text.split(' ').next().context("schedstat is empty")?.parse::<u64>()?;
        }
    }
    Ok(sum)
}

fn resident() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = |key: &str| status.lines().find(|line| line.starts_with(key)).unwrap_or("").replace([' ', '\t'], "");
    Ok(format!("{} {}", line("VmRSS:"), line("VmHWM:")))
}

async fn read(mut cursor: Cursor) {
    while let Ok(deliveries) = cursor.next(1_000, 1 << 20).await {
        for delivery in deliveries {
            cursor.acknowledge(delivery.ticket);
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments: Vec<u64> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let argument = |at: usize, default| arguments.get(at).copied().unwrap_or(default);
    let (rate, seconds, targets, commit) = (argument(0, 100), argument(1, 20), argument(2, 1), argument(3, 250));
    let width = usize::try_from(argument(4, 1_000))?;
    let dir = std::env::current_dir()?.join("target").join("load");
    let _ = std::fs::remove_dir_all(&dir);
    let options = tidegate_config::Store {
        commit: Duration::from_millis(commit),
        max_age: Duration::from_secs(72 * 3600),
        max_size: ByteSize(8 << 30),
        when_full: WhenFull::DropOldest,
    };

    let idle = resident()?;
    let store = Store::open(&dir, &options).await?.store;
    let opened = resident()?;
    let mut streams = Vec::new();
    let shared: Arc<[Column]> = columns(width)?.into();
    for at in 0..rate {
        streams.push(store.stream(&format!("device{at}").parse()?, &"fast".parse()?, Arc::clone(&shared)).await?.0);
    }
    for at in 0..targets {
        tokio::spawn(read(store.cursor(&format!("target{at}").parse()?, StartAt::Now).await?));
    }
    tokio::time::sleep(Duration::from_millis(2 * commit)).await;

    let without = produce(None, &streams, seconds).await?;
    let written = written()?;
    let with = produce(Some(&store), &streams, seconds).await?;
    let written = self::written()? - written;
    let status = store.status();
    let memory = resident()?;
    let values = u64::try_from(width)? * rate * seconds;
    println!("{rate} rows/s of {width} values for {seconds} s, {targets} targets, commit {commit} ms");
    println!("memory: {idle} | open {opened} | loaded {memory}");
    println!(
        "CPU: {:.2} % of a core ({:.2} % with the store, {:.2} % without)",
        (with - without) * 100.0,
        with * 100.0,
        without * 100.0
    );
    let times = status.commit_times;
    println!(
        "commits: {} of {:?} on average, {:?} at most",
        times.count,
        times.sum / u32::try_from(times.count.max(1))?,
        times.longest
    );
    println!("buckets: {:?}", times.buckets);
    println!("transactions: {}, fsyncs: {}", status.commits, status.fsyncs);
    println!("pending at most: {} KiB, dropped {:?}", status.pending_bytes_high / 1024, status.dropped);
    drain(&store, rate * seconds, width).await?;
    store.close().await;
    let file = std::fs::metadata(dir.join("store.db"))?.len();
    println!(
        "bytes a value: {} encoded, {} in the database, {} written to the disk",
        ratio(status.bytes_committed, values),
        ratio(file, values),
        ratio(written, values)
    );
    Ok(())
}

/// How fast a target that comes late gets everything from the disk.
async fn drain(store: &Store, rows: u64, width: usize) -> Result<()> {
    let mut late = store.cursor(&"late".parse()?, StartAt::Oldest).await?;
    let (begin, before) = (Instant::now(), cpu()?);
    let mut left = rows;
    while left > 0 {
        for delivery in late.next(1_000, 1 << 20).await? {
            late.acknowledge(delivery.ticket);
            left -= 1;
        }
    }
    let (took, used) = (begin.elapsed(), Duration::from_nanos(cpu()? - before));
    let values = rows * u64::try_from(width)?;
    println!("read back: {values} values in {took:?}, {used:?} of CPU");
    Ok(())
}

fn ratio(bytes: u64, values: u64) -> String {
    let thousandths = bytes * 1_000 / values.max(1);
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}

/// Bytes that this process has had written to the disk.
fn written() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("no write_bytes")?;
    Ok(line.parse()?)
}

/// Makes a row a second of each stream, spread over the second; gives the CPU time a second.
async fn produce(store: Option<&Store>, streams: &[Arc<Stream>], seconds: u64) -> Result<f64> {
    let width = streams.first().map_or(0, |stream| stream.columns().len());
    let mut walks: Vec<Walk> = (0..).zip(streams).map(|(seed, _)| Walk::new(seed, width)).collect();
    let payload = Bytes::from(vec![b'x'; 15 * width]);
    let (begin, before) = (Instant::now(), cpu()?);
    for second in 0..seconds {
        for slice in 0..SLICES {
            let at = Duration::from_secs(second) + Duration::from_secs(1) * slice / SLICES;
            tokio::time::sleep_until(begin + at).await;
            let share = |slice: u32| streams.len() * usize::try_from(slice).unwrap_or(0) / 100;
            for (stream, walk) in streams.iter().zip(&mut walks).take(share(slice + 1)).skip(share(slice)) {
                let time =
                    Timestamp::from_millis(i64::try_from(1_700_000_000_000 + second * 1_000 + u64::from(slice))?);
                let (stream, slots) = (Arc::clone(stream), walk.slots());
                let row = Arc::new(Row { stream, seq: second + 1, time, device_time: None, slots });
                if let Some(store) = store {
                    store.append(row, payload.clone());
                }
            }
        }
    }
    tokio::time::sleep_until(begin + Duration::from_secs(seconds)).await;
    let used = Duration::from_nanos(cpu()?.saturating_sub(before));
    Ok(used.as_secs_f64() / begin.elapsed().as_secs_f64())
}
