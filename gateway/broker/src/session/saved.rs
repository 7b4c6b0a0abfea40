//! A session as the disk knows it: taken off one that lives, and made into one after a restart.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{InFlight, Queued, Session, State};
use crate::{rights::Rights, total::Total};

/// Whether something of a session has changed since the disk was told.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    anything: AtomicBool,
    subscriptions: AtomicBool,
}

impl Unsaved {
    pub(super) fn note(&self) {
        self.anything.store(true, Relaxed);
    }

    /// The subscriptions have changed, or everything has to be saved again.
    pub(crate) fn note_subscriptions(&self) {
        self.subscriptions.store(true, Relaxed);
        self.note();
    }

    /// Whether something has changed; from now on that is known. This comes before anything of the session is read: what changes from
    /// then on is noted again, whether it has been read or not.
    pub(crate) fn take(&self) -> bool {
        self.anything.swap(false, Relaxed)
    }

    /// Whether the subscriptions have changed; from now on that is known.
    pub(crate) fn take_subscriptions(&self) -> bool {
        self.subscriptions.swap(false, Relaxed)
    }
}

/// What the disk is to know of a session beside its subscriptions.
#[derive(Debug)]
pub(crate) struct Saved {
    /// Seconds the session outlives its connection.
    pub(crate) expiry: u32,
    /// Since when the client is away; absent while it is connected.
    pub(crate) offline_since: Option<Instant>,
    /// The last packet id that was given.
    pub(crate) last_id: u16,
    /// Packet ids of QoS 2 messages from the client that it has not yet released.
    pub(crate) received: Vec<u16>,
    /// Packet ids of QoS 2 messages to the client that it has and has not yet forgotten.
    pub(crate) released: Vec<u16>,
    /// Numbers of the messages with QoS 1 and 2 that wait, or are sent and not acknowledged (those with a packet id), in order.
    pub(crate) messages: Vec<(u64, u16)>,
    /// Those of them that the disk does not have yet.
    pub(crate) new: Vec<Queued>,
}

/// What a session is made of after a restart.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) number: u64,
    pub(crate) client: String,
    pub(crate) expiry: u32,
    pub(crate) last_id: u16,
    /// The highest number of a message that the disk has, also of one that is left out: later ones are told from it by theirs.
    pub(crate) last_number: u64,
    pub(crate) received: Vec<u16>,
    pub(crate) released: Vec<u16>,
    /// Messages with QoS 1 and 2 in order; those that were sent have a packet id, others 0.
    pub(crate) messages: Vec<(Queued, u16)>,
}

impl Session {
    /// What the disk is to know. `written`: the number of the last message that the disk has got. Absent for sessions that end with
    /// their connection, and for those that have ended.
    pub(crate) fn to_save(&self, written: u64) -> Option<Saved> {
        let state = self.lock();
        if state.ended || state.expiry == 0 {
            return None;
        }
        let (mut messages, mut released, mut new) = (Vec::with_capacity(state.queue.len()), Vec::new(), Vec::new());
        let mut keep = |queued: &Queued, id| {
            messages.push((queued.number, id));
            if queued.number > written {
                // Uncounted: what the session forgets while it is being written has to be seen to be gone at once, or others give way
                // for what is free already.
                let message =
                    if self.is_counted { Arc::new(queued.message.copy()) } else { Arc::clone(&queued.message) };
                new.push(Queued { message, ..queued.clone() });
            }
        };
        state.in_flight.published().for_each(|(queued, id)| keep(queued, id));
        released.extend(state.in_flight.released());
        state.queue.iter().filter(|queued| queued.qos.is_acknowledged()).for_each(|queued| keep(queued, 0));
        let mut received: Vec<u16> = state.received.iter().copied().collect();
        received.sort_unstable();
        Some(Saved {
            expiry: state.expiry,
            offline_since: state.offline_since,
            last_id: state.in_flight.last_id(),
            received,
            released,
            messages,
            new,
        })
    }

    /// Whether the session outlives its connection, so that the disk has to know it.
    pub(crate) fn is_persistent(&self) -> bool {
        let state = self.lock();
        !state.ended && state.expiry > 0
    }

    /// A session of an earlier process whose client has been away since then. The token is cancelled when it is back or the
    /// session has been given up.
    pub(crate) fn restore(
        restored: Restored,
        rights: Rights,
        total: &Arc<Total>,
        now: Instant,
    ) -> (Session, CancellationToken) {
        let Restored { number, client, expiry, last_id, last_number, received, released, messages } = restored;
        let mut state = State {
            expiry,
            last_number,
            offline_since: Some(now),
            received: received.into_iter().collect(),
            ..State::default()
        };
        let (waiting, sent) = messages.into_iter().partition(|(_, id)| *id == 0);
        state.in_flight = InFlight::restore(last_id, released, sent);
        let waiting: Vec<(Queued, u16)> = waiting;
        state.queued = waiting.iter().map(|(queued, _)| queued.message.cost()).sum();
        state.queue = waiting.into_iter().map(|(queued, _)| queued).collect();
        let resumed = state.resumed.clone();
        let session = Session::with(number, client, rights, total, state);
        session.count_all(total);
        (session, resumed)
    }
}
