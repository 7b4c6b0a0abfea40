//! `format = "json"`: one row a message, as on the local broker.

use bytes::Bytes;
use tidegate_codec::json;
use tidegate_model::{Row, Stream};
use tidegate_store::{Delivery, Item};
use tidegate_topics::Dispatch;

use super::{
    fan::{Fan, Kept},
    flight::Carried,
    message::{LARGEST_PAYLOAD, LeftOut, Message, Portion, Topics, one_row},
    share::LaneKind,
    suspicion::{Span, Suspicion, Treatment},
};

/// Makes the messages.
#[derive(Debug)]
pub(crate) struct JsonMessages {
    topics: Topics,
    /// Where rows go beside, or in place of, the topics that every gateway has.
    fan: Option<Fan>,
    /// What the last payload needed, with some room: the first guess for the next.
    expected: usize,
    /// Bytes of topic and payload, at most.
    pub(super) most: usize,
}

/// The messages of a delivery without the ticket.
struct Made {
    messages: Vec<Told>,
    span: Span,
    alone: bool,
    left_out: Option<LeftOut>,
}

/// What goes where.
struct Told {
    topic: String,
    payload: Bytes,
    kept: Option<Kept>,
    values: usize,
}

impl JsonMessages {
    pub(crate) fn new(topics: Topics, fan: Option<Fan>) -> JsonMessages {
        JsonMessages { topics, fan, expected: 256, most: LARGEST_PAYLOAD }
    }

    /// Whether one row may become many messages.
    pub(crate) fn fans_out(&self) -> bool {
        self.fan.is_some()
    }

    /// There is a new connection.
    pub(crate) fn begin(&mut self) {
        if let Some(fan) = &mut self.fan {
            fan.begin();
        }
    }

    /// A message is sent now: whether it is the newest of its topic.
    pub(crate) fn is_newest(&mut self, kept: &Kept) -> bool {
        self.fan.as_mut().is_some_and(|fan| fan.is_newest(kept))
    }

    /// The messages for a delivery. Rows of the backlog are marked as history. None for a block, which nobody has asked
    /// the store for: it stays unacknowledged.
    pub(crate) fn messages(&mut self, delivery: &Delivery, lane: LaneKind, suspicion: &Suspicion) -> Vec<Message> {
        let Some(Made { messages, span, alone, left_out }) = self.make(&delivery.item, lane, suspicion) else {
            return Vec::new();
        };
        let carried = Carried { ticket: delivery.ticket, span, count: 1 };
        let message = |told: Told, portion| Message {
            topic: told.topic,
            payload: told.payload,
            kept: told.kept,
            portion,
            values: told.values,
            carried: vec![carried],
            schemas: Vec::new(),
            divisible: false,
            alone,
            left_out,
        };
        let of = messages.len();
        if of == 0 {
            let nothing = Told { topic: String::new(), payload: Bytes::new(), kept: None, values: 0 };
            return vec![message(nothing, Portion::NOTHING)];
        }
        let portions = (1..).map(|number| Portion { number, of });
        messages.into_iter().zip(portions).map(|(told, portion)| message(told, portion)).collect()
    }

    fn make(&mut self, item: &Item, lane: LaneKind, suspicion: &Suspicion) -> Option<Made> {
        let made = match item {
            Item::Row { row, payload } => {
                let span = one_row(&row.stream, row.seq);
                let treatment = suspicion.treatment(span);
                let told = match treatment {
                    Treatment::Replaced => Err(LeftOut::Refused),
                    _ => self.row(row, payload.as_ref(), lane),
                };
                let alone = treatment != Treatment::Usual;
                let (messages, left_out) = match told {
                    Ok(messages) => (messages, None),
                    Err(why) => (vec![self.gap(&row.stream, span, why.as_str())], Some(why)),
                };
                Made { messages, span, alone, left_out }
            }
            Item::Gap { stream, from, to, reason } => {
                let span = Span { stream: stream.id(), first: *from, last: *to };
                let alone = suspicion.treatment(span) != Treatment::Usual;
                Made { messages: vec![self.gap(stream, span, reason.as_str())], span, alone, left_out: None }
            }
            Item::Block { .. } => return None,
        };
        Some(made)
    }

    /// All messages of a row; with one too large among them there are none.
    fn row(&mut self, row: &Row, shared: Option<&Bytes>, lane: LaneKind) -> Result<Vec<Told>, LeftOut> {
        let mut messages = Vec::with_capacity(1);
        if self.fan.as_ref().is_none_or(Fan::has_standard) {
            messages.push(self.standard(row, shared, lane));
        }
        if let Some(fan) = &mut self.fan {
            fan.messages(row, lane, |Dispatch { message, values, .. }, kept| {
                let topic = String::from_utf8_lossy(&message.topic).into_owned();
                messages.push(Told { topic, payload: message.payload, kept, values });
            });
        }
        let is_too_large = |told: &Told| told.topic.len() + told.payload.len() > self.most;
        if messages.iter().any(is_too_large) { Err(LeftOut::TooLarge) } else { Ok(messages) }
    }

    /// A row on the topic of its group.
    fn standard(&mut self, row: &Row, shared: Option<&Bytes>, lane: LaneKind) -> Told {
        let payload = match shared {
            // What the local broker got says nothing about history.
            Some(payload) if lane == LaneKind::Live => payload.clone(),
            _ => self.encoded(row, lane == LaneKind::Backlog),
        };
        Told { topic: self.topics.group(&row.stream, "data"), payload, kept: None, values: row.slots.len() }
    }

    fn encoded(&mut self, row: &Row, is_history: bool) -> Bytes {
        let mut payload = Vec::with_capacity(self.expected);
        json::row(row, is_history, &mut payload);
        self.expected = payload.len() + payload.len() / 16;
        payload.into()
    }

    fn gap(&self, stream: &Stream, span: Span, reason: &str) -> Told {
        let mut payload = Vec::new();
        json::gap(span.first, span.last, reason, &mut payload);
        Told { topic: self.topics.group(stream, "gap"), payload: payload.into(), kept: None, values: 1 }
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
        JsonMessages::new(topics, None).make(item, lane, suspicion).unwrap()
    }

    fn text(message: &Made) -> (&str, &str, Option<LeftOut>) {
        let [told] = &message.messages[..] else { panic!("{} messages", message.messages.len()) };
        (&told.topic, std::str::from_utf8(&told.payload).unwrap(), message.left_out)
    }

    #[test]
    fn a_live_row_travels_with_the_payload_of_the_local_broker() {
        let payload = Bytes::from_static(b"as the local broker got it");
        let item = Item::Row { row: row("a"), payload: Some(payload.clone()) };
        let message = message(&item, LaneKind::Live, &Suspicion::default());
        assert_eq!(message.messages[0].topic, "plant/line3/meter/data/fast");
        assert_eq!(message.messages[0].payload.as_ptr(), payload.as_ptr(), "shared, not copied");
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
