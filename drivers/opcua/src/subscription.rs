//! One subscription as the server keeps it, and whether it still speaks.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use opcua::types::{
    AttributeId, CreateSubscriptionRequest, CreateSubscriptionResponse, DataChangeFilter, DataChangeTrigger,
    DeadbandType, ExtensionObject, MonitoredItemCreateRequest, MonitoringMode, MonitoringParameters, NodeId,
};

use crate::{
    plan::{GroupTags, Item},
    service::attribute,
};

/// A subscription with nothing to say says so this often, as long as its interval is not longer.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// A subscription that nobody listens to lives so long: a connection that is back by then finds it.
const LIFETIME: Duration = Duration::from_secs(120);
/// What a busy server may be late.
const LATE: Duration = Duration::from_secs(2);
/// Items of one subscription; of more, several are made.
pub(crate) const MOST_ITEMS: usize = 20_000;
/// Values of one message, so that no message grows beyond what is taken.
const MOST_VALUES: u32 = 20_000;
/// The client's number of the item of events of a slot begins here; below are the numbers of items of data.
pub(crate) const EVENTS: u32 = 1 << 31;

/// How far a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It is being made.
    Making,
    /// The server has it.
    Live,
    /// The server does not want it; its groups are polled.
    Refused,
}

/// One subscription of a session.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) id: Option<u32>,
    pub(crate) state: State,
    pub(crate) interval: Duration,
    /// Indices of the slots whose values it brings.
    pub(crate) slots: Vec<usize>,
    /// Whether the server has nothing more to say of what was while nobody listened.
    pub(crate) has_caught_up: bool,
    /// How long it may be silent.
    patience: Duration,
    heard: Option<Instant>,
    /// The number of the next message.
    sequence: Option<u32>,
    /// Numbers before that one whose messages have not come and are asked for again.
    missed: BTreeSet<u32>,
    /// Messages in a row that the server sent and that had been seen.
    old: u32,
}

/// What the number of a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// It is the next one.
    Next,
    /// It has been seen.
    Old,
    /// Some before it are missing; they are to be asked for again.
    Gap,
    /// More are missing before it than can be asked for again.
    Hole,
}

/// The number of a subscription's first message.
const FIRST: u32 = 1;
/// So many old messages in a row are none that were sent twice: the server counts from another number on.
const MOST_OLD: u32 = 3;
/// Messages that are asked for again at most; with more missing, everything is read instead.
const MOST_MISSED: u32 = 64;

impl Subscription {
    /// One that has to be made.
    pub(crate) fn new(interval: Duration, slots: Vec<usize>) -> Subscription {
        Subscription {
            id: None,
            state: State::Making,
            interval,
            slots,
            has_caught_up: false,
            patience: KEEP_ALIVE + LATE,
            heard: None,
            sequence: None,
            missed: BTreeSet::new(),
            old: 0,
        }
    }

    /// Forgets what the server knows; it is made again.
    pub(crate) fn begin_anew(&mut self) {
        *self = Subscription::new(self.interval, std::mem::take(&mut self.slots));
    }

    /// The request that makes it.
    pub(crate) fn request(&self) -> CreateSubscriptionRequest {
        let keep_alive = times(KEEP_ALIVE, self.interval).max(1);
        CreateSubscriptionRequest {
            requested_publishing_interval: millis(self.interval),
            requested_max_keep_alive_count: keep_alive,
            requested_lifetime_count: times(LIFETIME, self.interval).max(keep_alive.saturating_mul(3)),
            max_notifications_per_publish: MOST_VALUES,
            publishing_enabled: true,
            priority: 0,
            request_header: Default::default(),
        }
    }

    /// The server has it now, with what it made of the request.
    pub(crate) fn made(&mut self, answer: &CreateSubscriptionResponse, now: Instant) {
        self.id = Some(answer.subscription_id);
        self.state = State::Live;
        self.sequence = None;
        self.heard = Some(now);
        let interval = Duration::try_from_secs_f64(answer.revised_publishing_interval.max(0.0) / 1000.0);
        let interval = interval.unwrap_or(self.interval);
        let silence = interval.saturating_mul(answer.revised_max_keep_alive_count.max(1));
        self.patience = silence.saturating_add(LATE.max(interval));
        if interval > self.interval {
            tracing::info!(wanted = ?self.interval, revised = ?interval, "the server publishes less often than wanted");
        }
    }

    /// It has been taken up by a new connection.
    pub(crate) fn resumed(&mut self, now: Instant) {
        self.has_caught_up = false;
        self.heard = Some(now);
    }

    /// The server has sent something of it.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// Nobody listened for so long, as while polls were made: that it was not heard of says nothing.
    pub(crate) fn not_listened_to(&mut self, time: Duration) {
        self.heard = self.heard.map(|heard| heard + time);
    }

    /// Whether it has been silent for longer than it may.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        let silent = |heard: Instant| now.saturating_duration_since(heard) > self.patience;
        self.state == State::Live && self.heard.is_some_and(silent)
    }

    /// Takes the number of a message with something in it, sent or sent again: each is taken once.
    pub(crate) fn message(&mut self, number: u32) -> Sequence {
        if self.missed.remove(&number) {
            return Sequence::Next;
        }
        let sequence = self.jump(number);
        if sequence != Sequence::Old {
            self.sequence = Some(after(number));
        }
        sequence
    }

    /// The server has sent a message whose number said that. True when its numbers have gone back, and everything it says from now on
    /// would be taken for old.
    pub(crate) fn has_gone_back(&mut self, sequence: Sequence) -> bool {
        self.old = if sequence == Sequence::Old { self.old + 1 } else { 0 };
        self.old >= MOST_OLD
    }

    /// Takes the number of the next message from a sign of life.
    pub(crate) fn sign_of_life(&mut self, next: u32) -> Sequence {
        let sequence = self.jump(next);
        if sequence != Sequence::Old {
            self.sequence = Some(next);
        }
        sequence
    }

    /// What it means that this number has come. Before anything has, it is the first (Part 4 §5.14.1.1), whatever some servers make of
    /// that.
    fn jump(&mut self, number: u32) -> Sequence {
        let expected = self.sequence.unwrap_or(FIRST.min(number));
        let ahead = number.wrapping_sub(expected);
        match ahead {
            0 => Sequence::Next,
            1..=MOST_MISSED => {
                let numbers = std::iter::successors(Some(expected), |number| Some(after(*number)));
                self.missed.extend(numbers.take_while(|missed| *missed != number));
                Sequence::Gap
            }
            _ if ahead > u32::MAX / 2 => Sequence::Old,
            _ => Sequence::Hole,
        }
    }

    /// The first message that is missing.
    pub(crate) fn first_missed(&self) -> Option<u32> {
        self.missed.first().copied()
    }

    /// A message that is missing is not to be had any more.
    pub(crate) fn give_up(&mut self, number: u32) {
        self.missed.remove(&number);
    }

    /// The number of the next message, once one has come.
    pub(crate) fn next_message(&self) -> Option<u32> {
        self.sequence
    }
}

/// The number behind that one; 0 is none.
fn after(number: u32) -> u32 {
    if number == u32::MAX { 1 } else { number + 1 }
}

/// The request that watches a node. `number` comes back with each of its values.
pub(crate) fn item_request(
    number: u32,
    node: &NodeId,
    item: &Item,
    interval: Duration,
    filtered: bool,
) -> MonitoredItemCreateRequest {
    let filter = item.deadband.filter(|_| filtered).map_or_else(ExtensionObject::null, |deadband| {
        ExtensionObject::from_message(DataChangeFilter {
            trigger: DataChangeTrigger::StatusValue,
            deadband_type: deadband_type(DeadbandType::Absolute),
            deadband_value: deadband,
        })
    });
    MonitoredItemCreateRequest {
        item_to_monitor: attribute(node, AttributeId::Value),
        monitoring_mode: MonitoringMode::Reporting,
        requested_parameters: MonitoringParameters {
            client_handle: number,
            sampling_interval: millis(item.sampling.unwrap_or(interval)),
            filter,
            queue_size: item.queue,
            discard_oldest: true,
        },
    }
}

/// The request that watches for events.
pub(crate) fn event_request(slot: u32, node: &NodeId, tags: &GroupTags) -> MonitoredItemCreateRequest {
    MonitoredItemCreateRequest {
        item_to_monitor: attribute(node, AttributeId::EventNotifier),
        monitoring_mode: MonitoringMode::Reporting,
        requested_parameters: MonitoringParameters {
            client_handle: EVENTS | slot,
            sampling_interval: 0.0,
            filter: ExtensionObject::from_message(crate::events::filter(tags)),
            queue_size: EVENT_QUEUE,
            discard_oldest: true,
        },
    }
}

/// Events that the server keeps between two messages; a trip of a plant brings hundreds at once.
const EVENT_QUEUE: u32 = 10_000;

#[expect(clippy::as_conversions, reason = "the enum has the numbers of the standard and no other conversion")]
fn deadband_type(kind: DeadbandType) -> u32 {
    kind as u32
}

/// The number of intervals in a time, rounded up.
fn times(time: Duration, interval: Duration) -> u32 {
    let interval = interval.max(Duration::from_millis(1)).as_millis();
    u32::try_from(time.as_millis().div_ceil(interval)).unwrap_or(u32::MAX)
}

/// A time as OPC UA counts it.
fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_numbers_of_messages_is_noticed_and_an_old_one_ignored() {
        let mut subscription = Subscription::new(Duration::from_secs(1), vec![0]);
        assert_eq!(subscription.sign_of_life(2), Sequence::Gap, "the first went to nobody");
        assert_eq!(subscription.message(1), Sequence::Next);
        let mut subscription = Subscription::new(Duration::from_secs(1), vec![0]);
        assert_eq!(subscription.message(0), Sequence::Next, "some servers begin so");
        subscription.sequence = Some(7);
        assert_eq!(subscription.message(7), Sequence::Next);
        assert_eq!(subscription.message(8), Sequence::Next);
        assert_eq!(subscription.message(11), Sequence::Gap);
        assert_eq!(subscription.message(8), Sequence::Old);
        assert_eq!(subscription.message(12), Sequence::Next);
        assert_eq!(subscription.sign_of_life(13), Sequence::Next);
        assert_eq!(subscription.sign_of_life(15), Sequence::Gap, "two were sent to a connection that is no more");
        assert_eq!(subscription.message(15), Sequence::Next);
        assert_eq!(subscription.message(500), Sequence::Hole);
        subscription.sequence = Some(u32::MAX);
        assert_eq!(subscription.message(u32::MAX), Sequence::Next);
        assert_eq!(subscription.message(1), Sequence::Next, "0 is left out");
    }

    #[test]
    fn a_message_that_comes_again_is_taken_once() {
        let mut subscription = Subscription::new(Duration::from_secs(1), vec![0]);
        subscription.sequence = Some(7);
        assert_eq!(subscription.message(7), Sequence::Next);
        assert_eq!(subscription.message(10), Sequence::Gap);
        assert_eq!(subscription.first_missed(), Some(8));
        assert_eq!(subscription.message(9), Sequence::Next, "late, and not old");
        assert_eq!(subscription.message(9), Sequence::Old);
        assert_eq!(subscription.message(10), Sequence::Old, "asked for again although it had come meanwhile");
        subscription.give_up(8);
        assert_eq!((subscription.first_missed(), subscription.next_message()), (None, Some(11)));
        subscription.sequence = Some(u32::MAX);
        assert_eq!(subscription.message(2), Sequence::Gap);
        let missed: Vec<u32> = subscription.missed.into_iter().collect();
        assert_eq!(missed, [1, u32::MAX]);
    }

    #[test]
    fn numbers_that_go_back_are_not_taken_for_single_messages_that_come_twice() {
        let mut subscription = Subscription::new(Duration::from_secs(1), vec![0]);
        subscription.sequence = Some(70);
        let mut sent = |number| {
            let sequence = subscription.message(number);
            subscription.has_gone_back(sequence)
        };
        assert_eq!([70, 69, 70, 71, 70, 71, 1].map(&mut sent), [false, false, false, false, false, false, true]);
        subscription.begin_anew();
        let sequence = subscription.message(1);
        assert!(!subscription.has_gone_back(sequence));
    }

    #[test]
    fn a_subscription_may_be_silent_as_long_as_the_server_said() {
        let now = Instant::now();
        let mut subscription = Subscription::new(Duration::from_secs(1), vec![0]);
        assert!(!subscription.is_silent(now + Duration::from_secs(60)), "it is only being made");
        let answer = CreateSubscriptionResponse {
            subscription_id: 5,
            revised_publishing_interval: 500.0,
            revised_max_keep_alive_count: 6,
            ..CreateSubscriptionResponse::default()
        };
        subscription.made(&answer, now);
        assert!(!subscription.is_silent(now + Duration::from_secs(5)));
        assert!(subscription.is_silent(now + Duration::from_millis(5001)));
        subscription.not_listened_to(Duration::from_secs(6));
        assert!(!subscription.is_silent(now + Duration::from_secs(11)));
        assert!(subscription.is_silent(now + Duration::from_millis(11_001)));
    }
}
