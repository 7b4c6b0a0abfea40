//! One client's session: what waits for it and what it has not yet acknowledged (MQTT 5.0 §4.1, §4.3, §4.4).
//!
//! A session is served by at most one connection. Everything a connection does names its number, so a connection that
//! has been replaced by another of the same client finds itself [`Gone`] and cannot touch the session any more.

mod saved;

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use rumqttd::protocol::QoS;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

pub(crate) use self::saved::{Restored, Saved};
use crate::{limits::Limits, message::Published, rights::Rights, status::Counters};

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
    /// What the queue counts.
    queued: usize,
    in_flight: VecDeque<InFlight>,
    last_id: u16,
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
    /// Told when there is something to send.
    pub(crate) wake: Arc<Notify>,
    /// Cancelled when the connection has to go.
    pub(crate) kick: CancellationToken,
    /// Seconds the session outlives the connection.
    pub(crate) expiry: u32,
    /// Messages with QoS 1 and 2 that the client takes at a time.
    pub(crate) window: usize,
    /// Whether more waits than may wait.
    pub(crate) overflow: bool,
}

/// A message that waits for a client.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) message: Arc<Published>,
    /// The level for this client.
    pub(crate) qos: QoS,
    /// The retain flag for this client.
    pub(crate) retain: bool,
    /// Its subscriptions that selected the message (MQTT 5).
    pub(crate) identifiers: Box<[usize]>,
    /// Its number in the session; later ones have higher numbers. 0 until it is queued.
    pub(crate) number: u64,
}

#[derive(Debug)]
struct InFlight {
    id: u16,
    stage: Stage,
    /// Whether it was sent on this connection.
    sent: bool,
}

#[derive(Debug)]
enum Stage {
    /// PUBLISH, waits for PUBACK or PUBREC.
    Published(Queued),
    /// PUBREL, waits for PUBCOMP.
    Released,
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
        for entry in &mut state.in_flight {
            entry.sent = false;
        }
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
        state.in_flight = VecDeque::new();
        state.queued = 0;
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
        let mut state = self.change();
        state.queue.retain(|queued| queued.qos != QoS::AtMostOnce);
        state.queued = state.queue.iter().map(|queued| queued.message.cost()).sum();
        while state.queued > limits.queue_bytes_offline {
            let Some(queued) = state.queue.pop_back() else { break };
            state.queued = state.queued.saturating_sub(queued.message.cost());
            counters.dropped.increase();
        }
        state.queue.shrink_to_fit();
    }

    /// Puts a message into the queue, if there is room.
    pub(crate) fn offer(&self, mut queued: Queued, limits: &Limits, counters: &Counters) {
        let mut state = self.change();
        let State { attached, queue, queued: waiting, ended, last_number, .. } = &mut *state;
        let lossy = queued.qos == QoS::AtMostOnce;
        let limit = match attached {
            _ if *ended => return,
            None if lossy => return,
            None => limits.queue_bytes_offline,
            Some(_) if lossy => limits.queue_bytes_qos0,
            Some(_) => limits.queue_bytes,
        };
        let cost = queued.message.cost();
        // One message always finds room, however large it is.
        if !queue.is_empty() && *waiting + cost > limit {
            counters.dropped.increase();
            if let Some(attached) = attached.as_mut().filter(|_| !lossy) {
                attached.overflow = true;
                attached.kick.cancel();
            }
            return;
        }
        *waiting += cost;
        *last_number += 1;
        queued.number = *last_number;
        queue.push_back(queued);
        if let Some(attached) = attached.as_ref().filter(|_| queue.len() == 1) {
            attached.wake.notify_one();
        }
    }

    /// Messages that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    /// Takes what can be sent now, until it has `budget` bytes.
    ///
    /// # Errors
    ///
    /// [`Gone`] when the connection has to end.
    pub(crate) fn take(
        &self,
        connection: u64,
        budget: usize,
        now: Instant,
        out: &mut Vec<Outgoing>,
    ) -> Result<(), Gone> {
        let mut state = self.serving(connection)?;
        let State { attached: Some(attached), queue, queued: waiting, in_flight, last_id, .. } = &mut *state else {
            return Err(Gone::TakenOver);
        };
        if attached.overflow {
            return Err(Gone::TooSlow);
        }
        let mut taken = resend(in_flight, attached.window, budget, out);
        while taken < budget {
            let Some(next) = queue.front() else { break };
            let cost = next.message.cost();
            let expired = next.message.is_expired(now);
            let counted = next.qos != QoS::AtMostOnce;
            if counted && !expired && in_flight.len() >= attached.window {
                break;
            }
            let Some(next) = queue.pop_front() else { break };
            *waiting = waiting.saturating_sub(cost);
            if expired {
                continue;
            }
            taken += cost;
            let mut id = 0;
            if counted {
                id = free_id(in_flight, last_id);
                in_flight.push_back(InFlight { id, stage: Stage::Published(next.clone()), sent: true });
            }
            out.push(Outgoing::Publish { queued: next, id, duplicate: false });
        }
        Ok(())
    }

    /// A message is done with: the client has it (QoS 1), has refused it (QoS 2), or takes no packet of its size.
    pub(crate) fn finished(&self, connection: u64, id: u16) -> Result<(), Gone> {
        self.serving(connection)?.in_flight.retain(|entry| entry.id != id || matches!(entry.stage, Stage::Released));
        Ok(())
    }

    /// The client has a message with QoS 2; says whether there was one under this id.
    pub(crate) fn stored(&self, connection: u64, id: u16) -> Result<bool, Gone> {
        let mut state = self.serving(connection)?;
        let found = state.in_flight.iter_mut().find(|entry| entry.id == id);
        Ok(found.map(|entry| entry.stage = Stage::Released).is_some())
    }

    /// The client has forgotten the id of a message with QoS 2.
    pub(crate) fn completed(&self, connection: u64, id: u16) -> Result<(), Gone> {
        self.serving(connection)?.in_flight.retain(|entry| entry.id != id || !matches!(entry.stage, Stage::Released));
        Ok(())
    }

    /// The client has published with QoS 2; `false` when it had done so before under this id.
    pub(crate) fn receive(&self, connection: u64, id: u16) -> Result<bool, Gone> {
        Ok(self.serving(connection)?.received.insert(id))
    }

    /// The client will not publish the message under this id again; `false` when there was none.
    pub(crate) fn release(&self, connection: u64, id: u16) -> Result<bool, Gone> {
        Ok(self.serving(connection)?.received.remove(&id))
    }
}

/// Takes what was in flight on an earlier connection. Returns the bytes.
fn resend(in_flight: &mut VecDeque<InFlight>, window: usize, budget: usize, out: &mut Vec<Outgoing>) -> usize {
    let mut taken = 0;
    for entry in in_flight.iter_mut().take(window).filter(|entry| !entry.sent) {
        if taken >= budget {
            break;
        }
        entry.sent = true;
        match &entry.stage {
            Stage::Published(queued) => {
                taken += queued.message.cost();
                out.push(Outgoing::Publish { queued: queued.clone(), id: entry.id, duplicate: true });
            }
            Stage::Released => out.push(Outgoing::Release(entry.id)),
        }
    }
    taken
}

/// A packet id that is not in flight. There always is one: the window is much smaller than the number of ids.
fn free_id(in_flight: &VecDeque<InFlight>, last: &mut u16) -> u16 {
    loop {
        *last = last.checked_add(1).unwrap_or(1);
        if in_flight.iter().all(|entry| entry.id != *last) {
            return *last;
        }
    }
}
