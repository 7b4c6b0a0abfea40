//! What the local broker costs, beside mosquitto under the same load in the same run.
//!
//! Ours is published to from inside its process, as the gateway does; mosquitto by a client. Subscribers, publisher and brokers are
//! processes of their own (the example `broker_bench` of the broker), all on loopback of this machine. Processor time is the
//! scheduler's, of the broker's process alone; ours has the publisher in it.

mod kept;

use std::{fs, net::TcpListener, path::PathBuf, process::Command, time::Duration};

use anyhow::Context;
use serde_json::Value;

use super::{process::Process, table, usage};
use crate::{peers, shell, tally::Outcome, workspace::Workspace};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Five times as long, and the slow subscribers for a minute.
    #[arg(long)]
    full: bool,
    /// Only the loads with these numbers of subscribers.
    #[arg(long, value_delimiter = ',', default_value = "0,1,5,50")]
    subscribers: Vec<u64>,
    /// Only the slow subscribers.
    #[arg(long, conflicts_with = "kept")]
    slow: bool,
    /// Only what keeping sessions on the disk costs.
    #[arg(long)]
    kept: bool,
}

/// Bytes of a message.
const SIZES: [u64; 2] = [100, 25_000];

/// What mosquitto may keep for a subscriber, so that it does not drop what it is measured with.
const MOSQUITTO: &str = "allow_anonymous true\npersistence false\nmax_queued_messages 1000000\nmax_inflight_messages 1000\nlog_type error\n";

/// One kind of load.
#[derive(Debug, Clone, Copy)]
struct Load {
    size: u64,
    subscribers: u64,
    qos: u8,
    /// How many times as long as by default.
    long: u64,
}

impl Load {
    /// Copies a message makes; nobody's is one.
    fn copies(self) -> u64 {
        self.subscribers.max(1)
    }

    /// Messages a second that either broker can bear.
    fn rate(self) -> u64 {
        if self.size > 1_000 { (2_000 / self.copies()).min(1_000) } else { (50_000 / self.copies()).min(20_000) }
    }

    /// A load at that rate for two seconds, as the example reads it.
    fn paced(self) -> (u64, String) {
        let count = self.rate() * 2 * self.long;
        (count, format!("{} {count} {}", self.rate(), self.size))
    }

    /// A load as fast as it goes.
    fn flat(self) -> (u64, String) {
        let most = if self.size > 1_000 { 8_000 } else { 150_000 };
        let count = (most / self.copies()).min(most / 2) * self.long;
        (count, format!("0 {count} {}", self.size))
    }
}

/// What a broker did under one load.
#[derive(Debug, Clone, Default, serde::Serialize)]
struct Measured {
    broker: &'static str,
    size: u64,
    subscribers: u64,
    qos: u8,
    /// As fast as it goes, until the last subscriber had the last message.
    messages_per_second: f64,
    flat_micros_per_delivery: f64,
    flat_lost: u64,
    /// The rate of what follows.
    paced_rate: u64,
    micros_per_delivery: f64,
    p50_ms: f64,
    p99_ms: f64,
    lost: u64,
    peak_rss_mib: f64,
}

/// A broker and who publishes to it.
struct Station {
    // Ended in this order.
    readers: Option<Process>,
    publisher: Option<Process>,
    port: String,
    broker: Process,
}

/// Measures and prints tables; the figures are in `target/bench/broker.json` too.
///
/// # Errors
///
/// When something cannot be built or started.
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let workspace = Workspace::find()?;
    peers::install(&workspace)?;
    let mut build =
        shell::cargo(["build", "--release", "--locked", "-p", "tidegate-broker", "--example", "broker_bench"]);
    shell::must(build.current_dir(&workspace.root))?;
    let folder = workspace.target.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let bench = Bench { workspace, folder, long: if options.full { 5 } else { 1 } };
    println!("\nMeasured on {}.\n", table::machine());
    let mut rows = Vec::new();
    if !options.slow && !options.kept {
        println!("{HEADING}");
        for size in SIZES {
            for &subscribers in &options.subscribers {
                for qos in [0, 1] {
                    let load = Load { size, subscribers, qos, long: bench.long };
                    for name in ["Tidegate", "mosquitto"] {
                        let row = bench.measure(name, load)?;
                        println!("{}", line(&row));
                        rows.push(row);
                    }
                }
            }
        }
    }
    let mut slow = Vec::new();
    if !options.kept {
        println!("\n{SLOW_HEADING}");
        for qos in [0, 1] {
            slow.push(bench.slow(qos, if options.full { 60 } else { 10 })?);
        }
    }
    let kept = if options.slow { Vec::new() } else { bench.kept()? };
    let file = bench.folder.join("broker.json");
    let all = serde_json::json!({ "machine": table::machine(), "loads": rows, "slow": slow, "kept": kept });
    fs::write(&file, all.to_string()).with_context(|| format!("failed to write {}", file.display()))?;
    println!("\n{}", file.display());
    Ok(Outcome::Passed)
}

struct Bench {
    workspace: Workspace,
    folder: PathBuf,
    long: u64,
}

impl Bench {
    fn part(&self, words: &[&str]) -> anyhow::Result<Process> {
        let program = self.workspace.target.join("release/examples/broker_bench");
        Process::start_listening(Command::new(program).args(words))
    }

    fn station(&self, name: &str, load: Load) -> anyhow::Result<Station> {
        let qos = load.qos.to_string();
        let (broker, port) =
            if name == "Tidegate" { self.ours(&["serve", "roomy"])? } else { self.mosquitto(MOSQUITTO)? };
        let publisher = if name == "Tidegate" { None } else { Some(self.ready(&["feed", &port, &qos])?) };
        let readers = match load.subscribers {
            0 => None,
            count => Some(self.ready(&["read", &port, &count.to_string(), &qos])?),
        };
        Ok(Station { broker, port, publisher, readers })
    }

    fn ours(&self, words: &[&str]) -> anyhow::Result<(Process, String)> {
        let broker = self.part(words)?;
        let lines = broker.wait_for(1, |line| line.starts_with("port "))?;
        let port = lines.first().and_then(|line| line.strip_prefix("port ")).context("the broker has no port")?;
        Ok((broker, port.to_owned()))
    }

    fn mosquitto(&self, settings: &str) -> anyhow::Result<(Process, String)> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let file = self.folder.join("broker-mosquitto.conf");
        fs::write(&file, format!("listener {port} 127.0.0.1\n{settings}"))
            .with_context(|| format!("failed to write {}", file.display()))?;
        let program = self.workspace.peers().join("bin/mosquitto");
        let broker = Process::start(Command::new(program).arg("-c").arg(&file))?;
        // It does not say when it listens.
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            super::process::pause(Duration::from_millis(10));
        }
        Ok((broker, port.to_string()))
    }

    /// A part that says when it is ready.
    fn ready(&self, words: &[&str]) -> anyhow::Result<Process> {
        let process = self.part(words)?;
        process.wait_for(1, |line| line == "ready")?;
        Ok(process)
    }

    fn measure(&self, name: &'static str, load: Load) -> anyhow::Result<Measured> {
        let mut station = self.station(name, load)?;
        // Buffers grow and pages are touched before anything is measured.
        station.publish(load.rate() / 4, &format!("{} {} {}", load.rate(), load.rate() / 4, load.size))?;
        let (count, words) = load.paced();
        let paced = station.publish(count, &words)?;
        let mut row = Measured {
            broker: name,
            size: load.size,
            subscribers: load.subscribers,
            qos: load.qos,
            paced_rate: load.rate(),
            micros_per_delivery: paced.micros / float(count * load.copies()),
            p50_ms: paced.p50_ms,
            p99_ms: paced.p99_ms,
            lost: (count * load.subscribers).saturating_sub(paced.total),
            ..Measured::default()
        };
        let (count, words) = load.flat();
        let flat = station.publish(count, &words)?;
        row.messages_per_second = float(count) / flat.seconds;
        row.flat_micros_per_delivery = flat.micros / float(count * load.copies());
        row.flat_lost = (count * load.subscribers).saturating_sub(flat.total);
        row.peak_rss_mib = super::load::mebibytes(usage::memory_kib(station.broker.id(), "VmHWM")?);
        Ok(row)
    }

    /// Ten subscribers that stop reading beside one that does not, at 50,000 messages a second.
    fn slow(&self, qos: u8, seconds: u64) -> anyhow::Result<Value> {
        // With the limits as they are by default.
        let (broker, port) = self.ours(&["serve"])?;
        let readers = Some(self.ready(&["read", &port, "1", "1"])?);
        let mut station = Station { readers, publisher: None, port, broker };
        let _stuck = self.ready(&["stuck", &station.port, "10", &qos.to_string()])?;
        let count = 50_000 * seconds;
        let published = station.publish(count, &format!("50000 {count} 100"))?;
        let lost = count.saturating_sub(published.total);
        let worst_ms = published.figure("worst_ns") / 1e6;
        let [dropped, too_slow] = ["dropped", "too_slow"].map(|key| published.figure(key));
        let rss = super::load::mebibytes(usage::memory_kib(station.broker.id(), "VmHWM")?);
        println!(
            "| {qos} | {seconds} s | {:.0} | {lost} | {:.1} / {:.1} ms | {worst_ms:.1} ms | {dropped:.0} | {too_slow:.0} | {rss:.0} MiB |",
            float(count) / published.seconds,
            published.p50_ms,
            published.p99_ms,
        );
        Ok(serde_json::json!({
            "qos": qos, "seconds": seconds, "messages": count, "lost": lost, "p50_ms": published.p50_ms, "p99_ms": published.p99_ms,
            "worst_call_ms": worst_ms, "dropped": dropped, "too_slow": too_slow, "peak_rss_mib": rss,
        }))
    }
}

/// What a load brought about.
struct Published {
    /// Microseconds of processor time of the broker.
    micros: f64,
    /// From the start to the last arrival, or to the last publish when nobody subscribes.
    seconds: f64,
    /// Arrivals at all subscribers.
    total: u64,
    p50_ms: f64,
    p99_ms: f64,
    /// What the publisher said.
    said: Value,
}

impl Published {
    fn figure(&self, key: &str) -> f64 {
        self.said.get(key).and_then(Value::as_f64).unwrap_or(0.0)
    }
}

impl Station {
    /// Publishes `count` messages, as the line says, and waits until they have arrived.
    fn publish(&mut self, count: u64, line: &str) -> anyhow::Result<Published> {
        let before = usage::processor_time(self.broker.id())?;
        if let Some(readers) = &mut self.readers {
            readers.say(&count.to_string())?;
        }
        let publisher = self.publisher.as_mut().unwrap_or(&mut self.broker);
        publisher.say(line)?;
        let said = answer(publisher)?;
        let got = self.readers.as_ref().map(answer).transpose()?.unwrap_or(Value::Null);
        let spent = usage::processor_time(self.broker.id())?.saturating_sub(before);
        let figure = |key: &str| got.get(key).and_then(Value::as_f64);
        Ok(Published {
            micros: spent.as_secs_f64() * 1e6,
            seconds: figure("seconds").or(said.get("seconds").and_then(Value::as_f64)).unwrap_or(f64::NAN),
            total: got.get("total").and_then(Value::as_u64).unwrap_or(0),
            p50_ms: figure("p50_ns").unwrap_or(0.0) / 1e6,
            p99_ms: figure("p99_ns").unwrap_or(0.0) / 1e6,
            said,
        })
    }
}

/// What a part has found out.
fn answer(part: &Process) -> anyhow::Result<Value> {
    let lines = part.wait_within(Duration::from_secs(300), 1, |line| line.starts_with("done "))?;
    let line = lines.first().map(String::as_str).unwrap_or_default();
    serde_json::from_str(line.strip_prefix("done ").unwrap_or_default()).with_context(|| format!("it says: {line}"))
}

/// A count as a number with a fraction.
fn float(count: u64) -> f64 {
    super::load::ratio(count, 1.0)
}

const HEADING: &str = "\
| bytes | subscribers | QoS | broker | messages/s | CPU a delivery | lost | paced at | CPU a delivery | p50 / p99 | lost | peak RSS |
| ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";

fn line(row: &Measured) -> String {
    format!(
        "| {} | {} | {} | {} | {:.0} | {:.1} µs | {} | {}/s | {:.1} µs | {:.2} / {:.2} ms | {} | {:.1} MiB |",
        row.size,
        row.subscribers,
        row.qos,
        row.broker,
        row.messages_per_second,
        row.flat_micros_per_delivery,
        row.flat_lost,
        row.paced_rate,
        row.micros_per_delivery,
        row.p50_ms,
        row.p99_ms,
        row.lost,
        row.peak_rss_mib,
    )
}

const SLOW_HEADING: &str = "\
Ten subscribers that stop reading beside one with QoS 1 that does not:

| their QoS | for | messages/s | lost to the healthy one | p50 / p99 | longest call of the publisher | dropped | ended | peak RSS |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";
