//! `[broker.limits]`.

use std::{ops::RangeInclusive, time::Duration};

use super::broker::CONNECTIONS;
use crate::{BrokerLimits, ByteRate, ByteSize, Report, Table};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// From what one message needs to what a large machine has.
const BYTES: RangeInclusive<ByteSize> = ByteSize(1 << 10)..=ByteSize(64 << 30);
/// MQTT 5.0 §2.1.4: no packet can be longer.
const PACKETS: RangeInclusive<ByteSize> = ByteSize(1 << 10)..=ByteSize(268_435_455);
/// MQTT 5.0 §1.5.4: no text can be longer.
const TOPICS: RangeInclusive<ByteSize> = ByteSize(64)..=ByteSize(65_535);

/// No network brings more to one client.
const FASTEST: ByteRate = ByteRate(1 << 32);

/// Reads the limits.
pub(super) fn limits(broker: &Table, report: &mut Report) -> BrokerLimits {
    let table = broker.inner("limits", "broker.limits", "{ connections = 256 }", report);
    let table = table.unwrap_or_else(|| broker.empty_inner("limits", "broker.limits"));
    let default = BrokerLimits::default();
    let times = Duration::ZERO..=3650 * DAY;
    let limits = BrokerLimits {
        connections: table.take_within("connections", default.connections, CONNECTIONS, report).value,
        connect_rate: table.take_within("connect_rate", default.connect_rate, 0..=100_000, report).value,
        connect_timeout: table
            .take_within("connect_timeout", default.connect_timeout, SECOND..=600 * SECOND, report)
            .value,
        packet_bytes: table.take_within("packet_bytes", default.packet_bytes, PACKETS, report).value,
        subscriptions: table.take_within("subscriptions", default.subscriptions, 1..=1_000_000, report).value,
        queue_bytes: table.take_within("queue_bytes", default.queue_bytes, BYTES, report).value,
        queue_bytes_qos0: table.take_within("queue_bytes_qos0", default.queue_bytes_qos0, BYTES, report).value,
        queue_bytes_offline: table.take_within("queue_bytes_offline", default.queue_bytes_offline, BYTES, report).value,
        queue_bytes_total: table.take_within("queue_bytes_total", default.queue_bytes_total, BYTES, report).value,
        sessions_offline: table.take_within("sessions_offline", default.sessions_offline, 0..=1_000_000, report).value,
        session_expiry: table.take_within("session_expiry", default.session_expiry, times, report).value,
        in_flight: table.take_within("in_flight", default.in_flight, 1..=65_535, report).value,
        receive_maximum: table.take_within("receive_maximum", default.receive_maximum, 1..=65_535, report).value,
        retained_bytes: table.take_within("retained_bytes", default.retained_bytes, BYTES, report).value,
        retained_messages: table
            .take_within("retained_messages", default.retained_messages, 0..=10_000_000, report)
            .value,
        topic_levels: table.take_within("topic_levels", default.topic_levels, 1..=200, report).value,
        topic_bytes: table.take_within("topic_bytes", default.topic_bytes, TOPICS, report).value,
        rate_messages: table.take_within("rate_messages", default.rate_messages, 0..=10_000_000, report).value,
        rate_bytes: table.take_within("rate_bytes", default.rate_bytes, ByteRate(0)..=FASTEST, report).value,
        longest_keep_alive: table
            .take_within("longest_keep_alive", default.longest_keep_alive, Duration::ZERO..=65_535 * SECOND, report)
            .value,
    };
    table.finish(report);
    limits
}
