//! What the store says about itself, for metrics and for people.

use std::time::Duration;

use tidegate_model::{Name, Timestamp};

/// How the store does. Counters begin with 0 when the store is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreStatus {
    /// The number of this start on this database: higher than that of each start before, mostly by one.
    pub boot: u64,
    /// Rows in the database.
    pub rows: u64,
    /// Bytes that they take there, indexes and bookkeeping included; compared with `max_size`.
    pub bytes: u64,
    /// Bytes of the database file and its write-ahead log on the disk; pages that are free for reuse count.
    pub file_bytes: u64,
    /// Time of the oldest row in the database.
    pub oldest: Option<Timestamp>,
    /// Rows committed.
    pub rows_committed: u64,
    /// Bytes of the records committed.
    pub bytes_committed: u64,
    /// Stretches of the log whose rows are in blocks.
    pub epochs: u64,
    /// Blocks.
    pub blocks: u64,
    /// Rows in blocks.
    pub block_rows: u64,
    /// Rows in fresh records, which wait to be moved into blocks.
    pub fresh_rows: u64,
    /// Bytes of these records.
    pub fresh_bytes: u64,
    /// The time between the oldest and the newest of them.
    pub fresh_span: Duration,
    /// Transactions committed.
    pub commits: u64,
    /// Times that the database had the operating system flush a file to the disk.
    pub fsyncs: u64,
    /// How long the commits of rows took, from the first encoded byte to the end of the fsync.
    pub commit_times: CommitTimes,
    /// Rows that wait for their commit.
    pub pending_rows: u64,
    /// Bytes of memory they take, about.
    pub pending_bytes: u64,
    /// The most that `pending_bytes` has been.
    pub pending_bytes_high: u64,
    /// Bytes of memory that committed rows take until all live targets have read them, about.
    pub tail_bytes: u64,
    /// Rows dropped that some target had not got.
    pub dropped: Dropped,
    /// Why nothing can be written at the moment.
    pub failing: Option<String>,
    /// Every target with a cursor in the database, also those that are not configured any more.
    pub targets: Vec<CursorStatus>,
}

/// Rows dropped, by reason. A row that two targets had not got counts once, but for damage, which each target meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// They could not be written and memory was full.
    pub disk_failing: u64,
    /// They were older than `max_age`.
    pub too_old: u64,
    /// The store had reached `max_size`; with `when_full = "block"` these are the newest ones.
    pub store_full: u64,
    /// The store was nearly full, and they were neither alarms nor extremes of their minute.
    pub thinned: u64,
    /// They could not be read back. Less than the truth where even their number could not be read.
    pub damaged: u64,
}

/// How far one target is.
#[derive(Debug, Clone, PartialEq)]
pub struct CursorStatus {
    /// The target.
    pub target: Name,
    /// Whether a cursor is open for it.
    pub open: bool,
    /// Committed rows that it has not acknowledged.
    pub waiting_rows: u64,
    /// Time of the oldest of them, or a little before.
    pub waiting_since: Option<Timestamp>,
    /// Time of the oldest row of the live lane that it has not acknowledged; none while there is one lane only.
    pub live_since: Option<Timestamp>,
    /// Time of the oldest of all others, or a little before.
    pub backlog_since: Option<Timestamp>,
    /// Gap records that it has not acknowledged.
    pub gaps: u64,
    /// Ranges of rows that it has acknowledged behind the oldest one that waits.
    pub ranges: u64,
    /// Rows that it has acknowledged since the store was opened.
    pub acknowledged: u64,
    /// Time of the row it has acknowledged last.
    pub last_acknowledged: Option<Timestamp>,
}

/// A histogram of the time that commits took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitTimes {
    /// Commits counted.
    pub count: u64,
    /// The sum of their times.
    pub sum: Duration,
    /// The longest.
    pub longest: Duration,
    /// The last.
    pub last: Duration,
    /// How many took at most the bound of the same index in [`CommitTimes::BOUNDS`], and more than the bound before;
    /// the rest took longer.
    pub buckets: [u64; 10],
}

impl CommitTimes {
    /// Upper bounds of the buckets.
    pub const BOUNDS: [Duration; 10] = [
        Duration::from_millis(1),
        Duration::from_millis(2),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(20),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(200),
        Duration::from_millis(500),
        Duration::from_secs(1),
    ];

    pub(crate) fn add(&mut self, time: Duration) {
        self.count += 1;
        self.sum = self.sum.saturating_add(time);
        self.longest = self.longest.max(time);
        self.last = time;
        let bucket = CommitTimes::BOUNDS.iter().position(|bound| time <= *bound);
        if let Some(count) = bucket.and_then(|at| self.buckets.get_mut(at)) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_time_falls_into_the_first_bucket_that_holds_it() {
        let mut times = CommitTimes::default();
        for millis in [1, 3, 5, 2_000] {
            times.add(Duration::from_millis(millis));
        }
        assert_eq!(times.buckets, [1, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((times.count, times.sum), (4, Duration::from_millis(2_009)));
        assert_eq!((times.longest, times.last), (Duration::from_secs(2), Duration::from_secs(2)));
    }
}
