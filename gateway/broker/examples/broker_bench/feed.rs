//! A publisher from outside.

use std::{
    io::{Write, stdin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    Load,
    client::{Client, publish},
    pause, payload, topic,
};

/// Messages at QoS 1 that are not yet acknowledged.
const WINDOW: u64 = 500;

/// Publishes each load that is read, and prints `done` and how long it took.
pub(crate) fn run(port: u16, qos: u8) -> Result<()> {
    let mut client = Client::connect(port, "bench-feed", true)?;
    let mut writer = client.writer()?;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&acknowledged);
    thread::spawn(move || {
        while client.fill().is_ok() {
            while let Some((first, _)) = client.take() {
                counter.fetch_add(u64::from(first == 0x40), Ordering::Release);
            }
        }
    });
    println!("ready");
    let mut sent = 0_u64;
    for line in stdin().lines() {
        let load = Load::parse(&line?)?;
        let (each, step) = load.steps();
        let started = Instant::now();
        let mut bytes = Vec::new();
        for number in 0..load.count {
            if load.rate > 0 && number % each == 0 {
                let due = started + Duration::from_micros(number / each * step);
                pause(due.saturating_duration_since(Instant::now()));
            }
            let id = u16::try_from(sent % 60_000 + 1)?;
            bytes.extend(publish(&topic(number), qos, id, &payload(number, load.size))?);
            sent += 1;
            let last = number + 1 == load.count || (number + 1) % each == 0 && load.rate > 0;
            if last || bytes.len() > 16_384 {
                writer.write_all(&bytes)?;
                bytes.clear();
            }
            if qos > 0 && bytes.is_empty() {
                wait(&acknowledged, sent.saturating_sub(WINDOW))?;
            }
        }
        if qos > 0 {
            wait(&acknowledged, sent)?;
        }
        println!("done {{\"seconds\":{:.6}}}", started.elapsed().as_secs_f64());
    }
    Ok(())
}

fn wait(acknowledged: &AtomicU64, wanted: u64) -> Result<()> {
    let started = Instant::now();
    while acknowledged.load(Ordering::Acquire) < wanted {
        ensure!(started.elapsed() < Duration::from_secs(30), "the broker does not acknowledge");
        thread::park_timeout(Duration::from_micros(50));
    }
    Ok(())
}
