//! The broker with the publisher inside.

use std::{fs, io::stdin, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use tidegate_broker::{Broker, BrokerStatus};
use tidegate_config::{self as config, ByteSize};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{DEVICES, Load, payload, topic};

/// Bytes that may lie in the broker while it is published as fast as it goes, and how many it keeps for a subscriber then, so that
/// nothing is dropped even if all of it waits for one.
const LAG: u64 = 32 << 20;
const ROOM: u64 = 40 << 20;
/// What a message counts beside its payload.
const MESSAGE: u64 = 256;

/// Bytes for a client that is away, and on the disk, so that all of a load has room.
const MUCH: u64 = 256 << 20;

/// What the broker has room for.
#[derive(Debug, Clone)]
pub(crate) enum Room {
    /// The limits are as they are by default.
    Usual,
    /// As much for a subscriber with QoS 0 as for others.
    QosZero,
    /// A whole load for a client that is away; on a disk, too, if there is a folder.
    Away(Option<PathBuf>),
}

impl Room {
    /// As in the gateway, on a thread of its own.
    async fn broker(self) -> Result<Broker> {
        let mut site = config::Broker::on_loopback();
        let much = ByteSize(MUCH);
        let folder = match self {
            Room::Usual => None,
            Room::QosZero => {
                site.limits.queue_bytes_qos0 = ByteSize(ROOM);
                None
            }
            Room::Away(folder) => {
                site.limits.queue_bytes = much;
                site.limits.queue_bytes_offline = much;
                site.limits.queue_bytes_total = ByteSize(2 * MUCH);
                // As often as by default.
                let persistence = config::BrokerPersistence { max_size: much, ..config::BrokerPersistence::default() };
                site.persistence = folder.is_some().then_some(persistence);
                folder
            }
        };
        Ok(Broker::start_apart(&site, folder).await?)
    }
}

/// Publishes each load that is read, and prints what that took.
pub(crate) fn run(room: Room) -> Result<()> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    // The gateway has one thread for each processor too.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async { tokio::spawn(serve(lines, room)).await? })
}

async fn serve(mut lines: mpsc::Receiver<String>, room: Room) -> Result<()> {
    let broker = room.broker().await?;
    println!("port {}", broker.address().port());
    while let Some(line) = lines.recv().await {
        let load = Load::parse(&line)?;
        let before = broker.status();
        let started = Instant::now();
        let worst = publish(&broker, load).await;
        let seconds = started.elapsed().as_secs_f64();
        settle(&broker).await;
        let status = broker.status();
        println!(
            "done {{\"seconds\":{seconds:.6},\"worst_ns\":{},\"delivered\":{},\"dropped\":{},\"too_slow\":{},\"clients\":{},\"peak_kib\":{}}}",
            worst.as_nanos(),
            status.delivered - before.delivered,
            status.dropped - before.dropped,
            status.too_slow - before.too_slow,
            status.clients,
            peak_kib()?,
        );
    }
    broker.stop().await;
    Ok(())
}

/// Publishes, and returns the longest that a call took.
async fn publish(broker: &Broker, load: Load) -> Duration {
    let publisher = broker.publisher();
    let topics: Vec<Bytes> = (0..DEVICES).map(|number| topic(number).into()).collect();
    let (each, step) = load.steps();
    let mut tick = interval(Duration::from_micros(step.max(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let before = broker.status();
    let mut worst = Duration::ZERO;
    for (number, topic) in (0..load.count).zip(topics.iter().cycle()) {
        if load.rate > 0 && number % each == 0 {
            tick.tick().await;
        }
        if load.rate == 0 && number % 64 == 0 {
            catch_up(broker, &before, number, load.size).await;
        }
        let message = Bytes::from(payload(number, load.size));
        let started = std::time::Instant::now();
        publisher.publish(topic.clone(), message, false);
        worst = worst.max(started.elapsed());
    }
    worst
}

/// Waits until the subscribers have got nearly everything.
async fn catch_up(broker: &Broker, before: &BrokerStatus, published: u64, size: usize) {
    let lag = LAG / (u64::try_from(size).unwrap_or(0) + MESSAGE);
    loop {
        let status = broker.status();
        let done = (status.delivered - before.delivered) + (status.dropped - before.dropped);
        if published * status.clients <= done + lag {
            return;
        }
        sleep(Duration::from_micros(200)).await;
    }
}

/// Waits until nothing more is delivered.
async fn settle(broker: &Broker) {
    let mut last = broker.status().delivered;
    loop {
        sleep(Duration::from_millis(50)).await;
        let now = broker.status().delivered;
        if now == last {
            return;
        }
        last = now;
    }
}

/// The most resident memory so far.
fn peak_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak of memory")?;
    line.split_whitespace().next().context("no number")?.parse().context("no number")
}
