//! The messages that are on their way and not yet acknowledged. Pure.

use std::{collections::VecDeque, time::Duration};

use tidegate_store::Ticket;
use tokio::time::Instant;

use super::{
    message::LeftOut,
    share::LaneKind,
    suspicion::{Span, Subject},
};

/// One thing that a message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carried {
    /// What the store wants back when it has arrived.
    pub(crate) ticket: Ticket,
    /// The rows it is about.
    pub(crate) span: Span,
    /// Rows and gap records that arrive with it, for the counters.
    pub(crate) count: u64,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Freight {
    /// The gateway's own state.
    State,
    /// A schema, which the blocks behind it need.
    Schema,
    /// Something from the store.
    Deliveries {
        /// What it carries; all of it arrives with the acknowledgement of the message.
        carried: Vec<Carried>,
        /// The lane it came from.
        lane: LaneKind,
        /// Whether it could have been divided into smaller ones.
        divisible: bool,
        /// Nothing else may be on its way beside it.
        alone: bool,
        /// Present when a gap record travels in place of a row.
        left_out: Option<LeftOut>,
    },
}

/// What came of an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// What has arrived.
    pub(crate) freight: Freight,
    /// Its bytes.
    pub(crate) bytes: usize,
    /// How long it took.
    pub(crate) after: Duration,
}

/// The messages on their way, in the order in which they were sent.
///
/// A message that was acknowledged before an older one stays in line until that one is acknowledged too. So the line is
/// never longer than the window, and packet ids, which rumqttc gives out in a circle, cannot meet themselves.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    line: VecDeque<Message>,
    bytes: usize,
    /// The backlog's messages that are not acknowledged, and their bytes.
    backlog: usize,
    backlog_bytes: usize,
    /// Messages in line beside which nothing may be sent.
    alone: usize,
    /// When the oldest message became the oldest.
    oldest_since: Option<Instant>,
}

#[derive(Debug)]
struct Message {
    /// Taken out by the acknowledgement.
    freight: Option<Freight>,
    bytes: usize,
    sent: Instant,
    /// Known once rumqttc has written the message.
    packet_id: Option<u16>,
}

impl Freight {
    fn is_backlog(&self) -> bool {
        matches!(self, Freight::Deliveries { lane: LaneKind::Backlog, .. })
    }

    fn is_alone(&self) -> bool {
        matches!(self, Freight::Deliveries { alone: true, .. })
    }
}

impl Flight {
    /// A message was handed to rumqttc.
    pub(crate) fn sent(&mut self, freight: Freight, bytes: usize, now: Instant) {
        self.oldest_since.get_or_insert(now);
        self.bytes += bytes;
        if freight.is_backlog() {
            self.backlog += 1;
            self.backlog_bytes += bytes;
        }
        self.alone += usize::from(freight.is_alone());
        self.line.push_back(Message { freight: Some(freight), bytes, sent: now, packet_id: None });
    }

    /// rumqttc gave this packet id to the oldest message that had none. False when every message has one.
    pub(crate) fn numbered(&mut self, packet_id: u16) -> bool {
        // Messages get their ids in the order of the line, so the first without one is near the end of it.
        let numbered = self.line.partition_point(|message| message.packet_id.is_some());
        let Some(message) = self.line.get_mut(numbered) else { return false };
        message.packet_id = Some(packet_id);
        true
    }

    /// The broker acknowledged this packet id. `None` when no message on its way has it.
    pub(crate) fn acknowledged(&mut self, packet_id: u16, now: Instant) -> Option<Arrived> {
        let is_meant = |message: &&mut Message| message.packet_id == Some(packet_id) && message.freight.is_some();
        let message = self.line.iter_mut().find(is_meant)?;
        let freight = message.freight.take()?;
        let (bytes, after) = (message.bytes, now.saturating_duration_since(message.sent));
        if freight.is_backlog() {
            self.backlog = self.backlog.saturating_sub(1);
            self.backlog_bytes = self.backlog_bytes.saturating_sub(bytes);
        }
        self.alone = self.alone.saturating_sub(usize::from(freight.is_alone()));
        while let Some(oldest) = self.line.pop_front_if(|message| message.freight.is_none()) {
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
            self.oldest_since = self.line.front().map(|_| now);
        }
        Some(Arrived { freight, bytes, after })
    }

    /// Messages in line.
    pub(crate) fn len(&self) -> usize {
        self.line.len()
    }

    /// Bytes of their payloads.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The backlog's messages that are not acknowledged.
    pub(crate) fn backlog_len(&self) -> usize {
        self.backlog
    }

    /// Bytes of the backlog's messages that are not acknowledged.
    pub(crate) fn backlog_bytes(&self) -> usize {
        self.backlog_bytes
    }

    /// Whether everything has arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Whether a message is on its way beside which nothing may be sent.
    pub(crate) fn has_lonely(&self) -> bool {
        self.alone > 0
    }

    /// What the oldest message is about; `None` when there is none, or nothing from the store is in it.
    pub(crate) fn oldest(&self) -> Option<Subject> {
        let oldest = self.line.front()?;
        match oldest.freight.as_ref()? {
            Freight::State | Freight::Schema => None,
            Freight::Deliveries { carried, divisible, .. } => {
                let spans = carried.iter().map(|carried| carried.span).collect();
                Some(Subject { spans, divisible: *divisible, bytes: oldest.bytes })
            }
        }
    }

    /// Whether the oldest message is a schema.
    pub(crate) fn oldest_is_schema(&self) -> bool {
        self.line.front().is_some_and(|oldest| oldest.freight == Some(Freight::Schema))
    }

    /// How long the oldest message has been the oldest.
    ///
    /// Not how long it has been on its way: on a thin link a message waits behind those before it, and as long as those arrive
    /// there is nothing wrong.
    pub(crate) fn standing_still(&self, now: Instant) -> Duration {
        self.oldest_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(alone: bool) -> Freight {
        let (carried, lane) = (Vec::new(), LaneKind::Backlog);
        Freight::Deliveries { carried, lane, divisible: false, alone, left_out: None }
    }

    /// A line of messages with the packet ids 1, 2, 3 …
    fn line(messages: u16, now: Instant) -> Flight {
        let mut flight = Flight::default();
        (0..messages).for_each(|_| flight.sent(Freight::State, 10, now));
        (1..=messages).for_each(|id| assert!(flight.numbered(id)));
        flight
    }

    #[test]
    fn an_acknowledgement_counts_for_its_own_message_only_and_once() {
        let now = Instant::now();
        let mut flight = line(3, now);
        assert!(flight.acknowledged(2, now).is_some());
        assert_eq!(flight.acknowledged(2, now), None, "a second time");
        assert_eq!(flight.acknowledged(9, now), None, "never sent");
        assert_eq!((flight.len(), flight.bytes()), (3, 30), "the first is still on its way");
        assert!(flight.acknowledged(1, now).is_some());
        assert_eq!((flight.len(), flight.bytes()), (1, 10));
    }

    #[test]
    fn a_message_that_was_not_written_yet_cannot_be_acknowledged() {
        let now = Instant::now();
        let mut flight = Flight::default();
        flight.sent(Freight::State, 10, now);
        assert_eq!(flight.acknowledged(1, now), None);
        assert!(flight.numbered(1));
        assert!(!flight.numbered(2), "there is no second message");
        assert!(flight.acknowledged(1, now).is_some());
        assert!(flight.is_empty());
    }

    #[test]
    fn standing_still_begins_anew_whenever_the_oldest_message_arrives() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut flight = line(3, start);
        assert_eq!(flight.standing_still(at(5)), Duration::from_secs(5));
        flight.acknowledged(1, at(5));
        assert_eq!(flight.standing_still(at(6)), Duration::from_secs(1));
        flight.acknowledged(3, at(7));
        assert_eq!(flight.standing_still(at(8)), Duration::from_secs(3), "the second is still the oldest");
        flight.acknowledged(2, at(8));
        assert_eq!(flight.standing_still(at(9)), Duration::ZERO);
    }

    #[test]
    fn the_time_of_a_message_is_from_handing_it_over_to_its_acknowledgement() {
        let start = Instant::now();
        let mut flight = line(1, start);
        let arrived = flight.acknowledged(1, start + Duration::from_millis(30)).unwrap();
        assert_eq!(arrived.after, Duration::from_millis(30));
    }

    #[test]
    fn the_backlog_has_room_again_as_soon_as_its_own_messages_arrive() {
        let now = Instant::now();
        let mut flight = Flight::default();
        flight.sent(Freight::State, 10, now);
        flight.sent(backlog(false), 200, now);
        flight.sent(backlog(true), 3_000, now);
        (1..=3).for_each(|id| assert!(flight.numbered(id)));
        assert_eq!((flight.backlog_bytes(), flight.has_lonely()), (3_200, true));
        assert!(flight.acknowledged(3, now).is_some());
        assert_eq!((flight.backlog_bytes(), flight.has_lonely(), flight.len()), (200, false, 3));
    }
}
