//! Messages of rows, and handing them over.

use std::{collections::VecDeque, time::Duration};

use tidegate_mqtt::{Failure, Message as Mqtt, Refused};
use tidegate_sparkplug::{Message, Topic, Verb};
use tidegate_store::{Delivery, Item};
use tokio::time::Instant;

use super::{Out, Session};
use crate::{
    mqtt::{
        share::{LaneKind, Load},
        suspicion::Span,
    },
    sparkplug::{
        flight::Batch,
        now,
        suspicion::{Sent, Subject, Suspicion},
    },
};

/// Rows that are put into messages together take about so many bytes.
const TOGETHER: usize = 32 * 1024;
/// What is suspected waits for so long while other rows are sent; then they wait for it.
const HELD: Duration = Duration::from_millis(500);
/// Live rows wait for so long for the backlog to be read, when there may be something in it that is before them.
const SOUGHT: Duration = Duration::from_secs(5);
/// Why a row is missing that the broker closes the connection over.
const REFUSED: &str = "refused";

impl Session<'_> {
    pub(super) fn queue(&mut self, messages: Vec<Message>) {
        self.waiting += messages.iter().map(|message| message.payload.len()).sum::<usize>();
        let is_data = |topic: &str| matches!(Topic::parse(topic), Some(Topic::Node { verb, .. } | Topic::Device { verb, .. }) if verb == Verb::Data);
        self.out.extend(messages.into_iter().map(|message| match is_data(&message.topic) {
            true => Out::Rows(message),
            false => Out::Message(message),
        }));
    }

    pub(super) fn hand_over(&mut self) -> Result<(), Failure> {
        while let Some(next) = self.out.pop_front() {
            if !self.may_follow(&next) {
                self.out.push_front(next);
                return Ok(());
            }
            let (message, is_rows) = match next {
                Out::Mark(batch) => {
                    self.parted = false;
                    self.flight.sent(batch, Instant::now());
                    continue;
                }
                Out::Message(message) => (message, false),
                Out::Rows(message) => (message, true),
            };
            let sent = Mqtt::new(message.topic.as_str(), message.payload.clone()).unacknowledged();
            match self.connection.publish(sent) {
                Ok(_) => {
                    self.waiting = self.waiting.saturating_sub(message.payload.len());
                    match is_rows {
                        true => self.parted = true,
                        false => self.follow(message),
                    }
                }
                Err(Refused::NoRoom) => {
                    self.out.push_front(if is_rows { Out::Rows(message) } else { Out::Message(message) });
                    return Ok(());
                }
                Err(refused) => self.left_out(&message, &refused),
            }
        }
        Ok(())
    }

    /// A birth or a death is on its way.
    fn follow(&mut self, message: Message) {
        let bytes = message.payload.len();
        let sent = Sent { subject: Subject::Message(message.topic), bytes, largest: bytes };
        let suspect = self.around.suspicion.is_suspect(&sent.subject);
        self.flight.sent(Batch { tickets: Vec::new(), bytes, sent: vec![sent], suspect }, Instant::now());
    }

    /// Whether it may be sent now. What the broker may close the connection over is alone on its way, as much of it as may go together.
    fn may_follow(&self, next: &Out) -> bool {
        let Some(group) = self.around.suspicion.group() else { return true };
        let (bytes, suspect) = match next {
            Out::Message(message) => {
                let subject = Subject::Message(message.topic.clone());
                (message.payload.len(), self.around.suspicion.is_suspect(&subject))
            }
            Out::Rows(message) => (message.payload.len(), self.next_mark().is_some_and(|batch| batch.suspect)),
            Out::Mark(_) => return true,
        };
        let doubts = self.flight.doubts();
        match (suspect, doubts.suspects) {
            (true, suspects) => !doubts.others && suspects.is_none_or(|suspects| suspects + bytes <= group),
            (false, suspects) => suspects.is_none(),
        }
    }

    /// The rows whose messages are handed over first.
    fn next_mark(&self) -> Option<&Batch> {
        self.out.iter().find_map(|out| match out {
            Out::Mark(batch) => Some(batch),
            Out::Message(_) | Out::Rows(_) => None,
        })
    }

    /// What has been handed over and is not known to have been read.
    pub(super) fn unread(&self) -> Vec<Sent> {
        let parted = self.next_mark().filter(|_| self.parted).into_iter().flat_map(|batch| &batch.sent);
        self.flight.unread().chain(parted).cloned().collect()
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

    /// Whether live rows wait, as rows of the backlog that were on their way when the connection was closed are before them.
    fn holds_live(&mut self, now: Instant) -> bool {
        if !self.backlog.is_empty() {
            self.looked = now;
        }
        let suspicion = &*self.around.suspicion;
        suspicion.has_first()
            && match self.backlog.is_empty() {
                true => now.saturating_duration_since(self.looked) < SOUGHT,
                false => self.backlog.iter().any(|delivery| suspicion.is_first(&subject(delivery))),
            }
    }

    /// Of each lane the size of the next delivery that may be sent now. What is suspected waits until nothing else is on its way; everything
    /// else goes on meanwhile, for a moment.
    fn fronts(&mut self, holds_live: bool, now: Instant) -> (Option<usize>, Option<usize>) {
        let (live, backlog) = (self.live.front().filter(|_| !holds_live), self.backlog.front());
        let suspicion = &*self.around.suspicion;
        if suspicion.group().is_none() {
            return (live.map(size), backlog.map(size));
        }
        let doubts = self.flight.doubts();
        let is_suspect = |delivery: &Delivery| suspicion.is_suspect(&subject(delivery));
        match doubts.others && [live, backlog].into_iter().flatten().any(is_suspect) {
            true => _ = self.held.get_or_insert(now),
            false => self.held = None,
        }
        let held = self.held.is_some_and(|since| now.saturating_duration_since(since) >= HELD);
        let may_go = |delivery: &&Delivery| {
            doubts.suspects.is_none() && if is_suspect(delivery) { !doubts.others } else { !held }
        };
        (live.filter(may_go).map(size), backlog.filter(may_go).map(size))
    }

    /// Makes messages of the next rows of the lane whose turn it is. False when there is nothing to be done now.
    pub(super) fn compose(&mut self) -> bool {
        if !self.around.node.may_publish() || !self.flight.has_room(self.around.window, self.waiting) {
            return false;
        }
        let time = Instant::now();
        let holds_live = self.holds_live(time);
        let (live, backlog) = self.fronts(holds_live, time);
        let lane = match backlog {
            // Its limits count that afterwards: live rows do not wait for them.
            Some(_) if holds_live => LaneKind::Backlog,
            _ => match self.share.choose(live, backlog, time) {
                Some(lane) => lane,
                None => return false,
            },
        };
        let contested = live.is_some() && backlog.is_some();
        let queue = match lane {
            LaneKind::Live => &mut self.live,
            LaneKind::Backlog => &mut self.backlog,
        };
        let suspicion = &*self.around.suspicion;
        let suspect = queue.front().is_some_and(|delivery| suspicion.is_suspect(&subject(delivery)));
        let deliveries = together(queue, suspicion, suspect);
        let now = now(self.around.status);
        let (mut tickets, mut rows, mut values, mut out) = (Vec::new(), Vec::new(), 0, Vec::new());
        let mut sent: Vec<Sent> = Vec::new();
        for delivery in deliveries {
            tickets.push(delivery.ticket);
            add(&mut sent, &delivery);
            match delivery.item {
                Item::Row { row, .. } if self.around.suspicion.replaces(row.stream.id(), row.seq) => {
                    self.around.node.rows(&std::mem::take(&mut rows), lane == LaneKind::Backlog, now, &mut out);
                    self.around.node.gap(&row.stream, row.seq, row.seq, REFUSED, now, &mut out);
                    self.report_replaced(&row);
                }
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
        let largest = self.out.iter().map(|out| match out {
            Out::Rows(message) => message.payload.len(),
            Out::Message(_) | Out::Mark(_) => 0,
        });
        let largest = largest.max().unwrap_or(0);
        sent.iter_mut().for_each(|sent| sent.largest = largest);
        self.out.push_back(Out::Mark(Batch { tickets, bytes, sent, suspect }));
        true
    }
}

/// Takes what is sent together: about so many bytes, and of what is suspected what may go together.
fn together(queue: &mut VecDeque<Delivery>, suspicion: &Suspicion, suspect: bool) -> Vec<Delivery> {
    let group = suspicion.group();
    let (mut deliveries, mut gathered) = (Vec::new(), 0);
    while gathered < TOGETHER {
        let fits = |delivery: &mut Delivery| match group {
            None => true,
            Some(_) if deliveries.is_empty() => true,
            Some(group) => {
                suspicion.is_suspect(&subject(delivery)) == suspect && (!suspect || gathered + size(delivery) <= group)
            }
        };
        let Some(delivery) = queue.pop_front_if(fits) else { break };
        gathered += size(&delivery);
        deliveries.push(delivery);
    }
    deliveries
}

/// What a delivery is, for all connections.
fn subject(delivery: &Delivery) -> Subject {
    match &delivery.item {
        Item::Row { row, .. } => Subject::Rows(Span { stream: row.stream.id(), first: row.seq, last: row.seq }),
        Item::Gap { stream, from, to, .. } => Subject::Gap(Span { stream: stream.id(), first: *from, last: *to }),
        Item::Block { stream, .. } => Subject::Rows(Span { stream: stream.id(), first: 0, last: u64::MAX }),
    }
}

/// Notes that a delivery is sent. Rows of a stream follow each other.
fn add(sent: &mut Vec<Sent>, delivery: &Delivery) {
    let (bytes, new) = (size(delivery), subject(delivery));
    let same = |sent: &&mut Sent| match (&sent.subject, &new) {
        (Subject::Rows(one), Subject::Rows(other)) => one.stream == other.stream,
        _ => false,
    };
    match (sent.iter_mut().find(same), &new) {
        (Some(Sent { subject: Subject::Rows(span), bytes: all, .. }), Subject::Rows(other)) => {
            (span.first, span.last) = (span.first.min(other.first), span.last.max(other.last));
            *all += bytes;
        }
        _ => sent.push(Sent { subject: new, bytes, largest: 0 }),
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
