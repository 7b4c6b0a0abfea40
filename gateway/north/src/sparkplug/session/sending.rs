//! Messages of rows, and handing them over.

use tidegate_mqtt::{Failure, Message as Sent, Refused};
use tidegate_sparkplug::Message;
use tidegate_store::{Delivery, Item};
use tokio::time::Instant;

use super::{Out, Session};
use crate::{
    mqtt::share::{LaneKind, Load},
    sparkplug::{flight::Batch, now},
};

/// Rows that are put into messages together take about so many bytes.
const TOGETHER: usize = 32 * 1024;

impl Session<'_> {
    pub(super) fn queue(&mut self, messages: Vec<Message>) {
        self.waiting += messages.iter().map(|message| message.payload.len()).sum::<usize>();
        self.out.extend(messages.into_iter().map(Out::Message));
    }

    pub(super) fn hand_over(&mut self) -> Result<(), Failure> {
        while let Some(next) = self.out.pop_front() {
            let message = match next {
                Out::Mark(batch) => {
                    self.flight.sent(batch, Instant::now());
                    continue;
                }
                Out::Message(message) => message,
            };
            let sent = Sent::new(message.topic.as_str(), message.payload.clone()).unacknowledged();
            match self.connection.publish(sent) {
                Ok(_) => self.waiting = self.waiting.saturating_sub(message.payload.len()),
                Err(Refused::NoRoom) => {
                    self.out.push_front(Out::Message(message));
                    return Ok(());
                }
                Err(refused) => self.left_out(&message, &refused),
            }
        }
        Ok(())
    }

    /// A message that the client does not take: its number is missing for hosts, so all births are made again.
    fn left_out(&mut self, message: &Message, refused: &Refused) {
        self.waiting = self.waiting.saturating_sub(message.payload.len());
        self.around.status.left_out();
        let (target_name, topic, bytes) = (self.around.status.name(), &message.topic, message.payload.len());
        tracing::error!(
            %target_name, topic, bytes, ?refused,
            "a message is not taken and was left out; its rows stay in the store; make what is in its tags smaller"
        );
        self.around.node.births_again(now(self.around.status));
    }

    /// Makes messages of the next rows of the lane whose turn it is. False when there is nothing to be done now.
    pub(super) fn compose(&mut self) -> bool {
        if !self.around.node.may_publish() || !self.flight.has_room(self.around.window, self.waiting) {
            return false;
        }
        let time = Instant::now();
        let (live, backlog) = (self.live.front().map(size), self.backlog.front().map(size));
        let Some(lane) = self.share.choose(live, backlog, time) else { return false };
        let contested = live.is_some() && backlog.is_some();
        let queue = match lane {
            LaneKind::Live => &mut self.live,
            LaneKind::Backlog => &mut self.backlog,
        };
        let now = now(self.around.status);
        let (mut tickets, mut rows, mut values, mut out) = (Vec::new(), Vec::new(), 0, Vec::new());
        let mut gathered = 0;
        while gathered < TOGETHER {
            let Some(delivery) = queue.pop_front() else { break };
            gathered += size(&delivery);
            tickets.push(delivery.ticket);
            match delivery.item {
                Item::Row { row, .. } => {
                    values += row.slots.len();
                    rows.push(row);
                }
                Item::Gap { stream, from, to, reason } => {
                    self.around.node.rows(&std::mem::take(&mut rows), lane == LaneKind::Backlog, now, &mut out);
                    self.around.node.gap(&stream, from, to, reason.as_str(), now, &mut out);
                }
                // The lanes are read row by row.
                Item::Block { .. } => {}
            }
        }
        self.around.node.rows(&rows, lane == LaneKind::Backlog, now, &mut out);
        self.report_left_out();
        let bytes = out.iter().map(|message| message.topic.len() + message.payload.len()).sum();
        self.share.sent(lane, Load { bytes, values }, contested, time);
        self.around.status.sent(u64::try_from(tickets.len()).unwrap_or(0), bytes);
        self.queue(out);
        self.out.push_back(Out::Mark(Batch { tickets, bytes }));
        true
    }
}

/// Bytes that a delivery takes on its way, about.
fn size(delivery: &Delivery) -> usize {
    match &delivery.item {
        Item::Row { row, .. } => row.heap_bytes() / 2,
        Item::Block { bytes, .. } => bytes.len(),
        Item::Gap { .. } => 128,
    }
}
