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

use std::{collections::HashMap, sync::Arc, time::Instant};

use opcua::{
    server::{MonitoredItemHandle, SessionSubscriptions, Subscription, SubscriptionCache},
    sync::Mutex,
    types::{DataValue, DateTime, StatusCode, Variant},
};
use tidegate_model::Slot;
use tidegate_runtime::{TagInfo, TagSample};

use crate::{
    fetches::Fetches,
    guests::Guests,
    items::{GONE, GroupKey, Item, Items, What},
    node::{Property, TagPlace},
    properties,
    space::Space,
    values,
};

/// One round over all items.
pub(crate) struct Round<'a> {
    pub(crate) space: &'a Space,
    pub(crate) subscriptions: &'a SubscriptionCache,
    pub(crate) guests: &'a Guests,
    pub(crate) now: Instant,
}

/// What a round has done.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Done {
    /// Values that were given to the library.
    pub(crate) values: u64,
    /// Values that took the place of one that was not fetched.
    pub(crate) overflows: u64,
}

/// A new sample of an item.
struct News {
    key: GroupKey,
    at: usize,
    sample: TagSample,
}

impl Round<'_> {
    /// Tells clients that the tags of these items have gone.
    pub(crate) fn gone(&self, items: &mut Items, gone: Vec<MonitoredItemHandle>) {
        let now = DateTime::now();
        for handle in gone {
            let Some(fetches) = items.subscriptions.get_mut(&handle.subscription_id) else { continue };
            let value = DataValue { status: Some(GONE), server_timestamp: Some(now), ..DataValue::default() };
            let id = handle.monitored_item_id;
            self.with(handle.subscription_id, fetches, |_, subscription| {
                subscription.notify_data_value(&id, value, &now)
            });
        }
    }

    /// Looks at the groups that are monitored and tells clients what they are to be told.
    pub(crate) fn run(&self, items: &mut Items) -> Done {
        self.fetched(items);
        let mut done = Done::default();
        for (subscription, news) in self.look(items) {
            let Items { groups, subscriptions, .. } = items;
            let Some(fetches) = subscriptions.get_mut(&subscription) else { continue };
            let now = DateTime::now();
            self.with(subscription, fetches, |fetches, subscription| {
                for News { key, at, sample } in news {
                    let Some(watched) = groups.get_mut(&key) else { continue };
                    let Some((column, item)) = watched.items.get_mut(at) else { continue };
                    let place = TagPlace { device: key.0, group: key.1, column: *column };
                    let Some(tag) = self.space.tag(place) else { continue };
                    match self.tell(fetches, subscription, (key, tag), (item, sample), &now) {
                        Some(told) => {
                            done.values += told.values;
                            done.overflows += told.overflows;
                        }
                        // The library makes the item after it was noted here.
                        None => watched.look_again(self.now),
                    }
                }
            });
        }
        done
    }

    /// Sees which subscriptions have been fetched from, and whose values are to go on.
    fn fetched(&self, items: &mut Items) {
        let Items { groups, subscriptions, .. } = items;
        for (id, fetches) in subscriptions {
            if fetches.waits() {
                self.with(*id, fetches, |fetches, subscription| fetches.look(subscription, self.now));
            }
            for key in fetches.take_due(self.now).into_iter().flatten() {
                if let Some(watched) = groups.get_mut(&key) {
                    watched.look_again(self.now);
                }
            }
        }
    }

    /// What is new, by subscription.
    fn look(&self, items: &mut Items) -> HashMap<u32, Vec<News>> {
        let mut news: HashMap<u32, Vec<News>> = HashMap::new();
        let mut samples = Vec::new();
        let Items { groups, subscriptions, .. } = items;
        for (key, watched) in groups {
            let Some(handle) = self.space.group(key.0, key.1) else { continue };
            let version = handle.version();
            if watched.version == Some(version) && watched.again.is_none_or(|again| self.now < again) {
                continue;
            }
            watched.version = Some(version);
            watched.again = None;
            samples.clear();
            handle.latest_into(&mut samples);
            let mut again: Option<Instant> = None;
            for (at, (column, item)) in watched.items.iter().enumerate() {
                let Some(sample) = samples.get(*column).filter(|sample| item.is_news(sample)) else { continue };
                if let Some(due) = item.due.filter(|due| self.now < *due) {
                    again = Some(again.map_or(due, |before| before.min(due)));
                    continue;
                }
                let Some(fetches) = subscriptions.get_mut(&item.handle.subscription_id) else { continue };
                if !fetches.holds(*key, item, self.now) {
                    let news = news.entry(item.handle.subscription_id).or_default();
                    news.push(News { key: *key, at, sample: sample.clone() });
                }
            }
            watched.again = again;
        }
        news
    }

    /// Gives a sample to the library. `None` when it has no such item yet.
    fn tell(
        &self,
        fetches: &mut Fetches,
        subscription: &mut Subscription,
        (key, tag): (GroupKey, &TagInfo),
        (item, sample): (&mut Item, TagSample),
        now: &DateTime,
    ) -> Option<Done> {
        let id = item.handle.monitored_item_id;
        let there = subscription.get(&id)?;
        if item.queue <= 1 && there.is_reporting() && there.has_notifications() {
            fetches.hold(key, item);
            return Some(Done::default());
        }
        item.told_at(self.now);
        let mut done = Done::default();
        for value in item.values(tag, sample) {
            let value = values::known_at(value, *now);
            subscription.notify_data_value(&id, value, now);
            done.values += 1;
        }
        done.overflows = u64::from(fetches.gave(item, u32::try_from(done.values).unwrap_or(u32::MAX)));
        Some(done)
    }

    /// Does something with a subscription of the library. Another session may have taken it over.
    fn with(&self, id: u32, fetches: &mut Fetches, work: impl FnOnce(&mut Fetches, &mut Subscription)) {
        let has = |session: u32| {
            let own = self.subscriptions.get_session_subscriptions(session)?;
            let has = own.lock().contains(id);
            has.then_some(own)
        };
        let owner: Option<Arc<Mutex<SessionSubscriptions>>> = has(fetches.session).or_else(|| {
            let found = self.guests.sessions().into_iter().find_map(|session| Some((session, has(session)?)));
            found.map(|(session, own)| {
                fetches.session = session;
                own
            })
        });
        if let Some(subscription) = owner.as_ref().map(|own| own.lock()).as_mut().and_then(|own| own.get_mut(id)) {
            work(fetches, subscription);
        }
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

    /// The value as the library has to be told it, and notes that it is told.
    fn values(&mut self, tag: &TagInfo, sample: TagSample) -> Vec<DataValue> {
        let mut value = of(self.what, tag, &sample);
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
            // In a queue of one the value would take the place of the empty one; it follows when that has been fetched.
            self.told = (self.queue > 1).then_some(sample);
            return if self.queue > 1 { vec![first, value] } else { vec![first] };
        }
        self.told = Some(sample);
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
            server_timestamp: sample.time.map(values::date_time),
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
