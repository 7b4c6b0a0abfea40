//! Where messages are handed from publishers to subscribers.
//!
//! One lock guards subscriptions, retained messages and the list of sessions, and is held while a message is put into
//! the queues, so all subscribers see messages in one order and a retained message never overtakes a later one. Nothing
//! under it waits: putting a message into a queue is a push or a refusal.

mod saving;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::saving::{Changed, Changes};
use crate::{
    inbox::{Inbox, Letterbox},
    limits::Limits,
    message::Published,
    retained::{Retained, Walk},
    rights::{Rights, Users},
    routes::{Routes, Wish},
    seldom::Seldom,
    session::{Attached, Queued, Session},
    status::{BrokerStatus, Counters},
};

/// Retained messages looked at before the lock is given to others, and at most so many wait for the client at a time.
const WALK_STEP: usize = 32;

/// The heart of a broker.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) limits: Limits,
    pub(crate) users: Users,
    pub(crate) counters: Counters,
    pub(crate) lines: Lines,
    numbers: AtomicU64,
    state: Mutex<State>,
}

/// Log lines that clients can bring about.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) connections: Seldom,
    pub(crate) refusals: Seldom,
    pub(crate) faults: Seldom,
    retained: Seldom,
}

#[derive(Debug, Default)]
struct State {
    routes: Routes,
    retained: Retained,
    /// By client id.
    sessions: HashMap<String, Arc<Session>>,
    closed: bool,
}

/// A retained message walk of one subscription.
#[derive(Debug)]
pub(crate) struct Replay {
    walk: Walk,
    wish: Wish,
}

impl Replay {
    pub(crate) fn new(filter: &str, wish: Wish) -> Replay {
        Replay { walk: Walk::new(filter), wish }
    }
}

impl Hub {
    pub(crate) fn new(limits: Limits, users: Users) -> Hub {
        Hub {
            limits,
            users,
            counters: Counters::default(),
            lines: Lines::default(),
            numbers: AtomicU64::new(1),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that nothing else in this broker has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a message to all that want it. Returns `false` when the gateway wanted it and its inbox had no room.
    pub(crate) fn publish(&self, message: Published) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        let State { routes, retained, closed, .. } = &mut *state;
        if *closed {
            return true;
        }
        let route = routes.find(&message.topic);
        // What the gateway takes as a command is done once; it must not come back with the next subscriber.
        let retain = message.retain && route.letterboxes.is_empty();
        if !retain && route.subscribers.is_empty() && route.letterboxes.is_empty() {
            return true;
        }
        let message = Arc::new(message);
        if retain && !retained.put(&message, self.limits.retained_bytes, now) {
            self.counters.dropped.increase();
            if self.lines.retained.is_due() {
                tracing::warn!(
                    topic = %String::from_utf8_lossy(&message.topic),
                    limit = self.limits.retained_bytes,
                    "clients publish more retained messages than are kept; this one is passed on only"
                );
            }
        }
        for subscriber in &route.subscribers {
            let Some((qos, retain, identifiers)) = subscriber.wants(&message) else { continue };
            let queued = Queued { message: Arc::clone(&message), qos, retain, identifiers, number: 0 };
            subscriber.session.offer(queued, &self.limits, &self.counters);
        }
        let mut room = true;
        for letterbox in &route.letterboxes {
            if !letterbox.put(&message) {
                self.counters.dropped.increase();
                room = false;
            }
        }
        room
    }

    /// Adds a subscription of the gateway itself.
    pub(crate) fn open_inbox(&self, filter: &str, capacity: usize) -> Inbox {
        let (letterbox, inbox) = Letterbox::new(filter, capacity);
        let mut state = self.lock();
        if !state.closed {
            state.routes.add_letterbox(letterbox);
        }
        inbox
    }

    /// Adds or changes a subscription of a client; says whether it is new, or `None` when the client has too many.
    pub(crate) fn subscribe(&self, session: &Arc<Session>, filter: &str, wish: Wish) -> Option<bool> {
        let mut state = self.lock();
        if session.has_ended() {
            return Some(false);
        }
        session.unsaved.note_subscriptions();
        state.routes.subscribe(session, filter, wish, self.limits.subscriptions)
    }

    /// Removes a subscription of a client; says whether there was one.
    pub(crate) fn unsubscribe(&self, session: &Session, filter: &str) -> bool {
        let mut state = self.lock();
        session.unsaved.note_subscriptions();
        state.routes.unsubscribe(session, filter)
    }

    /// Puts some retained messages into the queue of a client; says whether there may be more.
    pub(crate) fn replay(&self, session: &Session, replay: &mut Replay) -> bool {
        let now = Instant::now();
        let state = self.lock();
        let Replay { walk, wish } = replay;
        state.retained.step(walk, WALK_STEP, now, |message| {
            let qos = crate::message::lower(wish.qos, message.qos);
            let identifiers = wish.identifier.into_iter().collect();
            let queued = Queued { message: Arc::clone(message), qos, retain: true, identifiers, number: 0 };
            session.offer(queued, &self.limits, &self.counters);
        })
    }

    /// Gives a client its session: the one it had, unless it wants a new one or another user has it now. Says whether
    /// it is the old one.
    pub(crate) fn attach(&self, client: &str, rights: Rights, clean: bool, attached: Attached) -> (Arc<Session>, bool) {
        let mut state = self.lock();
        self.counters.clients.increase();
        if let Some(session) = state.sessions.get(client) {
            if !clean && session.rights.user() == rights.user() {
                let session = Arc::clone(session);
                session.attach(attached);
                return (session, true);
            }
            let session = Arc::clone(session);
            state.give_up(&session);
        }
        let session = Arc::new(Session::new(self.number(), client.to_owned(), rights));
        session.attach(attached);
        state.sessions.insert(client.to_owned(), Arc::clone(&session));
        (session, false)
    }

    /// Takes a connection off its session. Returns a token that is cancelled when the client is back or the session has
    /// been given up, or `None` when that has happened already.
    pub(crate) fn detach(&self, session: &Arc<Session>, connection: u64, expiry: u32) -> Option<CancellationToken> {
        let mut state = self.lock();
        self.counters.clients.decrease();
        let resumed = session.detach(connection, expiry, Instant::now())?;
        if expiry > 0 {
            session.trim_for_offline(&self.limits, &self.counters);
            state.limit_offline(self.limits.sessions_offline);
        } else {
            state.give_up(session);
        }
        Some(resumed)
    }

    /// Forgets a session whose time is over, unless the client has come back.
    pub(crate) fn expire(&self, session: &Arc<Session>) {
        let mut state = self.lock();
        if session.offline_since().is_some() {
            state.give_up(session);
        }
    }

    /// Ends all sessions and inboxes; nothing is taken any more.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let sessions: Vec<_> = state.sessions.drain().map(|(_, session)| session).collect();
        for session in sessions {
            session.end();
        }
        state.routes.clear();
    }

    /// What was counted, and what there is now.
    pub(crate) fn status(&self) -> BrokerStatus {
        let state = self.lock();
        let (retained, bytes) = state.retained.size();
        let offline = state.offline().count();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        BrokerStatus {
            sessions_offline: number(offline),
            retained: number(retained),
            retained_bytes: number(bytes),
            ..self.counters.status()
        }
    }
}

impl State {
    fn give_up(&mut self, session: &Arc<Session>) {
        session.end();
        self.routes.remove(session);
        if self.sessions.get(&session.client).is_some_and(|current| Arc::ptr_eq(current, session)) {
            self.sessions.remove(&session.client);
        }
    }

    fn offline(&self) -> impl Iterator<Item = (Instant, &Arc<Session>)> {
        self.sessions.values().filter_map(|session| Some((session.offline_since()?, session)))
    }

    fn limit_offline(&mut self, most: usize) {
        while self.offline().count() > most {
            let oldest = self.offline().min_by_key(|(since, _)| *since).map(|(_, session)| Arc::clone(session));
            let Some(oldest) = oldest else { return };
            self.give_up(&oldest);
        }
    }
}
