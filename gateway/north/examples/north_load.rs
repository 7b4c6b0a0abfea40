//! How much the mqtt target can send, and what a message costs.
//!
//! ```text
//! mosquitto -p 1899 &
//! cargo run --release -p tidegate-north --example north_load -- 1899 1000 20
//! ```
//!
//! The arguments are the port of a broker on this machine, rows a second (0: all rows wait in the store and are drained as fast
//! as it goes) and seconds; a fourth argument `idle` leaves the target out, to see what the store alone costs. A row has
//! 1,000 32-bit floats, 20 KB of JSON. CPU time is the scheduler's sum over all threads of this process.

use std::{
    error::Error,
    fs,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tidegate_codec::json;
use tidegate_config::{ByteSize, MqttTarget as Options, StartAt, WhenFull};
use tidegate_model::{Column, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_north::MqttTarget;
use tidegate_store::Store;
use tokio_util::sync::CancellationToken;

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Rows are made in as many portions a second.
const PORTIONS: u64 = 50;

#[tokio::main]
async fn main() -> Done<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number =
        |what: &str| -> Done<u64> { Ok(arguments.next().ok_or_else(|| format!("{what} is missing"))?.parse::<u64>()?) };
    let (port, rate, seconds) = (number("the port")?, number("rows a second")?, number("seconds")?);
    let idle = arguments.next().is_some_and(|word| word == "idle");
    let dir = std::env::temp_dir().join(format!("tidegate-load-{}", std::process::id()));
    let result = run(&dir, u16::try_from(port)?, rate, seconds, idle).await;
    let _ = fs::remove_dir_all(&dir);
    result
}

async fn run(dir: &std::path::Path, port: u16, rate: u64, seconds: u64, idle: bool) -> Done<()> {
    let options = tidegate_config::Store {
        commit: Duration::from_millis(250),
        max_age: Duration::from_secs(3600),
        max_size: ByteSize(4 << 30),
        when_full: WhenFull::DropOldest,
    };
    let store = Store::open(dir, &options).await?.store;
    let (stream, _) = store.stream(&"meter".parse()?, &"fast".parse()?, columns()?).await?;
    let target =
        MqttTarget::new("cloud".parse()?, &Options::new("127.0.0.1", port), &"load".parse()?, "plant", Arc::new(now))?;
    let status = target.status();
    let cursor = store.cursor(&"cloud".parse()?, StartAt::Oldest).await?;
    let rows = if rate == 0 { 1000 * seconds } else { rate * seconds };
    if rate == 0 {
        for seq in 1..=rows {
            append(&store, &stream, seq);
            if seq % 500 == 0 {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    let (start, cpu) = (Instant::now(), cpu_time()?);
    let cancel = CancellationToken::new();
    let task = (!idle).then(|| tokio::spawn(target.run(store.clone(), cursor, cancel.clone())));
    if rate > 0 {
        let mut portion = tokio::time::interval(Duration::from_secs(1) / u32::try_from(PORTIONS)?);
        for seq in 1..=rows {
            append(&store, &stream, seq);
            if seq % (rate / PORTIONS).max(1) == 0 {
                portion.tick().await;
            }
        }
    }
    while !idle && status.snapshot().acknowledged < rows {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (wall, cpu) = (start.elapsed(), cpu_time()? - cpu);
    let snapshot = status.snapshot();
    println!(
        "{rows} rows, {} MB sent, {:.2} s: {:.0} rows/s, {:.2} s CPU, {:.1} us CPU a row, {} sent again",
        snapshot.bytes / 1_000_000,
        wall.as_secs_f64(),
        f64::from(u32::try_from(rows)?) / wall.as_secs_f64(),
        cpu.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / f64::from(u32::try_from(rows)?),
        snapshot.sent.saturating_sub(rows),
    );
    cancel.cancel();
    if let Some(task) = task {
        task.await?;
    }
    store.close().await;
    Ok(())
}

fn columns() -> Done<Vec<Column>> {
    let column = |at: u32| -> Done<Column> {
        let value_type = ValueType::single(ValueKind::F32);
        Ok(Column::new(format!("tag_{at:04}").parse()?, value_type))
    };
    (0..1000).map(column).collect()
}

fn append(store: &Store, stream: &Arc<Stream>, seq: u64) {
    let value = |at: u16| Slot::Good(Value::F32(f32::from(at).mul_add(1.7, 0.1) + f32::from(seq.to_le_bytes()[0])));
    let slots = (0..1000).map(value).collect();
    let row = Row { stream: Arc::clone(stream), seq, time: now(), device_time: None, slots };
    let mut payload = Vec::with_capacity(24 * 1024);
    json::row(&row, false, &mut payload);
    store.append(Arc::new(row), payload.into());
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What all threads of this process have computed so far.
fn cpu_time() -> Done<Duration> {
    let mut sum = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}
