//! One client's session: what waits for it and what it has not yet acknowledged (MQTT 5.0 §4.1, §4.3, §4.4).
//!
//! A session is served by at most one connection. Everything a connection does names its number, so a connection that
//! has been replaced by another of the same client finds itself [`Gone`] and cannot touch the session any more.

mod in_flight;
mod saved;

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use self::in_flight::InFlight;
pub(crate) use self::saved::{Restored, Saved};
use crate::{limits::Limits, message::Published, rights::Rights, status::Counters, wire::Qos};

/// Messages that are enough to be sent in one piece.
pub(crate) const MANY: usize = 64;
/// Bytes that may wait for a client that can still send a message on at once.
const LITTLE: usize = 64 * 1024;

/// A client's session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Unique in the broker; never 0.
    pub(crate) number: u64,
    /// The client id.
    pub(crate) client: String,
    /// What the client may do.
    pub(crate) rights: Rights,
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
    /// The client has to log in again.
    Dismissed,
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

/// Whether something of a session has changed since the disk was told.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    anything: AtomicBool,
    subscriptions: AtomicBool,
}

impl Unsaved {
    fn note(&self) {
        self.anything.store(true, Relaxed);
    }

    /// The subscriptions have changed, or everything has to be saved again.
    pub(crate) fn note_subscriptions(&self) {
        self.subscriptions.store(true, Relaxed);
        self.note();
    }

    /// Whether something has changed.
    pub(crate) fn is_noted(&self) -> bool {
        self.anything.load(Relaxed)
    }

    /// Whether something has changed; from now on that is known.
    pub(crate) fn take(&self) -> bool {
        self.anything.swap(false, Relaxed)
    }

    /// Whether the subscriptions have changed; from now on that is known.
    pub(crate) fn take_subscriptions(&self) -> bool {
        self.subscriptions.swap(false, Relaxed)
    }
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

    /// Whether there is room for another message. One always finds room, however large it is.
    fn has_room(&self, cost: usize, limit: usize) -> bool {
        self.queue.is_empty() || self.queued + self.in_flight.bytes() + cost <= limit
    }
}

impl Session {
    pub(crate) fn new(number: u64, client: String, rights: Rights) -> Session {
        Session { number, client, rights, unsaved: Unsaved::default(), state: Mutex::default() }
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

    /// Gives the session up for good.
    pub(crate) fn end(&self) {
        let mut state = self.change();
        state.ended = true;
        state.resumed.cancel();
        if let Some(attached) = state.attached.take() {
            attached.kick.cancel();
        }
        state.queue = VecDeque::new();
        state.in_flight = InFlight::default();
        state.queued = 0;
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
        self.lock().attached.as_ref().is_some_and(|attached| attached.leave == Some(Gone::TooSlow))
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
    pub(crate) fn offer(&self, mut queued: Queued, limits: &Limits, counters: &Counters) {
        let inside = self.rights.inside();
        let limits = inside.map_or(limits, |inside| &inside.limits);
        let mut state = self.change();
        let Some(limit) = state.limit(queued.qos, limits) else { return };
        let cost = queued.message.cost();
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
        let State { attached, queue, queued: waiting, last_number, .. } = &mut *state;
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
        Ok(false)
    }

    /// A message is done with: the client has it (QoS 1), has refused it, or takes no packet of its size.
    pub(crate) fn finished(&self, connection: u64, id: u16) -> Result<(), Gone> {
        self.serving(connection)?.in_flight.finish(id);
        Ok(())
    }

    /// The client has a message with QoS 2; says whether there was one under this id.
    pub(crate) fn stored(&self, connection: u64, id: u16) -> Result<bool, Gone> {
        Ok(self.serving(connection)?.in_flight.release(id))
    }

    /// The client has forgotten the id of a message with QoS 2.
    pub(crate) fn completed(&self, connection: u64, id: u16) -> Result<(), Gone> {
        self.serving(connection)?.in_flight.complete(id);
        Ok(())
    }

    /// The client has published with QoS 2; `Some(false)` when it had done so before under this id, and `None` when it may
    /// not have more than `most` under way.
    pub(crate) fn receive(&self, connection: u64, id: u16, most: usize) -> Result<Option<bool>, Gone> {
        let mut state = self.serving(connection)?;
        if state.received.len() >= most && !state.received.contains(&id) {
            return Ok(None);
        }
        Ok(Some(state.received.insert(id)))
    }

    /// The client will not publish the message under this id again; `false` when there was none.
    pub(crate) fn release(&self, connection: u64, id: u16) -> Result<bool, Gone> {
        Ok(self.serving(connection)?.received.remove(&id))
    }

    /// Takes off what the client of a shared subscription is not going to get, as far as `hand_over` finds others for it: what waits,
    /// and what was sent with QoS 1 and not acknowledged. What was sent with QoS 2 belongs to this client for good (MQTT 5.0
    /// §4.8.2).
    pub(crate) fn hand_over(&self, mut hand_over: impl FnMut(&Queued) -> bool) {
        let mut state = self.change();
        let State { queue, queued: waiting, in_flight, .. } = &mut *state;
        in_flight.hand_over(&mut hand_over);
        queue.retain(|queued| {
            let gone = queued.shared.is_some() && hand_over(queued);
            if gone {
                *waiting = waiting.saturating_sub(queued.message.cost());
            }
            !gone
        });
    }
}
