//! What clients monitor, by the group whose versions tell when something has changed.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use opcua::{
    server::{CreateMonitoredItem, MonitoredItemHandle},
    types::{MonitoringMode, StatusCode},
};
use tidegate_runtime::TagSample;

use crate::{
    fetches::Fetches,
    node::{Node, Property, TagPlace},
    space::Space,
};

/// What the library is told to sample at: at every change. A change that comes sooner than the interval of an item is shifted in
/// time by it, which says of a value that it is from another moment; so the intervals of clients are kept in `sampling`.
pub(crate) const AT_ONCE_MS: f64 = 0.001;

/// One item that a client monitors.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) handle: MonitoredItemHandle,
    pub(crate) what: What,
    /// The interval at which the client wants values at most.
    pub(crate) interval: Duration,
    /// The interval by which the library judges; negative for that of the subscription.
    pub(crate) library_ms: f64,
    /// Whether the client wants to know of a new time of the same value.
    pub(crate) wants_times: bool,
    /// Whether the library compares values alone and would not see a new quality.
    pub(crate) values_only: bool,
    /// Not before this moment.
    pub(crate) due: Option<Instant>,
    /// What the client was told last.
    pub(crate) told: Option<TagSample>,
    /// Of bad values in a row each second one is written in another way, so that the library sees a difference.
    pub(crate) odd: bool,
    pub(crate) disabled: bool,
    /// Values that the library keeps of it until they are fetched.
    pub(crate) queue: u32,
    /// How many were given to the library since the fetch with that number.
    pub(crate) given: (u32, u32),
}

/// What of a tag is monitored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Value,
    /// The text of an enumeration.
    Text,
}

/// A group of the catalog: its device and its place there.
pub(crate) type GroupKey = (usize, usize);

/// The items of one group.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// The version of the group that was looked at; `None` before the first time.
    pub(crate) version: Option<u64>,
    /// When to look again although nothing changes: something has changed that was not due.
    pub(crate) again: Option<Instant>,
    /// The column of the tag, with the item.
    pub(crate) items: Vec<(usize, Item)>,
}

impl Watched {
    /// Asks for another look.
    pub(crate) fn look_again(&mut self, at: Instant) {
        self.again = Some(self.again.map_or(at, |before| before.min(at)));
    }
}

/// Where an item is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In the list of its group.
    Listed(GroupKey, usize),
    /// Its tag is gone.
    Gone,
}

/// All items.
#[derive(Debug, Default)]
pub(crate) struct Items {
    /// By device and group.
    pub(crate) groups: HashMap<GroupKey, Watched>,
    /// By the number that the library gives a subscription.
    pub(crate) subscriptions: HashMap<u32, Fetches>,
    places: HashMap<MonitoredItemHandle, Place>,
    /// Items whose tag is gone, with its name: it may come back.
    gone: HashMap<MonitoredItemHandle, (String, Item)>,
    /// Items that were ever made.
    made: u64,
}

impl Items {
    /// Notes an item that the library is about to make. `told`: its first value.
    pub(crate) fn add(
        &mut self,
        place: TagPlace,
        what: What,
        session: u32,
        item: &mut CreateMonitoredItem,
        told: TagSample,
    ) {
        let wanted = item.sampling_interval();
        let disabled = item.monitoring_mode() == MonitoringMode::Disabled;
        item.revise_sampling_interval(AT_ONCE_MS);
        // The library shows its filter without a name for its type: what it writes about it is all there is to read.
        let filter = format!("{:?}", item.filter());
        let new = Item {
            handle: item.handle(),
            what,
            interval: interval(wanted),
            library_ms: item.sampling_interval(),
            wants_times: filter.contains("StatusValueTimestamp"),
            values_only: filter == "None",
            due: None,
            told: (!disabled).then_some(told),
            odd: false,
            disabled,
            queue: u32::try_from(item.queue_size()).unwrap_or(u32::MAX),
            given: (0, 0),
        };
        self.made += 1;
        let fetches = self.subscriptions.entry(new.handle.subscription_id).or_insert_with(|| Fetches::new(session));
        fetches.items += 1;
        self.list((place.device, place.group), place.column, new);
    }

    /// Puts an item into the list of its group.
    fn list(&mut self, key: GroupKey, column: usize, item: Item) {
        let watched = self.groups.entry(key).or_default();
        // Whatever has changed since the first value was read.
        watched.version = None;
        self.places.insert(item.handle, Place::Listed(key, watched.items.len()));
        watched.items.push((column, item));
    }

    /// Forgets an item.
    pub(crate) fn remove(&mut self, handle: MonitoredItemHandle) {
        match self.places.remove(&handle) {
            Some(Place::Listed(key, at)) => {
                let Some(watched) = self.groups.get_mut(&key) else { return };
                watched.items.swap_remove(at);
                if let Some((_, moved)) = watched.items.get(at) {
                    self.places.insert(moved.handle, Place::Listed(key, at));
                }
                if watched.items.is_empty() {
                    self.groups.remove(&key);
                }
            }
            Some(Place::Gone) => drop(self.gone.remove(&handle)),
            None => return,
        }
        if let Some(fetches) = self.subscriptions.get_mut(&handle.subscription_id) {
            fetches.items = fetches.items.saturating_sub(1);
            if fetches.items == 0 {
                self.subscriptions.remove(&handle.subscription_id);
            }
        }
    }

    /// The item, if it is there. It may have to be told at once.
    pub(crate) fn find(&mut self, handle: MonitoredItemHandle) -> Option<&mut Item> {
        match *self.places.get(&handle)? {
            Place::Listed(key, at) => {
                let watched = self.groups.get_mut(&key)?;
                watched.version = None;
                watched.items.get_mut(at).map(|(_, item)| item)
            }
            Place::Gone => self.gone.get_mut(&handle).map(|(_, item)| item),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many there are, and of how many subscriptions.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.places.len(), self.subscriptions.len())
    }

    /// Items that were ever made and are not there any more.
    pub(crate) fn spent(&self) -> u64 {
        self.made.saturating_sub(u64::try_from(self.places.len()).unwrap_or(u64::MAX))
    }

    /// Goes over to other devices. Returns the items whose tag has gone, to be told so.
    pub(crate) fn move_to(&mut self, old: &Space, new: &Space) -> Vec<MonitoredItemHandle> {
        let before = std::mem::take(&mut self.gone);
        let was_gone: Vec<(String, Item)> = before.into_values().collect();
        let mut named: Vec<(String, Item, bool)> =
            was_gone.into_iter().map(|(name, item)| (name, item, false)).collect();
        for ((device, group), watched) in self.groups.drain() {
            for (column, item) in watched.items {
                let name = old.tag_id(TagPlace { device, group, column }).unwrap_or_default();
                named.push((name, item, true));
            }
        }
        self.subscriptions.values_mut().for_each(Fetches::forget_held);
        let mut told = Vec::new();
        for (name, mut item, was_there) in named {
            match new.find_tag(&name) {
                Some(place) => self.list((place.device, place.group), place.column, item),
                None => {
                    if was_there {
                        told.push(item.handle);
                    }
                    item.told = None;
                    self.places.insert(item.handle, Place::Gone);
                    self.gone.insert(item.handle, (name, item));
                }
            }
        }
        told
    }
}

/// An interval in milliseconds of a client; zero for none and for that of the subscription.
pub(crate) fn interval(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds.max(0.0) / 1_000.0).unwrap_or(Duration::MAX)
}

/// What of a node can change: the value of a tag, and its text.
pub(crate) fn changing(node: Node) -> Option<(TagPlace, What)> {
    match node {
        Node::Tag(place) => Some((place, What::Value)),
        Node::Property(place, Property::ValueAsText) => Some((place, What::Text)),
        _ => None,
    }
}

/// The status of an item whose tag has gone.
pub(crate) const GONE: StatusCode = StatusCode::BadNodeIdUnknown;
