//! What one client, and all together, may cost.

use std::time::Duration;

/// What one client, and all together, may cost. [`Limits::default`] suits a small machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; one more is closed at once.
    pub connections: usize,
    /// How long a connection may take for its CONNECT packet.
    pub connect_timeout: Duration,
    /// Bytes of one packet from a client; one that announces more is disconnected.
    pub packet_bytes: usize,
    /// Subscriptions of one client.
    pub subscriptions: usize,
    /// Bytes that wait for a connected client that reads too slowly while it has subscriptions with QoS 1 or 2. When
    /// they are exceeded its connection is closed, so that no message is skipped without the client noticing.
    pub queue_bytes: usize,
    /// Bytes that may wait for a connected client before QoS 0 messages to it are dropped.
    pub queue_bytes_qos0: usize,
    /// Bytes of QoS 1 and 2 messages kept for a client that is away and has asked for a persistent session; later ones
    /// are dropped.
    pub queue_bytes_offline: usize,
    /// Sessions kept for clients that are away; the one that is away longest is forgotten first.
    pub sessions_offline: usize,
    /// Messages sent to one client with QoS 1 or 2 and not yet acknowledged. A client may ask for fewer (MQTT 5 receive
    /// maximum).
    pub in_flight: usize,
    /// Bytes of retained messages from clients; what the gateway itself retains is not counted.
    pub retained_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 256,
            connect_timeout: Duration::from_secs(10),
            packet_bytes: 1024 * 1024,
            subscriptions: 1_000,
            // Two seconds of 1,000 messages of 20 KB each.
            queue_bytes: 40 * 1024 * 1024,
            queue_bytes_qos0: 4 * 1024 * 1024,
            queue_bytes_offline: 1024 * 1024,
            sessions_offline: 100,
            in_flight: 100,
            retained_bytes: 4 * 1024 * 1024,
        }
    }
}
