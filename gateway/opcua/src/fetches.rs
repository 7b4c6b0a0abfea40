//! When the client of a subscription fetches values, as far as it can be seen from outside.
//!
//! The library (async-opcua 0.19) sets the overflow bit whenever a value takes the place of one that was not fetched, also in a queue of
//! one, where the standard wants none (Part 4 §5.13.1.5). So of an item with such a queue the newest value is kept here, and given to the
//! library when nothing of the item waits there: shortly before the next fetch.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use opcua::server::Subscription;

use crate::items::{GroupKey, Item};

/// How long before the next fetch values are given to the library: two rounds and a bit, since the library looks as often as we do.
const LEAD: Duration = Duration::from_millis(120);

/// One subscription.
#[derive(Debug)]
pub(crate) struct Fetches {
    /// The session that has it now, as far as known.
    pub(crate) session: u32,
    /// Its items.
    pub(crate) items: usize,
    /// The number of fetches that were seen.
    number: u32,
    /// An item whose value waits in the library.
    witness: Option<u32>,
    /// When values of items with a queue of one may be given to the library again.
    release: Option<Instant>,
    /// Groups of which a value was held back.
    held: HashSet<GroupKey>,
}

impl Fetches {
    pub(crate) fn new(session: u32) -> Fetches {
        Fetches { session, items: 0, number: 0, witness: None, release: None, held: HashSet::new() }
    }

    /// Looks whether values have been fetched.
    pub(crate) fn look(&mut self, subscription: &Subscription, now: Instant) {
        let Some(witness) = self.witness else { return };
        if subscription.get(&witness).is_some_and(|item| item.is_reporting() && item.has_notifications()) {
            return;
        }
        self.witness = None;
        self.number = self.number.wrapping_add(1);
        let wait = subscription.publishing_interval().saturating_sub(LEAD);
        self.release = now.checked_add(wait).filter(|_| wait > LEAD);
    }

    /// Whether something may wait in the library.
    pub(crate) fn waits(&self) -> bool {
        self.witness.is_some()
    }

    /// Whether a value of this item is to be held back. It is looked at again when its time has come.
    pub(crate) fn holds(&mut self, key: GroupKey, item: &Item, now: Instant) -> bool {
        if item.queue > 1 {
            return false;
        }
        let waits = self.witness.is_some() && item.given.0 == self.number && item.given.1 > 0;
        let holds = waits || self.release.is_some_and(|release| now < release);
        if holds {
            self.held.insert(key);
        }
        holds
    }

    /// Holds a value back of which something waits in the library.
    pub(crate) fn hold(&mut self, key: GroupKey, item: &mut Item) {
        self.witness = Some(item.handle.monitored_item_id);
        item.given = (self.number, 1);
        self.held.insert(key);
    }

    /// Notes values that were given to the library. Says whether others have been lost by that.
    pub(crate) fn gave(&mut self, item: &mut Item, values: u32) -> bool {
        self.witness = Some(item.handle.monitored_item_id);
        let before = if item.given.0 == self.number { item.given.1 } else { 0 };
        item.given = (self.number, before.saturating_add(values));
        item.given.1 > item.queue.max(1)
    }

    /// The groups that have to be looked at now.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<HashSet<GroupKey>> {
        let due = self.witness.is_none() && self.release.is_none_or(|release| now >= release);
        (due && !self.held.is_empty()).then(|| std::mem::take(&mut self.held))
    }

    /// The groups are others now; all are looked at anyway.
    pub(crate) fn forget_held(&mut self) {
        self.held.clear();
    }
}
