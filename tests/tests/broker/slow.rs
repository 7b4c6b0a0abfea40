//! Subscribers that stop reading beside one that does not. `cargo xtask bench broker` does the same for a minute, and measures.

use std::{
    net::SocketAddr,
    process,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tidegate_broker::Broker;
use tidegate_config as config;
use tidegate_tests::{PATIENCE, wait_until};

use crate::{
    process::memory_kib,
    talk::{Client, subscribe},
};

const MESSAGES: u64 = 300_000;
/// In each step of a millisecond; 50,000 messages a second.
const EACH: u64 = 50;
/// How far the healthy subscriber may be behind before the publisher waits for it: what a busy machine does to it is not what is
/// looked at here, and its queue holds many times as much.
const LAG: u64 = 20_000;
const STUCK: u8 = 5;
/// Five sessions at QoS 1 with up to 40 MiB until they end, counted with 256 bytes a message; the messages are shared among them.
const GROWTH_KIB: u64 = 128 * 1024;
/// From the middle on everybody who is too slow has been dealt with.
const LATER_GROWTH_KIB: u64 = 16 * 1024;

/// Gets all messages in order, and tells how many so far.
fn healthy(address: SocketAddr, got: &AtomicU64, ready: &AtomicU64) -> anyhow::Result<()> {
    let mut client = Client::connect(address, "healthy")?;
    client.send(&subscribe("flood/#", 1))?;
    client.packet()?;
    ready.store(1, Ordering::Release);
    for number in 0..MESSAGES {
        let found = client.message()?;
        anyhow::ensure!(found[..8] == number.to_be_bytes(), "{:?} came instead of {number}", &found[..8]);
        got.store(number + 1, Ordering::Release);
    }
    Ok(())
}

/// Subscribes and never reads again.
fn stuck(address: SocketAddr) -> anyhow::Result<Vec<Client>> {
    let all = [0, 1].into_iter().flat_map(|qos| (0..STUCK).map(move |number| (qos, number)));
    all.map(|(qos, number)| {
        let mut client = Client::connect(address, &format!("stuck-{qos}-{number}"))?;
        client.send(&subscribe("flood/#", qos))?;
        client.packet()?;
        Ok(client)
    })
    .collect()
}

/// Publishes all messages; returns the longest call and the resident memory in the middle.
fn publish(broker: &Broker, got: &AtomicU64) -> anyhow::Result<(Duration, u64)> {
    let publisher = broker.publisher();
    let (mut worst, mut middle) = (Duration::ZERO, 0);
    let started = Instant::now();
    for number in 0..MESSAGES {
        if number % EACH == 0 {
            let due = started + Duration::from_millis(number / EACH);
            thread::park_timeout(due.saturating_duration_since(Instant::now()));
            wait_until(PATIENCE, "the healthy subscriber", || {
                (number <= got.load(Ordering::Acquire) + LAG).then_some(())
            })?;
        }
        if number == MESSAGES / 2 {
            middle = memory_kib(process::id())?;
        }
        let payload = [&number.to_be_bytes()[..], &[b'x'; 92]].concat();
        let called = Instant::now();
        publisher.publish(format!("flood/{}", number % 100), Bytes::from(payload), false);
        worst = worst.max(called.elapsed());
    }
    Ok((worst, middle))
}

#[test]
fn ten_subscribers_that_stop_reading_cost_neither_the_publisher_nor_their_neighbour() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let broker = runtime.block_on(Broker::start(&config::Broker::on_loopback()))?;
    let (got, ready) = (AtomicU64::new(0), AtomicU64::new(0));
    let stuck = stuck(broker.address())?;
    let before = memory_kib(process::id())?;
    let (worst, middle) = thread::scope(|scope| {
        let healthy = scope.spawn(|| healthy(broker.address(), &got, &ready));
        wait_until(PATIENCE, "the healthy subscriber", || (ready.load(Ordering::Acquire) == 1).then_some(()))?;
        let published = publish(&broker, &got);
        // What it says is why the publisher waited in vain.
        healthy.join().unwrap()?;
        published
    })?;
    let after = memory_kib(process::id())?;
    println!(
        "longest call {worst:?}; resident memory {before}, {middle} in the middle, {after} KiB; {:?}",
        broker.status()
    );
    assert!(after.saturating_sub(before) < GROWTH_KIB, "grown from {before} to {after} KiB");
    assert!(after.saturating_sub(middle) < LATER_GROWTH_KIB, "grown from {middle} in the middle to {after} KiB");
    // QoS 0 is dropped and counted, and who asked for QoS 1 is let go, so that it notices.
    let status = broker.status();
    assert_eq!(status.too_slow, u64::from(STUCK), "{status:?}");
    assert!(status.dropped > MESSAGES, "{status:?}");
    assert_eq!(status.published, MESSAGES);
    drop(stuck);
    runtime.block_on(broker.stop());
    Ok(())
}
