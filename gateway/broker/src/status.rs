//! What the broker counts.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

/// What a broker has done since it was started, and what it holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BrokerStatus {
    /// Clients connected now.
    pub clients: u64,
    /// The most clients that were connected at a time.
    pub clients_maximum: u64,
    /// Connections that were accepted with a CONNACK.
    pub connections: u64,
    /// Connections that reached the broker, accepted or not.
    pub sockets: u64,
    /// Sessions kept now for clients that are away.
    pub sessions_offline: u64,
    /// Sessions whose clients did not come back in time.
    pub expired: u64,
    /// Messages that the gateway published.
    pub published: u64,
    /// Payload bytes of these messages.
    pub bytes: u64,
    /// Messages that clients published.
    pub received: u64,
    /// Payload bytes of these messages.
    pub received_bytes: u64,
    /// Messages sent to clients, each copy counted.
    pub delivered: u64,
    /// Payload bytes of these copies.
    pub delivered_bytes: u64,
    /// Messages that a subscriber did not get because it, or the gateway's own inbox, took them too slowly.
    pub dropped: u64,
    /// Connections that were closed because the client took its messages too slowly.
    pub too_slow: u64,
    /// Times that a client lost QoS 0 messages or its session because all together held more than they may.
    pub gave_way: u64,
    /// Bytes that wait now for all clients together.
    pub waiting_bytes: u64,
    /// Connections that were closed because the client broke the protocol.
    pub faults: u64,
    /// All refusals: logins, publishes, subscriptions and connections.
    pub refused: u64,
    /// CONNECT packets that were refused, most for a wrong login.
    pub refused_logins: u64,
    /// Publishes to topics that the client has no right to.
    pub refused_publishes: u64,
    /// Subscriptions that the client has no right to, or that the broker does not offer.
    pub refused_subscriptions: u64,
    /// Connections beyond the limit.
    pub refused_connections: u64,
    /// MQTT packets of all kinds from clients.
    pub packets_received: u64,
    /// MQTT packets of all kinds to clients.
    pub packets_sent: u64,
    /// Bytes of MQTT from clients, without what TLS and WebSocket add.
    pub bytes_received: u64,
    /// Bytes of MQTT to clients.
    pub bytes_sent: u64,
    /// Times that a client was read more slowly because it exceeded its rate.
    pub slowed: u64,
    /// Subscriptions held now.
    pub subscriptions: u64,
    /// Those of them that are shared.
    pub shared_subscriptions: u64,
    /// Retained messages held now.
    pub retained: u64,
    /// Bytes of topics and payloads of these.
    pub retained_bytes: u64,
}

/// What a listener has done since it was started, and what it serves now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerStatus {
    /// Its section in the site: `broker`, `broker.tls` or `broker.websocket`.
    pub section: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// Connections now, also those that have not logged in yet.
    pub connections: u64,
    /// The most there have been at a time.
    pub most_connections: u64,
    /// Connections beyond a limit.
    pub refused: u64,
    /// Connections that got stuck or failed in TLS or WebSocket, before MQTT.
    pub failed: u64,
}

/// A counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increase(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, more: usize) {
        self.0.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Makes it at least that.
    pub(crate) fn at_least(&self, number: usize) {
        self.0.fetch_max(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn decrease(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters behind [`BrokerStatus`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) clients: Counter,
    pub(crate) clients_maximum: Counter,
    pub(crate) connections: Counter,
    pub(crate) sockets: Counter,
    pub(crate) expired: Counter,
    pub(crate) packets_received: Counter,
    pub(crate) packets_sent: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) slowed: Counter,
    pub(crate) published: Counter,
    pub(crate) bytes: Counter,
    pub(crate) received: Counter,
    pub(crate) delivered: Counter,
    pub(crate) delivered_bytes: Counter,
    pub(crate) dropped: Counter,
    pub(crate) too_slow: Counter,
    pub(crate) gave_way: Counter,
    pub(crate) faults: Counter,
    pub(crate) refused_logins: Counter,
    pub(crate) refused_publishes: Counter,
    pub(crate) refused_subscriptions: Counter,
    pub(crate) refused_connections: Counter,
}

impl Counters {
    /// One more client is connected.
    pub(crate) fn connected(&self) {
        self.connections.increase();
        self.clients.increase();
        self.clients_maximum.0.fetch_max(self.clients.get(), Ordering::Relaxed);
    }

    /// The status as far as it is counted.
    pub(crate) fn status(&self) -> BrokerStatus {
        let refused = [
            self.refused_logins.get(),
            self.refused_publishes.get(),
            self.refused_subscriptions.get(),
            self.refused_connections.get(),
        ];
        let [refused_logins, refused_publishes, refused_subscriptions, refused_connections] = refused;
        BrokerStatus {
            clients: self.clients.get(),
            clients_maximum: self.clients_maximum.get(),
            connections: self.connections.get(),
            sockets: self.sockets.get(),
            expired: self.expired.get(),
            packets_received: self.packets_received.get(),
            packets_sent: self.packets_sent.get(),
            bytes_received: self.bytes_received.get(),
            bytes_sent: self.bytes_sent.get(),
            received_bytes: self.received_bytes.get(),
            slowed: self.slowed.get(),
            published: self.published.get(),
            bytes: self.bytes.get(),
            received: self.received.get(),
            delivered: self.delivered.get(),
            delivered_bytes: self.delivered_bytes.get(),
            dropped: self.dropped.get(),
            too_slow: self.too_slow.get(),
            gave_way: self.gave_way.get(),
            faults: self.faults.get(),
            refused: refused.iter().sum(),
            refused_logins,
            refused_publishes,
            refused_subscriptions,
            refused_connections,
            ..BrokerStatus::default()
        }
    }
}
