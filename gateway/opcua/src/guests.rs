//! Who is connected, and who of them has logged in.
//!
//! The library (async-opcua 0.19) counts sessions from when they are made, keeps those that nobody logs in to for as long as any other,
//! and those whose connection is gone until they expire. Here a session counts when somebody has logged in to it and its connection
//! is there; a connection without such a session is a stranger, of which there are few at a time: the oldest goes when one more comes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use tokio_util::sync::CancellationToken;

/// Connections at the same time over which nobody has logged in.
const MOST_STRANGERS: usize = 32;
/// Connections for each session that may be, beside the strangers: a client that comes back may have two for a while.
const CONNECTIONS_EACH: usize = 2;

/// What is known of a session: the channel that it is used over, and whether somebody is logged in. `None` when it is gone.
type Look = Box<dyn Fn() -> Option<(u32, bool)> + Send + Sync>;

/// All connections and sessions of one server of the library.
pub(crate) struct Guests {
    state: Mutex<State>,
    most_sessions: usize,
    tally: Arc<Tally>,
}

/// What is counted for as long as the gateway runs.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) refused: AtomicU64,
    pub(crate) connections: AtomicU32,
    pub(crate) connections_high: AtomicU32,
    pub(crate) sessions_high: AtomicU32,
}

#[derive(Default)]
struct State {
    next: u64,
    /// In the order in which they came.
    connections: BTreeMap<u64, Connection>,
    /// Those of open connections.
    channels: HashMap<u32, u64>,
    sessions: HashMap<u32, Look>,
}

struct Connection {
    channel: Option<u32>,
    leave: CancellationToken,
}

/// A connection that was let in; it counts until this is dropped.
pub(crate) struct Pass {
    guests: Arc<Guests>,
    id: u64,
    leave: CancellationToken,
}

impl State {
    /// The channels of open connections over which somebody is logged in, with how many sessions.
    fn live(&mut self) -> HashMap<u32, usize> {
        let (mut live, channels) = (HashMap::new(), &self.channels);
        self.sessions.retain(|_, look| {
            let seen = look();
            if let Some((channel, true)) = seen.filter(|(channel, _)| channels.contains_key(channel)) {
                *live.entry(channel).or_insert(0) += 1;
            }
            seen.is_some()
        });
        live
    }
}

impl Guests {
    pub(crate) fn new(most_sessions: usize, tally: Arc<Tally>) -> Arc<Guests> {
        Arc::new(Guests { state: Mutex::default(), most_sessions, tally })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in. When there are too many the oldest stranger goes; `None` when there is none.
    pub(crate) fn enter(self: &Arc<Guests>) -> Option<Pass> {
        let mut state = self.state();
        let live: HashSet<u32> = state.live().into_keys().collect();
        let is_stranger = |connection: &&Connection| {
            !connection.leave.is_cancelled() && connection.channel.is_none_or(|channel| !live.contains(&channel))
        };
        let strangers = state.connections.values().filter(is_stranger).count();
        let most = self.most_sessions.saturating_mul(CONNECTIONS_EACH).saturating_add(MOST_STRANGERS);
        if strangers >= MOST_STRANGERS || state.connections.len() >= most {
            self.tally.refused.fetch_add(1, Relaxed);
            state.connections.values().find(is_stranger)?.leave.cancel();
        }
        let (id, leave) = (state.next, CancellationToken::new());
        state.next += 1;
        state.connections.insert(id, Connection { channel: None, leave: leave.clone() });
        let count = u32::try_from(state.connections.len()).unwrap_or(u32::MAX);
        drop(state);
        self.tally.connections.fetch_add(1, Relaxed);
        self.tally.connections_high.fetch_max(count, Relaxed);
        Some(Pass { guests: Arc::clone(self), id, leave })
    }

    /// Notes a session that somebody has just logged in to. When it is one too many its connection is cut: two may have come at once.
    pub(crate) fn welcome(&self, session: u32, look: Look) {
        let mut state = self.state();
        let channel = look().map(|(channel, _)| channel);
        state.sessions.insert(session, look);
        let live: usize = state.live().values().sum();
        if live > self.most_sessions {
            self.tally.refused.fetch_add(1, Relaxed);
            let id = channel.and_then(|channel| state.channels.get(&channel));
            if let Some(connection) = id.and_then(|id| state.connections.get(id)) {
                connection.leave.cancel();
            }
        }
        self.tally.sessions_high.fetch_max(u32::try_from(live).unwrap_or(u32::MAX), Relaxed);
    }

    /// Whether one more may log in.
    pub(crate) fn has_room(&self) -> bool {
        let room = self.live() < self.most_sessions;
        if !room {
            self.tally.refused.fetch_add(1, Relaxed);
        }
        room
    }

    /// Sessions that are used over an open connection.
    pub(crate) fn live(&self) -> usize {
        self.state().live().values().sum()
    }

    /// The numbers of all sessions that somebody has logged in to and that are not gone.
    pub(crate) fn sessions(&self) -> Vec<u32> {
        let mut state = self.state();
        state.live();
        state.sessions.keys().copied().collect()
    }
}

impl Pass {
    /// Ends when the connection has to go.
    pub(crate) fn leave(&self) -> &CancellationToken {
        &self.leave
    }

    /// Notes the channel that the library has opened over the connection.
    pub(crate) fn named(&self, channel: u32) {
        let mut state = self.guests.state();
        state.channels.insert(channel, self.id);
        if let Some(connection) = state.connections.get_mut(&self.id) {
            connection.channel = Some(channel);
        }
    }

    /// Whether somebody is logged in over it.
    pub(crate) fn is_guest(&self) -> bool {
        let mut state = self.guests.state();
        let channel = state.connections.get(&self.id).and_then(|connection| connection.channel);
        channel.is_some_and(|channel| state.live().contains_key(&channel))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.guests.state();
        let gone = state.connections.remove(&self.id);
        if let Some(channel) = gone.and_then(|connection| connection.channel) {
            state.channels.remove(&channel);
        }
        self.guests.tally.connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guests(most: usize) -> Arc<Guests> {
        Guests::new(most, Arc::default())
    }

    /// A session over that channel, logged in to.
    fn look(channel: u32) -> Look {
        Box::new(move || Some((channel, true)))
    }

    #[test]
    fn the_oldest_stranger_makes_room_and_a_guest_stays() {
        let guests = guests(2);
        let guest = guests.enter().unwrap();
        guest.named(1);
        guests.welcome(1, look(1));
        let strangers: Vec<Pass> = (0..MOST_STRANGERS).map(|_| guests.enter().unwrap()).collect();
        assert!(strangers.iter().all(|stranger| !stranger.leave().is_cancelled()));
        let one_more = guests.enter().unwrap();
        assert!(strangers[0].leave().is_cancelled() && !strangers[1].leave().is_cancelled());
        assert!(!guest.leave().is_cancelled() && !one_more.leave().is_cancelled());
        assert!(guest.is_guest() && !one_more.is_guest());
    }

    #[test]
    fn a_session_counts_while_its_connection_is_there() {
        let guests = guests(1);
        let first = guests.enter().unwrap();
        first.named(7);
        guests.welcome(1, look(7));
        assert!(!guests.has_room());
        drop(first);
        assert!(guests.has_room());
        assert_eq!(guests.sessions(), [1], "it may come back over another connection");
        let [second, third] = [8, 9].map(|channel| {
            let pass = guests.enter().unwrap();
            pass.named(channel);
            guests.welcome(channel, look(channel));
            pass
        });
        assert!(!second.leave().is_cancelled() && third.leave().is_cancelled(), "the second one was one too many");
    }

    #[test]
    fn where_all_are_guests_nobody_else_comes_in() {
        let guests = guests(1);
        let passes: Vec<Pass> = (0..CONNECTIONS_EACH + MOST_STRANGERS)
            .map(|n| {
                let pass = guests.enter().unwrap();
                pass.named(u32::try_from(n).unwrap());
                pass
            })
            .collect();
        guests.state().sessions.extend((0..).map(|n| (n, look(n))).take(passes.len()));
        assert!(guests.enter().is_none());
        assert_eq!(guests.tally.refused.load(Relaxed), 1 + 2, "two strangers had to go before");
    }
}
