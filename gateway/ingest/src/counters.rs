//! What an ingest has done since its start.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::sink::Written;

/// What an ingest has done since its start, readable from anywhere.
#[derive(Debug, Default)]
pub struct Counters {
    connected: AtomicBool,
    sink_down: AtomicBool,
    messages: AtomicU64,
    bytes: AtomicU64,
    acknowledged: AtomicU64,
    waiting: AtomicU64,
    connections: AtomicU64,
    rows: AtomicU64,
    values: AtomicU64,
    duplicates: AtomicU64,
    numbered_again: AtomicU64,
    gaps: AtomicU64,
    refused: AtomicU64,
    quarantined: AtomicU64,
    lost: AtomicU64,
    dropped: AtomicU64,
    released: AtomicU64,
    conflicts: AtomicU64,
    missing: AtomicU64,
}

/// What an ingest has done, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether the broker is connected.
    pub connected: bool,
    /// Whether the sink does not take anything at the moment.
    pub sink_down: bool,
    /// Messages with blocks that have come.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that have been acknowledged.
    pub acknowledged: u64,
    /// Messages that wait here to be written.
    pub waiting: u64,
    /// Connections to the broker that were made.
    pub connections: u64,
    /// Rows that were new and have been written.
    pub rows: u64,
    /// Values in them.
    pub values: u64,
    /// Rows that had been written before; of Sparkplug B, values that came again.
    pub duplicates: u64,
    /// Rows with the numbers of other rows, as the store of a gateway was set back. Their blocks were put aside.
    pub numbered_again: u64,
    /// Gap records that were new.
    pub gaps: u64,
    /// Blocks that could not be read.
    pub refused: u64,
    /// Those of them that were put aside.
    pub quarantined: u64,
    /// Those of them that were dropped because the quarantine was full.
    pub lost: u64,
    /// Messages at QoS 0 that were dropped because too many were waiting, or the connection ended before they were written; of Sparkplug
    /// B, values.
    pub dropped: u64,
    /// Blocks that had been put aside and could be read once their schema had come.
    pub released: u64,
    /// Transactions that were made again because another ingest was at the same place.
    pub conflicts: u64,
    /// Messages of edge nodes of Sparkplug B that are missing.
    pub missing: u64,
}

impl Counters {
    /// The state at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let number = |counter: &AtomicU64| counter.load(Relaxed);
        Snapshot {
            connected: self.connected.load(Relaxed),
            sink_down: self.sink_down.load(Relaxed),
            messages: number(&self.messages),
            bytes: number(&self.bytes),
            acknowledged: number(&self.acknowledged),
            waiting: number(&self.waiting),
            connections: number(&self.connections),
            rows: number(&self.rows),
            values: number(&self.values),
            duplicates: number(&self.duplicates),
            numbered_again: number(&self.numbered_again),
            gaps: number(&self.gaps),
            refused: number(&self.refused),
            quarantined: number(&self.quarantined),
            lost: number(&self.lost),
            dropped: number(&self.dropped),
            released: number(&self.released),
            conflicts: number(&self.conflicts),
            missing: number(&self.missing),
        }
    }

    pub(crate) fn connected(&self, connected: bool) {
        self.connected.store(connected, Relaxed);
        if connected {
            self.connections.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn sink_down(&self, down: bool) {
        self.sink_down.store(down, Relaxed);
    }

    pub(crate) fn is_sink_down(&self) -> bool {
        self.sink_down.load(Relaxed)
    }

    pub(crate) fn repeated(&self, values: u64) {
        self.duplicates.fetch_add(values, Relaxed);
    }

    pub(crate) fn missing(&self, messages: u64) {
        self.missing.fetch_add(messages, Relaxed);
    }

    pub(crate) fn message(&self, bytes: usize) {
        self.messages.fetch_add(1, Relaxed);
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn acknowledged(&self, messages: usize) {
        self.acknowledged.fetch_add(u64::try_from(messages).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn waiting(&self, messages: usize) {
        self.waiting.store(u64::try_from(messages).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn dropped(&self, messages: u64) {
        self.dropped.fetch_add(messages, Relaxed);
    }

    pub(crate) fn conflict(&self) {
        self.conflicts.fetch_add(1, Relaxed);
    }

    pub(crate) fn written(&self, written: &Written) {
        let add = |counter: &AtomicU64, number| counter.fetch_add(number, Relaxed);
        add(&self.rows, written.rows);
        add(&self.values, written.values);
        add(&self.duplicates, written.duplicates);
        add(&self.numbered_again, written.numbered_again);
        add(&self.gaps, written.gaps);
        add(&self.quarantined, written.quarantined);
        add(&self.lost, written.lost);
        add(&self.released, written.released);
    }
}
