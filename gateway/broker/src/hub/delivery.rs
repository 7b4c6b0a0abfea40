//! From a publisher into the queues of the subscribers.

use std::{cell::OnceCell, sync::Arc};

use tokio::time::Instant;

use super::{Hub, State};
use crate::{
    message::Published,
    retained::{Count, Walk},
    routes::{Route, Sending, Wish},
    session::{Queued, Session},
};

/// Retained messages looked at before the lock is given to others, and at most so many wait for the client at a time.
const WALK_STEP: usize = 32;

/// A retained message walk of one subscription.
#[derive(Debug)]
pub(crate) struct Replay {
    filter: String,
    walk: Walk,
    wish: Wish,
    identifiers: Option<Arc<[u32]>>,
}

impl Replay {
    pub(crate) fn new(filter: &str, wish: Wish) -> Replay {
        let identifiers = wish.identifier.map(|identifier| Arc::from([identifier]));
        Replay { filter: filter.to_owned(), walk: Walk::new(filter), wish, identifiers }
    }

    /// Whether it is of the subscription with this filter.
    pub(crate) fn is_of(&self, filter: &str) -> bool {
        self.filter == filter
    }
}

impl Hub {
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
        if !retain && route.is_empty() {
            return true;
        }
        if retain && !retained.put(&Arc::new(message.copy()), self.most_retained(), now) {
            self.counters.dropped.increase();
            if self.lines.retained.is_due() {
                tracing::warn!(
                    topic = %String::from_utf8_lossy(&message.topic),
                    bytes = self.limits.retained_bytes,
                    messages = self.limits.retained_messages,
                    "clients publish more retained messages than are kept; this one is passed on only"
                );
            }
        }
        let mut room = true;
        for letterbox in &route.letterboxes {
            if !letterbox.put(&message) {
                self.counters.dropped.increase();
                room = false;
            }
        }
        self.distribute(&route, message, now);
        self.relieve(&mut state, now);
        room
    }

    /// Hands a message about the broker itself to who wants it, and keeps it for later subscribers.
    pub(crate) fn publish_about_itself(&self, message: Published) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let now = Instant::now();
        state.about_itself.put(&Arc::new(message.copy()), Count::default(), now);
        let route = state.routes.find(&message.topic);
        self.distribute(&route, message, now);
    }

    fn distribute(&self, route: &Route, message: Published, now: Instant) {
        if route.subscribers.is_empty() && route.teams.is_empty() {
            return;
        }
        let message = &Arc::new(message.counted(&self.total));
        let uncounted = OnceCell::new();
        for subscriber in &route.subscribers {
            let Some(sending) = subscriber.wants(message) else { continue };
            let is_counted = subscriber.session.is_counted;
            let message = if is_counted { message } else { uncounted.get_or_init(|| Arc::new(message.copy())) };
            self.offer(&subscriber.session, message, sending, (None, now));
        }
        for team in &route.teams {
            let member = team.choose(message, None, &self.limits);
            match member.and_then(|member| Some((member, member.wants(message)?))) {
                Some((member, sending)) => self.offer(&member.session, message, sending, (Some(&team.whole), now)),
                None => self.counters.dropped.increase(),
            }
        }
    }

    fn offer(
        &self,
        session: &Session,
        message: &Arc<Published>,
        sending: Sending,
        (shared, now): (Option<&Arc<str>>, Instant),
    ) {
        let Sending { qos, retain, identifiers } = sending;
        let (message, shared) = (Arc::clone(message), shared.cloned());
        let queued = Queued { message, qos, retain, identifiers, shared, number: 0 };
        session.offer(queued, now, &self.limits, &self.counters);
    }

    /// Puts some retained messages into the queue of a client; says whether there may be more.
    pub(crate) fn replay(&self, session: &Session, replay: &mut Replay) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        let Replay { filter, walk, wish, identifiers } = replay;
        if !session.rights.may_subscribe(filter) {
            // It was when the walk began.
            return false;
        }
        let messages = if filter.starts_with("$SYS") { &state.about_itself } else { &state.retained };
        let more = messages.step(walk, WALK_STEP, now, |message| {
            let identifiers = identifiers.clone();
            let sending = Sending { qos: wish.qos.min(message.qos), retain: true, identifiers };
            let copy = message.copy();
            let copy = if session.is_counted { copy.counted(&self.total) } else { copy };
            self.offer(session, &Arc::new(copy), sending, (None, now));
        });
        self.relieve(&mut state, now);
        more
    }

    /// What clients may have retained together.
    pub(super) fn most_retained(&self) -> Count {
        Count { messages: self.limits.retained_messages, bytes: self.limits.retained_bytes }
    }

    /// Gives to others of the same groups what a client that has gone has not got from its shared subscriptions.
    pub(super) fn hand_over(&self, state: &State, session: &Session) {
        session.hand_over(|queued| {
            let Some(team) = queued.shared.as_ref().and_then(|whole| state.routes.team(whole)) else { return false };
            let Some(member) = team.choose(&queued.message, Some(session.number), &self.limits) else { return false };
            let Some(sending) = member.wants(&queued.message) else { return false };
            self.offer(&member.session, &queued.message, sending, (Some(&team.whole), Instant::now()));
            true
        });
    }
}
