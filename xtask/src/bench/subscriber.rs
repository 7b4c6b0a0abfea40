//! One subscriber at QoS 1 on the local broker: counts what arrives and how old it is.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

/// A subscriber that runs on a thread of its own.
pub(crate) struct Subscriber {
    counts: Arc<Mutex<Counts>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What has arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) values: u64,
    /// Age of each row at its arrival, in microseconds. Rows carry whole milliseconds, so an age is up to 1 ms too high.
    pub(crate) ages: Vec<u32>,
    /// Age of each row that has the device's own time, by that time.
    pub(crate) source_ages: Vec<u32>,
    pub(crate) errors: u64,
}

impl Subscriber {
    /// Subscribes to all rows of the gateway.
    pub(crate) fn start(port: u16) -> Subscriber {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&counts), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(receive(port, &shared, &stopped)),
                Err(error) => eprintln!("the subscriber cannot run: {error}"),
            }
        });
        Subscriber { counts, stop, thread: Some(thread) }
    }

    /// What has arrived since the last call.
    pub(crate) fn take(&self) -> Counts {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed; the counts show it.
            let _ = thread.join();
        }
    }
}

async fn receive(port: u16, counts: &Mutex<Counts>, stop: &AtomicBool) {
    let mut options = MqttOptions::new("bench", "127.0.0.1", port);
    options.set_max_packet_size(16 << 20, 1 << 20).set_clean_session(true).set_inflight(1000);
    let (client, mut events) = AsyncClient::new(options, 16);
    while !stop.load(Ordering::Relaxed) {
        let Ok(event) = tokio::time::timeout(Duration::from_millis(500), events.poll()).await else { continue };
        match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                if client.subscribe("tidegate/bench/+/data/#", QoS::AtLeastOnce).await.is_err() {
                    return;
                }
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => count(&publish.payload, counts),
            Ok(_) => {}
            Err(_) => {
                counts.lock().unwrap_or_else(PoisonError::into_inner).errors += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn count(payload: &[u8], counts: &Mutex<Counts>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since =
        |millis| u32::try_from(now.saturating_sub(Duration::from_millis(millis)).as_micros()).unwrap_or(u32::MAX);
    // Every value is preceded by a colon; five more stand before ts, seq, values and bad.
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    counts.rows += 1;
    counts.values += values_in(payload);
    match number_behind(payload, b"{\"ts\":") {
        Some(millis) => counts.ages.push(since(millis)),
        None => counts.errors += 1,
    }
    // It stands before the values.
    let head = payload.get(..HEAD.min(payload.len())).unwrap_or_default();
    counts.source_ages.extend(number_behind(head, b",\"device_ts\":").map(since));
}

/// What comes before a row's values is not longer.
const HEAD: usize = 200;

/// The whole number behind a key (`{"ts":1700000000000,…`).
fn number_behind(payload: &[u8], key: &[u8]) -> Option<u64> {
    let start = payload.windows(key.len()).position(|window| window == key)?;
    let rest = payload.get(start + key.len()..)?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

/// Values in a row's `"values":{…}`: one more than it has commas. Names and numbers hold none.
fn values_in(payload: &[u8]) -> u64 {
    const KEY: &[u8] = b"\"values\":{";
    let Some(start) = payload.windows(KEY.len()).position(|window| window == KEY) else { return 0 };
    let values = payload.get(start + KEY.len()..).unwrap_or_default();
    let values = values.split(|byte| *byte == b'}').next().unwrap_or_default();
    if values.is_empty() {
        return 0;
    }
    let commas = values.iter().filter(|byte| **byte == b',').count();
    u64::try_from(commas).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_counted_by_its_values() {
        let row = br#"{"ts":1700000000123,"seq":7,"values":{"a":1.5,"b":2,"c":3},"bad":{"d":"timeout"}}"#;
        assert_eq!(number_behind(row, b"{\"ts\":"), Some(1_700_000_000_123));
        assert_eq!(number_behind(row, b",\"device_ts\":"), None);
        assert_eq!(values_in(row), 3);
        assert_eq!(values_in(br#"{"ts":1,"seq":1,"values":{}}"#), 0);
    }
}
