//! Rows that wait for their commit: bounded, and never silent about what did not fit.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tidegate_model::{Row, Stream, StreamId, Timestamp};

use crate::{
    GapReason,
    shared::lock,
    summary::{Span, widen},
};

/// A row on its way through the store.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The row.
    pub(crate) row: Arc<Row>,
    /// What the local broker got for it.
    pub(crate) payload: Bytes,
    /// Memory that both take, about.
    pub(crate) bytes: usize,
    /// Whether it is of the past: its time says nothing about when it came.
    pub(crate) past: bool,
}

/// Rows that had no room, by stream.
#[derive(Debug)]
pub(crate) struct Lost {
    /// Why.
    pub(crate) reason: GapReason,
    /// They were dropped after so many rows of the batch.
    pub(crate) after: usize,
    /// The numbers of the rows of each stream.
    pub(crate) spans: BTreeMap<StreamId, Span>,
    /// The streams, so that the gap can be named.
    pub(crate) streams: BTreeMap<StreamId, Arc<Stream>>,
    /// Time of the last of these rows that was not of the past.
    pub(crate) last_time: Option<Timestamp>,
}

/// What came in since the last time, in order.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) rows: Vec<Entry>,
    pub(crate) lost: Vec<Lost>,
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Waiting {
    /// Rows, without those that are being committed.
    pub(crate) rows: usize,
    /// Bytes, with those that are being committed.
    pub(crate) bytes: usize,
    /// The most bytes so far.
    pub(crate) high: usize,
    /// Rows dropped so far because there was no room for them here.
    pub(crate) dropped: u64,
    /// Rows refused so far because the store is full.
    pub(crate) refused: u64,
    /// Whether there is anything to commit.
    pub(crate) any: bool,
    /// Whether a commit should not wait for its time.
    pub(crate) urgent: bool,
}

/// Rows that wait for their commit.
#[derive(Debug)]
pub(crate) struct Pending {
    limit: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    arrived: Arrived,
    bytes: usize,
    high: usize,
    dropped: u64,
    /// Once a row had no room, the following are dropped too until a commit has made room: so what is lost of a
    /// stream is one range.
    full: bool,
    /// The store is full, and keeps what it has.
    refuse: bool,
    refused: u64,
    closed: bool,
}

impl Pending {
    /// Holds rows of up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Pending {
        Pending { limit, queue: Mutex::default() }
    }

    /// Takes a row in. True when the writer has to know: this is the first to wait, or it is time to commit early.
    pub(crate) fn push(&self, row: Arc<Row>, payload: Bytes) -> bool {
        self.take_in(row, payload, false)
    }

    /// The same with a row of the past.
    pub(crate) fn push_past(&self, row: Arc<Row>, payload: Bytes) -> bool {
        self.take_in(row, payload, true)
    }

    fn take_in(&self, row: Arc<Row>, payload: Bytes, past: bool) -> bool {
        let bytes = row.heap_bytes().saturating_add(payload.len());
        let mut queue = lock(&self.queue);
        let was_urgent = queue.bytes > self.limit / 2;
        let first = queue.arrived.rows.is_empty() && queue.arrived.lost.is_empty();
        if queue.full || queue.closed || queue.refuse || queue.bytes.saturating_add(bytes) > self.limit {
            queue.drop_row(&row, past);
            return first;
        }
        queue.bytes += bytes;
        queue.high = queue.high.max(queue.bytes);
        queue.arrived.rows.push(Entry { row, payload, bytes, past });
        first || (!was_urgent && queue.bytes > self.limit / 2)
    }

    /// Everything that has arrived. Its bytes count until [`Pending::committed`].
    pub(crate) fn take(&self) -> Arrived {
        std::mem::take(&mut lock(&self.queue).arrived)
    }

    /// So many of the bytes taken are on the disk.
    pub(crate) fn committed(&self, bytes: usize) {
        let mut queue = lock(&self.queue);
        queue.bytes = queue.bytes.saturating_sub(bytes);
        queue.full = false;
    }

    /// Refuses what comes from now on, or does so no longer.
    pub(crate) fn refuse(&self, refuse: bool) {
        lock(&self.queue).refuse = refuse;
    }

    /// Drops what comes from now on.
    pub(crate) fn close(&self) {
        lock(&self.queue).closed = true;
    }

    /// How much waits.
    pub(crate) fn waiting(&self) -> Waiting {
        let queue = lock(&self.queue);
        Waiting {
            rows: queue.arrived.rows.len(),
            bytes: queue.bytes,
            high: queue.high,
            dropped: queue.dropped,
            refused: queue.refused,
            any: !queue.arrived.rows.is_empty() || !queue.arrived.lost.is_empty(),
            urgent: queue.bytes > self.limit / 2,
        }
    }

    /// The last number that has been given to a row of one of these streams.
    pub(crate) fn last_seq(&self, is_one: impl Fn(&Stream) -> bool) -> Option<u64> {
        let queue = lock(&self.queue);
        queue.arrived.last_seq(is_one)
    }
}

impl Arrived {
    /// The last number that has been given to a row of one of these streams.
    pub(crate) fn last_seq(&self, is_one: impl Fn(&Stream) -> bool) -> Option<u64> {
        let rows = self.rows.iter().filter(|entry| is_one(&entry.row.stream)).map(|entry| entry.row.seq);
        let lost = self.lost.iter().flat_map(|lost| {
            let streams = lost.streams.iter().filter(|(_, stream)| is_one(stream));
            streams.filter_map(|(id, _)| lost.spans.get(id)).map(|span| span.last)
        });
        rows.chain(lost).max()
    }
}

impl Queue {
    fn drop_row(&mut self, row: &Row, past: bool) {
        if self.closed {
            self.dropped += 1;
            return;
        }
        let reason = if self.refuse { GapReason::StoreFull } else { GapReason::DiskFailing };
        if self.refuse {
            self.refused += 1;
        } else {
            self.dropped += 1;
            self.full = true;
        }
        let after = self.arrived.rows.len();
        if self.arrived.lost.last().is_none_or(|lost| lost.after != after || lost.reason != reason) {
            let (spans, streams) = (BTreeMap::new(), BTreeMap::new());
            self.arrived.lost.push(Lost { after, reason, spans, streams, last_time: None });
        }
        if let Some(lost) = self.arrived.lost.last_mut() {
            let id = row.stream.id();
            if !past {
                lost.last_time = Some(row.time);
            }
            widen(&mut lost.spans, id, Span { first: row.seq, last: row.seq });
            lost.streams.entry(id).or_insert_with(|| Arc::clone(&row.stream));
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::{Slot, Value};

    use super::*;

    fn row(seq: u64) -> Arc<Row> {
        let name = |text: &str| text.parse().unwrap();
        let stream = Arc::new(Stream::new(StreamId(1), name("d"), name("g"), Vec::new()));
        let slots = vec![Slot::Good(Value::Int(1)); 10].into();
        Arc::new(Row { stream, seq, time: Timestamp::from_millis(0), device_time: None, slots })
    }

    fn seqs(arrived: &Arrived) -> Vec<u64> {
        arrived.rows.iter().map(|entry| entry.row.seq).collect()
    }

    #[test]
    fn the_writer_is_told_of_the_first_row_and_when_it_is_half_full() {
        let bytes = row(1).heap_bytes();
        let pending = Pending::new(4 * bytes);
        let told: Vec<bool> = (1..=4).map(|seq| pending.push(row(seq), Bytes::new())).collect();
        assert_eq!(told, [true, false, true, false]);
    }

    #[test]
    fn what_has_no_room_is_lost_in_one_range_until_a_commit_made_room() {
        let bytes = row(1).heap_bytes();
        let pending = Pending::new(2 * bytes);
        for seq in 1..=4 {
            pending.push(row(seq), Bytes::new());
        }
        let first = pending.take();
        assert_eq!(seqs(&first), [1, 2]);
        assert_eq!((first.lost[0].after, first.lost[0].spans[&StreamId(1)]), (2, Span { first: 3, last: 4 }));

        // Still full while the first two are being committed.
        pending.push(row(5), Bytes::new());
        pending.committed(2 * bytes);
        pending.push(row(6), Bytes::new());
        let second = pending.take();
        assert_eq!(seqs(&second), [6]);
        assert_eq!((second.lost[0].after, second.lost[0].spans[&StreamId(1)]), (0, Span { first: 5, last: 5 }));
        assert_eq!(pending.waiting().dropped, 3);
        assert_eq!(second.last_seq(|_| true), Some(6));
    }

    #[test]
    fn after_the_end_rows_are_only_counted() {
        let pending = Pending::new(1 << 20);
        pending.close();
        pending.push(row(1), Bytes::new());
        assert_eq!((pending.waiting().dropped, pending.waiting().any), (1, false));
    }
}
