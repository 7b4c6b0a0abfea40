//! Measures the broker alone: messages published inside the process, one subscriber with QoS 1 in a process of its own.
//!
//! `cargo run --release -p tidegate-broker --example broker_load` runs 10 s each of 100 and 1,000 messages of 20 KB a
//! second; `… --example broker_load 5000 100 30` runs 30 s of 5,000 messages of 100 bytes. CPU time is the scheduler's,
//! of all threads of the broker's process.

use std::{
    env, fs,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tidegate_broker::Broker;
use tidegate_config as config;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

/// What the subscriber takes as the end.
const END: u64 = u64::MAX;
/// Devices whose topics the messages go to in turn.
const DEVICES: u64 = 100;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["subscriber", port] => subscriber(port.parse()?).await,
        [rate, size, seconds] => {
            heading();
            in_task(rate.parse()?, size.parse()?, seconds.parse()?).await
        }
        [] => {
            heading();
            for rate in [100, 1_000] {
                in_task(rate, 20_000, 10).await?;
            }
            Ok(())
        }
        _ => bail!("usage: load [RATE SIZE SECONDS]"),
    }
}

fn heading() {
    println!("messages/s   bytes    sent    lost  p50 ms  p99 ms  max ms  CPU s/min  idle MiB  peak MiB");
}

/// Publishes from a task, as the gateway does: a thread that is none of the runtime's would have to wake one for each
/// message.
async fn in_task(rate: u32, size: usize, seconds: u32) -> Result<()> {
    tokio::spawn(run(rate, size, seconds)).await?
}

async fn run(rate: u32, size: usize, seconds: u32) -> Result<()> {
    let broker = Broker::start(&config::Broker::on_loopback()).await?;
    let (mut child, mut lines) = start_subscriber(broker.address().port()).await?;
    sleep(Duration::from_millis(500)).await;
    let (idle, before) = (memory("VmRSS")?, cpu_nanos()?);
    let count = u64::from(rate) * u64::from(seconds);
    publish(&broker, rate, size, count).await;
    let spent = cpu_nanos()? - before;
    let peak = memory("VmHWM")?;
    sleep(Duration::from_secs(1)).await;
    broker.publisher().publish("load/end", payload(END, 16), false);
    let result = timeout(Duration::from_secs(30), lines.next_line()).await??.context("no result of the subscriber")?;
    child.wait().await?;
    broker.stop().await;
    let [received, p50, p99, max] = numbers(&result)?;
    // Nanoseconds in so many seconds, per minute.
    let cpu = millis(spent * 60 / u64::from(seconds)) / 1_000.0;
    println!(
        "{rate:>10} {size:>7} {count:>7} {:>7} {:>7.2} {:>7.2} {:>7.2} {cpu:>10.2} {idle:>9.1} {peak:>9.1}",
        count - received.min(count),
        millis(p50),
        millis(p99),
        millis(max),
    );
    Ok(())
}

/// Publishes evenly, a few messages each millisecond.
async fn publish(broker: &Broker, rate: u32, size: usize, count: u64) {
    let publisher = broker.publisher();
    let topics: Vec<Bytes> = (0..DEVICES).map(|n| format!("load/device-{n}/data/fast").into()).collect();
    let mut tick = interval(Duration::from_secs(1) / rate.min(1_000));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let each_tick = u64::from(rate / rate.min(1_000));
    let mut topics = topics.iter().cycle();
    for n in 0..count {
        if n % each_tick == 0 {
            tick.tick().await;
        }
        if let Some(topic) = topics.next() {
            publisher.publish(topic.clone(), payload(n, size), false);
        }
    }
}

/// A number and the time, filled up to `size` bytes.
fn payload(number: u64, size: usize) -> Bytes {
    let mut payload = Vec::with_capacity(size.max(16));
    payload.put_u64(number);
    payload.put_u64(now());
    payload.resize(size.max(16), b'x');
    payload.into()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default()
}

async fn start_subscriber(port: u16) -> Result<(Child, tokio::io::Lines<BufReader<ChildStdout>>)> {
    let mut child = Command::new(env::current_exe()?)
        .args(["subscriber", &port.to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let ready = timeout(Duration::from_secs(10), lines.next_line()).await??;
    ensure!(ready.as_deref() == Some("ready"), "the subscriber did not subscribe: {ready:?}");
    Ok((child, lines))
}

/// Counts what arrives until the end, and prints how many in order and the 50th and 99th percentile and the maximum of
/// their latency in ns.
async fn subscriber(port: u16) -> Result<()> {
    let mut options = MqttOptions::new("load", "127.0.0.1", port);
    options.set_max_packet_size(1 << 24, 1 << 24);
    let (client, mut events) = AsyncClient::new(options, 10);
    client.subscribe("load/#", QoS::AtLeastOnce).await?;
    let (mut latencies, mut expected) = (Vec::new(), 0);
    loop {
        match events.poll().await? {
            Event::Incoming(Packet::SubAck(_)) => println!("ready"),
            Event::Incoming(Packet::Publish(publish)) => {
                let mut payload = publish.payload;
                let (number, sent) = (payload.get_u64(), payload.get_u64());
                if number == END {
                    break;
                }
                ensure!(number >= expected, "{number} came after {expected}");
                expected = number + 1;
                latencies.push(now().saturating_sub(sent));
            }
            _ => {}
        }
    }
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get((latencies.len() * percent / 100).min(latencies.len() - 1)).copied();
    let found = [at(50), at(99), latencies.last().copied()].map(Option::unwrap_or_default);
    println!("{} {} {} {}", latencies.len(), found[0], found[1], found[2]);
    Ok(())
}

fn numbers(line: &str) -> Result<[u64; 4]> {
    let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    numbers.try_into().ok().context("the subscriber's result has four numbers")
}

fn millis(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1_000.0
}

/// CPU time of all threads.
fn cpu_nanos() -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += text.split(' ').next().context("schedstat is empty")?.parse::<u64>()?;
    }
    Ok(sum)
}

/// A size of this process in MiB.
fn memory(key: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(key)).context("no such size")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kilobytes / 1024.0)
}
