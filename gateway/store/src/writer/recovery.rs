//! What the writer does when the disk fails: it opens the database again, finds out what has become of the last commit, and
//! begins a new one in the place of one that is damaged.

use std::time::Duration;

use tokio::time::Instant;

use super::{Failing, Writer};
use crate::{
    commit::Failure,
    damage,
    database::{Database, FILE, Trouble, readers},
    gaps,
};

/// First and longest time between two tries to write.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl Writer {
    /// Opens the database again. True when it turns out that the last commit is there in spite of its error: SQLite
    /// finds a transaction that is complete in the write-ahead log whether or not its fsync has been reported.
    pub(super) async fn reopen(&mut self) -> Result<bool, Failure> {
        let mut database = Database::reopen(self.dir.join(FILE)).await?;
        let found = database.number("SELECT coalesce(max(first_position + row_count), 0) FROM log").await?;
        let expected = self.books.end;
        let batch = self.batch.as_ref().filter(|batch| batch.end() == found && found > expected);
        if let Some(batch) = batch {
            // Written once more, so that it is certainly on the disk.
            database.number("PRAGMA wal_checkpoint(TRUNCATE)").await?;
            self.books.gaps = gaps::Gaps::load(&mut database.connection).await?;
            self.books.advance(batch);
        } else if found != expected && (found > 0 || self.books.first < expected) {
            return Err(Failure::Shrunk { found, expected });
        }
        let arrived = batch.is_some();
        self.database = Some(database);
        self.make_sure().await?;
        // What the targets have acknowledged is on the disk as it was before the last commit, or as it is after it.
        self.books.targets.values().for_each(|target| target.place().may_not_be_saved());
        Ok(arrived)
    }

    /// Notes why nothing can be written, and when to try again.
    pub(crate) async fn failed(&mut self, failure: Failure) {
        self.books.gaps.forget();
        let why = failure.explain();
        if failure.trouble() == Trouble::Damaged {
            return self.replace(why).await;
        }
        if matches!(failure, Failure::Database(_)) {
            self.disconnect().await;
        }
        self.not_writing(why);
    }

    /// Tries again later.
    fn not_writing(&mut self, why: String) {
        let now = Instant::now();
        let pause = self.failing.as_ref().map_or(RETRY.0, |failing| (failing.pause * 2).min(RETRY.1));
        let since = self.failing.as_ref().map_or(now, |failing| failing.since);
        if self.failing.is_none() {
            tracing::error!(
                dir = %self.dir.display(), %why,
                "rows cannot be written to the disk; they wait in memory, and when that is full new ones are dropped \
                 and announced as gaps; free the disk or repair it, the gateway keeps trying"
            );
        }
        self.failing = Some(Failing { since, pause });
        self.shared.numbers().failing = Some(why);
        self.due = Some(now + pause);
    }

    pub(super) fn works_again(&mut self) {
        if let Some(failing) = self.failing.take() {
            let seconds = failing.since.elapsed().as_secs();
            let dropped = self.shared.pending.waiting().dropped;
            tracing::info!(seconds, dropped_since_start = dropped, "rows are written to the disk again");
            self.shared.numbers().failing = None;
        }
    }

    async fn disconnect(&mut self) {
        if let Some(database) = self.database.take() {
            // The error of a connection that has failed already says nothing new.
            let _ = database.close().await;
        }
    }

    /// Sets the damaged database aside and begins a new one with what is known by heart.
    pub(super) async fn replace(&mut self, why: String) {
        self.disconnect().await;
        (self.preparing, self.dropped_unswept, self.unsure) = (None, false, None);
        self.shared.readers().close().await;
        let aside = match self.aside.take().map_or_else(|| damage::set_aside(&self.dir, &why), Ok) {
            Ok(aside) => aside,
            Err(error) => return self.not_writing(error.to_string()),
        };
        match damage::begin_again(&self.dir, &aside, &mut self.books).await {
            Ok(database) => {
                self.shared.replace_readers(readers(&database.path));
                self.database = Some(database);
                self.shared.has_starts(&self.books.starts);
                self.shared.tail().restart(self.books.end);
                self.measure().await;
                self.due = Some(Instant::now());
                self.shared.tell_all();
            }
            Err(error) => {
                self.aside = Some(aside);
                self.not_writing(error.to_string());
            }
        }
    }
}
