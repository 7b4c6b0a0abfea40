//! The rows of one commit, numbered and encoded.

use std::sync::Arc;

use tidegate_codec::{CodecError, record};
use tidegate_model::{Row, Timestamp};

use crate::{
    age::AgeClock,
    numbers::count,
    pending::{Arrived, Entry, Lost},
    summary::Summary,
};

/// Slots of one record, unless a single row has more. Few enough that encoding one does not hold up the other tasks
/// of the thread (a millisecond or two), and that a cursor which reads back has little to hold.
const SLOTS: usize = 32_768;

/// A row of the table `log`.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) first_position: u64,
    pub(crate) rows: u64,
    pub(crate) time_min: Timestamp,
    pub(crate) time_max: Timestamp,
    pub(crate) age: u64,
    pub(crate) summary: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// The rows of one commit. Once made it stays the same until it is on the disk, however often that fails.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) first_position: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) lost: Vec<Lost>,
    /// Empty until [`Batch::encode`].
    pub(crate) records: Vec<Record>,
}

impl Batch {
    /// Numbers the rows from `first_position` on.
    pub(crate) fn new(mut arrived: Arrived, first_position: u64) -> Batch {
        if arrived.lost.is_empty() {
            // Rows of a stream beside each other compress better. Their order within the stream stays.
            arrived.rows.sort_by_key(|entry| entry.row.stream.id());
        }
        Batch { first_position, entries: arrived.rows, lost: arrived.lost, records: Vec::new() }
    }

    /// The position after the last row.
    pub(crate) fn end(&self) -> u64 {
        self.first_position + count(self.entries.len())
    }

    /// Memory that the rows take, about.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// Bytes of the encoded records.
    pub(crate) fn encoded_bytes(&self) -> u64 {
        self.records.iter().map(|record| count(record.body.len() + record.summary.len())).sum()
    }

    /// Encodes what is not encoded yet; `age` moves with every record, and with the rows that had no room: a store that
    /// takes no more rows until old ones have left has to see time pass.
    ///
    /// # Errors
    ///
    /// Those of the codec. What is encoded so far stays.
    pub(crate) async fn encode(&mut self, age: &mut AgeClock) -> Result<(), CodecError> {
        loop {
            let done = self.records.iter().map(|record| crate::numbers::length(record.rows)).sum::<usize>();
            let left = self.entries.get(done..).unwrap_or_default();
            if left.is_empty() {
                self.step_for_lost(age);
                return Ok(());
            }
            let first = self.first_position + count(done);
            self.records.push(Record::new(first, first_entries(left), age)?);
            tokio::task::yield_now().await;
        }
    }

    fn step_for_lost(&self, age: &mut AgeClock) {
        let Some(lost) = self.lost.iter().map(|lost| lost.last_time).max().flatten() else { return };
        // Between rows that were taken the time of the others says nothing new, and must not be a step back.
        if self.records.iter().all(|record| record.time_max < lost) {
            age.step(lost);
        }
    }
}

/// As many as make one record, at least one.
fn first_entries(entries: &[Entry]) -> &[Entry] {
    let mut slots = 0_usize;
    let fits = |entry: &&Entry| {
        let first = slots == 0;
        slots = slots.saturating_add(entry.row.slots.len().max(1));
        first || slots <= SLOTS
    };
    entries.get(..entries.iter().take_while(fits).count()).unwrap_or_default()
}

impl Record {
    fn new(first_position: u64, entries: &[Entry], age: &mut AgeClock) -> Result<Record, CodecError> {
        let rows: Vec<Arc<Row>> = entries.iter().map(|entry| Arc::clone(&entry.row)).collect();
        let body = record::encode(&rows)?;
        let times = || rows.iter().map(|row| row.time);
        let newest = entries.iter().filter(|entry| !entry.past).map(|entry| entry.row.time).max();
        let zero = Timestamp::from_millis(0);
        let (time_min, time_max) = (times().min().unwrap_or(zero), times().max().unwrap_or(zero));
        Ok(Record {
            first_position,
            rows: count(rows.len()),
            time_min,
            time_max,
            // Rows of the past do not set the clock back.
            age: newest.map_or(age.mark(), |newest| age.step(newest)),
            summary: Summary::of(first_position, rows.iter().map(Arc::as_ref)).encode(),
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tidegate_model::{Slot, Stream, StreamId, Value};

    use super::*;

    fn entry(stream: u32, seq: u64, slots: usize) -> Entry {
        let name = |text: &str| text.parse().unwrap();
        let stream = Arc::new(Stream::new(StreamId(stream), name("d"), name("g"), Vec::new()));
        let slots = vec![Slot::Good(Value::F32(1.5)); slots].into();
        let row = Row { stream, seq, time: Timestamp::from_millis(0), device_time: None, slots };
        Entry { row: Arc::new(row), payload: Bytes::new(), bytes: 1, past: false }
    }

    #[tokio::test]
    async fn a_commit_is_cut_into_records_of_bounded_size_but_never_within_a_row() {
        let rows =
            vec![entry(1, 1, 20_000), entry(1, 2, 20_000), entry(1, 3, 90_000), entry(1, 4, 100), entry(1, 5, 1)];
        let mut batch = Batch::new(Arrived { rows, lost: Vec::new() }, 50);
        batch.encode(&mut AgeClock::new(0, None, Duration::from_secs(60))).await.unwrap();
        let cut: Vec<(u64, u64)> = batch.records.iter().map(|record| (record.first_position, record.rows)).collect();
        assert_eq!(cut, [(50, 1), (51, 1), (52, 1), (53, 2)]);
        assert_eq!(batch.end(), 55);
    }

    #[tokio::test]
    async fn rows_of_the_past_make_nothing_older() {
        const HOUR: i64 = 3_600_000;
        let at = |seq, time, past| {
            let entry = entry(1, seq, 1);
            let row = Row { time: Timestamp::from_millis(time), ..(*entry.row).clone() };
            Entry { row: Arc::new(row), past, ..entry }
        };
        let mut age = AgeClock::new(0, None, Duration::from_secs(72 * 3600));
        let mut seq = 0;
        let mut marks = Vec::new();
        for (time, past) in [(20 * HOUR, false), (12 * HOUR, true), (20 * HOUR + 5, false), (13 * HOUR, true)] {
            seq += 1;
            let mut batch = Batch::new(Arrived { rows: vec![at(seq, time, past)], lost: Vec::new() }, seq);
            batch.encode(&mut age).await.unwrap();
            assert_eq!(batch.records[0].time_max, Timestamp::from_millis(time));
            marks.push(batch.records[0].age);
        }
        assert_eq!(marks, [0, 0, 5, 5]);
    }

    #[test]
    fn rows_of_a_stream_stay_in_order_when_they_are_put_beside_each_other() {
        let rows = vec![entry(2, 1, 1), entry(1, 7, 1), entry(2, 2, 1), entry(1, 8, 1)];
        let batch = Batch::new(Arrived { rows, lost: Vec::new() }, 0);
        let order: Vec<(u32, u64)> =
            batch.entries.iter().map(|entry| (entry.row.stream.id().0, entry.row.seq)).collect();
        assert_eq!(order, [(1, 7), (1, 8), (2, 1), (2, 2)]);
    }
}
