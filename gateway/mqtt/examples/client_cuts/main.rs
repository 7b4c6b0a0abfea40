//! What three clients lose when connections are cut and sessions forgotten, and what a message costs them.
//!
//! ```text
//! cargo run --release -p tidegate-mqtt --example client_cuts
//! ```
//!
//! Each client publishes numbered messages of 100 bytes at QoS 1 with a hundred on their way, first to a broker that cuts two hundred
//! connections and forgets sessions in between (`tests/cuts/broker.rs`), then to the same broker without cuts. The broker runs in a thread
//! of its own; the processor time is that of the client's thread alone. `rumqttc` 0.25.1 is used as its examples show: it has no
//! handle for a message, so that whoever uses it takes what was handed over for sent. `rumqttc-next` is used with its tracked
//! publishes, and what they report as lost is published again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    dead_code,
    reason = "what a measurement cannot go on without may end it"
)]

#[path = "../../tests/cuts/broker.rs"]
mod broker;
#[path = "../../tests/cuts/sender.rs"]
mod sender;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use broker::Manners;
use futures_util::{StreamExt, stream::FuturesUnordered};

const IN_FLIGHT: u16 = 100;
/// Nothing for this long means that nothing comes any more.
const QUIET: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, PartialEq)]
enum Client {
    Ours,
    OursV5,
    Rumqttc,
    Next,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (client, name) in [
        (Client::Ours, "tidegate-mqtt, MQTT 3.1.1"),
        (Client::OursV5, "tidegate-mqtt, MQTT 5"),
        (Client::Rumqttc, "rumqttc 0.25.1"),
        (Client::Next, "rumqttc-next 0.34 tracked"),
    ] {
        runtime.block_on(measure(client, name, 200, 40_000));
        runtime.block_on(measure(client, name, 0, 400_000));
    }
}

async fn measure(client: Client, name: &str, cuts: u64, count: u32) {
    let (address, seen) = broker::start(Manners { v5: client == Client::OursV5, cuts, messages: 150 });
    let (start, cpu) = (Instant::now(), thread_time());
    let told = match client {
        Client::Ours => sender::send(address, false, count, 100, None).await.acknowledged.len(),
        Client::OursV5 => sender::send(address, true, count, 100, None).await.acknowledged.len(),
        Client::Rumqttc => rumqttc_naive(address, count).await,
        Client::Next => next_tracked(address, count).await,
    };
    let (took, used) = (start.elapsed(), thread_time() - cpu);
    let got = seen.got.lock().unwrap().len();
    let (messages, logins) = (seen.messages.load(SeqCst), seen.logins.load(SeqCst));
    println!(
        "{name}, {cuts} cuts: {count} published, {told} told as sent, {} of them never arrived; {logins} logins, {} came again; \
         {:.0} messages/s, {:.1} µs of processor a message",
        told.saturating_sub(got),
        messages - u64::try_from(got).unwrap(),
        f64::from(count) / took.as_secs_f64(),
        used.as_secs_f64() * 1e6 / f64::from(count),
    );
}

fn payload(number: u32) -> Vec<u8> {
    let mut payload = vec![0; 100];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

/// Messages that were handed over; it tells no more than that.
async fn rumqttc_naive(address: SocketAddr, count: u32) -> usize {
    let mut options = rumqttc::MqttOptions::new("sender", address.ip().to_string(), address.port());
    options.set_clean_session(false).set_inflight(IN_FLIGHT).set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = rumqttc::AsyncClient::new(options, usize::from(IN_FLIGHT));
    let handed = async {
        for number in 0..count {
            let qos = rumqttc::QoS::AtLeastOnce;
            client.publish("plant/line3/numbers", qos, false, payload(number)).await.unwrap();
        }
        count
    };
    let mut handed = std::pin::pin!(handed);
    let mut all = None;
    let mut acknowledged = 0;
    loop {
        tokio::select! {
            done = &mut handed, if all.is_none() => all = Some(done),
            event = tokio::time::timeout(QUIET, events.poll()) => match event {
                Err(_) => break,
                Ok(Ok(rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_)))) => acknowledged += 1,
                Ok(Ok(_)) => {}
                Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            },
        }
        if all.is_some() && acknowledged >= count {
            break;
        }
    }
    usize::try_from(all.unwrap_or(0)).unwrap()
}

/// Messages whose publish was reported as acknowledged.
async fn next_tracked(address: SocketAddr, count: u32) -> usize {
    let mut options = rumqttc_v4::MqttOptions::new("sender", (address.ip().to_string(), address.port()));
    options.set_clean_session(false).set_inflight(IN_FLIGHT);
    let (client, mut events) = rumqttc_v4::AsyncClient::builder(options).capacity(usize::from(IN_FLIGHT)).build();
    let mut waiting: VecDeque<u32> = (0..count).collect();
    let mut notices = FuturesUnordered::new();
    let mut acknowledged = 0;
    while acknowledged < usize::try_from(count).unwrap() {
        while notices.len() < usize::from(IN_FLIGHT)
            && let Some(number) = waiting.pop_front()
        {
            let options = rumqttc_v4::PublishOptions::at_least_once();
            match client.try_publish_tracked("plant/line3/numbers", payload(number), options) {
                Ok(notice) => notices.push(async move { (number, notice.wait_completion_async().await) }),
                Err(_) => {
                    waiting.push_front(number);
                    break;
                }
            }
        }
        tokio::select! {
            Some((number, result)) = notices.next() => match result {
                Ok(()) => acknowledged += 1,
                Err(_) => waiting.push_front(number),
            },
            event = events.poll() => {
                if event.is_err() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }
    acknowledged
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}
