//! How fast the backlog of an outage gets to a broker while live rows go on, and how old those are when they arrive.
//!
//! ```text
//! mosquitto -p 1899 &
//! cargo run --release -p tidegate-north --example north_drain -- target/drain 1899 block 8
//! ```
//!
//! The arguments are a folder for the store, the port of a broker on this machine, the format (`block` or `json`), the hours
//! of the outage and, if it is not to be the default, `max_values` of the target; `cargo xtask bench drain` runs it with mosquitto. The plant is 100 devices of 100 tags, read every second
//! (`plant.rs`). Its hours are appended on a simulated clock as fast as the store takes them; then the store is opened anew, and
//! with a row a second of each device the target is let loose. A process of its own receives everything, unpacks it, and notes
//! each number of each stream (`receiver.rs`).

mod plant;
mod receiver;

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use plant::Plant;
use tidegate_config::{ByteSize, Format, MqttTarget as Options, StartAt, WhenFull};
use tidegate_model::Timestamp;
use tidegate_north::MqttTarget;
use tidegate_store::Store;
use tokio_util::sync::CancellationToken;

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Live rows go on for this long after the backlog has arrived.
const AFTERWARDS: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Done<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<&str>>()[..] {
        ["receive", port, format, last] => receiver::run(port.parse()?, self::format(format)?, last.parse()?).await,
        [dir, port, format, hours] => {
            run(Path::new(dir), &target(port.parse()?, self::format(format)?), hours.parse()?).await
        }
        [dir, port, format, hours, values] => {
            let mut target = target(port.parse()?, self::format(format)?);
            target.backfill.max_values = values.parse()?;
            run(Path::new(dir), &target, hours.parse()?).await
        }
        _ => Err("north_drain FOLDER PORT block|json HOURS [MAX_VALUES]".into()),
    }
}

fn format(name: &str) -> Done<Format> {
    let formats = [Format::Json, Format::Block];
    formats.into_iter().find(|format| format.as_str() == name).ok_or_else(|| format!("no format is {name}").into())
}

async fn run(dir: &Path, wanted: &Options, hours: u64) -> Done<()> {
    let (port, format) = (wanted.port, wanted.format);
    let options = tidegate_config::Store {
        commit: Duration::from_millis(250),
        max_age: Duration::from_secs(72 * 3600),
        max_size: ByteSize(8 << 30),
        when_full: WhenFull::DropOldest,
    };
    let seconds = hours * 3600;
    fill(dir, &options, seconds).await?;

    let store = Store::open(dir, &options).await?.store;
    let mut plant = Plant::build(&store).await?;
    let backlog = plant.last();
    let cursor = store.cursor(&"cloud".parse()?, StartAt::Oldest).await?;
    let mut receiver = Receiver::start(port, format, backlog)?;
    let target = MqttTarget::new("cloud".parse()?, wanted, &"drain".parse()?, "plant", Arc::new(now))?;
    let (status, cancel) = (target.status(), CancellationToken::new());

    let (start, cpu) = (Instant::now(), cpu_time()?);
    let task = tokio::spawn(target.run(store.clone(), cursor, cancel.clone()));
    let stop = CancellationToken::new();
    let live = tokio::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        async move { plant.live(&store, &stop).await }
    });
    let (drained, receiver) = tokio::task::spawn_blocking(move || {
        receiver.line("drained")?;
        Done::Ok((Instant::now(), receiver))
    })
    .await??;
    let (took, used) = (drained - start, cpu_time()? - cpu);
    let times = Duration::from_secs(seconds).as_secs_f64() / took.as_secs_f64();
    let values = Duration::from_micros(seconds * plant::DEVICES * plant::TAGS).as_secs_f64() / took.as_secs_f64();
    println!(
        "{hours} h of backlog as {}: {:.1} s, {times:.0} times real time, {values:.2} M values/s of at most {:.2} M",
        format.as_str(),
        took.as_secs_f64(),
        f64::from(wanted.backfill.max_values) / 1e6
    );
    println!(
        "sent: {:.1} MB, {:.1} MB/s; this process {:.1} s of CPU",
        megabytes(status.snapshot().bytes),
        megabytes(status.snapshot().bytes) / took.as_secs_f64(),
        used.as_secs_f64()
    );
    tokio::time::sleep(AFTERWARDS).await;
    stop.cancel();
    let last = live.await?;
    tokio::task::spawn_blocking(move || receiver.finish(last)).await??;
    cancel.cancel();
    task.await?;
    store.close().await;
    Ok(())
}

/// Appends the hours of the outage, up to now, as fast as the store takes them.
async fn fill(dir: &Path, options: &tidegate_config::Store, seconds: u64) -> Done<()> {
    let start = Instant::now();
    let store = Store::open(dir, options).await?.store;
    let mut plant = Plant::build(&store).await?;
    let begin = now().as_millis() - i64::try_from(seconds * 1_000)?;
    for second in 0..seconds {
        plant.second(&store, Timestamp::from_millis(begin + i64::try_from(second * 1_000)?));
        while store.status().pending_bytes > 16 << 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let rows = seconds * plant::DEVICES;
    while store.status().rows_committed < rows {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if let Some(why) = store.status().failing {
            return Err(format!("the store cannot write: {why}").into());
        }
    }
    let took = start.elapsed();
    store.close().await;
    let bytes = fs::metadata(dir.join("store.db"))?.len();
    println!(
        "filled: {rows} rows in {:.0} s, {:.0} MB on the disk, {:.2} bytes a value",
        took.as_secs_f64(),
        megabytes(bytes),
        megabytes(bytes) / megabytes(rows * plant::TAGS)
    );
    Ok(())
}

/// The other side, in a process of its own.
struct Receiver {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Receiver {
    /// Starts it, and waits until it has subscribed.
    fn start(port: u16, format: Format, backlog: u64) -> Done<Receiver> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["receive", &port.to_string(), format.as_str(), &backlog.to_string()]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(process.stdout.take().ok_or("the receiver has no output")?);
        let mut receiver = Receiver { process, lines };
        receiver.line("ready")?;
        Ok(receiver)
    }

    /// Reads on until it says this.
    fn line(&mut self, wanted: &str) -> Done<()> {
        let mut line = String::new();
        while self.lines.read_line(&mut line)? > 0 {
            if line.trim_end() == wanted {
                return Ok(());
            }
            print!("{line}");
            line.clear();
        }
        Err(format!("the receiver ended before it was {wanted}").into())
    }

    /// Tells it the last number of each stream, and waits until it has said what it has found.
    fn finish(mut self, last: u64) -> Done<()> {
        writeln!(self.process.stdin.take().ok_or("the receiver has no input")?, "{last}")?;
        self.line("done")?;
        if !self.process.wait()?.success() {
            return Err("the receiver has not got everything".into());
        }
        Ok(())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It has ended by itself when all went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn target(port: u16, format: Format) -> Options {
    Options { format, ..Options::new("127.0.0.1", port) }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn megabytes(bytes: u64) -> f64 {
    Duration::from_micros(bytes).as_secs_f64()
}

/// What all threads of this process have computed so far, those that have ended too.
fn cpu_time() -> Done<Duration> {
    /// Of the times in `/proc` (`sysconf(_SC_CLK_TCK)`): the same on every Linux.
    const TICKS: u64 = 100;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the process, which may have anything in it, ends with the last parenthesis; the state is the third field.
    let (_, rest) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name in it")?;
    let times = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(Duration::from_millis(times.sum::<Result<u64, _>>()? * 1_000 / TICKS))
}
