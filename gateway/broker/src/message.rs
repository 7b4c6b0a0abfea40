//! A message on its way through the broker.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use crate::{
    total::{Part, Total},
    wire::{Passed, Qos},
};

/// What a message costs besides its topic, payload and properties: its place in a queue and its share of the allocator.
const OVERHEAD: usize = 256;

/// Session number of messages that the gateway publishes.
pub(crate) const FROM_GATEWAY: u64 = 0;

/// A message on its way from a publisher to subscribers.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) topic: Bytes,
    pub(crate) payload: Bytes,
    /// A subscriber gets it with at most this QoS.
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// When nobody needs it any more.
    pub(crate) expires: Option<Instant>,
    /// Properties of MQTT 5 that go on to the subscribers.
    pub(crate) properties: Passed,
    /// Number of the session that published it.
    pub(crate) from: u64,
    /// Whether the gateway may answer at the response topic of the properties.
    pub(crate) may_be_answered: bool,
    /// What it counts as long as it waits for clients.
    #[expect(dead_code, reason = "it counts until the message is dropped")]
    pub(crate) part: Part,
}

impl Published {
    /// A message of the gateway. Subscribers get it with the QoS they asked for.
    pub(crate) fn by_gateway(topic: Bytes, payload: Bytes, retain: bool) -> Published {
        Published {
            topic,
            payload,
            qos: Qos::ExactlyOnce,
            retain,
            expires: None,
            properties: Passed::NONE,
            from: FROM_GATEWAY,
            may_be_answered: false,
            part: Part::default(),
        }
    }

    /// The same message, which counts nowhere.
    pub(crate) fn copy(&self) -> Published {
        Published {
            topic: self.topic.clone(),
            payload: self.payload.clone(),
            properties: self.properties.clone(),
            part: Part::default(),
            ..*self
        }
    }

    /// The message as one that waits for clients.
    pub(crate) fn counted(self, total: &Arc<Total>) -> Published {
        Published { part: Part::with(total, self.cost()), ..self }
    }

    /// Bytes that a queue counts for it.
    pub(crate) fn cost(&self) -> usize {
        OVERHEAD + self.topic.len() + self.payload.len() + self.properties.bytes().len()
    }

    /// Whether nobody needs it any more.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Seconds until nobody needs it any more, the last one begun counts.
    pub(crate) fn expires_in(&self, now: Instant) -> Option<u32> {
        let left = self.expires?.saturating_duration_since(now).as_millis().div_ceil(1_000);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }
}

/// When a message that lives for some seconds ends.
pub(crate) fn expires(seconds: Option<u32>, now: Instant) -> Option<Instant> {
    now.checked_add(Duration::from_secs(seconds?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_expiry_whole_seconds_on_the_way_are_taken_off() {
        let now = Instant::now();
        let mut message = Published::by_gateway("a".into(), "x".into(), false);
        assert_eq!(message.expires_in(now), None);
        message.expires = expires(Some(60), now);
        let after = |millis| message.expires_in(now + Duration::from_millis(millis));
        assert_eq!([0, 1, 999].map(after), [Some(60); 3]);
        assert_eq!([1_000, 1_001, 59_999].map(after), [Some(59), Some(59), Some(1)]);
        assert_eq!([60_000, 100_000].map(after), [Some(0); 2]);
        message.expires = expires(Some(u32::MAX), now);
        assert_eq!(message.expires_in(now), Some(u32::MAX));
    }
}
