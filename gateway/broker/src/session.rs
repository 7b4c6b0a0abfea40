//! One client's session: what waits for it and what it has not yet acknowledged (MQTT 5.0 §4.1, §4.3, §4.4).
//!
//! A session is served by at most one connection. Everything a connection does names its number, so a connection that
//! has been replaced by another of the same client finds itself [`Gone`] and cannot touch the session any more.

mod acknowledging;
mod burden;
mod in_flight;
mod saved;

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use self::in_flight::InFlight;
pub(crate) use self::{
    burden::Burden,
    saved::{Restored, Saved, Unsaved},
};
use crate::{
    inside::MARK,
    limits::Limits,
    message::Published,
    rights::Rights,
    status::Counters,
    total::{Part, Total},
    wire::Qos,
};

/// Messages that are enough to be sent in one piece.
pub(crate) const MANY: usize = 64;
/// Bytes that may wait for a client that can still send a message on at once.
const LITTLE: usize = 64 * 1024;
/// Places of a queue that are kept when it is empty.
const SPACIOUS: usize = 4096;

/// A client's session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Unique in the broker; never 0.
    pub(crate) number: u64,
    /// The client id.
    pub(crate) client: String,
    /// What the client may do.
    pub(crate) rights: Rights,
    /// Whether what waits here counts for the limit over all clients.
    pub(crate) is_counted: bool,
    /// What has changed since the disk was told.
    pub(crate) unsaved: Unsaved,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    attached: Option<Attached>,
    /// Whether the session has been given up: nothing is put into it any more.
    ended: bool,
    /// Cancelled when the client is back or the session has been given up.
    resumed: CancellationToken,
    offline_since: Option<Instant>,
    queue: VecDeque<Queued>,
    /// Bytes of what is in the queue.
    queued: usize,
    /// What the places in the queue and in flight count, beside the messages.
    places: Part,
    /// When messages were taken last, or the first of those that wait came.
    moved: Option<Instant>,
    in_flight: InFlight,
    /// Number of the last message that was queued.
    last_number: u64,
    /// Seconds the session outlives its connection.
    expiry: u32,
    /// Packet ids of QoS 2 messages from the client that it has not yet released.
    received: HashSet<u16>,
}

/// A connection that serves a session.
#[derive(Debug, Clone)]
pub(crate) struct Attached {
    /// Unique in the broker.
    pub(crate) connection: u64,
    /// Told when there is something to send, and again when it is [`MANY`].
    pub(crate) wake: Arc<Notify>,
    /// Cancelled when the connection has to go.
    pub(crate) kick: CancellationToken,
    /// Seconds the session outlives the connection.
    pub(crate) expiry: u32,
    /// Messages with QoS 1 and 2 that the client takes at a time.
    pub(crate) window: usize,
    /// Bytes of such messages; one may be larger.
    pub(crate) window_bytes: usize,
    /// Why the connection has to go, if it does.
    pub(crate) leave: Option<Gone>,
    /// Bytes that it has made ready and not yet sent.
    pub(crate) ready: Arc<AtomicUsize>,
}

/// A message that waits for a client.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) message: Arc<Published>,
    /// The level for this client.
    pub(crate) qos: Qos,
    /// The retain flag for this client.
    pub(crate) retain: bool,
    /// Its subscriptions that selected the message (MQTT 5).
    pub(crate) identifiers: Option<Arc<[u32]>>,
    /// The shared subscription that it has the message from.
    pub(crate) shared: Option<Arc<str>>,
    /// Its number in the session; later ones have higher numbers. 0 until it is queued.
    pub(crate) number: u64,
}

/// What a connection has to send.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Publish { queued: Queued, id: u16, duplicate: bool },
    Release(u16),
}

/// Why a connection may not go on with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// Another connection of the client has taken over, or the session has been given up.
    TakenOver,
    /// More waits for the client than may wait.
    TooSlow,
    /// More waits for all clients together than may wait, and this was the slowest.
    GaveWay,
    /// The client has to log in again.
    Dismissed,
}

impl Gone {
    /// Whether messages are missing from the session, so that it ends.
    pub(crate) fn ends_session(self) -> bool {
        matches!(self, Gone::TooSlow | Gone::GaveWay)
    }
}

/// How well a session can take another message; later ones can take it better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Capacity {
    None,
    /// The client is away, and the message would wait for it.
    Away,
    /// The client is there, and the message would wait behind others.
    Busy,
    /// The message can go to the client at once.
    Ready,
}

impl State {
    /// Bytes that may wait for the client, for a message with this level; `None` when none may.
    fn limit(&self, qos: Qos, limits: &Limits) -> Option<usize> {
        match &self.attached {
            _ if self.ended => None,
            None if !qos.is_acknowledged() => None,
            None => Some(limits.queue_bytes_offline),
            Some(_) if !qos.is_acknowledged() => Some(limits.queue_bytes_qos0),
            Some(_) => Some(limits.queue_bytes),
        }
    }

    /// Whether the session ends with its connection because messages are missing from it.
    fn is_to_end(&self) -> bool {
        self.attached.as_ref().and_then(|attached| attached.leave).is_some_and(Gone::ends_session)
    }

    /// Whether there is room for another message. One always finds room, however large it is.
    fn has_room(&self, cost: usize, limit: usize) -> bool {
        self.queue.is_empty() || self.queued + self.in_flight.bytes() + cost <= limit
    }
}

impl Session {
    pub(crate) fn new(number: u64, client: String, rights: Rights, total: &Arc<Total>) -> Session {
        Session::with(number, client, rights, total, State::default())
    }

    fn with(number: u64, client: String, rights: Rights, total: &Arc<Total>, mut state: State) -> Session {
        // The queues of the gateway's own bridges have limits of their own.
        let is_counted = rights.user().is_none_or(|user| !user.starts_with(MARK));
        if is_counted {
            state.places = Part::of(total);
        }
        Session { number, client, rights, is_counted, unsaved: Unsaved::default(), state: state.into() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a change that has to be saved.
    fn change(&self) -> MutexGuard<'_, State> {
        let state = self.lock();
        self.unsaved.note();
        state
    }

    fn serving(&self, connection: u64) -> Result<MutexGuard<'_, State>, Gone> {
        let state = self.change();
        match &state.attached {
            Some(attached) if attached.connection == connection => Ok(state),
            _ => Err(Gone::TakenOver),
        }
    }

    /// Lets a connection serve the session; one that does so already is told to go. What was in flight is sent again.
    pub(crate) fn attach(&self, attached: Attached) {
        let mut state = self.change();
        if state.expiry == 0 {
            // Nothing of it has been saved so far.
            self.unsaved.note_subscriptions();
        }
        state.expiry = attached.expiry;
        if let Some(before) = state.attached.replace(attached) {
            before.kick.cancel();
        }
        state.resumed.cancel();
        state.offline_since = None;
        // What waits has waited for the client to come, which it has.
        state.moved = Some(Instant::now());
        state.in_flight.send_again();
    }

    /// Takes the connection off the session; `None` when it did not serve it any more. The token is cancelled when the
    /// client is back or the session has been given up.
    pub(crate) fn detach(&self, connection: u64, expiry: u32, now: Instant) -> Option<CancellationToken> {
        let mut state = self.serving(connection).ok()?;
        state.attached = None;
        state.expiry = expiry;
        state.offline_since = Some(now);
        state.resumed = CancellationToken::new();
        Some(state.resumed.clone())
    }

    /// From now on the session outlives its connection for so many seconds.
    pub(crate) fn keep_for(&self, connection: u64, expiry: u32) -> Result<(), Gone> {
        self.serving(connection)?.expiry = expiry;
        Ok(())
    }

    /// Gives the session up for good.
    pub(crate) fn end(&self) {
        let mut state = self.change();
        state.ended = true;
        state.resumed.cancel();
        if let Some(attached) = state.attached.take() {
            attached.kick.cancel();
        }
        state.clear();
    }

    /// Tells the connection to go, so that the client logs in again; the session stays.
    pub(crate) fn dismiss(&self) {
        if let Some(attached) = &mut self.lock().attached {
            attached.leave.get_or_insert(Gone::Dismissed);
            attached.kick.cancel();
        }
    }

    /// Whether the session ends with its connection because messages are missing from it.
    pub(crate) fn is_to_end(&self) -> bool {
        self.lock().is_to_end()
    }

    /// Whether the session has been given up.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Since when no connection serves the session.
    pub(crate) fn offline_since(&self) -> Option<Instant> {
        self.lock().offline_since
    }

    /// Drops what a client that is away is not owed: QoS 0, and what exceeds the limit, the latest first.
    pub(crate) fn trim_for_offline(&self, limits: &Limits, counters: &Counters) {
        let limits = self.rights.inside().map_or(limits, |inside| &inside.limits);
        let mut state = self.change();
        state.queue.retain(|queued| queued.qos.is_acknowledged());
        state.queued = state.queue.iter().map(|queued| queued.message.cost()).sum();
        while state.queued + state.in_flight.bytes() > limits.queue_bytes_offline {
            let Some(queued) = state.queue.pop_back() else { break };
            state.queued = state.queued.saturating_sub(queued.message.cost());
            counters.dropped.increase();
        }
        state.queue.shrink_to_fit();
        state.count_places();
    }

    /// How well the client could take a message.
    pub(crate) fn capacity(&self, qos: Qos, cost: usize, limits: &Limits) -> Capacity {
        let state = self.lock();
        let Some(limit) = state.limit(qos, limits).filter(|limit| state.has_room(cost, *limit)) else {
            return Capacity::None;
        };
        match &state.attached {
            None => Capacity::Away,
            Some(attached) if attached.leave.is_some() => Capacity::None,
            Some(attached) => {
                let open = !qos.is_acknowledged() || state.in_flight.has_room(attached);
                if open && state.queued < LITTLE.min(limit) { Capacity::Ready } else { Capacity::Busy }
            }
        }
    }

    /// Puts a message into the queue, if there is room.
    pub(crate) fn offer(&self, mut queued: Queued, now: Instant, limits: &Limits, counters: &Counters) {
        let inside = self.rights.inside();
        let limits = inside.map_or(limits, |inside| &inside.limits);
        let mut state = self.change();
        let Some(limit) = state.limit(queued.qos, limits) else { return };
        let cost = queued.message.cost();
        if state.is_to_end() {
            return counters.dropped.increase();
        }
        if !state.has_room(cost, limit) {
            counters.dropped.increase();
            if let Some(inside) = inside {
                return inside.count_dropped();
            }
            if let Some(attached) = state.attached.as_mut().filter(|_| queued.qos.is_acknowledged()) {
                attached.leave = Some(Gone::TooSlow);
                attached.kick.cancel();
            }
            return;
        }
        let State { attached, queue, queued: waiting, last_number, in_flight, moved, .. } = &mut *state;
        if queue.is_empty() && in_flight.bytes() == 0 {
            *moved = Some(now);
        }
        *waiting += cost;
        if let Some(inside) = inside {
            inside.note_waiting(*waiting);
        }
        *last_number += 1;
        queued.number = *last_number;
        queue.push_back(queued);
        if let Some(attached) = attached.as_ref().filter(|_| matches!(queue.len(), 1 | MANY)) {
            attached.wake.notify_one();
        }
        state.count_places();
    }

    /// Messages that wait or are on their way, and their bytes.
    pub(crate) fn all_waiting(&self) -> (usize, usize) {
        let state = self.lock();
        (state.queue.len() + state.in_flight.published().count(), state.queued + state.in_flight.bytes())
    }

    /// Messages that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    /// Takes what can be sent now, until it has `budget` bytes. When fewer than `least` messages wait, none of them are
    /// taken, and the answer says that some wait.
    ///
    /// # Errors
    ///
    /// [`Gone`] when the connection has to end.
    pub(crate) fn take(
        &self,
        connection: u64,
        (budget, least): (usize, usize),
        now: Instant,
        out: &mut Vec<Outgoing>,
    ) -> Result<bool, Gone> {
        let mut state = self.serving(connection)?;
        let State { attached: Some(attached), queue, queued: waiting, in_flight, .. } = &mut *state else {
            return Err(Gone::TakenOver);
        };
        if let Some(gone) = attached.leave {
            return Err(gone);
        }
        let mut taken = in_flight.resend(attached, budget, out);
        if (1..least).contains(&queue.len()) {
            return Ok(true);
        }
        let before = queue.len();
        while taken < budget {
            let Some(next) = queue.front() else { break };
            let cost = next.message.cost();
            let expired = next.message.is_expired(now);
            let counted = next.qos.is_acknowledged();
            if counted && !expired && !in_flight.has_room(attached) {
                break;
            }
            let Some(next) = queue.pop_front() else { break };
            *waiting = waiting.saturating_sub(cost);
            if expired {
                continue;
            }
            taken += cost;
            let id = if counted { in_flight.add(next.clone()) } else { 0 };
            out.push(Outgoing::Publish { queued: next, id, duplicate: false });
        }
        // What has expired makes room, too.
        let is_shorter = queue.len() < before;
        if taken > 0 {
            state.moved = Some(now);
        }
        if taken > 0 || is_shorter {
            state.count_places();
        }
        Ok(false)
    }
}
