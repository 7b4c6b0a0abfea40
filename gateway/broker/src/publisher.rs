//! Publishing from inside the gateway.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{hub::Hub, message::Published, wire::Passed};

/// Bytes of the longest topic, correlation data and packet on the wire.
const LONGEST_TEXT: usize = 65_535;
const LONGEST_PACKET: usize = 268_435_455;

/// Publishes from inside the gateway. Cheap to clone.
///
/// Publishing never waits: it puts the message into the queues of the clients that subscribed to it, without copying
/// it. A client whose queue is full loses the message (QoS 0) or its connection (QoS 1 and 2); the publisher and the
/// other clients do not notice.
#[derive(Clone)]
pub struct Publisher {
    hub: Arc<Hub>,
}

impl Publisher {
    pub(crate) fn new(hub: Arc<Hub>) -> Publisher {
        Publisher { hub }
    }

    /// Publishes `payload` to `topic`. Every subscriber gets it with the QoS it subscribed with.
    ///
    /// With `retain` the message is also kept for clients that subscribe later, in place of the one before; an empty
    /// payload then removes that one. A topic or payload that MQTT cannot carry (65,535 bytes, 256 MiB) is dropped and
    /// counted.
    pub fn publish(&self, topic: impl Into<Bytes>, payload: Bytes, retain: bool) {
        self.send(Published::by_gateway(topic.into(), payload, retain));
    }

    /// Publishes the answer to a [`Message`](crate::Message), with the correlation data that came with it.
    pub fn reply(&self, topic: &str, payload: Bytes, correlation: Option<Bytes>) {
        let correlation = correlation.filter(|data| data.len() <= LONGEST_TEXT);
        let properties = correlation.map_or(Passed::NONE, |data| Passed::correlation_alone(&data));
        let message = Published::by_gateway(Bytes::copy_from_slice(topic.as_bytes()), payload, false);
        self.send(Published { properties, ..message });
    }

    fn send(&self, message: Published) {
        let counters = &self.hub.counters;
        let fits = !message.topic.is_empty()
            && message.topic.len() <= LONGEST_TEXT
            && message.payload.len() < LONGEST_PACKET - 2 * LONGEST_TEXT - 16;
        if !fits {
            counters.dropped.increase();
            return tracing::error!(
                topic_bytes = message.topic.len(),
                payload_bytes = message.payload.len(),
                "a message is too large for MQTT and was dropped; make the group of tags smaller"
            );
        }
        counters.published.increase();
        counters.bytes.add(message.payload.len());
        self.hub.publish(message);
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}
