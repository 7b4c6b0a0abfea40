//! Which subscribers a topic has.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use rumqttd::protocol::QoS;

use crate::{inbox::Letterbox, message::Published, session::Session, topic};

/// Topics whose subscribers are remembered. A plant has fewer; when there are more, all are looked up anew.
const KNOWN_TOPICS: usize = 8_192;

/// All subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    filters: HashMap<String, Vec<Subscription>>,
    /// The filters of each session.
    by_session: HashMap<u64, HashSet<String>>,
    letterboxes: Vec<Arc<Letterbox>>,
    /// Found before; empty after every change.
    known: HashMap<Bytes, Arc<Route>>,
}

/// How a client wants the messages of a filter (MQTT 5.0 §3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) qos: QoS,
    /// Not what it publishes itself.
    pub(crate) no_local: bool,
    /// With the retain flag that the publisher set.
    pub(crate) retain_as_published: bool,
    pub(crate) identifier: Option<usize>,
}

#[derive(Debug)]
struct Subscription {
    session: Arc<Session>,
    wish: Wish,
}

/// The subscribers of one topic.
#[derive(Debug, Default)]
pub(crate) struct Route {
    pub(crate) subscribers: Vec<Subscriber>,
    pub(crate) letterboxes: Vec<Arc<Letterbox>>,
}

/// One client, whatever number of its subscriptions select the topic: it gets one copy, with the highest QoS of them.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) session: Arc<Session>,
    qos: QoS,
    no_local: bool,
    retain_as_published: bool,
    identifiers: Box<[usize]>,
}

impl Subscriber {
    /// How the client gets a message, `None` when it does not want it.
    pub(crate) fn wants(&self, message: &Published) -> Option<(QoS, bool, Box<[usize]>)> {
        if self.no_local && message.from == self.session.number {
            return None;
        }
        let qos = crate::message::lower(self.qos, message.qos);
        Some((qos, self.retain_as_published && message.retain, self.identifiers.clone()))
    }
}

impl Routes {
    /// Adds a subscription or changes the wish of one; says whether it is new, or `None` when the session has `most`
    /// already.
    pub(crate) fn subscribe(&mut self, session: &Arc<Session>, filter: &str, wish: Wish, most: usize) -> Option<bool> {
        let own = self.by_session.entry(session.number).or_default();
        let new = !own.contains(filter);
        if new && own.len() >= most {
            return None;
        }
        self.known.clear();
        let subscriptions = self.filters.entry(filter.to_owned()).or_default();
        match subscriptions.iter_mut().find(|found| found.session.number == session.number) {
            Some(found) => found.wish = wish,
            None => subscriptions.push(Subscription { session: Arc::clone(session), wish }),
        }
        own.insert(filter.to_owned());
        Some(new)
    }

    /// Removes a subscription; says whether there was one.
    pub(crate) fn unsubscribe(&mut self, session: &Session, filter: &str) -> bool {
        let Some(own) = self.by_session.get_mut(&session.number) else { return false };
        if !own.remove(filter) {
            return false;
        }
        if own.is_empty() {
            self.by_session.remove(&session.number);
        }
        self.drop_subscription(session.number, filter);
        true
    }

    /// The subscriptions of a session.
    pub(crate) fn subscriptions(&self, session: &Session) -> Vec<(String, Wish)> {
        let own = self.by_session.get(&session.number).into_iter().flatten();
        let wish = |filter: &String| {
            let found = self.filters.get(filter)?.iter().find(|found| found.session.number == session.number)?;
            Some((filter.clone(), found.wish))
        };
        own.filter_map(wish).collect()
    }

    /// Removes all subscriptions of a session.
    pub(crate) fn remove(&mut self, session: &Session) {
        for filter in self.by_session.remove(&session.number).unwrap_or_default() {
            self.drop_subscription(session.number, &filter);
        }
    }

    fn drop_subscription(&mut self, number: u64, filter: &str) {
        self.known.clear();
        if let Some(subscriptions) = self.filters.get_mut(filter) {
            subscriptions.retain(|subscription| subscription.session.number != number);
            if subscriptions.is_empty() {
                self.filters.remove(filter);
            }
        }
    }

    /// Adds an inbox; those that nobody reads any more go.
    pub(crate) fn add_letterbox(&mut self, letterbox: Letterbox) {
        self.known.clear();
        self.letterboxes.retain(|letterbox| !letterbox.is_abandoned());
        self.letterboxes.push(Arc::new(letterbox));
    }

    /// Forgets everything; the inboxes end.
    pub(crate) fn clear(&mut self) {
        *self = Routes::default();
    }

    /// The subscribers of a topic.
    pub(crate) fn find(&mut self, topic: &Bytes) -> Arc<Route> {
        if let Some(route) = self.known.get(topic) {
            return Arc::clone(route);
        }
        let route = Arc::new(self.look_up(topic));
        if self.known.len() >= KNOWN_TOPICS {
            self.known.clear();
        }
        self.known.insert(topic.clone(), Arc::clone(&route));
        route
    }

    fn look_up(&self, topic: &[u8]) -> Route {
        let mut subscribers: Vec<Subscriber> = Vec::new();
        let mut places: HashMap<u64, usize> = HashMap::new();
        let selected = self.filters.iter().filter(|(filter, _)| topic::matches(filter.as_bytes(), topic));
        for Subscription { session, wish } in selected.flat_map(|(_, subscriptions)| subscriptions) {
            let place = *places.entry(session.number).or_insert(subscribers.len());
            let Some(found) = subscribers.get_mut(place) else {
                subscribers.push(Subscriber {
                    session: Arc::clone(session),
                    qos: wish.qos,
                    no_local: wish.no_local,
                    retain_as_published: wish.retain_as_published,
                    identifiers: wish.identifier.into_iter().collect(),
                });
                continue;
            };
            if wish.qos > found.qos {
                found.qos = wish.qos;
            }
            found.no_local &= wish.no_local;
            found.retain_as_published |= wish.retain_as_published;
            if wish.identifier.is_some() {
                found.identifiers = found.identifiers.iter().copied().chain(wish.identifier).collect();
            }
        }
        let letterboxes = self.letterboxes.iter().filter(|found| topic::matches(found.filter.as_bytes(), topic));
        Route { subscribers, letterboxes: letterboxes.cloned().collect() }
    }
}
