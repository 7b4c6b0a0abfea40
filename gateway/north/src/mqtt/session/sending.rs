//! What is sent next, and the sending of it.

use bytes::Bytes;
use tidegate_mqtt::{Failure, FailureKind, Message as Mqtt, Refused};
use tokio::time::Instant;

use super::{
    super::{
        announcements::{AT_ONCE, Announcement},
        flight::Freight,
        message::{Message, Portion},
        share::{LaneKind, Load},
    },
    Session,
};

/// Schemas that are remembered as published, at most; beyond, they are published again.
const MOST_SCHEMAS: usize = 65_536;

impl Session<'_> {
    /// Makes messages of what has waited long enough for others to share them.
    pub(super) fn compose(&mut self) {
        let now = Instant::now();
        for queue in [&mut self.live, &mut self.backlog] {
            queue.compose(self.around.composer, self.around.suspicion, now);
        }
    }

    /// Sends what is ready, as far as window, pace and share allow.
    pub(super) fn send_ready(&mut self) -> Result<(), Failure> {
        self.announce()?;
        loop {
            let now = Instant::now();
            let Some((lane, contested)) = self.choose(now) else { break };
            let queue = match lane {
                LaneKind::Live => &mut self.live,
                LaneKind::Backlog => &mut self.backlog,
            };
            let Some(message) = queue.front() else { break };
            if let Some(schema) = message.schemas.iter().find(|schema| !self.published.contains(&schema.id)) {
                // Ahead of the first block that needs it: a broker hands messages of one connection on in their order.
                let (topic, payload, id) = (self.around.topics.schema(schema), schema.bytes.clone(), schema.id);
                if self.published.len() >= MOST_SCHEMAS {
                    self.published.clear();
                }
                self.published.insert(id);
                self.count(lane, Load { bytes: topic.len() + payload.len(), values: 0 }, contested, now);
                self.publish(topic, payload, true, Freight::Schema)?;
                continue;
            }
            if message.alone && !self.flight.is_empty() {
                break;
            }
            let bytes = message.load().bytes;
            if message.left_out.is_none() && bytes > self.around.composer.largest() {
                return Err(self.too_large(bytes));
            }
            let Some(message) = queue.pop() else { break };
            self.count(lane, message.load(), contested, now);
            self.send(message, lane, now)?;
        }
        self.around.status.in_flight(self.flight.len(), self.flight.bytes(), self.live.given());
        self.around.status.backlog_read(self.backlog.given());
        Ok(())
    }

    /// Sends a message, unless there is nothing to be sent.
    fn send(&mut self, message: Message, lane: LaneKind, now: Instant) -> Result<(), Failure> {
        let Message { topic, payload, kept, portion, carried, divisible, alone, left_out, .. } = message;
        let is_newest = kept.as_ref().is_some_and(|kept| self.around.composer.is_newest(kept));
        let retain = is_newest && self.connection.granted().retain;
        let rows = if portion.is_last() { carried.iter().map(|carried| carried.count).sum() } else { 0 };
        if portion == Portion::NOTHING || kept.is_some_and(|kept| kept.or_not_sent && !retain) {
            self.around.status.sent(rows, 0);
            self.pass_over(carried, portion.of, lane, now);
            return Ok(());
        }
        self.around.status.sent(rows, payload.len());
        let freight = Freight::Deliveries { carried, parts: portion.of, lane, divisible, alone, left_out };
        self.publish(topic, payload, retain, freight)
    }

    /// Says what is to be said beside rows, a little at a time.
    fn announce(&mut self) -> Result<(), Failure> {
        for _ in 0..AT_ONCE {
            let (messages, bytes) = (self.flight.len(), self.flight.bytes());
            let room = self.around.window.has_room(messages, bytes) && self.connection.room() > 0;
            if self.flight.has_lonely() || !room {
                break;
            }
            let Some(Announcement { topic, payload, retain }) = self.around.announcements.pop() else { break };
            self.publish(topic, payload, retain, Freight::Announcement)?;
        }
        Ok(())
    }

    /// The lane whose turn it is, and whether the other one has a message too.
    fn choose(&self, now: Instant) -> Option<(LaneKind, bool)> {
        let (messages, bytes) = (self.flight.len(), self.flight.bytes());
        let room = self.around.window.has_room(messages, bytes) && self.connection.room() > 0;
        if self.flight.has_lonely() || !room {
            return None;
        }
        let room = self.around.window.has_room_for_backlog(self.flight.backlog_len());
        let paced = !self.around.pace.has_room(self.flight.backlog_bytes());
        let live = self.live.front().map(|message| message.load().bytes);
        let backlog = self.backlog.front().map(|message| message.load().bytes).filter(|_| room);
        let lane = self.share.choose_paced(live, backlog, paced, now)?;
        Some((lane, live.is_some() && backlog.is_some()))
    }

    fn count(&mut self, lane: LaneKind, load: Load, contested: bool, now: Instant) {
        self.share.sent(lane, load, contested, now);
        let sent = match lane {
            LaneKind::Live => &mut self.sent.0,
            LaneKind::Backlog => &mut self.sent.1,
        };
        *sent = sent.saturating_add(load.bytes);
    }

    /// When something is to be done without anything happening.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let now = Instant::now();
        let rate = self.share.opens_at(now).filter(|_| self.backlog.front().is_some());
        [self.live.due(), rate].into_iter().flatten().min()
    }

    pub(super) fn publish_state(&mut self, state: &'static str) -> Result<(), Failure> {
        let topic = self.around.topics.state();
        self.publish(topic, Bytes::from_static(state.as_bytes()), true, Freight::State)
    }

    fn publish(&mut self, topic: String, payload: Bytes, retain: bool, freight: Freight) -> Result<(), Failure> {
        let bytes = payload.len();
        let message = Mqtt { retain, ..Mqtt::new(topic, payload) };
        match self.connection.publish(message) {
            Ok(_) => {
                self.flight.sent(freight, bytes, Instant::now());
                Ok(())
            }
            // What is said at the end may find the broker's window full; then the broker says it in the gateway's stead.
            Err(Refused::NoRoom) if freight == Freight::State => Ok(()),
            // Not worth the connection; the next one may be smaller.
            Err(_) if freight == Freight::Announcement => Ok(()),
            Err(why) => {
                self.refused = freight.subject(bytes);
                self.schema_refused = freight == Freight::Schema;
                let text = format!("a message cannot be sent to {}: {why}", self.around.connector.address());
                Err(Failure::new(FailureKind::MessageRefused, text))
            }
        }
    }

    /// A block of the store is larger than the broker takes; its rows will be read one by one.
    fn too_large(&mut self, bytes: usize) -> Failure {
        self.too_large = true;
        let (address, most) = (self.around.connector.address(), self.around.composer.largest());
        let text = format!(
            "{address} takes messages of {most} bytes at most and a block has {bytes}; its rows travel divided"
        );
        Failure::new(FailureKind::MessageRefused, text)
    }
}
