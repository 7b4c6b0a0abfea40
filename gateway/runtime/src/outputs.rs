//! Where a row goes: first to the local broker, then to the store. Nothing here waits.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_broker::Publisher;
use tidegate_codec::json;
use tidegate_model::{Name, Row, Slot, TagName, Timestamp};
use tidegate_store::Store;
use tidegate_topics::StreamTopics;

use crate::{alarm_feed::AlarmSender, board::Board, status::DeviceState};

/// The ways out of a link task.
#[derive(Clone)]
pub(crate) struct Outputs {
    pub(crate) publisher: Publisher,
    pub(crate) store: Store,
    pub(crate) alarms: AlarmSender,
    pub(crate) board: Board,
    pub(crate) topics: Topics,
    /// Whether each tag has a retained topic of its own.
    pub(crate) tag_topics: bool,
    /// The gateway's id.
    pub(crate) gateway: Name,
    /// Version of the program.
    pub(crate) version: &'static str,
}

/// The topics of one gateway.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    prefix: Arc<str>,
}

impl Topics {
    /// The topics below `<root>/<gateway>`.
    pub(crate) fn new(root: &str, gateway: &Name) -> Topics {
        Topics { prefix: format!("{root}/{gateway}").into() }
    }

    /// `<root>/<gateway>`.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn gateway_state(&self) -> String {
        format!("{}/state", self.prefix)
    }

    pub(crate) fn device_state(&self, device: &Name) -> String {
        format!("{}/{device}/state", self.prefix)
    }

    pub(crate) fn data(&self, device: &Name, group: &Name) -> String {
        format!("{}/{device}/data/{group}", self.prefix)
    }

    pub(crate) fn tag(&self, device: &Name, tag: &TagName) -> String {
        format!("{}/{device}/tag/{tag}", self.prefix)
    }

    pub(crate) fn alarm(&self, device: &Name, level: &str) -> String {
        format!("{}/{device}/alarm/{level}", self.prefix)
    }

    pub(crate) fn set_filter(&self) -> String {
        format!("{}/+/set", self.prefix)
    }

    pub(crate) fn set_reply(&self, device: &str) -> String {
        format!("{}/{device}/set/reply", self.prefix)
    }

    /// The device that a `…/<device>/set` topic is for.
    pub(crate) fn device_of_set<'a>(&self, topic: &'a str) -> Option<&'a str> {
        topic.strip_prefix(&*self.prefix)?.strip_prefix('/')?.strip_suffix("/set")
    }

    pub(crate) fn sys(&self, what: &str) -> String {
        format!("{}/sys/{what}", self.prefix)
    }
}

/// How large the payload of a stream's row is expected to be: what the last one needed.
#[derive(Debug, Default)]
pub(crate) struct PayloadSize(usize);

impl Outputs {
    /// Publishes a row on the local broker. Returns its payload.
    pub(crate) fn publish(&self, topic: &Bytes, row: &Row, size: &mut PayloadSize) -> Bytes {
        let payload = self.data(topic, row, false, size);
        if self.tag_topics {
            self.tags(row);
        }
        payload
    }

    /// Publishes a row of the past, which says so and leaves the topics of the tags alone. Returns its payload.
    pub(crate) fn publish_past(&self, topic: &Bytes, row: &Row, size: &mut PayloadSize) -> Bytes {
        self.data(topic, row, true, size)
    }

    /// Publishes a row once more, under the topics of the site's templates.
    pub(crate) fn publish_otherwise(&self, topics: &StreamTopics, row: &Row, past: bool) {
        topics.messages(row, past, |message| self.publisher.publish(message.topic, message.payload, message.retain));
    }

    fn data(&self, topic: &Bytes, row: &Row, past: bool, size: &mut PayloadSize) -> Bytes {
        let mut payload = Vec::with_capacity(size.0);
        json::row(row, past, &mut payload);
        size.0 = payload.len() + payload.len() / 8;
        let payload = Bytes::from(payload);
        self.publisher.publish(topic.clone(), payload.clone(), false);
        payload
    }

    /// Gives a row to the store, with the payload that was published for it.
    pub(crate) fn keep(&self, row: Row, payload: Bytes) {
        self.store.append(Arc::new(row), payload);
    }

    /// Gives a row of the past to the store, with the payload that was published for it.
    pub(crate) fn keep_past(&self, row: Row, payload: Bytes) {
        self.store.append_past(Arc::new(row), payload);
    }

    /// Gives a row to the store that says less than what was published: its payload is made anew, or targets would get the rest.
    pub(crate) fn keep_thinned(&self, row: Row) {
        let mut payload = Vec::new();
        json::row(&row, false, &mut payload);
        self.keep(row, payload.into());
    }

    /// Publishes each sample of a row on the topic of its tag.
    fn tags(&self, row: &Row) {
        for (column, slot) in row.stream.columns().iter().zip(&row.slots) {
            if *slot == Slot::Unchanged {
                continue;
            }
            let mut payload = Vec::new();
            json::tag(slot, row.time, column.unit.as_deref(), &mut payload);
            let topic = self.topics.tag(row.stream.device(), &column.name);
            self.publisher.publish(topic, payload.into(), true);
        }
    }

    /// Publishes what is to be said elsewhere too, by targets that say what the local broker does.
    pub(crate) fn announce(&self, topic: String, payload: Bytes, retain: bool) {
        self.board.tell(&topic, &payload, retain);
        self.publisher.publish(topic, payload, retain);
    }

    /// Publishes the state of a device.
    pub(crate) fn device_state(&self, device: &Name, state: DeviceState, reason: Option<&str>, since: Timestamp) {
        let payload = serde_json::json!({ "state": state, "reason": reason, "since": since.as_millis() });
        self.announce(self.topics.device_state(device), payload.to_string().into(), true);
    }

    /// Takes what is retained about the state of a device that is gone off the broker.
    pub(crate) fn forget_device(&self, device: &Name) {
        self.announce(self.topics.device_state(device), Bytes::new(), true);
    }

    /// Takes what is retained on a topic off the broker.
    pub(crate) fn forget_topic(&self, topic: &Bytes) {
        self.publisher.publish(topic.clone(), Bytes::new(), true);
    }

    /// Takes what is retained about a tag that is gone off the broker.
    pub(crate) fn forget_tag(&self, device: &Name, tag: &TagName) {
        if self.tag_topics {
            self.publisher.publish(self.topics.tag(device, tag), Bytes::new(), true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_topic_names_its_device() {
        let topics = Topics::new("tidegate", &"line3".parse().unwrap());
        assert_eq!(topics.device_of_set("tidegate/line3/meter-1/set"), Some("meter-1"));
        assert_eq!(topics.device_of_set("tidegate/line4/meter-1/set"), None);
        assert_eq!(topics.device_of_set("tidegate/line3/meter-1/state"), None);
    }
}
