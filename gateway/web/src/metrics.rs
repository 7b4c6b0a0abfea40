//! `GET /metrics`: the counters of the gateway in the text form of Prometheus and OpenMetrics.
//!
//! The labels are `link`, `target`, `listener` and `bridge`, as many as the site has, and `cause` and `state` with a handful of values each.
//! Nothing is told by device, group or tag.

mod broker;
mod server;

use std::{collections::HashSet, fmt};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, text::encode},
    metrics::MetricType,
    registry::Registry,
};
use tidegate_runtime::{
    DeviceState, LATENCY_BOUNDS_MICROS, LatencySnapshot, LinkState, LinkStatus, Status, TargetStatus,
};

use crate::{answer::problem, server::Shared};

/// What a collector that asks for OpenMetrics gets (OpenMetrics 1.0 §Protocol Negotiation).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What everybody else gets (Prometheus, exposition formats, text-based format).
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let snapshot = Snapshot { status: shared.handle.status(), refused_logins: shared.access.refused() };
    let Ok(text) = render(snapshot) else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written");
    };
    let accepts = headers.get_all(header::ACCEPT).into_iter().filter_map(|accept| accept.to_str().ok());
    if accepts.into_iter().any(|accept| accept.contains("application/openmetrics-text")) {
        ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
    } else {
        ([(header::CONTENT_TYPE, PLAIN)], plain(&text)).into_response()
    }
}

fn render(snapshot: Snapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("tidegate");
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// OpenMetrics as the older text form: there the name of a counter has its `_total` everywhere, and there is no end mark.
fn plain(text: &str) -> String {
    let counter = |line: &str| line.strip_prefix("# TYPE ")?.strip_suffix(" counter").map(str::to_owned);
    let counters: HashSet<String> = text.lines().filter_map(counter).collect();
    let mut plain = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                plain.extend(["# ", what, " ", name, "_total ", rest]);
            }
            _ => plain.push_str(line),
        }
        plain.push('\n');
    }
    plain
}

/// Everything that is counted, at one moment.
#[derive(Debug)]
struct Snapshot {
    status: Status,
    refused_logins: u64,
}

/// A counter of each link: name, help, how it is read.
type LinkCounter = (&'static str, &'static str, fn(&LinkStatus) -> u64);

const LINK_COUNTERS: [LinkCounter; 12] = [
    ("link_connects", "Sessions opened", |link| link.connects),
    ("link_connect_failures", "Tries to connect that failed", |link| link.connect_failures),
    ("link_requests", "Requests sent", |link| link.requests),
    ("polls", "Polls made", |link| link.polls),
    ("failed_polls", "Polls in which the device did not answer", |link| link.failed_polls),
    ("arrivals", "Rows that came without being asked for", |link| link.arrivals),
    ("missed_slots", "Slots that passed without a poll", |link| link.missed_slots),
    ("rows", "Rows made", |link| link.rows),
    ("values", "Values in these rows", |link| link.values),
    ("payload_bytes", "Bytes of these rows as JSON", |link| link.payload_bytes),
    ("writes", "Writes sent to devices", |link| link.writes),
    ("failed_writes", "Writes that were not confirmed", |link| link.failed_writes),
];

/// The name of a time, what it is, and where it stands.
type Oldest = (&'static str, &'static str, fn(&TargetStatus) -> Option<i64>);

const OLDEST: [Oldest; 3] = [
    ("target_oldest_waiting_timestamp_seconds", "Time of the oldest row that waits", |target| target.oldest_waiting),
    ("target_oldest_live_timestamp_seconds", "Time of the oldest of the live lane", |target| target.oldest_live),
    ("target_oldest_backlog_timestamp_seconds", "Time of the oldest other row", |target| target.oldest_backlog),
];

/// A number of each target: name, help, whether it only grows, how it is read.
type TargetNumber = (&'static str, &'static str, MetricType, fn(&TargetStatus) -> u64);

const TARGET_NUMBERS: [TargetNumber; 19] = [
    ("target_sent_rows", "Rows sent, those sent again counted again", MetricType::Counter, |target| target.sent),
    ("target_acknowledged_rows", "Rows acknowledged", MetricType::Counter, |target| target.acknowledged),
    ("target_left_out_rows", "Rows that the other side does not take", MetricType::Counter, |target| target.left_out),
    ("target_sent_bytes", "Bytes of payload sent", MetricType::Counter, |target| target.bytes),
    ("target_reconnects", "Connections made after the first", MetricType::Counter, |target| target.reconnects),
    ("target_connect_failures", "Tries to connect that failed", MetricType::Counter, |target| target.connect_failures),
    ("target_in_flight", "Messages sent and not yet acknowledged", MetricType::Gauge, |target| target.in_flight),
    ("target_in_flight_bytes", "Bytes of their payloads", MetricType::Gauge, |target| target.in_flight_bytes),
    ("target_live_rows", "Live rows read and not acknowledged", MetricType::Gauge, |target| target.live_rows),
    ("target_backlog_rows", "Rows that wait and are not live", MetricType::Gauge, |target| target.backlog_rows),
    ("target_backlog_rate", "Bytes of backlog sent a second", MetricType::Gauge, |target| target.backlog_rate),
    ("target_watchdog_resets", "Connections without acknowledgements", MetricType::Counter, |target| {
        target.watchdog_resets
    }),
    ("target_refused", "Connections closed over a message", MetricType::Counter, |target| target.refused),
    ("target_waiting_rows", "Rows that wait in the store", MetricType::Gauge, |target| target.waiting_rows),
    ("target_live_bytes", "Bytes of the live rows in the store, about", MetricType::Gauge, |target| target.live_bytes),
    ("target_backlog_bytes", "Bytes of the other rows that wait", MetricType::Gauge, |target| target.backlog_bytes),
    ("target_waiting_bytes", "Bytes that they take there, about", MetricType::Gauge, |target| target.waiting_bytes),
    ("target_waiting_gaps", "Gap records not yet acknowledged", MetricType::Gauge, |target| target.gaps),
    ("target_online", "1 while connected", MetricType::Gauge, |target| u64::from(target.state == "online")),
];

/// The states of a device as values of the label `state`.
const DEVICE_STATES: [(&str, Option<DeviceState>); 4] = [
    ("online", Some(DeviceState::Online)),
    ("degraded", Some(DeviceState::Degraded)),
    ("offline", Some(DeviceState::Offline)),
    ("unknown", None),
];

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.links(&mut encoder)?;
        self.devices(&mut encoder)?;
        self.targets(&mut encoder)?;
        server::encode(&self.status.targets, &mut encoder)?;
        self.store(&mut encoder)?;
        broker::encode(&self.status.broker, &self.status.bridges, &mut encoder)
    }
}

impl Snapshot {
    fn links(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let links = &self.status.links;
        for (name, help, read) in LINK_COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for link in links {
                let labels = [("link", link.name.as_str())];
                family.encode_family(&labels)?.encode_counter::<NoLabels, _, u64>(&read(link), None)?;
            }
        }
        let mut family =
            encoder.encode_descriptor("link_lost_sessions", "Sessions that ended", None, MetricType::Counter)?;
        for link in links {
            let causes = [
                ("timeout", link.lost.timeout),
                ("closed", link.lost.closed),
                ("mismatch", link.lost.mismatch),
                ("malformed", link.lost.malformed),
            ];
            for (cause, count) in causes {
                let labels = [("link", link.name.as_str()), ("cause", cause)];
                family.encode_family(&labels)?.encode_counter::<NoLabels, _, u64>(&count, None)?;
            }
        }
        let mut family = encoder.encode_descriptor("link_online", "1 while connected", None, MetricType::Gauge)?;
        for link in links {
            let online = u64::from(link.state == LinkState::Online);
            family.encode_family(&[("link", link.name.as_str())])?.encode_gauge(&online)?;
        }
        let help = "Time from a request to its answer";
        let mut family =
            encoder.encode_descriptor("link_request_duration_seconds", help, None, MetricType::Histogram)?;
        for link in links {
            let labels = [("link", link.name.as_str())];
            let mut metric = family.encode_family(&labels)?;
            histogram(&mut metric, &link.latency)?;
        }
        Ok(())
    }

    fn devices(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor("link_devices", "Devices by state", None, MetricType::Gauge)?;
        for link in &self.status.links {
            for (label, state) in DEVICE_STATES {
                let count = link.devices.iter().filter(|device| device.state == state).count();
                let labels = [("link", link.name.as_str()), ("state", label)];
                family.encode_family(&labels)?.encode_gauge(&u64::try_from(count).unwrap_or(u64::MAX))?;
            }
        }
        Ok(())
    }

    fn targets(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, kind, read) in TARGET_NUMBERS {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for target in &self.status.targets {
                let labels = [("target", target.name.as_str())];
                let mut metric = family.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => metric.encode_counter::<NoLabels, _, u64>(&read(target), None)?,
                    _ => metric.encode_gauge(&read(target))?,
                }
            }
        }
        for (name, help, oldest) in OLDEST {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for target in &self.status.targets {
                if let Some(oldest) = oldest(target) {
                    family.encode_family(&[("target", target.name.as_str())])?.encode_gauge(&(oldest / 1000))?;
                }
            }
        }
        Ok(())
    }

    fn store(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let store = &self.status.store;
        let counters = [
            ("store_commits", "Transactions written", store.commits),
            ("store_fsyncs", "Times data was made durable", store.fsyncs),
            ("store_committed_rows", "Rows committed", store.rows_committed),
            ("store_committed_bytes", "Bytes of these rows, compressed", store.bytes_committed),
            ("clock_steps", "Times the system clock was set", self.status.clock_steps),
            ("web_refused_logins", "Logins to the web interface refused", self.refused_logins),
        ];
        for (name, help, value) in counters {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabels, _, u64>(&value, None)?;
        }
        let help = "Time that commits took";
        let mut metric = encoder.encode_descriptor("store_commit_seconds", help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabels, _, u64>(&store.commit_seconds, None)?;
        let dropped = [
            ("disk_failing", store.dropped.disk_failing),
            ("too_old", store.dropped.too_old),
            ("store_full", store.dropped.store_full),
            ("thinned", store.dropped.thinned),
            ("damaged", store.dropped.damaged),
        ];
        let help = "Rows dropped that some target had not got";
        let mut family = encoder.encode_descriptor("store_dropped_rows", help, None, MetricType::Counter)?;
        for (cause, count) in dropped {
            family.encode_family(&[("cause", cause)])?.encode_counter::<NoLabels, _, u64>(&count, None)?;
        }
        let gauges = [
            ("store_rows", "Rows on disk", store.rows),
            ("store_bytes", "Bytes on disk", store.bytes),
            ("store_file_bytes", "Bytes of the files", store.file_bytes),
            ("store_epochs", "Stretches of the log whose rows are in blocks", store.epochs),
            ("store_blocks", "Blocks", store.blocks),
            ("store_block_rows", "Rows in them", store.block_rows),
            ("store_fresh_rows", "Rows that wait to be moved into blocks", store.fresh_rows),
            ("store_fresh_bytes", "Bytes of these rows, compressed", store.fresh_bytes),
            ("store_pending_rows", "Rows that wait for their commit", store.pending_rows),
            ("store_pending_bytes", "Bytes of memory they take, about", store.pending_bytes),
            ("store_pending_bytes_high", "Most bytes they ever took", store.pending_bytes_high),
            ("store_writable", "1 while the store can write", u64::from(store.failing.is_none())),
            ("uptime_seconds", "Time since the start", self.status.uptime_s),
        ];
        for (name, help, value) in gauges {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

/// No labels on an exemplar: there are no exemplars.
type NoLabels = [(&'static str, &'static str); 0];

fn histogram(metric: &mut MetricEncoder<'_>, latency: &LatencySnapshot) -> fmt::Result {
    let bounds = LATENCY_BOUNDS_MICROS.iter().map(|micros| seconds(*micros)).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(latency.buckets.iter().copied()).collect();
    let count = latency.buckets.iter().sum();
    metric.encode_histogram::<NoLabels>(seconds(latency.sum_micros), count, &buckets, None)
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use tidegate_runtime::{BrokerStatus, Lost, StoreStatus};

    use super::*;

    fn status() -> Status {
        let latency = LatencySnapshot { buckets: vec![1; LATENCY_BOUNDS_MICROS.len() + 1], sum_micros: 2_000_000 };
        let link = LinkStatus {
            name: "press".to_owned(),
            driver: "modbus-tcp".to_owned(),
            state: LinkState::Online,
            since: 0,
            next_try: None,
            last_error: None,
            connects: 1,
            connect_failures: 2,
            requests: 3,
            polls: 4,
            failed_polls: 5,
            arrivals: 13,
            missed_slots: 6,
            rows: 7,
            values: 8,
            payload_bytes: 9,
            writes: 10,
            failed_writes: 11,
            lost: Lost { timeout: 12, ..Lost::default() },
            latency,
            devices: Vec::new(),
        };
        Status {
            id: "line3".to_owned(),
            version: "0",
            uptime_s: 60,
            healthy: true,
            problems: Vec::new(),
            notices: Vec::new(),
            clock_steps: 0,
            links: vec![link],
            targets: vec![TargetStatus { name: "cloud".to_owned(), waiting_rows: 42, ..TargetStatus::default() }],
            store: StoreStatus::default(),
            broker: BrokerStatus::default(),
            bridges: Vec::new(),
        }
    }

    #[test]
    fn every_number_is_told_with_its_link_or_target() {
        let text = render(Snapshot { status: status(), refused_logins: 3 }).unwrap();
        for line in [
            "tidegate_link_devices{link=\"press\",state=\"offline\"} 0",
            "tidegate_web_refused_logins_total 3",
            "tidegate_missed_slots_total{link=\"press\"} 6",
            "tidegate_link_lost_sessions_total{link=\"press\",cause=\"timeout\"} 12",
            "tidegate_link_online{link=\"press\"} 1",
            "tidegate_target_waiting_rows{target=\"cloud\"} 42",
            "tidegate_store_writable 1",
            "tidegate_link_request_duration_seconds_bucket{le=\"0.00025\",link=\"press\"} 1",
            "tidegate_link_request_duration_seconds_bucket{le=\"+Inf\",link=\"press\"} 13",
            "tidegate_link_request_duration_seconds_sum{link=\"press\"} 2.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_older_text_form_has_the_names_of_counters_whole_and_no_end_mark() {
        let text = plain(&render(Snapshot { status: status(), refused_logins: 3 }).unwrap());
        for line in [
            "# HELP tidegate_web_refused_logins_total Logins to the web interface refused",
            "# TYPE tidegate_web_refused_logins_total counter",
            "tidegate_web_refused_logins_total 3",
            "# TYPE tidegate_link_online gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("# EOF") && text.ends_with('\n'));
    }
}
