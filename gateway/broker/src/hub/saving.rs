//! What of a broker the disk has to know, and what it becomes after a restart.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Hub, State, Testament};
use crate::{
    message::Published,
    rights::Rights,
    routes::Wish,
    session::{Restored, Session},
};

/// A session that has changed.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) session: Arc<Session>,
    /// All its subscriptions, when one of them has changed.
    pub(crate) subscriptions: Option<Vec<(String, Wish)>>,
}

/// What has changed since the disk was told.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Topics with the retained message of a client that they have now, if they have one.
    pub(crate) retained: Vec<(Bytes, Option<Arc<Published>>)>,
    /// Sessions that may have changed.
    pub(crate) sessions: Vec<Changed>,
    /// All wills that may still be due, when they have changed.
    pub(crate) wills: Option<Vec<Arc<Testament>>>,
    /// Numbers of all sessions that outlive their connection, sorted.
    pub(crate) alive: Vec<u64>,
}

impl Changes {
    /// Whether nothing has changed, but that sessions may be gone.
    pub(crate) fn is_empty(&self) -> bool {
        self.retained.is_empty() && self.sessions.is_empty() && self.wills.is_none()
    }
}

/// What has become of a session of before.
#[derive(Debug)]
pub(crate) enum PutBack {
    /// It is there. The token is cancelled when the client is back or the session has been given up.
    Whole(Arc<Session>, CancellationToken),
    /// A bridge of the gateway has begun another one, and gets first what waited for it in this one.
    Messages,
    /// The client was told that there is none, and begins anew.
    Nothing,
}

impl Hub {
    /// From now on notes what changes.
    pub(crate) fn note_unsaved(&self) {
        let mut state = self.lock();
        state.retained.note_unsaved();
        state.wills.note_unsaved();
    }

    /// What has changed since the last call; `None` when the broker is closed and has nothing any more. What is not saved then is
    /// given back with [`Hub::still_unsaved`].
    pub(crate) fn changes(&self) -> Option<Changes> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        let State { routes, retained, sessions, wills, .. } = &mut *state;
        let (retained, wills) = (retained.take_unsaved(), wills.take_unsaved());
        let mut changes = Changes { retained, wills, ..Changes::default() };
        for session in sessions.values().filter(|session| session.is_persistent()) {
            changes.alive.push(session.number);
            if !session.unsaved.take() {
                continue;
            }
            let subscriptions = session.unsaved.take_subscriptions().then(|| routes.subscriptions(session));
            changes.sessions.push(Changed { session: Arc::clone(session), subscriptions });
        }
        changes.alive.sort_unstable();
        Some(changes)
    }

    /// The disk has nothing any more: everything comes with the next changes.
    pub(crate) fn everything_is_unsaved(&self) {
        let mut state = self.lock();
        state.retained.all_is_unsaved();
        state.wills.note_unsaved();
        for session in state.sessions.values() {
            session.unsaved.note_subscriptions();
        }
    }

    /// Takes back what could not be saved, so that it comes with the next changes.
    pub(crate) fn still_unsaved(&self, changes: Changes) {
        let mut state = self.lock();
        state.retained.still_unsaved(changes.retained.into_iter().map(|(topic, _)| topic));
        if changes.wills.is_some() {
            state.wills.note_unsaved();
        }
        for changed in changes.sessions {
            changed.session.unsaved.note_subscriptions();
        }
    }

    /// Puts a message in that was retained before the restart, unless its topic has got another one since then. Returns `false`
    /// when all clients would have more than they may; the message is nowhere then.
    pub(crate) fn restore_retained(&self, message: &Arc<Published>) -> bool {
        let now = Instant::now();
        let retained = &mut self.lock().retained;
        retained.is_touched(&message.topic) || retained.put(message, self.most_retained(), now)
    }

    /// A number that the disk knows: nothing else gets it from now on.
    pub(crate) fn pass_over(&self, number: u64) {
        self.numbers.fetch_max(number.saturating_add(1), Ordering::Relaxed);
    }

    /// Puts a session in that was there before the restart, unless its client has come since then.
    pub(crate) fn restore_session(
        &self,
        restored: Restored,
        rights: Rights,
        subscriptions: Vec<(String, Wish)>,
    ) -> PutBack {
        let mut state = self.lock();
        if state.arrivals.as_ref().is_some_and(|arrivals| arrivals.has(&restored.client)) {
            let bridge = state.sessions.get(&restored.client).filter(|session| !session.is_counted);
            let Some(bridge) = bridge else { return PutBack::Nothing };
            bridge.put_before(restored.messages);
            return PutBack::Messages;
        }
        let (session, resumed) = Session::restore(restored, rights, &self.total, Instant::now());
        let session = Arc::new(session);
        for (filter, wish) in subscriptions {
            state.routes.subscribe(&session, &filter, wish, self.limits.subscriptions);
        }
        state.sessions.insert(session.client.clone(), Arc::clone(&session));
        PutBack::Whole(session, resumed)
    }
}
