//! The task that owns the database: it commits, answers the handles and the cursors between two commits, and keeps
//! trying while the disk fails.

mod recovery;

use std::{path::PathBuf, sync::Arc, sync::atomic::Ordering, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    SetAside,
    batch::Batch,
    books::{Books, bytes_in_use},
    commit::{self, Failure, Written},
    compaction::Change,
    database::{Database, FILE, PAGE},
    gaps,
    lock::Lock,
    numbers::count,
    ranges::Range,
    retention::{Full, Retention, journal},
    shared::{Command, Shared},
    target::Target,
};

/// The write-ahead log is moved into the database when it has about so many bytes.
const CHECKPOINT: u64 = 8 << 20;
/// Compaction is told to look for work once in so many commits, at least.
const LOOK_EVERY: u64 = 64;
/// Steps that a store which is too full takes before it does anything else, at most.
const STEPS: usize = 8;
/// A cursor that has not read for so many commits does not keep up: no rows are kept in memory for it.
const KEEPS_UP: u64 = 8;

/// The task that owns the database.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dir: PathBuf,
    /// `None` after an error, until it could be opened again.
    pub(crate) database: Option<Database>,
    pub(crate) books: Books,
    pub(crate) retention: Retention,
    pub(crate) options: tidegate_config::Store,
    /// Rows on their way to the disk.
    batch: Option<Batch>,
    /// When to commit next.
    due: Option<Instant>,
    failing: Option<Failing>,
    /// Numbers of the bodies that compaction has had written and no block refers to yet.
    pub(crate) preparing: Option<Range>,
    /// Whether something has been dropped whose room is not free yet.
    pub(crate) dropped_unswept: bool,
    /// A change of which it is not known whether it is on the disk.
    pub(crate) unsure: Option<Box<Change>>,
    /// Where the damaged database is while its successor could not be begun.
    aside: Option<SetAside>,
    /// Bytes in the write-ahead log, about.
    journal: u64,
    /// Says that the directory is in use; given back when the database is closed.
    directory: Option<Lock>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    pause: Duration,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        dir: PathBuf,
        directory: Lock,
        database: Database,
        books: Books,
        options: tidegate_config::Store,
    ) -> Writer {
        let retention = Retention::new(&options);
        let (batch, due, failing, aside, journal) = (None, None, None, None, 0);
        let (database, directory) = (Some(database), Some(directory));
        let (preparing, dropped_unswept, unsure) = (None, false, None);
        Writer {
            shared,
            dir,
            database,
            books,
            retention,
            options,
            batch,
            due,
            failing,
            preparing,
            dropped_unswept,
            unsure,
            aside,
            journal,
            directory,
        }
    }

    /// Works until it is told to close, or until every handle and cursor is gone.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            self.make_room().await;
            let due = self.due.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = sleep_until(due), if self.due.is_some() => self.commit(false).await,
                command = commands.recv() => match command {
                    Some(Command::Close { reply }) => {
                        self.close().await;
                        // Nobody waits for the answer when the caller has given up.
                        let _ = reply.send(());
                        return;
                    }
                    Some(command) => self.obey(command).await,
                    None => return self.close().await,
                },
                () = self.shared.wake.notified() => self.arm(),
                () = std::future::ready(()), if self.may_sweep() || self.may_drop() => {}
            }
        }
    }

    /// Lets go of what has to leave the log, between any two other things: commits that follow each other without a pause, as on
    /// a slow disk, must not let the file grow. A step at a time, and more of them while the store is fuller than it may be.
    async fn make_room(&mut self) {
        for _ in 0..STEPS {
            if self.may_sweep() {
                self.sweep().await;
            } else if self.may_drop() {
                self.retain().await;
            } else {
                return;
            }
            if !self.retention.is_due() {
                return;
            }
        }
    }

    /// Whether something has to leave the log and can.
    fn may_drop(&self) -> bool {
        // What has been dropped before has to be gone, or too much would be; while compaction writes bodies it cannot go.
        let waits = self.dropped_unswept || (self.books.loose && self.preparing.is_none());
        self.retention.is_due() && self.failing.is_none() && !waits
    }

    /// Whether nothing can be written at the moment.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// So many bytes have been written beside the commits.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.retention.written(count(bytes));
        self.journal += count(bytes) + 4 * PAGE;
    }

    /// Counts epochs and blocks anew.
    pub(crate) fn count_epochs(&self) {
        let mut numbers = self.shared.numbers();
        numbers.epochs = count(self.books.epochs.len());
        numbers.blocks = self.books.epochs.values().map(|epoch| epoch.blocks).sum();
        numbers.block_rows = self.books.epochs.values().map(|epoch| epoch.rows).sum();
        numbers.missing_rows =
            self.books.epochs.values().map(|epoch| epoch.range.len().saturating_sub(epoch.rows)).sum();
        numbers.fresh_bytes = self.books.fresh_bytes;
        numbers.fresh_rows = self.books.end.saturating_sub(self.books.frontier);
        numbers.fresh_millis = u64::try_from(self.books.fresh_span()).unwrap_or(0);
    }

    /// So many rows have been thinned that some target had not got.
    pub(crate) fn count_thinned(&self, rows: u64) {
        self.shared.numbers().dropped.thinned += rows;
    }

    /// Sets the time of the next commit if there is anything to commit.
    pub(crate) fn arm(&mut self) {
        if self.failing.is_some() {
            return;
        }
        let waiting = self.shared.pending.waiting();
        let now = Instant::now();
        if waiting.urgent && waiting.any {
            self.due = Some(now);
        } else if self.due.is_none() && (waiting.any || self.has_news()) {
            // The commit itself takes time, and is over when the interval is.
            let takes = self.shared.numbers().commit_times.last.min(self.options.commit / 2);
            self.due = Some(now + self.options.commit - takes);
        }
        self.shared.armed.store(self.due.is_some(), Ordering::Release);
    }

    /// Whether there is something to write that is no row.
    fn has_news(&self) -> bool {
        self.books.streams.has_new() || self.books.targets.values().any(|target| target.place().is_unsaved())
    }

    /// Commits what has arrived; when that fails it is kept and tried again later.
    pub(crate) async fn commit(&mut self, last: bool) {
        self.due = None;
        self.shared.armed.store(false, Ordering::Release);
        let started = Instant::now();
        if self.batch.is_none() {
            let arrived = self.shared.pending.take();
            if !arrived.rows.is_empty() || !arrived.lost.is_empty() {
                let batch = Batch::new(arrived, self.books.end);
                self.books.use_numbers(&batch);
                self.batch = Some(batch);
            }
        }
        if let Some(aside) = &self.aside {
            self.replace(aside.why.clone()).await;
        }
        match self.try_commit(last).await {
            Ok(gaps_for) => {
                self.works_again();
                self.committed(started, &gaps_for).await;
            }
            Err(failure) => self.failed(failure).await,
        }
        self.arm();
    }

    async fn try_commit(&mut self, last: bool) -> Result<Vec<Arc<Target>>, Failure> {
        let age = self.books.age;
        if let Some(batch) = self.batch.as_mut().filter(|batch| batch.records.is_empty())
            && let Err(error) = batch.encode(&mut self.books.age).await
        {
            (batch.records, self.books.age) = (Vec::new(), age);
            return Err(Failure::Codec(error));
        }
        let targets: Vec<Arc<Target>> = self.books.targets.values().cloned().collect();
        if self.database.is_none() && self.reopen().await? {
            return Ok(targets);
        }
        let database = self.database.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let commits = self.shared.numbers().commits;
        let batch = self.batch.as_ref();
        let written: Written =
            commit::write(&mut database.connection, &mut self.books, &targets, batch, commits, last).await?;
        if let Some(directory) = self.directory.as_ref().filter(|_| self.books.just_opened) {
            directory.note(self.books.boot);
        }
        let batch = self.batch.as_ref();
        Ok(written.note(&mut self.books, batch))
    }

    /// Counts what has been committed and hands the rows on.
    async fn committed(&mut self, started: Instant, gaps_for: &[Arc<Target>]) {
        if let Some(database) = &mut self.database {
            refresh(database, gaps_for).await;
        }
        {
            let mut numbers = self.shared.numbers();
            numbers.commits += 1;
            numbers.fsyncs += 1;
        }
        let Some(batch) = self.batch.take() else { return };
        let (rows, bytes, encoded) = (count(batch.entries.len()), batch.bytes(), batch.encoded_bytes());
        self.hand_on(batch);
        self.shared.pending.committed(bytes);
        self.retention.written(encoded);
        self.journal += encoded + 4 * PAGE;
        {
            let mut numbers = self.shared.numbers();
            numbers.rows_committed += rows;
            numbers.bytes_committed += encoded;
            numbers.bytes += encoded;
            numbers.oldest = self.books.oldest;
            numbers.commit_times.add(started.elapsed());
        }
        if self.journal > CHECKPOINT.min(journal(self.options.max_size.0)) {
            self.checkpoint().await;
        }
        self.retention.look(&self.books);
        if self.retention.wants_measure() {
            self.measure().await;
        }
        self.count_epochs();
        self.look_whether_behind();
        let commits = self.shared.numbers().commits;
        if self.retention.largest().is_ripe(self.books.fresh_bytes, self.books.fresh_span())
            || commits.is_multiple_of(LOOK_EVERY)
        {
            self.shared.compact.notify_one();
        }
    }

    /// Puts the rows where the cursors find them.
    fn hand_on(&self, batch: Batch) {
        let first_time = batch.entries.first().map(|entry| entry.row.time);
        let (reached, end, commits) = {
            let tail = self.shared.tail();
            (tail.first(), tail.end(), tail.commits())
        };
        let mut wanted = None;
        for target in self.books.targets.values() {
            let mut place = target.place();
            if place.base() == batch.first_position {
                place.since = first_time;
            }
            let keeps_up = place.read_at_commit + KEEPS_UP >= commits;
            if let Some(read) = place.wants(end, reached, keeps_up) {
                wanted = Some(wanted.map_or(read, |wanted: u64| wanted.min(read)));
            }
        }
        self.shared.tail().add(batch.entries.into_iter(), wanted);
        self.shared.tell_all();
    }

    /// Moves the write-ahead log into the database, so that its file can be used from the beginning again.
    async fn checkpoint(&mut self) {
        let Some(database) = &mut self.database else { return };
        match database.number("PRAGMA wal_checkpoint(PASSIVE)").await {
            Ok(_) => {
                self.journal = 0;
                // The log, the database, and the header of the log when it begins again.
                self.shared.numbers().fsyncs += 3;
            }
            // The rows are safe in the write-ahead log; if the disk is at fault the next commit says so.
            Err(error) => tracing::debug!(%error, "the write-ahead log could not be moved into the database"),
        }
    }

    /// Looks up how large the database is.
    pub(crate) async fn measure(&mut self) {
        let Some(database) = &mut self.database else { return };
        let bytes = bytes_in_use(&mut database.connection).await;
        let size = |suffix: &str| {
            let path = self.dir.join(format!("{FILE}{suffix}"));
            std::fs::metadata(path).map_or(0, |file| file.len())
        };
        let file_bytes = size("") + size("-wal");
        if let Ok(bytes) = bytes {
            self.retention.measured(bytes);
            self.retention.tell_full();
            self.shared.pending.refuse(self.retention.full() == Full::Refuse);
            if self.retention.full() == Full::Thin {
                self.shared.compact.notify_one();
            }
            let mut numbers = self.shared.numbers();
            (numbers.bytes, numbers.file_bytes) = (bytes, file_bytes);
            (numbers.first_position, numbers.oldest) = (self.books.first, self.books.oldest);
        }
    }

    /// A last commit, then the end of the database.
    async fn close(&mut self) {
        self.shared.pending.close();
        self.commit(true).await;
        if let Some(failing) = &self.failing {
            let rows = self.batch.as_ref().map_or(0, |batch| batch.entries.len());
            let why = self.shared.numbers().failing.clone().unwrap_or_default();
            let seconds = failing.since.elapsed().as_secs();
            tracing::error!(rows, %why, seconds, "the last rows could not be written and are lost");
        }
        self.shared.closed.store(true, Ordering::Release);
        self.shared.tell_all();
        self.shared.compact.notify_one();
        self.shared.readers().close().await;
        if let Some(database) = self.database.take()
            && let Err(error) = database.close().await
        {
            tracing::warn!(%error, "the database was not closed cleanly; nothing is lost");
        }
        self.directory = None;
    }
}

/// Counts the gaps of these targets anew.
async fn refresh(database: &mut Database, targets: &[Arc<Target>]) {
    for target in targets {
        if let Err(error) = gaps::refresh(&mut database.connection, target).await {
            tracing::warn!(for_target = %target.name, %error, "the gaps of a target could not be counted");
        }
    }
}

#[cfg(test)]
mod tests;
