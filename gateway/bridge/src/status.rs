//! What a bridge tells about itself.

use std::{
    fmt::Display,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::time::{Duration, Instant};

/// The shortest time between two log lines about messages that were dropped.
const SELDOM: Duration = Duration::from_secs(60);

/// What a bridge does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeState {
    /// Connections are being made, and subscriptions over them.
    Connecting,
    /// Connected to both brokers, which have answered the bridge's subscriptions.
    Online,
    /// Waits this long before the next try, counted from [`BridgeStatus::since`].
    BackingOff(Duration),
    /// The gateway stops.
    Stopped,
}

/// What a bridge has done since it was started, and does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeStatus {
    /// What it does.
    pub state: BridgeState,
    /// Since when.
    pub since: Instant,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Connections after the first.
    pub reconnects: u64,
    /// Tries to connect that failed.
    pub connect_failures: u64,
    /// Messages sent to the other broker, those sent again counted again.
    pub sent: u64,
    /// Messages that it has acknowledged.
    pub acknowledged: u64,
    /// Messages that came from it.
    pub received: u64,
    /// Messages that were dropped: a broker does not take them.
    pub dropped: u64,
    /// Messages that came round in a circle.
    pub looped: u64,
}

/// A counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increase(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What is counted of one way.
#[derive(Debug)]
pub(crate) struct Counters {
    bridge: String,
    pub(crate) sent: Counter,
    pub(crate) acknowledged: Counter,
    pub(crate) dropped: Counter,
    next_line: Mutex<Option<Instant>>,
}

impl Counters {
    pub(crate) fn new(bridge: &str) -> Counters {
        Counters {
            bridge: bridge.to_owned(),
            sent: Counter::default(),
            acknowledged: Counter::default(),
            dropped: Counter::default(),
            next_line: Mutex::default(),
        }
    }

    /// Counts a message that a broker does not take.
    pub(crate) fn drop_message(&self, topic: &str, why: &impl Display) {
        self.dropped.increase();
        let now = Instant::now();
        let mut next = self.next_line.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_none_or(|next| next <= now) {
            *next = now.checked_add(SELDOM);
            tracing::warn!(bridge = self.bridge, topic, %why, "a broker does not take a message of the bridge; it is dropped, a counter tells about more");
        }
    }
}

/// What changes with the connection.
#[derive(Debug)]
pub(crate) struct Standing(Mutex<BridgeStatus>);

impl Standing {
    pub(crate) fn new() -> Standing {
        Standing(Mutex::new(BridgeStatus {
            state: BridgeState::Connecting,
            since: Instant::now(),
            last_error: None,
            reconnects: 0,
            connect_failures: 0,
            sent: 0,
            acknowledged: 0,
            received: 0,
            dropped: 0,
            looped: 0,
        }))
    }

    pub(crate) fn get(&self) -> BridgeStatus {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut BridgeStatus)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// It does something else from now on.
    pub(crate) fn enter(&self, state: BridgeState) {
        self.change(|status| (status.state, status.since) = (state, Instant::now()));
    }
}
