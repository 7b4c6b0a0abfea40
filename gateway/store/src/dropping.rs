//! What leaves the log by age or size, oldest first, and how the targets that had not got it are told.

use std::sync::Arc;

use sqlx::{Connection, Row, SqliteConnection};
use tidegate_codec::record;

use crate::{
    GapReason,
    books::{end, save_fact},
    commit::{Failure, Progress},
    compaction::sweep,
    database::Trouble,
    epochs::{self, BlockHead, Epoch},
    gaps::{self, Gap},
    missing::Missing,
    numbering,
    numbers::{length, signed, unsigned},
    ranges::{Acknowledged, Range},
    requests::next_readable,
    summary::{Span, Summary},
    target::Target,
    writer::Writer,
};

/// Records dropped in one transaction.
const STEP: i64 = 256;

/// A record that could go.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) range: Range,
    age: u64,
    bytes: u64,
    summary: Option<Summary>,
}

/// What goes.
enum Going {
    Records(Vec<Candidate>),
    Epoch { epoch: Epoch, blocks: Vec<BlockHead> },
}

impl Going {
    fn end(&self) -> Option<u64> {
        match self {
            Going::Records(records) => records.last().map(|record| record.range.end),
            Going::Epoch { epoch, .. } => Some(epoch.range.end),
        }
    }
}

impl Writer {
    /// Drops some of the oldest rows, in one transaction.
    pub(crate) async fn retain(&mut self) {
        let Some(reason) = self.retention.due else { return };
        let (end, dropped) = match self.going(reason).await {
            Ok(Some(going)) => (going.end(), self.drop_these(reason, going).await.map(|()| true)),
            Ok(None) => (None, Ok(false)),
            Err(failure) => (None, Err(failure)),
        };
        match dropped {
            // The bytes of an epoch are free once its bodies have been removed; it is measured then.
            Ok(true) if self.books.loose => self.dropped_unswept = true,
            Ok(true) => self.measure().await,
            Ok(false) => self.retention.due = None,
            Err(failure) if failure.trouble() == Trouble::Damaged => self.pass_by(end, &failure).await,
            Err(failure) => self.failed(failure).await,
        }
    }

    /// Leaves rows that can be neither read nor removed where they are, and has retention go on behind them: a part that is
    /// damaged is no reason to give up all the rest. `end` is where they end, when that is known.
    async fn pass_by(&mut self, end: Option<u64>, failure: &Failure) {
        self.books.gaps.forget();
        let Some(database) = &mut self.database else { return };
        let from = self.books.stuck.end.max(self.books.first);
        let end = match end {
            Some(end) => end,
            None => next_readable(&mut database.connection, from, self.books.end).await,
        };
        let end = end.min(self.books.last_record);
        tracing::error!(
            position = from, why = %failure.explain(),
            "a part of the log cannot be read and so not be dropped; it keeps its room on the disk, and newer rows are dropped \
             in its place; check the disk"
        );
        if end <= from {
            self.retention.due = None;
            return;
        }
        let first = if self.books.stuck.len() > 0 { self.books.stuck.first } else { from };
        self.books.stuck = Range::new(first, end);
        if self.books.look_up_beginning(&mut database.connection).await.is_err() {
            self.retention.due = None;
        }
    }

    /// What is to go; `None` when nothing can.
    async fn going(&mut self, reason: GapReason) -> Result<Option<Going>, Failure> {
        let Some(database) = &mut self.database else { return Ok(None) };
        let books = &self.books;
        let oldest = books.epochs.range(books.stuck.end..).next().map(|(_, epoch)| *epoch);
        let first_record = epochs::first_record(&mut database.connection, books.stuck.end).await?;
        if let Some(epoch) = oldest.filter(|epoch| first_record.is_none_or(|first| epoch.range.first < first)) {
            let goes = self.retention.choose(reason, books, [(epoch.age, epoch.bytes)].into_iter()) > 0;
            let blocks = if goes { epochs::blocks(&mut database.connection, epoch.range).await? } else { Vec::new() };
            return Ok(goes.then_some(Going::Epoch { epoch, blocks }));
        }
        let mut records = candidates(&mut database.connection, books.stuck.end, books.end).await?;
        let each = records.iter().map(|record| (record.age, record.bytes));
        records.truncate(self.retention.choose(reason, books, each));
        // Epochs may follow records that compaction had to leave where they were.
        let until = oldest.map_or(u64::MAX, |epoch| epoch.range.first);
        records.retain(|record| record.range.first < until);
        Ok(if records.is_empty() { None } else { Some(Going::Records(records)) })
    }

    async fn drop_these(&mut self, reason: GapReason, going: Going) -> Result<(), Failure> {
        let (Some(drop_end), Some(database)) = (going.end(), &mut self.database) else { return Ok(()) };
        let stuck = self.books.stuck;
        let behind = self.books.targets.values().filter(|target| target.base() < drop_end);
        let mut behind: Vec<Progress> = behind.map(Progress::of).collect();
        let mut transaction = database.connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut lost = 0;
        for progress in &mut behind {
            let target = Arc::clone(progress.target());
            let next = target.place().next();
            let done = progress.done_mut();
            let missing = match &going {
                // Nor is it known what of this it had got before it was passed by.
                _ if stuck.len() > 0 && !done.has_all(stuck) => None,
                Going::Records(records) => missing(&mut transaction, records, done).await?,
                Going::Epoch { blocks, .. } => missing_of(blocks, done),
            };
            // Nobody knows what was in some of them: rather announce too much than too little.
            let missing = missing.unwrap_or_else(|| self.books.streams.everything());
            lost = lost.max(missing.rows());
            for (stream, span) in missing.iter() {
                let gap = Gap { stream, span, reason };
                self.books.gaps.add(&mut transaction, &target, drop_end.max(next), gap).await?;
            }
            done.raise(drop_end);
            progress.save(&mut transaction).await?;
        }
        if self.books.sequence_position < drop_end {
            self.books.streams.save_sequence(&mut transaction).await?;
            save_fact(&mut transaction, "sequence_position", self.books.end).await?;
        }
        self.books.starts.remove_before(&mut transaction, drop_end).await?;
        match &going {
            Going::Records(_) => {
                let delete = "DELETE FROM log WHERE first_position >= ? AND first_position < ?";
                let query = sqlx::query(delete).bind(signed(stuck.end)).bind(signed(drop_end));
                query.execute(&mut *transaction).await?;
            }
            Going::Epoch { epoch, blocks } => {
                epochs::remove(&mut transaction, epoch.range).await?;
                for bodies in epochs::bodies(blocks) {
                    sweep::claim(&mut transaction, bodies).await?;
                }
            }
        }
        transaction.commit().await?;
        if let Going::Epoch { epoch, .. } = going {
            self.books.epochs.remove(&epoch.range.first);
            self.books.loose = true;
            self.count_epochs();
        }
        self.dropped(reason, drop_end, lost, behind).await
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
        let targets: Vec<Arc<Target>> = behind.iter().map(|progress| Arc::clone(progress.target())).collect();
        for progress in behind {
            let target = Arc::clone(progress.target());
            target.place().skip_to(drop_end);
            progress.note();
            gaps::refresh(&mut database.connection, &target).await?;
            target.tell();
        }
        if self.books.starts.forget_before(drop_end) {
            self.shared.has_starts(&self.books.starts);
        }
        self.books.look_up_beginning(&mut database.connection).await?;
        for target in targets {
            let mut place = target.place();
            place.since = place.since.max(self.books.oldest);
        }
        if reason == GapReason::StoreFull {
            self.retention.tell_dropped(lost);
        }
        if self.books.frontier < drop_end {
            self.books.frontier = drop_end;
            self.books.look_up_fresh(&mut database.connection).await?;
        }
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
            range: Range::new(first, end(row)?),
            age: unsigned(row.try_get("age")?),
            bytes: unsigned(row.try_get("bytes")?),
            summary: Summary::decode(row.try_get("summary")?, first),
        })
    };
    rows.iter().map(candidate).collect()
}

/// The rows in these records that a target has not acknowledged; `None` when that is not known of all of them.
pub(crate) async fn missing(
    connection: &mut SqliteConnection,
    records: &[Candidate],
    done: &Acknowledged,
) -> Result<Option<Missing>, sqlx::Error> {
    let mut missing = Missing::default();
    let mut complete = true;
    for record in records {
        let range = record.range;
        if done.has_all(range) || (!done.has_none(range) && exact(connection, range, done, &mut missing).await?) {
            continue;
        }
        complete &= record.summary.is_some();
        for (stream, span) in record.summary.iter().flat_map(|summary| &summary.streams) {
            missing.add(*stream, *span);
        }
    }
    Ok(complete.then_some(missing))
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

/// The rows in these blocks that a target has not acknowledged; `None` when that is not known of all of them.
pub(crate) fn missing_of(blocks: &[BlockHead], done: &Acknowledged) -> Option<Missing> {
    let mut missing = Missing::default();
    for block in blocks {
        let seqs = match &block.seqs {
            Some(seqs) => Some(numbering::decode(seqs, length(block.range.len()))?),
            None => None,
        };
        for part in done.missing_in(block.range) {
            let (from, to) = (part.first - block.range.first, part.end - block.range.first);
            match &seqs {
                None => {
                    let first = block.first_seq.saturating_add(from);
                    missing.add(block.stream, Span { first, last: first.saturating_add(to - from - 1) });
                }
                Some(seqs) => {
                    for seq in seqs.iter().take(length(to)).skip(length(from)) {
                        missing.add(block.stream, Span { first: *seq, last: *seq });
                    }
                }
            }
        }
    }
    Some(missing)
}
