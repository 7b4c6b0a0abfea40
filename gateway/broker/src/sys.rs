//! What the broker tells about itself below `$SYS/broker`, with the names that mosquitto has given to it.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{hub::Hub, message::Published, status::BrokerStatus};

/// What load is averaged over, in minutes.
const MINUTES: [u32; 3] = [1, 5, 15];

/// Tells everything at once; the future then brings the topics up to date until stopped.
pub(crate) fn keep(hub: Arc<Hub>, stop: CancellationToken) -> impl Future<Output = ()> {
    let pause = hub.limits.sys_interval;
    let mut told = Told { started: Instant::now(), loads: Loads::default(), topics: HashMap::new() };
    if !pause.is_zero() {
        told.update(&hub, told.started);
    }
    async move {
        while !pause.is_zero() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => told.update(&hub, Instant::now()),
            }
        }
    }
}

/// What has been told.
#[derive(Debug)]
struct Told {
    started: Instant,
    loads: Loads,
    topics: HashMap<String, String>,
}

impl Told {
    /// Tells what has changed.
    fn update(&mut self, hub: &Hub, now: Instant) {
        let status = hub.status();
        let mut topics = counts(&status, now.saturating_duration_since(self.started));
        topics.extend(self.loads.topics(&status, now));
        for (topic, value) in topics {
            if self.topics.get(&topic) == Some(&value) {
                continue;
            }
            let path = Bytes::from(format!("$SYS/broker/{topic}"));
            hub.publish_about_itself(Published::by_gateway(path, Bytes::from(value.clone()), true));
            self.topics.insert(topic, value);
        }
    }
}

/// What is counted.
fn counts(status: &BrokerStatus, uptime: Duration) -> Vec<(String, String)> {
    let kept = status.clients + status.sessions_offline;
    let numbers = [
        ("clients/total", kept),
        ("clients/connected", status.clients),
        ("clients/active", status.clients),
        ("clients/disconnected", status.sessions_offline),
        ("clients/inactive", status.sessions_offline),
        ("clients/maximum", status.clients_maximum),
        ("clients/expired", status.expired),
        ("messages/received", status.packets_received),
        ("messages/sent", status.packets_sent),
        ("messages/stored", status.retained),
        ("store/messages/count", status.retained),
        ("store/messages/bytes", status.retained_bytes),
        ("retained messages/count", status.retained),
        ("subscriptions/count", status.subscriptions),
        ("shared_subscriptions/count", status.shared_subscriptions),
        ("publish/messages/received", status.received + status.published),
        ("publish/messages/sent", status.delivered),
        ("publish/messages/dropped", status.dropped),
        ("publish/bytes/received", status.received_bytes + status.bytes),
        ("publish/bytes/sent", status.delivered_bytes),
        ("bytes/received", status.bytes_received),
        ("bytes/sent", status.bytes_sent),
    ];
    let mut topics: Vec<(String, String)> =
        numbers.into_iter().map(|(topic, number)| (topic.to_owned(), number.to_string())).collect();
    topics.push(("version".to_owned(), format!("tidegate {}", env!("CARGO_PKG_VERSION"))));
    topics.push(("uptime".to_owned(), format!("{} seconds", uptime.as_secs())));
    topics
}

/// Averages of what happens in a minute, which forget slowly.
#[derive(Debug, Default)]
struct Loads {
    before: Option<(BrokerStatus, Instant)>,
    averages: HashMap<(&'static str, u32), f64>,
}

impl Loads {
    fn topics(&mut self, status: &BrokerStatus, now: Instant) -> Vec<(String, String)> {
        let (before, then) = self.before.replace((*status, now)).unwrap_or((*status, now));
        let passed = now.saturating_duration_since(then);
        let mut topics = Vec::new();
        for (name, count, earlier) in rated(status).into_iter().zip(rated(&before)).map(|((a, b), (_, c))| (a, b, c)) {
            let more = u32::try_from(count.saturating_sub(earlier)).map_or(f64::from(u32::MAX), f64::from);
            for minutes in MINUTES {
                let average = self.averages.entry((name, minutes)).or_default();
                *average = averaged(*average, more, passed, minutes);
                topics.push((format!("load/{name}/{minutes}min"), format!("{average:.2}")));
            }
        }
        topics
    }
}

/// An average of what happens in a minute, after `more` has happened in the time that has `passed`.
fn averaged(average: f64, more: f64, passed: Duration, minutes: u32) -> f64 {
    if passed.is_zero() {
        return average;
    }
    let rate = more * 60.0 / passed.as_secs_f64();
    let remembered = (-passed.as_secs_f64() / (60.0 * f64::from(minutes))).exp();
    rate + remembered * (average - rate)
}

/// Counters of which there are averages.
fn rated(status: &BrokerStatus) -> [(&'static str, u64); 9] {
    [
        ("messages/received", status.packets_received),
        ("messages/sent", status.packets_sent),
        ("publish/received", status.received + status.published),
        ("publish/sent", status.delivered),
        ("publish/dropped", status.dropped),
        ("bytes/received", status.bytes_received),
        ("bytes/sent", status.bytes_sent),
        ("connections", status.connections),
        ("sockets", status.sockets),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_follows_what_happens_and_forgets_it_slowly() {
        let ten = Duration::from_secs(10);
        let mut average = 0.0;
        for _ in 0..60 {
            average = averaged(average, 100.0, ten, 1);
        }
        assert!((average - 600.0).abs() < 0.1, "100 in 10 s are 600 in a minute: {average}");
        for _ in 0..6 {
            average = averaged(average, 0.0, ten, 1);
        }
        assert!((average - 600.0 / std::f64::consts::E).abs() < 0.1, "{average}");
        assert!(averaged(5.0, 9.0, Duration::ZERO, 1) == 5.0);
    }
}
