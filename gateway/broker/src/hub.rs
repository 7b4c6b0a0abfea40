//! Where messages are handed from publishers to subscribers.
//!
//! One lock guards subscriptions, retained messages and the list of sessions, and is held while a message is put into
//! the queues, so all subscribers see messages in one order and a retained message never overtakes a later one. Nothing
//! under it waits: putting a message into a queue is a push or a refusal.

mod arrivals;
mod delivery;
mod relief;
mod reviewing;
mod saving;
mod wills;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{arrivals::Arrivals, wills::Wills};
pub(crate) use self::{
    delivery::Replay,
    saving::{Changes, PutBack},
    wills::Testament,
};
use crate::{
    inbox::{Inbox, Letterbox},
    limits::Limits,
    retained::Retained,
    rights::Rights,
    routes::{Routes, Wish},
    seldom::Seldom,
    session::{Attached, Session},
    status::{BrokerStatus, Counters},
    total::Total,
    users::Users,
};

/// The heart of a broker.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) limits: Limits,
    pub(crate) users: Users,
    pub(crate) counters: Counters,
    pub(crate) lines: Lines,
    /// What waits for all clients.
    pub(crate) total: Arc<Total>,
    numbers: AtomicU64,
    state: Mutex<State>,
}

/// Log lines that clients can bring about.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) connections: Seldom,
    pub(crate) refusals: Seldom,
    pub(crate) faults: Seldom,
    pub(crate) handshakes: Seldom,
    retained: Seldom,
    relief: Seldom,
}

/// A client that has logged in.
#[derive(Debug)]
pub(crate) struct Guest<'a> {
    /// The client id.
    pub(crate) client: &'a str,
    pub(crate) rights: Rights,
    /// Whether it wants a new session.
    pub(crate) clean: bool,
    /// [`Users::generation`] from before the login.
    pub(crate) users: u64,
}

#[derive(Debug, Default)]
struct State {
    routes: Routes,
    retained: Retained,
    /// What is retained below `$SYS`.
    about_itself: Retained,
    /// By client id.
    sessions: HashMap<String, Arc<Session>>,
    wills: Wills,
    /// Absent once the disk has been read, or when there is none.
    arrivals: Option<Arrivals>,
    closed: bool,
}

impl Hub {
    pub(crate) fn new(limits: Limits, users: Users) -> Hub {
        Hub {
            limits,
            users,
            counters: Counters::default(),
            lines: Lines::default(),
            total: Arc::default(),
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

    /// Gives a client its session: the one it had, unless it wants a new one, another user has it now, messages are missing from it, or
    /// it was to end with the connection that it is on (MQTT 5.0 §3.1.4, 3.1.1 §3.1.2.4). Says whether it is the old one.
    /// `None` when users have changed since the login: the client is not among those that were reviewed then.
    pub(crate) fn attach(&self, guest: Guest<'_>, attached: Attached) -> Option<(Arc<Session>, bool)> {
        let Guest { client, rights, clean, users } = guest;
        let mut state = self.lock();
        if self.users.generation() != users {
            return None;
        }
        self.counters.connected();
        if let Some(arrivals) = &mut state.arrivals {
            arrivals.note(client);
        }
        if let Some(session) = state.sessions.get(client) {
            let goes_on = session.is_persistent() && !session.is_to_end();
            if !clean && session.rights.user() == rights.user() && goes_on {
                let session = Arc::clone(session);
                session.attach(attached);
                return Some((session, true));
            }
            let session = Arc::clone(session);
            self.give_up(&mut state, &session);
        }
        let session = Arc::new(Session::new(self.number(), client.to_owned(), rights, &self.total));
        session.attach(attached);
        state.sessions.insert(client.to_owned(), Arc::clone(&session));
        Some((session, false))
    }

    /// Takes a connection off its session. Returns a token that is cancelled when the client is back or the session has
    /// been given up, or `None` when that has happened already.
    pub(crate) fn detach(&self, session: &Arc<Session>, connection: u64, expiry: u32) -> Option<CancellationToken> {
        let mut state = self.lock();
        self.counters.clients.decrease();
        // However the connection ended: messages are missing.
        let expiry = if session.is_to_end() { 0 } else { expiry };
        let resumed = session.detach(connection, expiry, Instant::now())?;
        if expiry > 0 {
            self.hand_over(&state, session);
            session.trim_for_offline(&self.limits, &self.counters);
            self.limit_offline(&mut state);
        } else {
            self.give_up(&mut state, session);
        }
        Some(resumed)
    }

    /// Ends a session that is to end with its connection, unless another connection has it now. [`Hub::detach`] is still
    /// due.
    pub(crate) fn end_early(&self, session: &Arc<Session>, connection: u64) {
        let mut state = self.lock();
        if session.detach(connection, 0, Instant::now()).is_some() {
            self.give_up(&mut state, session);
        }
    }

    /// Forgets a session whose time is over, unless the client has come back.
    pub(crate) fn expire(&self, session: &Arc<Session>) {
        let mut state = self.lock();
        if session.offline_since().is_some() && !session.has_ended() {
            self.counters.expired.increase();
            self.give_up(&mut state, session);
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

    /// Forgets a session.
    fn give_up(&self, state: &mut State, session: &Arc<Session>) {
        state.routes.remove(session);
        self.hand_over(state, session);
        session.end();
        if state.sessions.get(&session.client).is_some_and(|current| Arc::ptr_eq(current, session)) {
            state.sessions.remove(&session.client);
        }
    }

    fn limit_offline(&self, state: &mut State) {
        while state.offline_clients().count() > self.limits.sessions_offline {
            let oldest =
                state.offline_clients().min_by_key(|(since, _)| *since).map(|(_, session)| Arc::clone(session));
            let Some(oldest) = oldest else { return };
            self.give_up(state, &oldest);
        }
    }

    /// What was counted, and what there is now.
    pub(crate) fn status(&self) -> BrokerStatus {
        let state = self.lock();
        let (retained, bytes) = state.retained.size();
        let offline = state.offline().count();
        let subscriptions = state.routes.size();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        BrokerStatus {
            sessions_offline: number(offline),
            retained: number(retained),
            retained_bytes: number(bytes),
            waiting_bytes: number(self.total.bytes()),
            subscriptions: number(subscriptions.all),
            shared_subscriptions: number(subscriptions.shared),
            ..self.counters.status()
        }
    }
}

impl State {
    /// Without the bridges of the gateway, whose sessions are their queues.
    fn offline_clients(&self) -> impl Iterator<Item = (Instant, &Arc<Session>)> {
        self.offline().filter(|(_, session)| session.rights.inside().is_none())
    }

    fn offline(&self) -> impl Iterator<Item = (Instant, &Arc<Session>)> {
        self.sessions.values().filter_map(|session| Some((session.offline_since()?, session)))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_config::Broker;

    use super::*;
    use crate::{message::Published, wire::Qos};

    #[test]
    fn a_session_that_lacks_messages_ends_with_its_connection_however_that_ends() {
        let limits = Limits { queue_bytes: 1, ..Limits::default() };
        let hub = Hub::new(limits, Users::new(&Broker::on_loopback()));
        let rights = hub.users.rights(None, "client").unwrap();
        let attached = Attached::for_test(hub.number(), 100);
        let connection = attached.connection;
        let guest = Guest { client: "client", rights, clean: false, users: hub.users.generation() };
        let (session, _) = hub.attach(guest, attached).unwrap();
        let wish = Wish::of(Qos::AtLeastOnce);
        hub.subscribe(&session, "a", wish);
        for _ in 0..2 {
            hub.publish(Published::by_gateway("a".into(), "x".into(), false));
        }
        // The client has to log in again, and its connection is lost before it was told.
        session.dismiss();
        assert!(hub.detach(&session, connection, 100).is_some());
        assert!(session.has_ended());
        assert_eq!(hub.status().subscriptions, 0);
    }
}
