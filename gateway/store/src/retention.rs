//! What leaves the log by age or size, oldest first, and how the targets that had not got it are told.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, Row, SqliteConnection};
use tidegate_codec::record;

use crate::{
    GapReason,
    books::{Books, end, save_fact},
    commit::{Failure, Progress},
    database::PAGE,
    gaps::{self, Gap},
    missing::Missing,
    numbers::{signed, unsigned},
    ranges::{Acknowledged, Range},
    summary::{Span, Summary},
    writer::Writer,
};

/// Records dropped in one transaction.
const STEP: i64 = 256;
/// The store drops somewhat more than it has to, this part of `max_size` or `max_age`, so that it need not do it at
/// every commit.
const PART: u64 = 256;

/// When something has to be dropped.
#[derive(Debug)]
pub(crate) struct Retention {
    max_age: Duration,
    max_size: u64,
    /// Bytes in use when they were looked up last.
    in_use: u64,
    /// Bytes written since.
    unmeasured: u64,
    due: Option<GapReason>,
}

/// A record that could go.
#[derive(Debug)]
pub(crate) struct Candidate {
    first: u64,
    /// The position after its last row.
    pub(crate) end: u64,
    age: u64,
    bytes: u64,
    summary: Option<Summary>,
}

impl Retention {
    pub(crate) fn new(options: &tidegate_config::Store) -> Retention {
        let (max_age, max_size) = (options.max_age, options.max_size.0);
        Retention { max_age, max_size, in_use: 0, unmeasured: 0, due: None }
    }

    /// So many bytes have been added to the log.
    pub(crate) fn written(&mut self, bytes: u64) {
        self.unmeasured += bytes + PAGE / 2;
    }

    /// Whether the bytes in use are to be looked up.
    pub(crate) fn wants_measure(&self) -> bool {
        self.unmeasured > self.max_size / PART || self.due == Some(GapReason::StoreFull)
    }

    /// So many bytes are in use.
    pub(crate) fn measured(&mut self, bytes: u64) {
        (self.in_use, self.unmeasured) = (bytes, 0);
        if bytes > self.max_size {
            self.due = Some(GapReason::StoreFull);
        } else if self.due == Some(GapReason::StoreFull) {
            self.due = None;
        }
    }

    /// Looks whether the oldest rows are too old.
    pub(crate) fn look(&mut self, books: &Books) {
        let allowed = books.age.oldest_allowed(self.max_age + self.max_age / 256);
        if self.due.is_none() && books.oldest.is_some() && allowed.is_some_and(|allowed| books.oldest_age < allowed) {
            self.due = Some(GapReason::TooOld);
        }
    }

    /// Whether something has to be dropped.
    pub(crate) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// How many of the candidates go.
    fn choose(&self, reason: GapReason, books: &Books, candidates: &[Candidate]) -> usize {
        let allowed = books.age.oldest_allowed(self.max_age).unwrap_or(0);
        let mut excess = (self.in_use + self.unmeasured + self.max_size / PART).saturating_sub(self.max_size);
        let goes = |candidate: &&Candidate| match reason {
            GapReason::TooOld => candidate.age < allowed,
            _ => {
                let goes = excess > 0;
                excess = excess.saturating_sub(candidate.bytes);
                goes
            }
        };
        candidates.iter().take_while(goes).count()
    }
}

impl Writer {
    /// Drops some of the oldest records, in one transaction.
    pub(crate) async fn retain(&mut self) {
        match self.drop_oldest().await {
            Ok(true) => self.measure().await,
            Ok(false) => self.retention.due = None,
            Err(failure) => self.failed(failure).await,
        }
    }

    /// True when something has been dropped.
    async fn drop_oldest(&mut self) -> Result<bool, Failure> {
        let (Some(reason), Some(database)) = (self.retention.due, &mut self.database) else { return Ok(false) };
        let connection = &mut database.connection;
        let mut candidates = candidates(connection, 0, self.books.end).await?;
        candidates.truncate(self.retention.choose(reason, &self.books, &candidates));
        let Some(drop_end) = candidates.last().map(|candidate| candidate.end) else { return Ok(false) };

        let behind = self.books.targets.values().filter(|target| target.base() < drop_end);
        let mut behind: Vec<Progress> = behind.map(Progress::of).collect();
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut lost = 0;
        for progress in &mut behind {
            let target = Arc::clone(progress.target());
            let next = target.place().next();
            let (mut missing, complete) = missing(&mut transaction, &candidates, progress.done_mut()).await?;
            if !complete {
                // Nobody knows what was in some of them: rather announce too much than too little.
                missing = Missing::default();
                for series in self.books.streams.series().iter().filter(|series| series.written > 0) {
                    missing.add(series.newest, Span { first: 1, last: series.written });
                }
            }
            lost = lost.max(missing.rows());
            for (stream, span) in missing.iter() {
                let gap = Gap { stream, span, reason };
                self.books.gaps.add(&mut transaction, &target, drop_end.max(next), gap).await?;
            }
            progress.done_mut().raise(drop_end);
            progress.save(&mut transaction).await?;
        }
        if self.books.sequence_position < drop_end {
            self.books.streams.save_sequence(&mut transaction).await?;
            save_fact(&mut transaction, "sequence_position", self.books.end).await?;
        }
        let delete = "DELETE FROM log WHERE first_position < ?";
        sqlx::query(delete).bind(signed(drop_end)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.dropped(reason, drop_end, lost, behind).await?;
        Ok(true)
    }

    /// Notes what has been dropped.
    async fn dropped(
        &mut self,
        reason: GapReason,
        drop_end: u64,
        lost: u64,
        behind: Vec<Progress>,
    ) -> Result<(), Failure> {
        if self.books.sequence_position < drop_end {
            self.books.streams.saved_sequence();
            self.books.sequence_position = self.books.end;
        }
        let Some(database) = &mut self.database else { return Ok(()) };
        for progress in behind {
            let target = Arc::clone(progress.target());
            target.place().skip_to(drop_end);
            progress.note();
            gaps::refresh(&mut database.connection, &target).await?;
            target.tell();
        }
        self.books.look_up_beginning(&mut database.connection).await?;
        let mut numbers = self.shared.numbers();
        numbers.commits += 1;
        numbers.fsyncs += 1;
        match reason {
            GapReason::TooOld => numbers.dropped.too_old += lost,
            _ => numbers.dropped.store_full += lost,
        }
        Ok(())
    }
}

/// Some records from position `from` on, of those that end before `end`: the newest of all never goes.
pub(crate) async fn candidates(
    connection: &mut SqliteConnection,
    from: u64,
    log_end: u64,
) -> Result<Vec<Candidate>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT first_position, row_count, age, summary, length(body) AS bytes FROM log \
         WHERE first_position >= ? AND first_position + row_count < ? ORDER BY first_position LIMIT ?",
    )
    .bind(signed(from))
    .bind(signed(log_end))
    .bind(STEP)
    .fetch_all(connection)
    .await?;
    let candidate = |row: &sqlx::sqlite::SqliteRow| {
        let first = unsigned(row.try_get("first_position")?);
        Ok(Candidate {
            first,
            end: end(row)?,
            age: unsigned(row.try_get("age")?),
            bytes: unsigned(row.try_get("bytes")?),
            summary: Summary::decode(row.try_get("summary")?, first),
        })
    };
    rows.iter().map(candidate).collect()
}

/// The rows in these records that a target has not acknowledged, and whether that is all of them.
pub(crate) async fn missing(
    connection: &mut SqliteConnection,
    records: &[Candidate],
    done: &Acknowledged,
) -> Result<(Missing, bool), sqlx::Error> {
    let mut missing = Missing::default();
    let mut complete = true;
    for record in records {
        let range = Range::new(record.first, record.end);
        if done.has_all(range) || (!done.has_none(range) && exact(connection, range, done, &mut missing).await?) {
            continue;
        }
        complete &= record.summary.is_some();
        for (stream, span) in record.summary.iter().flat_map(|summary| &summary.streams) {
            missing.add(*stream, *span);
        }
    }
    Ok((missing, complete))
}

/// Adds the rows of a record that a target has got a part of. False when it cannot be decoded.
async fn exact(
    connection: &mut SqliteConnection,
    range: Range,
    done: &Acknowledged,
    missing: &mut Missing,
) -> Result<bool, sqlx::Error> {
    let select = "SELECT body FROM log WHERE first_position = ?";
    let row = sqlx::query(select).bind(signed(range.first)).fetch_one(connection).await?;
    let Ok(decoded) = record::Record::decode(row.try_get("body")?) else { return Ok(false) };
    for (position, row) in (range.first..).zip(decoded.rows()) {
        if done.next_missing(position) == position {
            missing.add(row.stream, Span { first: row.seq, last: row.seq });
        }
    }
    Ok(true)
}
