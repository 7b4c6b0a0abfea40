//! What has changed is told to the subscriptions.
//!
//! What the library (async-opcua 0.19) does with a value is worked around here:
//!
//! - A value that comes sooner than the interval of its item is kept and later sent with a time moved by the interval; of an item
//!   with the interval of its subscription (−1) every value gets the time of the first. So items sample at once, intervals are kept
//!   here, and where that cannot be (−1, after a change of the interval) the value goes without a source time rather than with a
//!   wrong one.
//! - Without a filter it compares values and no qualities, although the standard's default is both. Where only the quality is another
//!   one, an empty value with the new quality goes before.

use std::{collections::HashMap, time::Instant};

use opcua::{
    server::{MonitoredItemHandle, SubscriptionCache},
    types::{AttributeId, DataValue, DateTime, StatusCode, Variant},
};
use tidegate_model::Slot;
use tidegate_runtime::{TagInfo, TagSample};

use crate::{
    items::{GONE, Item, Items, What},
    node::{Node, Property, TagPlace},
    properties,
    space::Space,
    values,
};

/// Values for subscriptions, by the session that made them.
#[derive(Default)]
pub(crate) struct News {
    by_session: HashMap<u32, Vec<Told>>,
    count: u64,
}

struct Told {
    place: Option<TagPlace>,
    handle: MonitoredItemHandle,
    value: DataValue,
}

impl News {
    /// Notes that the tags of these items have gone.
    pub(crate) fn gone(&mut self, items: Vec<(u32, MonitoredItemHandle)>) {
        for (session, handle) in items {
            let value = DataValue { status: Some(GONE), ..DataValue::default() };
            self.by_session.entry(session).or_default().push(Told { place: None, handle, value });
        }
    }

    /// Looks at the groups that are monitored and notes what clients are to be told.
    pub(crate) fn look(&mut self, space: &Space, items: &mut Items, now: Instant) {
        let mut samples = Vec::new();
        for ((device, group), watched) in &mut items.groups {
            let Some(handle) = space.group(*device, *group) else { continue };
            let version = handle.version();
            if watched.version == Some(version) && !watched.waiting {
                continue;
            }
            watched.version = Some(version);
            watched.waiting = false;
            samples.clear();
            handle.latest_into(&mut samples);
            for (column, item) in &mut watched.items {
                let (Some(sample), Some(tag)) = (samples.get(*column), handle.tags().get(*column)) else { continue };
                if !item.is_news(sample) {
                    continue;
                }
                if item.due.is_some_and(|due| now < due) {
                    watched.waiting = true;
                    continue;
                }
                item.told_at(now);
                let place = TagPlace { device: *device, group: *group, column: *column };
                let told = self.by_session.entry(item.session).or_default();
                for value in item.values(tag, sample) {
                    self.count += 1;
                    told.push(Told { place: Some(place), handle: item.handle, value });
                }
                item.told = Some(sample.clone());
            }
        }
    }

    /// Hands everything to the subscriptions. Returns how many values that were, and the items that are not made yet.
    pub(crate) fn send(self, space: &Space, subscriptions: &SubscriptionCache) -> (u64, Vec<MonitoredItemHandle>) {
        let now = DateTime::now();
        let mut early = Vec::new();
        for (session, news) in self.by_session {
            let mut moved = Vec::new();
            if let Some(own) = subscriptions.get_session_subscriptions(session) {
                let mut own = own.lock();
                for mut told in news {
                    told.value.server_timestamp = Some(now);
                    let id = told.handle.monitored_item_id;
                    match own.get_mut(told.handle.subscription_id) {
                        Some(subscription) if subscription.contains_key(&id) => {
                            subscription.notify_data_value(&id, told.value, &now);
                        }
                        // The library makes the item after it was noted here.
                        Some(_) => early.push(told.handle),
                        None => moved.push(told),
                    }
                }
            } else {
                moved = news;
            }
            // Another session has taken the subscription over; only the library knows which.
            let mut notifier = subscriptions.data_notifier();
            for told in moved {
                let Some(id) = told.place.and_then(|place| Node::Tag(place).id(space)) else { continue };
                let Some(mut batch) = notifier.notify_for(&id, AttributeId::Value) else { continue };
                batch.data_value_to_item(DataValue { server_timestamp: Some(now), ..told.value }, &told.handle);
            }
        }
        (self.count, early)
    }
}

impl Item {
    /// Whether the client is to be told of this sample.
    fn is_news(&self, sample: &TagSample) -> bool {
        if self.disabled {
            return false;
        }
        let Some(told) = &self.told else { return true };
        (self.wants_times && source_time(told) != source_time(sample)) || !same(&told.slot, &sample.slot)
    }

    /// Notes that the client is told now.
    fn told_at(&mut self, now: Instant) {
        if self.interval.is_zero() {
            return;
        }
        // On from when it was due, so that a round that is late does not make the next one late too.
        let next = self.due.and_then(|due| due.checked_add(self.interval)).filter(|next| *next > now);
        self.due = next.or_else(|| now.checked_add(self.interval));
    }

    /// The value as the library has to be told it.
    fn values(&mut self, tag: &TagInfo, sample: &TagSample) -> Vec<DataValue> {
        let mut value = of(self.what, tag, sample);
        let before = self.told.as_ref().map(|told| of(self.what, tag, told));
        let sooner = before.as_ref().is_some_and(|before| match (before.source_timestamp, value.source_timestamp) {
            (Some(before), Some(now)) => milliseconds(now.ticks().saturating_sub(before.ticks())) < self.library_ms,
            _ => false,
        });
        if self.library_ms < 0.0 || sooner {
            value.source_timestamp = None;
        }
        let unseen = self.values_only
            && before.is_some_and(|before| before.value == value.value && before.status != value.status);
        if unseen && value.value.is_none() {
            self.odd = !self.odd;
        }
        if value.value.is_none() && self.odd {
            value.value = Some(Variant::Empty);
        }
        if unseen && value.value.is_some() && value.value != Some(Variant::Empty) {
            let first = DataValue { value: Some(Variant::Empty), source_timestamp: None, ..value.clone() };
            return vec![first, value];
        }
        vec![value]
    }
}

fn of(what: What, tag: &TagInfo, sample: &TagSample) -> DataValue {
    match what {
        What::Value => values::data_value(tag, sample),
        What::Text => DataValue {
            value: properties::value(tag, Property::ValueAsText, || Some(sample.clone())),
            status: Some(StatusCode::Good),
            source_timestamp: sample.time.map(values::date_time),
            ..DataValue::default()
        },
    }
}

fn source_time(sample: &TagSample) -> Option<tidegate_model::Timestamp> {
    sample.device_time.or(sample.time)
}

/// The same to the last bit.
fn same(one: &Slot, other: &Slot) -> bool {
    one.quality() == other.quality()
        && match (one.value(), other.value()) {
            (Some(one), Some(other)) => one.same_as(other),
            (one, other) => one.is_none() == other.is_none(),
        }
}

/// Ticks of 100 ns in milliseconds.
#[expect(clippy::as_conversions, reason = "there is no `From`; what is rounded is beyond 2^53 ticks, 28 years")]
fn milliseconds(ticks: i64) -> f64 {
    ticks as f64 / 10_000.0
}
