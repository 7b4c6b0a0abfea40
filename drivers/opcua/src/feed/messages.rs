//! What the server says by itself, message by message.

use std::time::Instant;

use opcua::types::{
    DataChangeNotification, EventNotificationList, MonitoredItemNotification, NotificationMessage, ObjectTypeId,
    StatusChangeNotification, StatusCode, SubscriptionAcknowledgement, Variant,
};

use super::{Feed, Job, PAUSE, Published, Thing};
use crate::{
    events,
    fault::Fault,
    rows::{Items, index},
    status,
    subscription::{Sequence, State},
};

/// Acknowledgements that wait at most. A server drops what it cannot keep.
const MOST_ACKNOWLEDGEMENTS: usize = 10_000;

impl Feed {
    /// Takes the answer to a question for messages.
    pub(super) fn published(&mut self, answer: Published, now: Instant, items: &Items<'_>) -> Result<(), Fault> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(Fault::Refused(StatusCode::BadTooManyPublishRequests)) => {
                self.most_publishes = self.asked.max(1);
                // One that does not even keep the only one is not asked without end.
                if self.asked == 0 {
                    self.pause = Some(now + PAUSE);
                }
                return Ok(());
            }
            Err(Fault::Refused(StatusCode::BadNoSubscription)) => {
                self.pause = Some(now + PAUSE);
                self.all_gone();
                return Ok(());
            }
            // A question that the server kept for too long is asked again.
            Err(Fault::Silent) | Err(Fault::Refused(StatusCode::BadTimeout)) => return Ok(()),
            Err(Fault::Refused(status)) => {
                tracing::debug!(%status, "a question for messages was refused");
                self.pause = Some(now + PAUSE);
                return Ok(());
            }
            Err(fault) => return Err(fault),
        };
        let Some(of) = self.by_id(answer.subscription_id) else {
            // One that was given up while it was being made.
            self.later(Job::Drop(answer.subscription_id));
            return Ok(());
        };
        let Some(subscription) = self.subscriptions.get_mut(of) else { return Ok(()) };
        subscription.heard(now);
        if !answer.more_notifications {
            subscription.has_caught_up = true;
        }
        let message = answer.notification_message;
        if message.notification_data.as_ref().is_none_or(Vec::is_empty) {
            // A sign of life has the number of the next message and does not use it up. Those before it that have not come were
            // sent to a connection that is no more.
            let sequence = subscription.sign_of_life(message.sequence_number);
            self.catch_up(of, sequence, items);
            return Ok(());
        }
        let number = message.sequence_number;
        let sequence = subscription.message(number);
        let has_gone_back = subscription.has_gone_back(sequence);
        self.acknowledge(answer.subscription_id, number);
        if has_gone_back {
            tracing::info!(
                number,
                "the server counts the messages of a subscription from another number on; it is made anew"
            );
            self.make_anew_slowly(of, now);
            return Ok(());
        }
        self.catch_up(of, sequence, items);
        if sequence != Sequence::Old {
            self.notify(of, message, now, items);
        }
        Ok(())
    }

    /// Asks for messages that were missed, and then for what is now: the last that is said of an item has to be the newest.
    fn catch_up(&mut self, of: usize, sequence: Sequence, items: &Items<'_>) {
        match sequence {
            Sequence::Next | Sequence::Old => {}
            Sequence::Gap => {
                self.may_have_missed(of);
                self.later(Job::Missed(of));
                self.read_slots(of, items);
            }
            Sequence::Hole => {
                self.has_missed(of);
                self.read_slots(of, items);
                self.refresh_events(of, items);
            }
        }
    }

    /// Reads everything that a subscription is about.
    fn read_slots(&mut self, of: usize, items: &Items<'_>) {
        let slots = self.subscriptions.get(of).map(|subscription| subscription.slots.clone());
        self.read_all(&slots.unwrap_or_default(), items);
    }

    /// The server has no subscription of ours: all that we believed in are made anew.
    fn all_gone(&mut self) {
        for index in 0..self.subscriptions.len() {
            let Some(subscription) = self.subscriptions.get_mut(index) else { continue };
            if subscription.state == State::Live {
                subscription.id = None;
                self.make_anew(index);
            }
        }
    }

    /// Everything about a group of events has been said, once it was begun.
    pub(super) fn settle(&mut self, slot: usize) {
        let was_told = self.telling.remove(&slot);
        let was_asked = self.settling.iter().any(|(of, _)| *of == slot);
        if was_told || was_asked {
            self.settling.retain(|(of, _)| *of != slot);
            self.rows.settled(slot);
        }
    }

    /// The server need not keep the message any longer.
    pub(super) fn acknowledge(&mut self, subscription_id: u32, sequence_number: u32) {
        if self.acknowledgements.len() < MOST_ACKNOWLEDGEMENTS {
            self.acknowledgements.push(SubscriptionAcknowledgement { subscription_id, sequence_number });
        }
    }

    /// A node that is gone may come back, and what watches it stay blind: it is asked for again slowly, until it has a value.
    fn park_gone(&mut self, values: &[MonitoredItemNotification], now: Instant) {
        for value in values {
            let gone = value.value.status.is_some_and(|code| status::same(code, StatusCode::BadNodeIdUnknown));
            if !gone && self.parked.is_empty() {
                continue;
            }
            let Some(number) = index(value.client_handle) else { continue };
            match gone {
                true => self.parked.add(Thing::Item(number), now),
                false => self.parked.remove(Thing::Item(number)),
            }
        }
    }

    /// Takes an event, which may only frame others.
    fn take_event(&mut self, of: usize, slot: usize, fields: Vec<Variant>) {
        match events::frame(&fields) {
            Some(ObjectTypeId::RefreshStartEventType) => {
                self.telling.insert(slot);
                self.rows.anew(slot);
            }
            Some(ObjectTypeId::RefreshEndEventType) => self.settle(slot),
            Some(ObjectTypeId::RefreshRequiredEventType) => self.later(Job::Refresh(of, slot)),
            Some(_) => {
                tracing::warn!("the server had more events than it could keep; its conditions are asked for once more");
                self.later(Job::Refresh(of, slot));
                self.rows.event(slot, fields);
            }
            None => self.rows.event(slot, fields),
        }
    }

    /// Takes what a message holds.
    pub(super) fn notify(&mut self, of: usize, message: NotificationMessage, now: Instant, items: &Items<'_>) {
        let mut values: Vec<MonitoredItemNotification> = Vec::new();
        for data in message.notification_data.into_iter().flatten() {
            if data.inner_is::<DataChangeNotification>() {
                let Some(change) = data.into_inner_as::<DataChangeNotification>() else { continue };
                let changed = change.monitored_items.unwrap_or_default();
                if values.is_empty() {
                    values = changed;
                } else {
                    values.extend(changed);
                }
            } else if data.inner_is::<EventNotificationList>() {
                let Some(list) = data.into_inner_as::<EventNotificationList>() else { continue };
                for event in list.events.into_iter().flatten() {
                    let fields = event.event_fields.unwrap_or_default();
                    let Some(slot) = Feed::event_slot(event.client_handle) else { continue };
                    self.take_event(of, slot, fields);
                }
            } else if let Some(change) = data.inner_as::<StatusChangeNotification>()
                && change.status.is_bad()
            {
                tracing::info!(status = %change.status, "the server has ended a subscription; it is made anew");
                if let Some(subscription) = self.subscriptions.get_mut(of) {
                    subscription.id = None;
                }
                self.make_anew(of);
            }
        }
        if !values.is_empty() {
            self.park_gone(&values, now);
            self.rows.values(items, values, false);
        }
        if let Some(subscription) = self.subscriptions.get_mut(of) {
            subscription.heard(now);
        }
    }
}
