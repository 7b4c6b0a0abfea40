//! Messages on their way from one broker to the other, in order, until both have acknowledged them.

use std::collections::VecDeque;

use tidegate_mqtt::{Connection, Message, Outcome, PublishId, QoS, Refused};

use crate::status::Counters;

/// Messages with QoS 0 that wait for room, at most.
const MOST_UNACKNOWLEDGED: usize = 1_000;
/// Messages after which the broker they come from is not listened to any more.
const MANY: usize = 4_096;
/// The same, in bytes that have not been sent on.
const MANY_BYTES: usize = 8 << 20;

/// Messages of one way. There are at most as many as the broker they come from sends without an acknowledgement, or as
/// [`Lane::is_full`] says: MQTT 3.1.1 cannot hold a broker back.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    items: VecDeque<Item>,
    /// Items that have not been sent, counted from the end.
    unsent: usize,
    /// The bytes of these.
    unsent_bytes: usize,
}

#[derive(Debug)]
struct Item {
    stage: Stage,
    /// The packet id to acknowledge; 0 when there is none.
    source: u16,
}

#[derive(Debug)]
enum Stage {
    Waiting(Box<Message>),
    Sent(PublishId),
    Done,
}

impl Lane {
    /// Whether nothing more is to be taken until some of it has been sent on and acknowledged.
    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= MANY || self.unsent_bytes >= MANY_BYTES
    }

    /// Takes a message that goes on, or none when it is dropped; `source` is the packet id of the one that came.
    pub(crate) fn add(&mut self, message: Option<Message>, source: u16, counters: &Counters) {
        if source == 0 && (self.unsent >= MOST_UNACKNOWLEDGED || self.unsent_bytes >= MANY_BYTES) {
            // Nobody holds it back: its broker does not wait for an acknowledgement.
            return counters.drop_message("a topic at QoS 0", &Refused::NoRoom);
        }
        let stage = match message {
            Some(message) => {
                self.unsent += 1;
                self.unsent_bytes += bytes(&message);
                Stage::Waiting(Box::new(message))
            }
            None if self.unsent > 0 => {
                self.unsent += 1;
                Stage::Done
            }
            None => Stage::Done,
        };
        self.items.push_back(Item { stage, source });
    }

    /// Sends what there is room for; says what was sent to `sent`.
    pub(crate) fn send(&mut self, to: &mut Connection, counters: &Counters, mut sent: impl FnMut(&Message)) {
        while let Some(at) = self.items.len().checked_sub(self.unsent).filter(|at| *at < self.items.len()) {
            let Some(item) = self.items.get_mut(at) else { return };
            if let Stage::Waiting(message) = &item.stage {
                if message.qos == QoS::AtLeastOnce && to.room() == 0 {
                    return;
                }
                let bytes = bytes(message);
                item.stage = match to.publish((**message).clone()) {
                    Ok(id) => {
                        sent(message);
                        counters.sent.increase();
                        id.map_or(Stage::Done, Stage::Sent)
                    }
                    Err(Refused::NoRoom) if item.source != 0 => return,
                    Err(why) => {
                        counters.drop_message(&String::from_utf8_lossy(&message.topic), &why);
                        Stage::Done
                    }
                };
                self.unsent_bytes = self.unsent_bytes.saturating_sub(bytes);
            }
            self.unsent -= 1;
        }
    }

    /// The other broker has said what became of a message. False: it is none of these.
    pub(crate) fn done(&mut self, id: PublishId, outcome: Outcome, counters: &Counters) -> bool {
        let found = self.items.iter_mut().find(|item| matches!(item.stage, Stage::Sent(sent) if sent == id));
        let Some(item) = found else { return false };
        item.stage = Stage::Done;
        match outcome {
            Outcome::Acknowledged { .. } => counters.acknowledged.increase(),
            Outcome::Refused(why) => counters.drop_message("a topic", &why),
        }
        true
    }

    /// Acknowledges what is done, in order.
    pub(crate) fn acknowledge(&mut self, from: &mut Connection) {
        while let Some(item) = self.items.front().filter(|item| matches!(item.stage, Stage::Done)) {
            if self.items.len() <= self.unsent {
                return;
            }
            if item.source != 0 {
                from.acknowledge(item.source);
            }
            self.items.pop_front();
        }
    }
}

fn bytes(message: &Message) -> usize {
    let user = message.properties.iter().flat_map(|properties| &properties.user);
    let properties: usize = user.map(|(name, value)| name.len() + value.len()).sum();
    size_of::<Message>() + message.topic.len() + message.payload.len() + properties
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(lane: &mut Lane, payload: usize, source: u16) {
        lane.add(Some(Message::new("a", vec![0; payload])), source, &Counters::new("plant"));
    }

    #[test]
    fn what_a_broker_does_not_hold_back_fills_a_lane_by_number_or_bytes() {
        let mut lane = Lane::default();
        for _ in 1..MANY {
            add(&mut lane, 1, 1);
        }
        assert!(!lane.is_full());
        lane.add(None, 1, &Counters::new("plant"));
        assert!(lane.is_full(), "one that goes no further waits for its turn too");
        let mut lane = Lane::default();
        add(&mut lane, MANY_BYTES / 2, 1);
        assert!(!lane.is_full());
        add(&mut lane, MANY_BYTES / 2, 1);
        assert!(lane.is_full());
    }

    #[test]
    fn what_nobody_acknowledges_is_dropped_when_there_is_no_room() {
        let (mut lane, counters) = (Lane::default(), Counters::new("plant"));
        for _ in 0..3 {
            lane.add(Some(Message::new("a", vec![0; MANY_BYTES / 2]).unacknowledged()), 0, &counters);
        }
        assert_eq!((lane.items.len(), counters.dropped.get()), (2, 1));
    }
}
