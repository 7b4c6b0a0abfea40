//! What the local broker and its bridges count.

use std::fmt;

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};
use tidegate_runtime::{BridgeStatus, BrokerStatus, ListenerStatus};

use super::NoLabels;

/// Name, help and value of each counter of the broker.
type Numbers<T> = [(&'static str, &'static str, fn(&T) -> u64)];

const COUNTERS: &Numbers<BrokerStatus> = &[
    ("broker_published_messages", "Messages that the gateway published", |it| it.published),
    ("broker_published_bytes", "Bytes of these messages", |it| it.bytes),
    ("broker_received_messages", "Messages that clients published", |it| it.received),
    ("broker_delivered_messages", "Messages sent to clients", |it| it.delivered),
    ("broker_dropped_messages", "Messages that found no room", |it| it.dropped),
    ("broker_too_slow", "Connections closed because the client was too slow", |it| it.too_slow),
    ("broker_gave_way", "Clients that lost messages or their session because all held too much", |it| it.gave_way),
    ("broker_refused", "Logins, publishes and subscriptions refused", |it| it.refused),
    ("broker_refused_logins", "Logins refused", |it| it.refused_logins),
    ("broker_disk_commits", "Transactions written", |it| it.disk.as_ref().map_or(0, |disk| disk.commits)),
    ("broker_disk_left_out_messages", "Messages without room on the disk", |it| {
        it.disk.as_ref().map_or(0, |disk| disk.left_out)
    }),
];

const GAUGES: &Numbers<BrokerStatus> = &[
    ("broker_clients", "Clients connected", |it| it.clients),
    ("broker_clients_high", "The most clients at a time", |it| it.clients_high),
    ("broker_sessions_offline", "Sessions kept for clients that are away", |it| it.sessions_offline),
    ("broker_subscriptions", "Subscriptions", |it| it.subscriptions),
    ("broker_waiting_bytes", "Bytes that wait for all clients together", |it| it.waiting_bytes),
    ("broker_retained_messages", "Retained messages", |it| it.retained),
    ("broker_retained_bytes", "Their bytes", |it| it.retained_bytes),
    ("broker_disk_messages", "Messages on disk for clients", |it| it.disk.as_ref().map_or(0, |disk| disk.messages)),
    ("broker_disk_bytes", "Bytes of messages on disk", |it| it.disk.as_ref().map_or(0, |disk| disk.bytes)),
    ("broker_disk_bytes_high", "The most it was", |it| it.disk.as_ref().map_or(0, |disk| disk.bytes_high)),
    ("broker_disk_writable", "1 while the disk takes what is to be kept", |it| {
        u64::from(it.disk.as_ref().is_none_or(|disk| disk.failing.is_none()))
    }),
];

const LISTENER_COUNTERS: &Numbers<ListenerStatus> = &[
    ("broker_listener_refused", "Connections beyond a limit", |it| it.refused),
    ("broker_listener_failed", "Connections that did not get as far as MQTT", |it| it.failed),
];

const LISTENER_GAUGES: &Numbers<ListenerStatus> = &[
    ("broker_listener_connections", "Connections", |it| it.connections),
    ("broker_listener_connections_high", "The most connections at a time", |it| it.connections_high),
];

const BRIDGE_COUNTERS: &Numbers<BridgeStatus> = &[
    ("bridge_sent_messages", "Messages sent to the other broker", |it| it.sent),
    ("bridge_acknowledged_messages", "Messages that it has acknowledged", |it| it.acknowledged),
    ("bridge_received_messages", "Messages that came from it", |it| it.received),
    ("bridge_dropped_messages", "Messages to it that were dropped", |it| it.dropped),
    ("bridge_looped_messages", "Messages that came round in a circle", |it| it.looped),
    ("bridge_reconnects", "Connections after the first", |it| it.reconnects),
    ("bridge_connect_failures", "Tries to connect that failed", |it| it.connect_failures),
];

const BRIDGE_GAUGES: &Numbers<BridgeStatus> = &[
    ("bridge_online", "1 while it is connected and its subscriptions are answered", |it| {
        u64::from(it.state == "online")
    }),
    ("bridge_waiting_messages", "Messages that wait on disk", |it| it.waiting),
    ("bridge_waiting_bytes", "Their bytes", |it| it.waiting_bytes),
    ("bridge_waiting_bytes_high", "The most it was", |it| it.waiting_bytes_high),
];

/// Writes all of it.
pub(super) fn encode(
    broker: &BrokerStatus,
    bridges: &[BridgeStatus],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    for (name, help, read) in COUNTERS {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabels, _, u64>(&read(broker), None)?;
    }
    for (name, help, read) in GAUGES {
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&read(broker))?;
    }
    let listeners = || broker.listeners.iter().map(|listener| ("listener", listener.section.as_str(), listener));
    counters(LISTENER_COUNTERS, listeners, encoder)?;
    gauges(LISTENER_GAUGES, listeners, encoder)?;
    let bridges = || bridges.iter().map(|bridge| ("bridge", bridge.name.as_str(), bridge));
    counters(BRIDGE_COUNTERS, bridges, encoder)?;
    gauges(BRIDGE_GAUGES, bridges, encoder)
}

fn counters<'a, T: 'a, I: Iterator<Item = (&'static str, &'a str, &'a T)>>(
    numbers: &Numbers<T>,
    all: impl Fn() -> I,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    for (name, help, read) in numbers {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (label, value, it) in all() {
            family.encode_family(&[(label, value)])?.encode_counter::<NoLabels, _, u64>(&read(it), None)?;
        }
    }
    Ok(())
}

fn gauges<'a, T: 'a, I: Iterator<Item = (&'static str, &'a str, &'a T)>>(
    numbers: &Numbers<T>,
    all: impl Fn() -> I,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    for (name, help, read) in numbers {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, value, it) in all() {
            family.encode_family(&[(label, value)])?.encode_gauge(&read(it))?;
        }
    }
    Ok(())
}
