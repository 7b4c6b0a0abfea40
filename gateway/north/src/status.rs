//! What a target is doing, for the page, the interface and the metrics.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tidegate_model::{Name, Timestamp};

/// What time it is, as the rows tell it: targets compare it with the times of rows.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A view of a target that lives on beside it. Clones show the same target.
#[derive(Clone)]
pub struct TargetStatus(Arc<Inner>);

/// What a target is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// A connection is being made.
    Connecting,
    /// Connected and logged in.
    Online,
    /// Waiting before the next try. There is always a next try.
    BackingOff {
        /// When the next try is.
        until: Timestamp,
    },
    /// The gateway is stopping; nothing more is sent.
    Stopped,
}

/// A target at one moment. Counters start with 0 at the start of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSnapshot {
    /// The target.
    pub name: Name,
    /// What it is doing.
    pub state: TargetState,
    /// Since when.
    pub since: Timestamp,
    /// What went wrong last, and what to look at; kept after it went right again.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
    /// Rows and gap records sent; those sent again are counted again.
    pub sent: u64,
    /// Rows and gap records acknowledged by the other side.
    pub acknowledged: u64,
    /// Bytes of their payloads, those sent again counted again.
    pub bytes: u64,
    /// Connections that were made after the first.
    pub reconnects: u64,
    /// Tries to connect that failed.
    pub connect_failures: u64,
    /// Messages sent and not yet acknowledged.
    pub in_flight: u64,
    /// Bytes of their payloads.
    pub in_flight_bytes: u64,
    /// Live rows that have been committed in this connection and are not acknowledged, as far as they have been read.
    pub live_rows: u64,
    /// Rows of backlog that have been read and are not acknowledged.
    pub backlog_read: u64,
    /// Bytes of live rows sent in the last second, topics and schemas included.
    pub live_rate: u64,
    /// Bytes of backlog sent in the last second, likewise.
    pub backlog_rate: u64,
    /// Connections that were given up because the oldest message got no acknowledgement.
    pub watchdog_resets: u64,
    /// Connections that the other side closed while a message with rows was on its way.
    pub refused: u64,
    /// Rows that the other side does not take, announced to it as gaps; they are still in the store.
    pub left_out: u64,
}

struct Inner {
    name: Name,
    clock: Clock,
    now: Mutex<Now>,
    connections: AtomicU64,
    connect_failures: AtomicU64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    bytes: AtomicU64,
    in_flight: AtomicU64,
    in_flight_bytes: AtomicU64,
    live_rows: AtomicU64,
    backlog_read: AtomicU64,
    live_rate: AtomicU64,
    backlog_rate: AtomicU64,
    watchdog_resets: AtomicU64,
    refused: AtomicU64,
    left_out: AtomicU64,
}

/// What changes with a connection, not with a message.
struct Now {
    state: TargetState,
    since: Timestamp,
    last_error: Option<(String, Timestamp)>,
}

impl TargetStatus {
    pub(crate) fn new(name: Name, clock: Clock) -> TargetStatus {
        let now = Now { state: TargetState::Connecting, since: clock(), last_error: None };
        TargetStatus(Arc::new(Inner {
            name,
            clock,
            now: Mutex::new(now),
            connections: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            in_flight_bytes: AtomicU64::new(0),
            live_rows: AtomicU64::new(0),
            backlog_read: AtomicU64::new(0),
            live_rate: AtomicU64::new(0),
            backlog_rate: AtomicU64::new(0),
            watchdog_resets: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }))
    }

    /// The target at this moment. Cheap, never waits for the target.
    pub fn snapshot(&self) -> TargetSnapshot {
        let inner = &self.0;
        let (state, since, last_error) = {
            let now = self.now();
            (now.state, now.since, now.last_error.clone())
        };
        let (last_error, last_error_at) = last_error.unzip();
        TargetSnapshot {
            name: inner.name.clone(),
            state,
            since,
            last_error,
            last_error_at,
            sent: inner.sent.load(Relaxed),
            acknowledged: inner.acknowledged.load(Relaxed),
            bytes: inner.bytes.load(Relaxed),
            reconnects: inner.connections.load(Relaxed).saturating_sub(1),
            connect_failures: inner.connect_failures.load(Relaxed),
            in_flight: inner.in_flight.load(Relaxed),
            in_flight_bytes: inner.in_flight_bytes.load(Relaxed),
            live_rows: inner.live_rows.load(Relaxed),
            backlog_read: inner.backlog_read.load(Relaxed),
            live_rate: inner.live_rate.load(Relaxed),
            backlog_rate: inner.backlog_rate.load(Relaxed),
            watchdog_resets: inner.watchdog_resets.load(Relaxed),
            refused: inner.refused.load(Relaxed),
            left_out: inner.left_out.load(Relaxed),
        }
    }

    /// The target.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// The present time.
    pub(crate) fn time(&self) -> Timestamp {
        (self.0.clock)()
    }

    pub(crate) fn connecting(&self) {
        self.enter(TargetState::Connecting);
    }

    pub(crate) fn online(&self) {
        self.0.connections.fetch_add(1, Relaxed);
        self.enter(TargetState::Online);
    }

    pub(crate) fn backing_off(&self, until: Timestamp) {
        self.enter(TargetState::BackingOff { until });
    }

    pub(crate) fn stopped(&self) {
        self.enter(TargetState::Stopped);
    }

    pub(crate) fn not_connected(&self) {
        self.0.connect_failures.fetch_add(1, Relaxed);
    }

    /// Notes what went wrong. Returns whether it is something else than before.
    pub(crate) fn failed(&self, text: &str) -> bool {
        let time = self.time();
        let mut now = self.now();
        let news = now.last_error.as_ref().is_none_or(|(before, _)| before != text);
        now.last_error = Some((text.to_owned(), time));
        news
    }

    /// A message with so many rows and gap records, and so many bytes of payload, was sent.
    pub(crate) fn sent(&self, count: u64, bytes: usize) {
        self.0.sent.fetch_add(count, Relaxed);
        self.0.bytes.fetch_add(number(bytes), Relaxed);
    }

    pub(crate) fn acknowledged(&self, count: u64) {
        self.0.acknowledged.fetch_add(count, Relaxed);
    }

    pub(crate) fn left_out(&self) {
        self.0.left_out.fetch_add(1, Relaxed);
    }

    pub(crate) fn watchdog_reset(&self) {
        self.0.watchdog_resets.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.0.refused.fetch_add(1, Relaxed);
    }

    /// Rows of backlog that are read and not acknowledged.
    pub(crate) fn backlog_read(&self, rows: usize) {
        self.0.backlog_read.store(number(rows), Relaxed);
    }

    /// What is on its way, and the live rows that are not acknowledged.
    pub(crate) fn in_flight(&self, messages: usize, bytes: usize, live_rows: usize) {
        self.0.in_flight.store(number(messages), Relaxed);
        self.0.in_flight_bytes.store(number(bytes), Relaxed);
        self.0.live_rows.store(number(live_rows), Relaxed);
    }

    /// Bytes a second of both lanes.
    pub(crate) fn rates(&self, live: u64, backlog: u64) {
        self.0.live_rate.store(live, Relaxed);
        self.0.backlog_rate.store(backlog, Relaxed);
    }

    fn enter(&self, state: TargetState) {
        let time = self.time();
        let mut now = self.now();
        now.state = state;
        now.since = time;
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // Each change of `Now` is complete in itself: a thread that panicked in between left nothing half done.
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl fmt::Debug for TargetStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.snapshot(), f)
    }
}

impl TargetState {
    /// The word used in the interface: `connecting`, `online`, `backing_off` or `stopped`.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetState::Connecting => "connecting",
            TargetState::Online => "online",
            TargetState::BackingOff { .. } => "backing_off",
            TargetState::Stopped => "stopped",
        }
    }
}
