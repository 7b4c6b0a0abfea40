//! What keeping sessions on the disk costs: the same load with and without, for a client that takes its messages and for one that is away.
//!
//! mosquitto writes its whole database now and then, every half an hour unless told otherwise; it is told to do so every second, which is
//! as often as it can. Ours writes what has changed, every 250 ms as by default, and waits for the disk (fsync). Who was away comes back
//! in the end and has to get everything.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context;

use super::{Bench, Published, Station, answer, float};
use crate::bench::{process::pause, usage};

/// What both brokers have for a client that is away.
const MOSQUITTO: &str =
    "allow_anonymous true\nmax_queued_messages 1000000\nmax_inflight_messages 1000\nlog_type error\n";

/// Bytes of a message, and how many a second.
const LOADS: [(u64, u64); 2] = [(100, 5_000), (25_000, 200)];

/// Longer than the longest pause between two writes of either broker.
const SETTLED: Duration = Duration::from_millis(1_500);

/// How long a load lasts.
const SECONDS: u64 = 4;

/// What one broker did under one load.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Measured {
    broker: &'static str,
    on_disk: bool,
    size: u64,
    away: bool,
    rate: u64,
    micros_per_message: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Bytes that the broker gave to the disk for each message.
    written_per_message: f64,
    lost: u64,
    peak_rss_mib: f64,
}

const HEADING: &str = "\
Sessions that are kept, one subscriber with QoS 1:

| bytes | at | client | broker | on disk | CPU a message | written a message | p50 / p99 | lost | peak RSS |
| ---: | ---: | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |";

impl Bench {
    /// Measures both brokers, with and without the disk.
    pub(super) fn kept(&self) -> anyhow::Result<Vec<Measured>> {
        println!("\n{HEADING}");
        let mut rows = Vec::new();
        for (size, rate) in LOADS {
            for away in [false, true] {
                for broker in ["Tidegate", "mosquitto"] {
                    for on_disk in [false, true] {
                        let row = Measured {
                            broker,
                            on_disk,
                            size,
                            away,
                            rate,
                            micros_per_message: 0.0,
                            p50_ms: 0.0,
                            p99_ms: 0.0,
                            written_per_message: 0.0,
                            lost: 0,
                            peak_rss_mib: 0.0,
                        };
                        let row = self.measure_kept(row)?;
                        println!("{}", line(&row));
                        rows.push(row);
                    }
                }
            }
        }
        Ok(rows)
    }

    fn measure_kept(&self, mut row: Measured) -> anyhow::Result<Measured> {
        let folder = self.empty_folder()?;
        let mut station = self.keeping(&row, &folder)?;
        let broker = station.broker.id();
        // What the beginning costs is not the messages'.
        pause(SETTLED);
        let count = row.rate * SECONDS;
        let written = usage::written_bytes(broker)?;
        let before = usage::processor_time(broker)?;
        let Published { total, p50_ms, p99_ms, .. } =
            station.publish(count, &format!("{} {count} {}", row.rate, row.size))?;
        pause(SETTLED);
        let spent = usage::processor_time(broker)?.saturating_sub(before);
        row.micros_per_message = spent.as_secs_f64() * 1e6 / float(count);
        row.written_per_message = float(usage::written_bytes(broker)?.saturating_sub(written)) / float(count);
        (row.p50_ms, row.p99_ms) = (p50_ms, p99_ms);
        let mut got = total;
        if row.away {
            let mut readers = self.ready(&["fetch", &station.port, "1"])?;
            readers.say(&count.to_string())?;
            let found = answer(&readers)?;
            got = found.get("total").and_then(serde_json::Value::as_u64).unwrap_or(0);
        }
        row.lost = count.saturating_sub(got);
        row.peak_rss_mib = crate::bench::load::mebibytes(usage::memory_kib(broker, "VmHWM")?);
        Ok(row)
    }

    fn empty_folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join("broker-kept");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
        Ok(folder)
    }

    /// A broker with a subscriber whose session is kept; it is there or away.
    fn keeping(&self, row: &Measured, folder: &std::path::Path) -> anyhow::Result<Station> {
        let path = folder.to_str().context("the folder has a name that is no text")?;
        let is_ours = row.broker == "Tidegate";
        let (broker, port) = match (is_ours, row.on_disk) {
            (true, true) => self.ours(&["serve", "kept", path])?,
            (true, false) => self.ours(&["serve", "kept"])?,
            (false, true) => {
                let disk = format!("persistence true\npersistence_location {path}/\nautosave_interval 1\nuser root\n");
                self.mosquitto(&format!("{MOSQUITTO}{disk}"))?
            }
            (false, false) => self.mosquitto(&format!("{MOSQUITTO}persistence false\n"))?,
        };
        let publisher = if is_ours { None } else { Some(self.ready(&["feed", &port, "1"])?) };
        let readers = if row.away {
            self.ready(&["leave", &port, "1", "1"])?;
            None
        } else {
            Some(self.ready(&["read-kept", &port, "1", "1"])?)
        };
        Ok(Station { readers, publisher, port, broker })
    }
}

fn line(row: &Measured) -> String {
    let client = if row.away { "away" } else { "there" };
    let on_disk = if row.on_disk { "yes" } else { "no" };
    let ages = if row.away { "-".to_owned() } else { format!("{:.2} / {:.2} ms", row.p50_ms, row.p99_ms) };
    format!(
        "| {} | {}/s | {client} | {} | {on_disk} | {:.1} µs | {:.0} B | {ages} | {} | {:.1} MiB |",
        row.size, row.rate, row.broker, row.micros_per_message, row.written_per_message, row.lost, row.peak_rss_mib,
    )
}
