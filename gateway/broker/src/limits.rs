//! What one client, and all together, may cost.

use std::time::Duration;

/// What one client, and all together, may cost. [`Limits::default`] suits a small machine.
///
/// Bytes of messages count topic, payload, properties and 256 bytes for each message, which is about what it takes in
/// memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; one more is closed at once.
    pub connections: usize,
    /// New connections in a second; more wait until it is their turn. 0: no limit.
    pub connect_rate: u32,
    /// How long a connection may take for its CONNECT packet.
    pub connect_timeout: Duration,
    /// Bytes of one packet from a client; one that announces more is disconnected.
    pub packet_bytes: usize,
    /// Levels of a topic or filter, 1 to 200. A client that publishes to a deeper one is disconnected, a subscription is
    /// refused.
    pub topic_levels: usize,
    /// Bytes of a topic or filter, 1 to 65,535; beyond that as with `topic_levels`.
    pub topic_bytes: usize,
    /// Subscriptions of one client.
    pub subscriptions: usize,
    /// Bytes that wait for a connected client, or are not yet acknowledged by it, while it has subscriptions with QoS 1
    /// or 2. When they are exceeded its session ends, so that no message is skipped without the client noticing.
    pub queue_bytes: usize,
    /// Bytes that may wait for a connected client before QoS 0 messages to it are dropped.
    pub queue_bytes_qos0: usize,
    /// Bytes of QoS 1 and 2 messages kept for a client that is away and has asked for a persistent session; later ones
    /// are dropped.
    pub queue_bytes_offline: usize,
    /// Bytes that wait for all clients together. A message counts once, however many it waits for, and 96 bytes for each; what the
    /// gateway's own bridges have waiting is not counted. When they are exceeded the slowest client gives way: of those that take
    /// nothing the one that holds most. Its QoS 0 messages are dropped, and when that is not enough its session ends.
    pub queue_bytes_total: usize,
    /// Sessions kept for clients that are away; the one that is away longest is forgotten first.
    pub sessions_offline: usize,
    /// Seconds that a session is kept at most while its client is away; MQTT 5 clients that ask for more are told.
    /// [`u32::MAX`]: no limit.
    pub session_expiry: u32,
    /// Messages sent to one client with QoS 1 or 2 and not yet acknowledged, 1 to 65,535. A client may ask for fewer
    /// (MQTT 5 receive maximum).
    pub in_flight: usize,
    /// Messages with QoS 2 that one client may have published and not yet released, 1 to 65,535. MQTT 5 clients are told
    /// (receive maximum), and one that sends more is disconnected.
    pub receive_maximum: u16,
    /// Bytes of retained messages from clients; what the gateway itself retains is not counted.
    pub retained_bytes: usize,
    /// Retained messages from clients; what the gateway itself retains is not counted.
    pub retained_messages: usize,
    /// Messages a second from one client. When it sends more it is read more slowly; nothing is dropped. 0: no limit.
    pub rate_messages: u32,
    /// Bytes a second from one client, with the same effect. 0: no limit.
    pub rate_bytes: u32,
    /// Seconds between two packets that an MQTT 5 client may promise at most; one that promises more, or nothing, is
    /// told to keep to this (server keep alive). 0: no limit.
    pub longest_keep_alive: u16,
    /// How often the topics below `$SYS` are brought up to date. Zero: there are none.
    pub sys_interval: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 256,
            connect_rate: 200,
            connect_timeout: Duration::from_secs(10),
            packet_bytes: 1024 * 1024,
            topic_levels: 200,
            topic_bytes: 65_535,
            subscriptions: 1_000,
            // Two seconds of 1,000 messages of 20 KB each.
            queue_bytes: 40 * 1024 * 1024,
            queue_bytes_qos0: 4 * 1024 * 1024,
            queue_bytes_offline: 1024 * 1024,
            queue_bytes_total: 256 * 1024 * 1024,
            sessions_offline: 100,
            session_expiry: u32::MAX,
            in_flight: 256,
            receive_maximum: 256,
            retained_bytes: 4 * 1024 * 1024,
            retained_messages: 20_000,
            rate_messages: 50_000,
            rate_bytes: 64 * 1024 * 1024,
            longest_keep_alive: 0,
            sys_interval: Duration::from_secs(10),
        }
    }
}
