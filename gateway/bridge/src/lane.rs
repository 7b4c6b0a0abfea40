//! Messages on their way from one broker to the other, in order, until both have acknowledged them.

use std::collections::VecDeque;

use tidegate_mqtt::{Connection, Message, Outcome, PublishId, QoS, Refused};

use crate::status::Counters;

/// Messages with QoS 0 that wait for room, at most.
const MOST_UNACKNOWLEDGED: usize = 1_000;

/// Messages of one way. There are at most as many as the broker they come from sends without an acknowledgement.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    items: VecDeque<Item>,
    /// Items that have not been sent, counted from the end.
    unsent: usize,
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
    /// Takes a message that goes on, or none when it is dropped; `source` is the packet id of the one that came.
    pub(crate) fn add(&mut self, message: Option<Message>, source: u16, counters: &Counters) {
        if source == 0 && self.unsent >= MOST_UNACKNOWLEDGED {
            // Nobody holds it back: its broker does not wait for an acknowledgement.
            return counters.drop_message("a topic at QoS 0", &Refused::NoRoom);
        }
        let stage = match message {
            Some(message) => {
                self.unsent += 1;
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
            }
            self.unsent -= 1;
        }
    }

    /// The other broker has said what became of a message.
    pub(crate) fn done(&mut self, id: PublishId, outcome: Outcome, counters: &Counters) {
        let found = self.items.iter_mut().find(|item| matches!(item.stage, Stage::Sent(sent) if sent == id));
        let Some(item) = found else { return };
        item.stage = Stage::Done;
        match outcome {
            Outcome::Acknowledged { .. } => counters.acknowledged.increase(),
            Outcome::Refused(why) => counters.drop_message("a topic", &why),
        }
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
