//! One commit: the rows that have arrived, what the targets have acknowledged, what is new about the streams; one
//! transaction.

use std::{collections::BTreeSet, sync::Arc};

use sqlx::{Connection, SqliteConnection};
use tidegate_codec::CodecError;
use tidegate_model::StreamId;

use crate::{
    batch::{Batch, Record},
    books::{Books, save_fact, save_store},
    database::{Trouble, explain, trouble},
    gaps::{self, Gap},
    numbers::{count, signed},
    ranges::{Acknowledged, Range},
    summary::Span,
    target::Target,
};

/// Commits between two writings of the last numbers. After a crash the numbers of so many commits are read from the
/// log.
const SEQUENCE_EVERY: u64 = 256;

/// Why something could not be written.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database says so.
    Database(sqlx::Error),
    /// The rows could not be encoded.
    Codec(CodecError),
    /// The log does not end where it did.
    Shrunk {
        /// Where it ends.
        found: u64,
        /// Where it has to end.
        expected: u64,
    },
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        Failure::Database(error)
    }
}

impl Failure {
    /// What it means for the store.
    pub(crate) fn trouble(&self) -> Trouble {
        match self {
            Failure::Database(error) => trouble(error),
            Failure::Codec(_) => Trouble::Other,
            Failure::Shrunk { .. } => Trouble::Damaged,
        }
    }

    /// What it means for a person.
    pub(crate) fn explain(&self) -> String {
        match self {
            Failure::Database(error) => explain(error),
            Failure::Codec(error) => error.to_string(),
            Failure::Shrunk { found, expected } => {
                format!("the log ends at position {found} instead of {expected}; rows that were on the disk are gone")
            }
        }
    }
}

/// What one target has acknowledged, as it goes to the disk.
#[derive(Debug)]
pub(crate) struct Progress {
    target: Arc<Target>,
    saved: Option<Acknowledged>,
    done: Acknowledged,
    gaps_done: Vec<u64>,
}

/// What has been written, to be noted in memory once it is committed.
#[derive(Debug)]
pub(crate) struct Written {
    progress: Vec<Progress>,
    /// Targets with new gaps.
    gaps_for: Vec<Arc<Target>>,
    sequence: bool,
}

/// Writes and commits; `commits` counts those before. In memory nothing changes before [`Written::note`].
pub(crate) async fn write(
    connection: &mut SqliteConnection,
    books: &mut Books,
    targets: &[Arc<Target>],
    batch: Option<&Batch>,
    commits: u64,
    last: bool,
) -> Result<Written, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    books.streams.save_new(&mut transaction).await?;
    for record in batch.iter().flat_map(|batch| &batch.records) {
        insert(&mut transaction, record).await?;
    }
    let mut gaps_for = Vec::new();
    for (position, gap) in batch.into_iter().flat_map(lost) {
        for target in targets {
            books.gaps.add(&mut transaction, target, position, gap).await?;
        }
        gaps_for = targets.to_vec();
    }
    let progress: Vec<Progress> = targets.iter().filter_map(Progress::news).collect();
    for progress in &progress {
        progress.save(&mut transaction).await?;
    }
    // Numbers of lost rows are nowhere in the log.
    let sequence = last || commits.is_multiple_of(SEQUENCE_EVERY) || !gaps_for.is_empty();
    if sequence {
        books.streams.save_sequence(&mut transaction).await?;
        save_fact(&mut transaction, "sequence_position", batch.map_or(books.end, Batch::end)).await?;
    }
    if books.just_opened {
        save_store(&mut transaction, books.store).await?;
        save_fact(&mut transaction, "boot", books.boot).await?;
        save_fact(&mut transaction, "place", books.place).await?;
        save_fact(&mut transaction, "machine", books.machine).await?;
        books.starts.save_newest(&mut transaction).await?;
    }
    if books.just_opened || last {
        save_fact(&mut transaction, "clean", u64::from(last)).await?;
    }
    transaction.commit().await?;
    Ok(Written { progress, gaps_for, sequence })
}

async fn insert(connection: &mut SqliteConnection, record: &Record) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO log (first_position, row_count, time_min, time_max, age, summary, body) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(signed(record.first_position))
    .bind(signed(record.rows))
    .bind(record.time_min.as_millis())
    .bind(record.time_max.as_millis())
    .bind(signed(record.age))
    .bind(record.summary.as_slice())
    .bind(record.body.as_slice())
    .execute(connection)
    .await
    .map(drop)
}

/// The gaps of a batch, each with the position of the row that follows it.
fn lost(batch: &Batch) -> impl Iterator<Item = (u64, Gap)> {
    batch.lost.iter().flat_map(|lost| {
        let position = batch.first_position + count(lost.after);
        let gap = move |(stream, span): (&StreamId, &Span)| Gap { stream: *stream, span: *span, reason: lost.reason };
        lost.spans.iter().map(move |entry| (position, gap(entry)))
    })
}

impl Progress {
    /// What the disk does not know, if there is something.
    fn news(target: &Arc<Target>) -> Option<Progress> {
        let unsaved = target.place().is_unsaved();
        unsaved.then(|| Progress::of(target))
    }

    /// Everything.
    pub(crate) fn of(target: &Arc<Target>) -> Progress {
        let place = target.place();
        Progress {
            target: Arc::clone(target),
            saved: place.saved.clone(),
            done: place.done.clone(),
            gaps_done: place.gaps_done.iter().copied().collect(),
        }
    }

    /// The target.
    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// What it will have acknowledged, to be changed before it is saved.
    pub(crate) fn done_mut(&mut self) -> &mut Acknowledged {
        &mut self.done
    }

    /// Writes what has changed; [`Progress::note`] once it is committed.
    pub(crate) async fn save(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let target = self.target.name.as_str();
        if self.saved.as_ref().map(Acknowledged::floor) != Some(self.done.floor()) {
            let query = sqlx::query("INSERT OR REPLACE INTO cursor (target, position) VALUES (?, ?)");
            query.bind(target).bind(signed(self.done.floor())).execute(&mut *connection).await?;
        }
        if self.saved.is_none() {
            // Whatever is there is not known to be of use.
            let query = sqlx::query("DELETE FROM acknowledged WHERE target = ?");
            query.bind(target).execute(&mut *connection).await?;
        }
        let before: BTreeSet<Range> = self.saved.iter().flat_map(|saved| saved.ahead().iter()).collect();
        let now: BTreeSet<Range> = self.done.ahead().iter().collect();
        for range in before.difference(&now) {
            let query = sqlx::query("DELETE FROM acknowledged WHERE target = ? AND first_position = ?");
            query.bind(target).bind(signed(range.first)).execute(&mut *connection).await?;
        }
        for range in now.difference(&before) {
            let insert = "INSERT OR REPLACE INTO acknowledged (target, first_position, end_position) VALUES (?, ?, ?)";
            let query = sqlx::query(insert).bind(target).bind(signed(range.first)).bind(signed(range.end));
            query.execute(&mut *connection).await?;
        }
        gaps::remove(connection, &self.gaps_done).await
    }

    /// It is on the disk.
    pub(crate) fn note(self) {
        let mut place = self.target.place();
        place.has_saved(self.done);
        for id in &self.gaps_done {
            if place.gaps_done.remove(id) {
                place.gaps = place.gaps.saturating_sub(1);
            }
        }
    }
}

impl Written {
    /// Notes what is on the disk now, and gives the targets that have new gaps.
    pub(crate) fn note(self, books: &mut Books, batch: Option<&Batch>) -> Vec<Arc<Target>> {
        self.progress.into_iter().for_each(Progress::note);
        books.just_opened = false;
        books.streams.saved_new();
        if let Some(batch) = batch {
            books.advance(batch);
        }
        if self.sequence {
            books.streams.saved_sequence();
            books.sequence_position = books.end;
        }
        self.gaps_for
    }
}

impl Books {
    /// The numbers of the batch are used up, whatever becomes of it.
    pub(crate) fn use_numbers(&mut self, batch: &Batch) {
        for entry in &batch.entries {
            self.streams.used(entry.row.stream.id(), entry.row.seq);
        }
        for (stream, span) in batch.lost.iter().flat_map(|lost| &lost.spans) {
            self.streams.used(*stream, span.last);
        }
    }

    /// The rows of the batch are in the log.
    pub(crate) fn advance(&mut self, batch: &Batch) {
        if let (None, Some(record)) = (self.oldest, batch.records.first()) {
            self.oldest = Some(record.time_min);
            self.oldest_age = record.age;
        }
        for entry in &batch.entries {
            self.streams.wrote(entry.row.stream.id(), entry.row.seq);
        }
        if let (Some(first), Some(last)) = (batch.records.first(), batch.records.last()) {
            self.fresh_age.get_or_insert(first.age);
            self.last_record = last.first_position;
            let bytes: u64 = batch.records.iter().map(|record| count(record.body.len())).sum();
            self.fresh_bytes = self.fresh_bytes.saturating_add(bytes);
        }
        self.end = batch.end();
    }
}
