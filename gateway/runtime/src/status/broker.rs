//! The local broker and the bridges from it, in the words of the interface.

use serde::Serialize;

/// The local broker.
#[derive(Debug, Clone, Serialize, Default)]
pub struct BrokerStatus {
    /// Where it listens for plain MQTT.
    pub address: String,
    /// Clients connected.
    pub clients: u64,
    /// The most there have been at a time.
    pub clients_high: u64,
    /// Sessions kept for clients that are away.
    pub sessions_offline: u64,
    /// Subscriptions of all clients.
    pub subscriptions: u64,
    /// Messages that the gateway published.
    pub published: u64,
    /// Bytes of these messages.
    pub bytes: u64,
    /// Messages that clients published.
    pub received: u64,
    /// Messages sent to clients, each copy counted.
    pub delivered: u64,
    /// Messages that found no room.
    pub dropped: u64,
    /// Connections closed because the client took its messages too slowly.
    pub too_slow: u64,
    /// Times that a client lost messages or its session because all together held more than they may.
    pub gave_way: u64,
    /// Bytes that wait for all clients together.
    pub waiting_bytes: u64,
    /// Logins, publishes and subscriptions that were refused.
    pub refused: u64,
    /// The logins among them.
    pub refused_logins: u64,
    /// Retained messages.
    pub retained: u64,
    /// Their bytes.
    pub retained_bytes: u64,
    /// The listeners.
    pub listeners: Vec<ListenerStatus>,
    /// What is kept over a restart; absent when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<BrokerDisk>,
}

/// A listener of the local broker.
#[derive(Debug, Clone, Serialize, Default)]
pub struct ListenerStatus {
    /// Its section in the site: `broker`, `broker.tls` or `broker.websocket`.
    pub section: String,
    /// Where it listens.
    pub address: String,
    /// Connections now, also those that have not logged in yet.
    pub connections: u64,
    /// The most there have been at a time.
    pub connections_high: u64,
    /// Connections beyond a limit.
    pub refused: u64,
    /// Connections that did not get as far as MQTT.
    pub failed: u64,
}

/// What the local broker keeps over a restart.
#[derive(Debug, Clone, Serialize, Default)]
pub struct BrokerDisk {
    /// Retained messages of clients on disk.
    pub retained: u64,
    /// Sessions on disk.
    pub sessions: u64,
    /// Messages on disk that wait for clients.
    pub messages: u64,
    /// Bytes of all messages on disk; compared with `max_size`.
    pub bytes: u64,
    /// The most that was.
    pub bytes_high: u64,
    /// Transactions written.
    pub commits: u64,
    /// Messages that found no room within `max_size` and are in memory only.
    pub left_out: u64,
    /// Why nothing can be written, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
}

/// A bridge.
#[derive(Debug, Clone, Serialize, Default)]
pub struct BridgeStatus {
    /// The bridge.
    pub name: String,
    /// `connecting`, `online`, `backing_off` or `stopped`.
    pub state: String,
    /// Since when, Unix milliseconds.
    pub since: i64,
    /// The next try to connect, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<i64>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Connections after the first.
    pub reconnects: u64,
    /// Tries to connect that failed.
    pub connect_failures: u64,
    /// Messages sent to the other broker, those sent again counted again.
    pub sent: u64,
    /// Messages that it has acknowledged.
    pub acknowledged: u64,
    /// Messages that came from it.
    pub received: u64,
    /// Messages to it that were dropped: there was no room, or it does not take them.
    pub dropped: u64,
    /// Messages that came round in a circle and went no further.
    pub looped: u64,
    /// Messages of durable routes that wait.
    pub waiting: u64,
    /// Bytes of these.
    pub waiting_bytes: u64,
    /// The most that was.
    pub waiting_bytes_high: u64,
}

impl From<&tidegate_broker::ListenerStatus> for ListenerStatus {
    fn from(now: &tidegate_broker::ListenerStatus) -> ListenerStatus {
        ListenerStatus {
            section: now.section.to_owned(),
            address: now.address.to_string(),
            connections: now.connections,
            connections_high: now.most_connections,
            refused: now.refused,
            failed: now.failed,
        }
    }
}

impl From<tidegate_broker::DiskStatus> for BrokerDisk {
    fn from(now: tidegate_broker::DiskStatus) -> BrokerDisk {
        BrokerDisk {
            retained: now.retained,
            sessions: now.sessions,
            messages: now.messages,
            bytes: now.bytes,
            bytes_high: now.bytes_high,
            commits: now.commits,
            left_out: now.left_out,
            failing: now.failing,
        }
    }
}

impl From<&tidegate_broker::Broker> for BrokerStatus {
    fn from(broker: &tidegate_broker::Broker) -> BrokerStatus {
        let now = broker.status();
        BrokerStatus {
            address: broker.address().to_string(),
            clients: now.clients,
            clients_high: now.clients_maximum,
            sessions_offline: now.sessions_offline,
            subscriptions: now.subscriptions,
            published: now.published,
            bytes: now.bytes,
            received: now.received,
            delivered: now.delivered,
            dropped: now.dropped,
            too_slow: now.too_slow,
            gave_way: now.gave_way,
            waiting_bytes: now.waiting_bytes,
            refused: now.refused,
            refused_logins: now.refused_logins,
            retained: now.retained,
            retained_bytes: now.retained_bytes,
            listeners: broker.listeners().iter().map(ListenerStatus::from).collect(),
            disk: broker.disk().map(BrokerDisk::from),
        }
    }
}
