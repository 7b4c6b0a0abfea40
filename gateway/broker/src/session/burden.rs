//! What a session is to all others: how much it holds, for how long, and how it gives way.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::time::{Duration, Instant};

use super::{Gone, InFlight, Queued, SPACIOUS, Session, State};
use crate::total::Total;

/// What a place in a queue takes, beside the message.
const PLACE: usize = 96;
/// For how long a client that is away counts as having taken nothing: it comes after those that are there and take nothing, and before
/// those that take what they get.
const AWAY: Duration = Duration::from_secs(1);

/// What a session is to all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Burden {
    /// It holds nothing, or what cannot be taken from it.
    None,
    /// Its connection is on its way out, and these bytes with it.
    Leaving(usize),
    /// Bytes that it holds, times the milliseconds for which it has taken nothing.
    Holds(u128),
}

impl State {
    /// Forgets what waits and what is in flight.
    pub(super) fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.in_flight = InFlight::default();
        self.queued = 0;
        self.places.set(0);
    }

    /// Brings up to date what the places count, and gives back those of a queue that was long.
    pub(super) fn count_places(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > SPACIOUS {
            self.queue = VecDeque::new();
        }
        self.places.set((self.queue.len() + self.in_flight.len()) * PLACE);
    }
}

#[cfg(test)]
impl super::Attached {
    /// A connection that takes whatever there is, in tests.
    pub(crate) fn for_test(connection: u64, expiry: u32) -> super::Attached {
        super::Attached {
            connection,
            wake: Arc::default(),
            kick: tokio_util::sync::CancellationToken::new(),
            expiry,
            window: 1_000,
            window_bytes: usize::MAX,
            leave: None,
            ready: Arc::default(),
        }
    }
}

impl Session {
    /// Lets messages count that were made before the session.
    pub(super) fn count_all(&self, total: &Arc<Total>) {
        if !self.is_counted {
            return;
        }
        let mut state = self.lock();
        let State { queue, in_flight, .. } = &mut *state;
        for queued in queue.iter_mut().chain(in_flight.published_mut()) {
            let Queued { message, .. } = queued;
            *message = Arc::new(message.copy().counted(total));
        }
        state.count_places();
    }

    /// How much the session holds, and for how long.
    pub(crate) fn burden(&self, now: Instant) -> Burden {
        let state = self.lock();
        if state.ended || !self.is_counted {
            return Burden::None;
        }
        let waits = state.queued + state.in_flight.bytes();
        let ready = state.attached.as_ref().map_or(0, |attached| attached.ready.load(Relaxed));
        if state.is_to_end() {
            return if waits > 0 { Burden::Holds(u128::MAX) } else { Burden::Leaving(ready) };
        }
        if waits + ready == 0 {
            return Burden::None;
        }
        let still = match (&state.attached, state.moved) {
            (None, _) => AWAY,
            (Some(_), moved) => moved.map_or(Duration::ZERO, |moved| now.saturating_duration_since(moved)),
        };
        let bytes = u128::try_from(waits + ready).unwrap_or(u128::MAX);
        Burden::Holds(bytes.saturating_mul(still.as_millis() + 1))
    }

    /// Puts messages before all others: they waited longer, in an earlier session.
    pub(crate) fn put_before(&self, messages: Vec<(Queued, u16)>) {
        let mut state = self.change();
        let State { queue, queued: waiting, in_flight, last_number, attached, .. } = &mut *state;
        for (queued, _) in messages.into_iter().rev() {
            *waiting += queued.message.cost();
            queue.push_front(queued);
        }
        // The disk has nothing of the session yet: all get numbers in this order.
        for (queued, number) in in_flight.published_mut().chain(queue.iter_mut()).zip(1..) {
            queued.number = number;
            *last_number = number;
        }
        if let Some(attached) = attached {
            attached.wake.notify_one();
        }
        state.count_places();
    }

    /// Drops the QoS 0 messages that wait. Returns how many.
    pub(crate) fn drop_qos_0(&self) -> usize {
        let mut state = self.change();
        let before = state.queue.len();
        state.queue.retain(|queued| queued.qos.is_acknowledged());
        let dropped = before - state.queue.len();
        if dropped > 0 {
            state.queue.shrink_to_fit();
            state.queued = state.queue.iter().map(|queued| queued.message.cost()).sum();
            state.count_places();
        }
        dropped
    }

    /// Tells the connection that the session ends because all together hold too much.
    pub(crate) fn give_way(&self) {
        if let Some(attached) = &mut self.lock().attached {
            // Also of one that was to log in again and keep its session.
            if !attached.leave.is_some_and(Gone::ends_session) {
                attached.leave = Some(Gone::GaveWay);
            }
            attached.kick.cancel();
        }
    }

    /// Forgets what waits in a session that is to end. Returns how many messages that were.
    pub(crate) fn forget_all(&self) -> usize {
        let mut state = self.change();
        let forgotten = state.queue.len() + state.in_flight.published().count();
        state.clear();
        forgotten
    }
}
