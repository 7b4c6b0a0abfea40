//! From what the store delivers to what is published.

use bytes::Bytes;
use tidegate_codec::json;
use tidegate_model::{Name, Row, Stream, Timestamp};
use tidegate_store::Item;

use super::suspicion::{Subject, Suspicion, Treatment};

/// Larger payloads are not sent. The protocol ends at 256 MiB, common brokers take far less; a row of this size is a mistake.
pub(crate) const LARGEST_PAYLOAD: usize = 16 * 1024 * 1024;

/// Topics and payloads of one gateway.
#[derive(Debug)]
pub(crate) struct Messages {
    prefix: String,
    /// What the last payload needed, with some room: the first guess for the next.
    expected: usize,
}

/// One message, ready to be published.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) subject: Subject,
    /// Present when the message is a gap record in place of a row.
    pub(crate) left_out: Option<LeftOut>,
}

/// Why a gap record is sent in place of a row that is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// Its payload is larger than [`LARGEST_PAYLOAD`].
    TooLarge,
    /// The broker closes the connection over it.
    Refused,
}

impl LeftOut {
    /// The word used in gap records.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            LeftOut::TooLarge => "too_large",
            LeftOut::Refused => "refused",
        }
    }
}

impl Messages {
    /// Topics below `<root>/<gateway>`.
    pub(crate) fn new(topic_root: &str, gateway: &Name) -> Messages {
        Messages { prefix: format!("{topic_root}/{gateway}"), expected: 256 }
    }

    /// The topic that says whether the gateway is there.
    pub(crate) fn state_topic(&self) -> String {
        format!("{}/state", self.prefix)
    }

    /// The message for a delivery. Rows from before `connected` are marked as history.
    pub(crate) fn message(&mut self, item: &Item, connected: Timestamp, suspicion: &Suspicion) -> Message {
        match item {
            Item::Row { row, payload } => self.row(row, payload.as_ref(), connected, suspicion),
            Item::Gap { stream, from, to, reason } => self.gap(stream, *from, *to, reason.as_str(), None),
        }
    }

    fn row(&mut self, row: &Row, shared: Option<&Bytes>, connected: Timestamp, suspicion: &Suspicion) -> Message {
        let subject = Subject { stream: row.stream.id(), seq: row.seq };
        if suspicion.treatment(subject) == Treatment::Replaced {
            return self.gap(&row.stream, row.seq, row.seq, LeftOut::Refused.as_str(), Some(LeftOut::Refused));
        }
        let is_history = row.time < connected;
        let payload = match shared {
            // What the local broker got says nothing about history.
            Some(payload) if !is_history => payload.clone(),
            _ => self.encoded(row, is_history),
        };
        if payload.len() > LARGEST_PAYLOAD {
            return self.gap(&row.stream, row.seq, row.seq, LeftOut::TooLarge.as_str(), Some(LeftOut::TooLarge));
        }
        let topic = self.topic(&row.stream, "data");
        Message { topic, payload, subject, left_out: None }
    }

    fn encoded(&mut self, row: &Row, is_history: bool) -> Bytes {
        let mut payload = Vec::with_capacity(self.expected);
        json::row(row, is_history, &mut payload);
        self.expected = payload.len() + payload.len() / 16;
        payload.into()
    }

    fn gap(&self, stream: &Stream, from: u64, to: u64, reason: &str, left_out: Option<LeftOut>) -> Message {
        let mut payload = Vec::new();
        json::gap(from, to, reason, &mut payload);
        let subject = Subject { stream: stream.id(), seq: from };
        Message { topic: self.topic(stream, "gap"), payload: payload.into(), subject, left_out }
    }

    fn topic(&self, stream: &Stream, level: &str) -> String {
        format!("{}/{}/{level}/{}", self.prefix, stream.device(), stream.group())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_model::{Column, Slot, StreamId, Value, ValueKind, ValueType};
    use tidegate_store::GapReason;

    use super::*;

    const CONNECTED: Timestamp = Timestamp::from_millis(1_000);

    fn stream() -> Arc<Stream> {
        let column = Column::new("note".parse().unwrap(), ValueType::single(ValueKind::Text));
        Arc::new(Stream::new(StreamId(4), "meter".parse().unwrap(), "fast".parse().unwrap(), vec![column]))
    }

    fn row(time: i64, text: &str) -> Arc<Row> {
        let slots = [Slot::Good(Value::Text(text.into()))];
        let time = Timestamp::from_millis(time);
        Arc::new(Row { stream: stream(), seq: 7, time, device_time: None, slots: slots.into() })
    }

    fn message(item: &Item, suspicion: &Suspicion) -> (String, String, Option<LeftOut>) {
        let message = Messages::new("plant", &"line3".parse().unwrap()).message(item, CONNECTED, suspicion);
        (message.topic, String::from_utf8(message.payload.to_vec()).unwrap(), message.left_out)
    }

    #[test]
    fn a_live_row_travels_with_the_payload_of_the_local_broker() {
        let payload = Bytes::from_static(b"as the local broker got it");
        let item = Item::Row { row: row(1_000, "a"), payload: Some(payload.clone()) };
        let mut messages = Messages::new("plant", &"line3".parse().unwrap());
        let message = messages.message(&item, CONNECTED, &Suspicion::default());
        assert_eq!(message.topic, "plant/line3/meter/data/fast");
        assert_eq!(message.payload.as_ptr(), payload.as_ptr(), "shared, not copied");
    }

    #[test]
    fn a_row_from_before_the_connection_is_marked_as_history_whether_its_payload_is_in_memory_or_not() {
        for payload in [None, Some(Bytes::from_static(b"without the mark"))] {
            let (topic, payload, left_out) = message(&Item::Row { row: row(999, "a"), payload }, &Suspicion::default());
            assert_eq!(topic, "plant/line3/meter/data/fast");
            assert_eq!(payload, r#"{"ts":999,"seq":7,"hist":true,"values":{"note":"a"}}"#);
            assert_eq!(left_out, None);
        }
    }

    #[test]
    fn a_gap_has_a_topic_of_its_own() {
        let gap = Item::Gap { stream: stream(), from: 5, to: 9, reason: GapReason::StoreFull };
        let (topic, payload, left_out) = message(&gap, &Suspicion::default());
        assert_eq!(topic, "plant/line3/meter/gap/fast");
        assert_eq!(payload, r#"{"gap":{"from":5,"to":9,"reason":"store_full"}}"#);
        assert_eq!(left_out, None);
    }

    #[test]
    fn a_row_too_large_for_any_broker_is_announced_as_a_gap() {
        let large = "x".repeat(LARGEST_PAYLOAD);
        let item = Item::Row { row: row(2_000, &large), payload: None };
        let (topic, payload, left_out) = message(&item, &Suspicion::default());
        assert_eq!(topic, "plant/line3/meter/gap/fast");
        assert_eq!(payload, r#"{"gap":{"from":7,"to":7,"reason":"too_large"}}"#);
        assert_eq!(left_out, Some(LeftOut::TooLarge));
    }

    #[test]
    fn a_row_that_the_broker_closes_the_connection_over_is_announced_as_a_gap() {
        let mut suspicion = Suspicion::default();
        (0..8).for_each(|_| suspicion.closed_by_broker(Some(Subject { stream: StreamId(4), seq: 7 })));
        let item = Item::Row { row: row(2_000, "a"), payload: None };
        let (_, payload, left_out) = message(&item, &suspicion);
        assert_eq!(payload, r#"{"gap":{"from":7,"to":7,"reason":"refused"}}"#);
        assert_eq!(left_out, Some(LeftOut::Refused));
    }
}
