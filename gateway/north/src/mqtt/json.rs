//! `format = "json"`: one row a message, as on the local broker.

use bytes::Bytes;
use tidegate_codec::json;
use tidegate_model::{Row, Stream};
use tidegate_store::{Delivery, Item};

use super::{
    flight::Carried,
    message::{LARGEST_PAYLOAD, LeftOut, Message, Topics, one_row},
    share::LaneKind,
    suspicion::{Span, Suspicion, Treatment},
};

/// Makes the messages.
#[derive(Debug)]
pub(crate) struct JsonMessages {
    topics: Topics,
    /// What the last payload needed, with some room: the first guess for the next.
    expected: usize,
    /// Bytes of topic and payload, at most.
    pub(super) most: usize,
}

/// A message without the ticket of what it is for.
struct Made {
    topic: String,
    payload: Bytes,
    span: Span,
    values: usize,
    alone: bool,
    left_out: Option<LeftOut>,
}

impl JsonMessages {
    pub(crate) fn new(topics: Topics) -> JsonMessages {
        JsonMessages { topics, expected: 256, most: LARGEST_PAYLOAD }
    }

    /// The message for a delivery. Rows of the backlog are marked as history. `None` for a block, which nobody has asked
    /// the store for: it stays unacknowledged.
    pub(crate) fn message(&mut self, delivery: &Delivery, lane: LaneKind, suspicion: &Suspicion) -> Option<Message> {
        let Made { topic, payload, span, values, alone, left_out } = self.make(&delivery.item, lane, suspicion)?;
        let carried = vec![Carried { ticket: delivery.ticket, span, count: 1 }];
        Some(Message { topic, payload, values, carried, schemas: Vec::new(), divisible: false, alone, left_out })
    }

    fn make(&mut self, item: &Item, lane: LaneKind, suspicion: &Suspicion) -> Option<Made> {
        let made = match item {
            Item::Row { row, payload } => {
                let span = one_row(&row.stream, row.seq);
                let treatment = suspicion.treatment(span);
                let encoded = match treatment {
                    Treatment::Replaced => Err(LeftOut::Refused),
                    _ => self.payload(row, payload.as_ref(), lane),
                };
                let alone = treatment != Treatment::Usual;
                match encoded {
                    Ok((topic, payload)) => {
                        let values = row.slots.len();
                        Made { topic, payload, span, values, alone, left_out: None }
                    }
                    Err(why) => Made { alone, left_out: Some(why), ..self.gap(&row.stream, span, why.as_str()) },
                }
            }
            Item::Gap { stream, from, to, reason } => {
                let span = Span { stream: stream.id(), first: *from, last: *to };
                let alone = suspicion.treatment(span) != Treatment::Usual;
                Made { alone, ..self.gap(stream, span, reason.as_str()) }
            }
            Item::Block { .. } => return None,
        };
        Some(made)
    }

    fn payload(&mut self, row: &Row, shared: Option<&Bytes>, lane: LaneKind) -> Result<(String, Bytes), LeftOut> {
        let payload = match shared {
            // What the local broker got says nothing about history.
            Some(payload) if lane == LaneKind::Live => payload.clone(),
            _ => self.encoded(row, lane == LaneKind::Backlog),
        };
        let topic = self.topics.group(&row.stream, "data");
        if topic.len() + payload.len() > self.most { Err(LeftOut::TooLarge) } else { Ok((topic, payload)) }
    }

    fn encoded(&mut self, row: &Row, is_history: bool) -> Bytes {
        let mut payload = Vec::with_capacity(self.expected);
        json::row(row, is_history, &mut payload);
        self.expected = payload.len() + payload.len() / 16;
        payload.into()
    }

    fn gap(&self, stream: &Stream, span: Span, reason: &str) -> Made {
        let mut payload = Vec::new();
        json::gap(span.first, span.last, reason, &mut payload);
        let topic = self.topics.group(stream, "gap");
        Made { topic, payload: payload.into(), span, values: 1, alone: false, left_out: None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_model::{Column, Slot, StreamId, Timestamp, Value, ValueKind, ValueType};
    use tidegate_store::GapReason;

    use super::*;
    use crate::mqtt::suspicion::Subject;

    fn stream() -> Arc<Stream> {
        let column = Column::new("note".parse().unwrap(), ValueType::single(ValueKind::Text));
        Arc::new(Stream::new(StreamId(4), "meter".parse().unwrap(), "fast".parse().unwrap(), vec![column]))
    }

    fn row(text: &str) -> Arc<Row> {
        let slots = [Slot::Good(Value::Text(text.into()))];
        let time = Timestamp::from_millis(999);
        Arc::new(Row { stream: stream(), seq: 7, time, device_time: None, slots: slots.into() })
    }

    fn message(item: &Item, lane: LaneKind, suspicion: &Suspicion) -> Made {
        let topics = Topics::new("plant", &"line3".parse().unwrap());
        JsonMessages::new(topics).make(item, lane, suspicion).unwrap()
    }

    fn text(message: &Made) -> (&str, &str, Option<LeftOut>) {
        (&message.topic, std::str::from_utf8(&message.payload).unwrap(), message.left_out)
    }

    #[test]
    fn a_live_row_travels_with_the_payload_of_the_local_broker() {
        let payload = Bytes::from_static(b"as the local broker got it");
        let item = Item::Row { row: row("a"), payload: Some(payload.clone()) };
        let message = message(&item, LaneKind::Live, &Suspicion::default());
        assert_eq!(message.topic, "plant/line3/meter/data/fast");
        assert_eq!(message.payload.as_ptr(), payload.as_ptr(), "shared, not copied");
    }

    #[test]
    fn a_row_of_the_backlog_is_marked_as_history_whether_its_payload_is_in_memory_or_not() {
        for payload in [None, Some(Bytes::from_static(b"without the mark"))] {
            let item = Item::Row { row: row("a"), payload };
            let message = message(&item, LaneKind::Backlog, &Suspicion::default());
            let payload = r#"{"ts":999,"seq":7,"hist":true,"values":{"note":"a"}}"#;
            assert_eq!(text(&message), ("plant/line3/meter/data/fast", payload, None));
        }
    }

    #[test]
    fn a_gap_has_a_topic_of_its_own() {
        let gap = Item::Gap { stream: stream(), from: 5, to: 9, reason: GapReason::StoreFull };
        let message = message(&gap, LaneKind::Backlog, &Suspicion::default());
        let payload = r#"{"gap":{"from":5,"to":9,"reason":"store_full"}}"#;
        assert_eq!(text(&message), ("plant/line3/meter/gap/fast", payload, None));
    }

    #[test]
    fn a_row_too_large_for_any_broker_is_announced_as_a_gap() {
        let item = Item::Row { row: row(&"x".repeat(LARGEST_PAYLOAD)), payload: None };
        let message = message(&item, LaneKind::Live, &Suspicion::default());
        let payload = r#"{"gap":{"from":7,"to":7,"reason":"too_large"}}"#;
        assert_eq!(text(&message), ("plant/line3/meter/gap/fast", payload, Some(LeftOut::TooLarge)));
    }

    #[test]
    fn a_row_that_the_broker_closes_the_connection_over_travels_alone_and_is_then_announced_as_a_gap() {
        let mut suspicion = Suspicion::default();
        let subject = Subject { spans: vec![one_row(&stream(), 7)], divisible: false, bytes: 9 };
        (0..7).for_each(|_| suspicion.closed_by_broker(Some(&subject)));
        let item = Item::Row { row: row("a"), payload: None };
        let alone = message(&item, LaneKind::Live, &suspicion);
        assert!(alone.alone && alone.left_out.is_none());
        suspicion.closed_by_broker(Some(&subject));
        let replaced = message(&item, LaneKind::Live, &suspicion);
        let payload = r#"{"gap":{"from":7,"to":7,"reason":"refused"}}"#;
        assert_eq!(text(&replaced), ("plant/line3/meter/gap/fast", payload, Some(LeftOut::Refused)));
    }
}
