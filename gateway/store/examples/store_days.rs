//! How much room days of a plant take: `cargo run --release -p tidegate-store --example store_days -- [--tags N] [--hours N]
//! [--commits N] [--data DIR] [--dir DIR]`.
//!
//! Devices with a row a second each run as fast as the store takes their rows; the clock is a number here. `--data` is a
//! folder of csv files (first line `ts`, then `name:type` with `f`, `i`, `b` or `s`; an empty cell is a bad sample), whose
//! rows the devices repeat, each from another line on; without it the plant is made up. `--commits` is how often a second
//! of the plant is committed: four times in a gateway, which takes long here for the disk's sake.
//!
//! Printed: the file's size, bytes a value, bytes written a value, the share of a core that the store takes in real
//! time (processor time of the process less what making the rows takes), and the slowest commit.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use tidegate_config::{ByteSize, WhenFull};
use tidegate_model::{Column, Reason, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_store::Store;
use tokio::time::{Instant, sleep};

const START: i64 = 1_700_000_000_000;
/// The plant waits while more than this of it is in fresh records, so that they are not more than in a gateway.
const MOST_FRESH: Duration = Duration::from_secs(150);

struct Options {
    tags: usize,
    hours: u64,
    commits: usize,
    data: Option<PathBuf>,
    dir: Option<PathBuf>,
}

fn options() -> Result<Options> {
    let mut options = Options { tags: 10_000, hours: 2, commits: 4, data: None, dir: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--tags" => options.tags = value.parse()?,
            "--hours" => options.hours = value.parse()?,
            "--commits" => options.commits = value.parse::<usize>()?.clamp(1, 100),
            "--data" => options.data = Some(value.into()),
            "--dir" => options.dir = Some(value.into()),
            _ => bail!("{name} is no option"),
        }
    }
    Ok(options)
}

/// What some device has measured.
struct Recording {
    columns: Arc<[Column]>,
    rows: Vec<Box<[Slot]>>,
}

fn column(head: &str) -> Result<(Column, char)> {
    let (name, kind) = head.split_once(':').context("a column has a type")?;
    let name: String = name.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
    let (kind, letter) = match kind {
        "f" => (ValueKind::F64, 'f'),
        "i" => (ValueKind::Int, 'i'),
        "b" => (ValueKind::Bool, 'b'),
        _ => (ValueKind::Text, 's'),
    };
    Ok((Column::new(name.parse()?, ValueType::single(kind)), letter))
}

fn slot(cell: &str, kind: char) -> Result<Slot> {
    Ok(match (cell, kind) {
        ("", _) => Slot::Bad(Reason::Timeout),
        (cell, 'f') => Slot::Good(Value::F64(cell.parse()?)),
        (cell, 'i') => Slot::Good(Value::Int(cell.parse()?)),
        (cell, 'b') => Slot::Good(Value::Bool(matches!(cell, "1" | "true"))),
        (cell, _) => Slot::Good(Value::Text(cell.into())),
    })
}

fn read(path: &Path) -> Result<Recording> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines();
    let heads = lines.next().context("a file has a first line")?.split(',').skip(1);
    let columns: Vec<(Column, char)> = heads.map(column).collect::<Result<_>>()?;
    let row = |line: &str| line.split(',').skip(1).zip(&columns).map(|(cell, (_, kind))| slot(cell, *kind)).collect();
    let rows = lines.map(row).collect::<Result<_>>()?;
    Ok(Recording { columns: columns.into_iter().map(|(column, _)| column).collect(), rows })
}

/// Ten tags that wander like a plant's, with one decimal; some stand still now and then.
fn made_up() -> Result<Recording> {
    let column = |at| Ok(Column::new(format!("tag{at}").parse()?, ValueType::single(ValueKind::F32)));
    let columns = (0..10).map(column).collect::<Result<Arc<[Column]>>>()?;
    let (mut state, mut tenths) = (88_172_645_463_325_252_u64, [2_000_i16; 10]);
    let mut row = || {
        let step = |tenths: &mut i16| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let change = if state & 0x300 == 0 { 0 } else { i16::try_from(state % 7).unwrap_or(0) - 3 };
            *tenths = tenths.saturating_add(change).clamp(0, 20_000);
            Slot::Good(Value::F32(f32::from(*tenths) / 10.0))
        };
        tenths.iter_mut().map(step).collect()
    };
    Ok(Recording { columns, rows: (0..30_000).map(|_| row()).collect() })
}

fn recordings(data: Option<&Path>) -> Result<Vec<Recording>> {
    let Some(data) = data else { return Ok(vec![made_up()?]) };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(data)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

struct Device<'a> {
    stream: Arc<Stream>,
    recording: &'a Recording,
    at: usize,
}

impl Device<'_> {
    fn row(&mut self, second: u64, millis: i64) -> Result<Arc<Row>> {
        let slots = self.recording.rows.get(self.at).context("a recording has rows")?.clone();
        self.at = (self.at + 1) % self.recording.rows.len();
        let time = Timestamp::from_millis(START + 1_000 * i64::try_from(second)? + millis);
        Ok(Arc::new(Row { stream: Arc::clone(&self.stream), seq: second + 1, time, device_time: None, slots }))
    }
}

async fn devices<'a>(store: &Store, recordings: &'a [Recording], tags: usize) -> Result<(Vec<Device<'a>>, usize)> {
    let (mut devices, mut found) = (Vec::new(), 0);
    for (number, recording) in recordings.iter().cycle().enumerate() {
        if found >= tags {
            break;
        }
        found += recording.columns.len();
        let name = format!("device{number}").parse()?;
        let (stream, _) = store.stream(&name, &"fast".parse()?, Arc::clone(&recording.columns)).await?;
        devices.push(Device { stream, recording, at: number * 797 % recording.rows.len() });
    }
    Ok((devices, found))
}

/// Processor time of this process, user and system.
fn cpu() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit_once(')').context("stat has a name")?.1.split_whitespace().collect();
    let ticks = |at: usize| -> Result<u64> { Ok(fields.get(at).context("stat is short")?.parse()?) };
    // In hundredths of a second on every Linux.
    Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}

/// Bytes that this process has had written to the disk.
fn written() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("no write_bytes")?;
    Ok(line.parse()?)
}

fn ratio(bytes: u64, values: u64) -> String {
    let thousandths = u128::from(bytes) * 1_000 / u128::from(values.max(1));
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let Options { tags, hours, commits, data, dir } = options()?;
    let recordings = recordings(data.as_deref())?;
    let dir = dir.unwrap_or(std::env::current_dir()?.join("target").join("store_days"));
    let _ = std::fs::remove_dir_all(&dir);
    let options = tidegate_config::Store {
        commit: Duration::from_micros(100),
        max_age: Duration::from_secs(72 * 3600),
        max_size: ByteSize(16 << 30),
        when_full: WhenFull::DropOldest,
    };
    let store = Store::open(&dir, &options).await?.store;
    let (mut devices, tags) = devices(&store, &recordings, tags).await?;
    println!("{tags} tags of {} devices, {hours} h, {commits} commits a second", devices.len());

    let before = cpu()?;
    for second in 0..60 {
        for device in &mut devices {
            std::hint::black_box(device.row(second, 0)?);
        }
    }
    let making = (cpu()? - before) / 60;
    let (before, begun, disk) = (cpu()?, Instant::now(), written()?);
    run(&store, &mut devices, hours * 3_600, commits).await?;
    println!("made in {:.0} s", begun.elapsed().as_secs_f64());
    until_quiet(&store).await;
    let used = (cpu()? - before).saturating_sub(making * u32::try_from(hours * 3_600)?);
    let status = store.status();
    let (values, written) = (u64::try_from(tags)? * hours * 3_600, written()? - disk);
    store.close().await;
    let file = std::fs::metadata(dir.join("store.db"))?.len();
    println!(
        "file: {:.3} GB, {} bytes a value",
        f64::from(u32::try_from(file >> 10)?) * 1024.0 / 1e9,
        ratio(file, values)
    );
    println!(
        "in use: {} bytes a value; {} rows, {} blocks in {} epochs, {} rows a block",
        ratio(status.bytes, values),
        status.rows,
        status.blocks,
        status.epochs,
        status.block_rows / status.blocks.max(1)
    );
    println!("written: {} bytes a value, {} times the file", ratio(written, values), ratio(written, file));
    println!(
        "processor: {:.2} % of a core in real time, besides making the rows",
        100.0 * used.as_secs_f64() / Duration::from_secs(hours * 3_600).as_secs_f64()
    );
    let times = status.commit_times;
    println!(
        "commits: {} of {:?} on average, {:?} at most, {:?}",
        times.count,
        times.sum / u32::try_from(times.count.max(1))?,
        times.longest,
        times.buckets
    );
    Ok(())
}

async fn run(store: &Store, devices: &mut [Device<'_>], seconds: u64, commits: usize) -> Result<()> {
    let (begun, share) = (Instant::now(), devices.len().div_ceil(commits));
    let mut rows = 0;
    for second in 0..seconds {
        for (slice, some) in devices.chunks_mut(share).enumerate() {
            let millis = i64::try_from(1_000 * slice / commits)?;
            for device in some.iter_mut() {
                store.append(device.row(second, millis)?, Bytes::new());
            }
            rows += u64::try_from(some.len())?;
            while store.status().rows_committed < rows {
                sleep(Duration::from_micros(200)).await;
            }
        }
        while store.status().fresh_span > MOST_FRESH {
            sleep(Duration::from_millis(1)).await;
        }
        if second % 3_600 == 3_599 {
            let status = store.status();
            println!(
                "{} h after {:.0} s: {} MB in use, {} epochs, {} rows a block",
                (second + 1) / 3_600,
                begun.elapsed().as_secs_f64(),
                status.bytes / 1_000_000,
                status.epochs,
                status.block_rows / status.blocks.max(1)
            );
        }
    }
    Ok(())
}

/// Waits until compaction has nothing to do.
async fn until_quiet(store: &Store) {
    let mut before = (0, 0, 0);
    loop {
        sleep(Duration::from_secs(10)).await;
        let status = store.status();
        let now = (status.blocks, status.epochs, status.bytes);
        if now == before {
            return;
        }
        before = now;
    }
}
