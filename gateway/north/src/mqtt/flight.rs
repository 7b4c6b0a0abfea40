//! The messages that are on their way and not yet acknowledged. Pure.

use std::{collections::VecDeque, time::Duration};

use tidegate_mqtt::PublishId;
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
    /// What is said beside rows.
    Announcement,
    /// A schema, which the blocks behind it need.
    Schema,
    /// Something from the store.
    Deliveries {
        /// What it carries; all of it arrives with the acknowledgement of the message, or with those of all its parts.
        carried: Vec<Carried>,
        /// How many messages carry the same.
        parts: usize,
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
/// A message that was acknowledged before an older one stays in line until that one is acknowledged too, so that the line tells
/// which one is the oldest, and is never longer than the window.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    line: VecDeque<Message>,
    /// The number of the first message in line. They are numbered as they are published.
    first: u64,
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
}

impl Freight {
    /// What it is about; `None` when nothing from the store is in it. `bytes`: those of its payload.
    pub(crate) fn subject(&self, bytes: usize) -> Option<Subject> {
        let Freight::Deliveries { carried, divisible, .. } = self else { return None };
        let spans = carried.iter().map(|carried| carried.span).collect();
        Some(Subject { spans, divisible: *divisible, bytes })
    }

    fn is_backlog(&self) -> bool {
        matches!(self, Freight::Deliveries { lane: LaneKind::Backlog, .. })
    }

    fn is_alone(&self) -> bool {
        matches!(self, Freight::Deliveries { alone: true, .. })
    }
}

impl Flight {
    /// A message was handed to the connection, as the next in number.
    pub(crate) fn sent(&mut self, freight: Freight, bytes: usize, now: Instant) {
        self.oldest_since.get_or_insert(now);
        self.bytes += bytes;
        if freight.is_backlog() {
            self.backlog += 1;
            self.backlog_bytes += bytes;
        }
        self.alone += usize::from(freight.is_alone());
        self.line.push_back(Message { freight: Some(freight), bytes, sent: now });
    }

    /// The broker acknowledged this message. `None` when it is not on its way.
    pub(crate) fn acknowledged(&mut self, id: PublishId, now: Instant) -> Option<Arrived> {
        let place = usize::try_from(id.0.checked_sub(self.first)?).ok()?;
        let message = self.line.get_mut(place)?;
        let freight = message.freight.take()?;
        let (bytes, after) = (message.bytes, now.saturating_duration_since(message.sent));
        if freight.is_backlog() {
            self.backlog = self.backlog.saturating_sub(1);
            self.backlog_bytes = self.backlog_bytes.saturating_sub(bytes);
        }
        self.alone = self.alone.saturating_sub(usize::from(freight.is_alone()));
        while let Some(oldest) = self.line.pop_front_if(|message| message.freight.is_none()) {
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
            self.first += 1;
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
        oldest.freight.as_ref()?.subject(oldest.bytes)
    }

    /// Whether the oldest message is this.
    pub(crate) fn oldest_is(&self, freight: &Freight) -> bool {
        self.line.front().is_some_and(|oldest| oldest.freight.as_ref() == Some(freight))
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
        Freight::Deliveries { carried, parts: 1, lane, divisible: false, alone, left_out: None }
    }

    /// A line of messages, of which the first is number 0.
    fn line(messages: u16, now: Instant) -> Flight {
        let mut flight = Flight::default();
        (0..messages).for_each(|_| flight.sent(Freight::State, 10, now));
        flight
    }

    /// The message of this number has been acknowledged.
    fn acknowledge(flight: &mut Flight, number: u64, now: Instant) -> Option<Arrived> {
        flight.acknowledged(PublishId(number), now)
    }

    #[test]
    fn an_acknowledgement_counts_for_its_own_message_only_and_once() {
        let now = Instant::now();
        let mut flight = line(3, now);
        assert!(acknowledge(&mut flight, 1, now).is_some());
        assert_eq!(acknowledge(&mut flight, 1, now), None, "a second time");
        assert_eq!(acknowledge(&mut flight, 8, now), None, "never sent");
        assert_eq!((flight.len(), flight.bytes()), (3, 30), "the first is still on its way");
        assert!(acknowledge(&mut flight, 0, now).is_some());
        assert_eq!((flight.len(), flight.bytes()), (1, 10));
    }

    #[test]
    fn standing_still_begins_anew_whenever_the_oldest_message_arrives() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut flight = line(3, start);
        assert_eq!(flight.standing_still(at(5)), Duration::from_secs(5));
        acknowledge(&mut flight, 0, at(5));
        assert_eq!(flight.standing_still(at(6)), Duration::from_secs(1));
        acknowledge(&mut flight, 2, at(7));
        assert_eq!(flight.standing_still(at(8)), Duration::from_secs(3), "the second is still the oldest");
        acknowledge(&mut flight, 1, at(8));
        assert_eq!(flight.standing_still(at(9)), Duration::ZERO);
    }

    #[test]
    fn the_time_of_a_message_is_from_handing_it_over_to_its_acknowledgement() {
        let start = Instant::now();
        let mut flight = line(1, start);
        let arrived = acknowledge(&mut flight, 0, start + Duration::from_millis(30)).unwrap();
        assert_eq!(arrived.after, Duration::from_millis(30));
    }

    #[test]
    fn the_backlog_has_room_again_as_soon_as_its_own_messages_arrive() {
        let now = Instant::now();
        let mut flight = Flight::default();
        flight.sent(Freight::State, 10, now);
        flight.sent(backlog(false), 200, now);
        flight.sent(backlog(true), 3_000, now);
        assert_eq!((flight.backlog_bytes(), flight.has_lonely()), (3_200, true));
        assert!(acknowledge(&mut flight, 2, now).is_some());
        assert_eq!((flight.backlog_bytes(), flight.has_lonely(), flight.len()), (200, false, 3));
    }
}
