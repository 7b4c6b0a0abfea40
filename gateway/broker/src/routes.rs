//! Which subscribers a topic has.

mod tree;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;

use self::tree::{Group, Node, Subscription};
use crate::{
    inbox::Letterbox,
    limits::Limits,
    message::Published,
    session::{Capacity, Session},
    topic,
    wire::Qos,
};

/// Subscribers of topics that are remembered, and each topic counts as one; when there are more, all are looked up anew. They
/// take about 4 MiB.
const KNOWN: usize = 65_536;

/// All subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    tree: Node,
    /// The filters of each session, shared ones with their `$share/<group>/`.
    by_session: HashMap<u64, HashSet<String>>,
    letterboxes: Vec<Arc<Letterbox>>,
    known: Known,
    size: Size,
}

/// What has been found before; empty after every change.
#[derive(Debug, Default)]
struct Known {
    routes: HashMap<Bytes, Arc<Route>>,
    /// Subscribers in them, and one for each.
    size: usize,
}

impl Known {
    fn forget(&mut self) {
        self.routes.clear();
        self.size = 0;
    }

    fn add(&mut self, topic: &[u8], route: &Arc<Route>) {
        let members: usize = route.teams.iter().map(|team| team.members.len()).sum();
        let size = 1 + route.subscribers.len() + members;
        if self.size + size > KNOWN {
            self.forget();
        }
        self.size += size;
        // A copy: the topic of a message is a part of the packet that it came in.
        self.routes.insert(Bytes::copy_from_slice(topic), Arc::clone(route));
    }
}

/// How many subscriptions there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) all: usize,
    pub(crate) shared: usize,
}

/// How a client wants the messages of a filter (MQTT 5.0 §3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) qos: Qos,
    /// Not what it publishes itself.
    pub(crate) no_local: bool,
    /// With the retain flag that the publisher set.
    pub(crate) retain_as_published: bool,
    pub(crate) identifier: Option<u32>,
}

#[cfg(test)]
impl Wish {
    /// A wish for nothing but messages with that level.
    pub(crate) fn of(qos: Qos) -> Wish {
        Wish { qos, no_local: false, retain_as_published: false, identifier: None }
    }
}

/// The subscribers of one topic.
#[derive(Debug, Default)]
pub(crate) struct Route {
    pub(crate) subscribers: Vec<Subscriber>,
    pub(crate) teams: Vec<Team>,
    pub(crate) letterboxes: Vec<Arc<Letterbox>>,
}

impl Route {
    /// Whether nobody wants the topic.
    pub(crate) fn is_empty(&self) -> bool {
        self.subscribers.is_empty() && self.teams.is_empty() && self.letterboxes.is_empty()
    }
}

/// How a message is sent to a client.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) identifiers: Option<Arc<[u32]>>,
}

/// One client, whatever number of its subscriptions select the topic: it gets one copy.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) session: Arc<Session>,
    manner: Manner,
    /// Whether one of the subscriptions leaves out what the client publishes itself.
    no_local: bool,
    /// How it gets that nevertheless, by the others.
    own: Option<Box<Manner>>,
}

/// What several subscriptions of a client make of a message: the highest QoS of them, and the identifiers of all.
#[derive(Debug, Clone)]
struct Manner {
    qos: Qos,
    retain_as_published: bool,
    identifiers: Option<Arc<[u32]>>,
}

impl Manner {
    fn new(wish: &Wish) -> Manner {
        let identifiers = wish.identifier.map(|identifier| Arc::from([identifier]));
        Manner { qos: wish.qos, retain_as_published: wish.retain_as_published, identifiers }
    }

    fn add(&mut self, wish: &Wish) {
        self.qos = self.qos.max(wish.qos);
        self.retain_as_published |= wish.retain_as_published;
        if wish.identifier.is_some() {
            let before = self.identifiers.iter().flat_map(|identifiers| identifiers.iter().copied());
            self.identifiers = Some(before.chain(wish.identifier).collect());
        }
    }
}

impl Subscriber {
    fn new(subscription: &Subscription) -> Subscriber {
        let Subscription { session, wish } = subscription;
        let session = Arc::clone(session);
        Subscriber { session, manner: Manner::new(wish), no_local: wish.no_local, own: None }
    }

    /// Adds another subscription of the same client.
    fn merge(&mut self, wish: &Wish) {
        match (wish.no_local, self.no_local) {
            // Those before bring its own messages too.
            (true, false) => self.own = Some(Box::new(self.manner.clone())),
            (false, true) => match &mut self.own {
                Some(own) => own.add(wish),
                None => self.own = Some(Box::new(Manner::new(wish))),
            },
            _ => {}
        }
        self.no_local |= wish.no_local;
        self.manner.add(wish);
    }

    /// How the client gets a message, `None` when it does not want it.
    pub(crate) fn wants(&self, message: &Published) -> Option<Sending> {
        let is_own = self.no_local && message.from == self.session.number;
        let manner = if is_own { self.own.as_deref()? } else { &self.manner };
        Some(Sending {
            qos: manner.qos.min(message.qos),
            retain: manner.retain_as_published && message.retain,
            identifiers: manner.identifiers.clone(),
        })
    }
}

/// The clients that share a filter: one of them gets a message.
#[derive(Debug)]
pub(crate) struct Team {
    pub(crate) whole: Arc<str>,
    members: Vec<Subscriber>,
    turn: Arc<AtomicUsize>,
}

impl Team {
    fn new(group: &Group) -> Team {
        Team {
            whole: Arc::clone(&group.whole),
            members: group.members.iter().map(Subscriber::new).collect(),
            turn: Arc::clone(&group.turn),
        }
    }

    /// Who gets a message: in turn those that can send it on at once; when nobody can, who has room and is there; then who
    /// is away and has its messages kept. `except` has just gone.
    pub(crate) fn choose(&self, message: &Published, except: Option<u64>, limits: &Limits) -> Option<&Subscriber> {
        let turn = self.turn.load(Relaxed);
        let mut best: Option<(Capacity, usize, &Subscriber)> = None;
        for step in 0..self.members.len() {
            let place = turn.wrapping_add(step) % self.members.len();
            let Some(member) = self.members.get(place) else { continue };
            if except == Some(member.session.number) {
                continue;
            }
            let capacity = member.session.capacity(member.manner.qos.min(message.qos), message.cost(), limits);
            if best.is_none_or(|(found, ..)| capacity > found) {
                best = Some((capacity, place, member));
            }
            if capacity == Capacity::Ready {
                break;
            }
        }
        let (_, place, member) = best.filter(|(capacity, ..)| *capacity > Capacity::None)?;
        self.turn.store(place + 1, Relaxed);
        Some(member)
    }
}

impl Routes {
    /// Adds a subscription or changes the wish of one; says whether it is new, or `None` when the session has `most`
    /// already. The filter has to be well formed.
    pub(crate) fn subscribe(&mut self, session: &Arc<Session>, filter: &str, wish: Wish, most: usize) -> Option<bool> {
        let own = self.by_session.entry(session.number).or_default();
        let new = !own.contains(filter);
        if new && own.len() >= most {
            return None;
        }
        self.known.forget();
        let subscription = Subscription { session: Arc::clone(session), wish };
        let subscriptions = match topic::shared(filter).flatten() {
            None => &mut self.tree.place(filter).here,
            Some((_, shared)) => members(self.tree.place(shared), filter),
        };
        match subscriptions.iter_mut().find(|found| found.session.number == session.number) {
            Some(found) => found.wish = wish,
            None => subscriptions.push(subscription),
        }
        if new {
            own.insert(filter.to_owned());
            self.size.all += 1;
            self.size.shared += usize::from(topic::shared(filter).is_some());
        }
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
            let mut found = match topic::shared(filter).flatten() {
                None => self.tree.find(filter)?.here.iter(),
                Some((_, shared)) => {
                    let groups = &self.tree.find(shared)?.groups;
                    groups.iter().find(|group| *group.whole == **filter)?.members.iter()
                }
            };
            Some((filter.clone(), found.find(|found| found.session.number == session.number)?.wish))
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
        self.known.forget();
        self.size.all -= 1;
        let others = |subscription: &Subscription| subscription.session.number != number;
        match topic::shared(filter).flatten() {
            None => self.tree.change(filter, |node| node.here.retain(others)),
            Some((_, shared)) => {
                self.size.shared -= 1;
                self.tree.change(shared, |node| {
                    members(node, filter).retain(others);
                    node.groups.retain(|group| !group.members.is_empty());
                });
            }
        }
    }

    /// Adds an inbox; those that nobody reads any more go.
    pub(crate) fn add_letterbox(&mut self, letterbox: Letterbox) {
        self.known.forget();
        self.letterboxes.retain(|letterbox| !letterbox.is_abandoned());
        self.letterboxes.push(Arc::new(letterbox));
    }

    /// Forgets everything; the inboxes end.
    pub(crate) fn clear(&mut self) {
        *self = Routes::default();
    }

    /// How many subscriptions there are.
    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// The clients that share a filter, if any are left.
    pub(crate) fn team(&self, whole: &str) -> Option<Team> {
        let (_, filter) = topic::shared(whole)??;
        self.tree.find(filter)?.groups.iter().find(|group| *group.whole == *whole).map(Team::new)
    }

    /// The subscribers of a topic.
    pub(crate) fn find(&mut self, topic: &Bytes) -> Arc<Route> {
        if let Some(route) = self.known.routes.get(topic) {
            return Arc::clone(route);
        }
        let route = Arc::new(self.look_up(topic));
        self.known.add(topic, &route);
        route
    }

    fn look_up(&self, topic: &[u8]) -> Route {
        let mut route = Route::default();
        let mut places: HashMap<u64, usize> = HashMap::new();
        let text = std::str::from_utf8(topic).unwrap_or_default();
        self.tree.select(text, &mut |node| {
            for subscription in &node.here {
                let place = *places.entry(subscription.session.number).or_insert(route.subscribers.len());
                match route.subscribers.get_mut(place) {
                    Some(found) => found.merge(&subscription.wish),
                    None => route.subscribers.push(Subscriber::new(subscription)),
                }
            }
            route.teams.extend(node.groups.iter().map(Team::new));
        });
        let letterboxes = self.letterboxes.iter().filter(|found| topic::matches(found.filter.as_bytes(), topic));
        route.letterboxes = letterboxes.cloned().collect();
        route
    }
}

/// The members of a group, which is made if there is none.
fn members<'a>(node: &'a mut Node, whole: &str) -> &'a mut Vec<Subscription> {
    if !node.groups.iter().any(|group| *group.whole == *whole) {
        node.groups.push(Group { whole: whole.into(), members: Vec::new(), turn: Arc::default() });
    }
    match node.groups.iter_mut().find(|group| *group.whole == *whole) {
        Some(group) => &mut group.members,
        // Not reached: there is one now.
        None => &mut node.here,
    }
}
