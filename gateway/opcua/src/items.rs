//! What clients monitor, by the group whose versions tell when something has changed.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use opcua::{
    server::{CreateMonitoredItem, MonitoredItemHandle, node_manager::MonitoredItemRef},
    types::{MonitoringMode, StatusCode},
};
use tidegate_runtime::TagSample;

use crate::{
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
    /// The session that made it; another one may have taken its subscription over.
    pub(crate) session: u32,
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
}

/// What of a tag is monitored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Value,
    /// The text of an enumeration.
    Text,
}

/// The items of one group.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// The version of the group that was looked at; `None` before the first time.
    pub(crate) version: Option<u64>,
    /// Whether something has changed that was not due.
    pub(crate) waiting: bool,
    /// The column of the tag, with the item.
    pub(crate) items: Vec<(usize, Item)>,
}

/// All items.
#[derive(Debug, Default)]
pub(crate) struct Items {
    /// By device and group.
    pub(crate) groups: HashMap<(usize, usize), Watched>,
    /// Where each item is; `None` when its tag is gone.
    places: HashMap<MonitoredItemHandle, Option<TagPlace>>,
    /// Items whose tag is gone, with its name: it may come back.
    gone: Vec<(String, Item)>,
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
            session,
            what,
            interval: interval(wanted),
            library_ms: item.sampling_interval(),
            wants_times: filter.contains("StatusValueTimestamp"),
            values_only: filter == "None",
            due: None,
            told: (!disabled).then_some(told),
            odd: false,
            disabled,
        };
        self.made += 1;
        self.places.insert(new.handle, Some(place));
        let watched = self.groups.entry((place.device, place.group)).or_default();
        // Whatever has changed since the first value was read.
        watched.version = None;
        watched.items.push((place.column, new));
    }

    /// Forgets items.
    pub(crate) fn remove(&mut self, gone: &[&MonitoredItemRef]) {
        for item in gone {
            let handle = item.handle();
            match self.places.remove(&handle) {
                Some(Some(place)) => {
                    let key = (place.device, place.group);
                    let Some(watched) = self.groups.get_mut(&key) else { continue };
                    watched.items.retain(|(_, item)| item.handle != handle);
                    if watched.items.is_empty() {
                        self.groups.remove(&key);
                    }
                }
                Some(None) => self.gone.retain(|(_, item)| item.handle != handle),
                None => {}
            }
        }
    }

    /// Forgets many items at once: one walk over each group instead of one for each item.
    pub(crate) fn remove_many(&mut self, gone: &[&MonitoredItemRef]) {
        for item in gone {
            self.places.remove(&item.handle());
        }
        let places = &self.places;
        self.groups.retain(|_, watched| {
            watched.items.retain(|(_, item)| places.contains_key(&item.handle));
            !watched.items.is_empty()
        });
        self.gone.retain(|(_, item)| places.contains_key(&item.handle));
    }

    /// The item, if it is there.
    pub(crate) fn find(&mut self, handle: MonitoredItemHandle) -> Option<&mut Item> {
        let place = (*self.places.get(&handle)?)?;
        let watched = self.groups.get_mut(&(place.device, place.group))?;
        // It may have to be told at once.
        watched.version = None;
        watched.items.iter_mut().map(|(_, item)| item).find(|item| item.handle == handle)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many there are, and of how many subscriptions.
    pub(crate) fn count(&self) -> (usize, usize) {
        let subscriptions: std::collections::HashSet<u32> =
            self.places.keys().map(|handle| handle.subscription_id).collect();
        (self.places.len(), subscriptions.len())
    }

    /// Items that were ever made and are not there any more.
    pub(crate) fn spent(&self) -> u64 {
        self.made.saturating_sub(u64::try_from(self.places.len()).unwrap_or(u64::MAX))
    }

    /// Goes over to other devices. Returns the items whose tag has gone, to be told so.
    pub(crate) fn move_to(&mut self, old: &Space, new: &Space) -> Vec<(u32, MonitoredItemHandle)> {
        let mut named = std::mem::take(&mut self.gone);
        let before = named.len();
        for ((device, group), watched) in self.groups.drain() {
            for (column, item) in watched.items {
                let name = old.tag_id(TagPlace { device, group, column }).unwrap_or_default();
                named.push((name, item));
            }
        }
        let mut told = Vec::new();
        for (at, (name, mut item)) in named.into_iter().enumerate() {
            let place = new.find_tag(&name);
            self.places.insert(item.handle, place);
            match place {
                Some(place) => {
                    self.groups.entry((place.device, place.group)).or_default().items.push((place.column, item));
                }
                None => {
                    if at >= before {
                        told.push((item.session, item.handle));
                    }
                    item.told = None;
                    self.gone.push((name, item));
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
