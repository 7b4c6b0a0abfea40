//! What the writer knows by heart: where the log begins and ends, its streams, its targets.

mod meta;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tidegate_codec::{block::StoreId, record};
use tidegate_model::{Name, Timestamp};

use crate::{
    age::AgeClock,
    database::{Database, Trouble, Unusable, trouble},
    epochs::{self, Epoch},
    gaps::{self, Gaps},
    lock::Here,
    numbers::{signed, unsigned},
    ranges::{Acknowledged, Range},
    requests::next_readable,
    starts::Starts,
    streams::{self, Streams},
    summary::Summary,
    target::Target,
    wire::new_store_id,
};

pub(crate) use meta::{Meta, save_fact, save_store};

/// What the writer knows by heart.
#[derive(Debug)]
pub(crate) struct Books {
    /// The identity of the numbering of its rows.
    pub(crate) store: StoreId,
    /// The number of this start.
    pub(crate) boot: u64,
    /// What tells the directory from a copy of it; 0 when that is not known.
    pub(crate) place: u64,
    /// What tells this run of the machine from others; 0 when that is not known.
    pub(crate) machine: u64,
    /// Where the rows of each start begin, this one included.
    pub(crate) starts: Starts,
    /// Whether the database does not know yet that it has been opened.
    pub(crate) just_opened: bool,
    /// The position of the first row in the log; the end when there is none.
    pub(crate) first: u64,
    /// The position after the last row.
    pub(crate) end: u64,
    /// Time of the oldest row.
    pub(crate) oldest: Option<Timestamp>,
    /// Age mark of the oldest row.
    pub(crate) oldest_age: u64,
    pub(crate) age: AgeClock,
    pub(crate) streams: Streams,
    pub(crate) gaps: Gaps,
    /// The last numbers in the database are as of this position.
    pub(crate) sequence_position: u64,
    /// The last number before the damage in which the places of the targets were lost; 0 when that has not happened.
    pub(crate) targets_lost: u64,
    pub(crate) targets: BTreeMap<Name, Arc<Target>>,
    /// By their first positions.
    pub(crate) epochs: BTreeMap<u64, Epoch>,
    /// Rows here can be neither read nor removed: retention goes on behind them. Empty when there is nothing of the kind.
    pub(crate) stuck: Range,
    /// Fresh records from here on are to become blocks.
    pub(crate) frontier: u64,
    /// Bytes of these records, and the age mark of the first.
    pub(crate) fresh_bytes: u64,
    pub(crate) fresh_age: Option<u64>,
    /// The position of the newest record.
    pub(crate) last_record: u64,
    /// The number of the next body.
    pub(crate) next_body: u64,
    /// Whether there are bodies that nothing refers to.
    pub(crate) loose: bool,
}

impl Books {
    /// Reads the books of a database and checks it as far as that is quick. Writes nothing: a disk that is full must
    /// not keep a gateway from starting. `here` is what tells the database from a copy.
    pub(crate) async fn open(database: &mut Database, max_age: Duration, here: Here) -> Result<Books, Unusable> {
        let connection = &mut database.connection;
        let meta = Meta::load(connection).await?;
        check(connection, meta.clean == 1).await?;
        Books::load(connection, meta, max_age, here).await
    }

    async fn load(
        connection: &mut SqliteConnection,
        meta: Meta,
        max_age: Duration,
        here: Here,
    ) -> Result<Books, Unusable> {
        let mut streams = Streams::load(connection).await?;
        recover_numbers(connection, &mut streams, meta.sequence_position).await?;
        streams.raise_to(meta.numbering_base);

        let select = "SELECT first_position, row_count, age, time_max FROM log ORDER BY first_position DESC LIMIT 1";
        let last = sqlx::query(select).fetch_optional(&mut *connection).await?;
        let last_record = last.as_ref().map_or(Ok(0), |row| row.try_get("first_position").map(unsigned))?;
        let (end, age) = match &last {
            Some(row) => {
                let newest = newest(connection).await.unwrap_or(time(row, "time_max")?);
                (end(row)?, AgeClock::new(unsigned(row.try_get("age")?), Some(newest), max_age))
            }
            None => (meta.start_position, AgeClock::new(0, None, max_age)),
        };
        let known = |(name, done): (Name, Acknowledged)| (name.clone(), Arc::new(Target::new(name, done, true)));
        let targets: BTreeMap<Name, Arc<Target>> = acknowledged(connection).await?.into_iter().map(known).collect();
        for target in targets.values() {
            gaps::refresh(connection, target).await?;
        }
        let gaps = Gaps::load(connection).await?;
        let Meta { sequence_position, targets_lost, .. } = meta;
        let (store, boot, just_opened) = (meta.store.unwrap_or_else(new_store_id), meta.next_boot(here), true);
        let mut starts = Starts::load(connection).await?;
        starts.begin(end, boot);
        let (first, oldest, oldest_age) = (end, None, 0);
        let mut books = Books {
            store,
            boot,
            place: here.place,
            machine: here.machine,
            starts,
            just_opened,
            first,
            end,
            oldest,
            oldest_age,
            age,
            streams,
            gaps,
            sequence_position,
            targets_lost,
            targets,
            epochs: epochs::load(connection).await?,
            stuck: Range::new(0, 0),
            frontier: 0,
            fresh_bytes: 0,
            fresh_age: None,
            last_record,
            next_body: number(connection, "SELECT coalesce(max(id), 0) + 1 FROM body").await?,
            loose: number(connection, "SELECT count(*) FROM loose").await? > 0,
        };
        books.look_up_beginning(connection).await?;
        let behind = books.epochs.last_key_value().map_or(0, |(_, epoch)| epoch.range.end);
        books.frontier = epochs::first_record(connection, books.stuck.end).await?.unwrap_or(books.end).max(behind);
        books.look_up_fresh(connection).await?;
        Ok(books)
    }

    /// Looks up what the oldest row in the log is that can be read.
    pub(crate) async fn look_up_beginning(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        match self.look_up_behind(connection).await {
            Err(error) if trouble(&error) == Trouble::Damaged => {
                let from = self.stuck.end.max(self.first.min(self.last_record));
                let end = next_readable(connection, from, self.end).await.min(self.last_record);
                tracing::error!(
                    position = from, why = %error,
                    "the oldest part of the log cannot be read; its rows stay where they are and the rest is kept; check \
                     the disk"
                );
                self.stuck = Range::new(if self.stuck.len() > 0 { self.stuck.first } else { from }, end.max(from));
                self.look_up_behind(connection).await
            }
            found => found,
        }
    }

    async fn look_up_behind(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let select =
            "SELECT first_position, time_min, age FROM log WHERE first_position >= ? ORDER BY first_position LIMIT 1";
        let record = match sqlx::query(select).bind(signed(self.stuck.end)).fetch_optional(connection).await? {
            Some(row) => {
                Some((unsigned(row.try_get("first_position")?), time(&row, "time_min")?, unsigned(row.try_get("age")?)))
            }
            None => None,
        };
        let epoch = self.epochs.range(self.stuck.end..).next();
        let epoch = epoch.map(|(first, epoch)| (*first, epoch.time_min, epoch.age));
        (self.first, self.oldest, self.oldest_age) = match record.into_iter().chain(epoch).min() {
            Some((first, oldest, age)) => (first, Some(oldest), age),
            None => (self.end, None, 0),
        };
        Ok(())
    }

    /// Looks up what there is to be moved into blocks. Not all of it where that is very much.
    pub(crate) async fn look_up_fresh(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let select = "SELECT coalesce(sum(bytes), 0), min(age) FROM (SELECT length(body) AS bytes, age FROM log \
                      WHERE first_position >= ? ORDER BY first_position LIMIT 4096)";
        let row = match sqlx::query(select).bind(signed(self.frontier)).fetch_one(connection).await {
            Ok(row) => row,
            Err(error) if trouble(&error) == Trouble::Damaged => {
                // Enough for compaction to find out what can be read.
                (self.fresh_bytes, self.fresh_age) = (u64::MAX, None);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.fresh_bytes = unsigned(row.try_get(0)?);
        self.fresh_age = row.try_get::<Option<i64>, _>(1)?.map(unsigned);
        Ok(())
    }

    /// Milliseconds between the oldest and the newest of the records that are to be moved into blocks, by their age
    /// marks.
    pub(crate) fn fresh_span(&self) -> i64 {
        let span = self.fresh_age.map_or(0, |age| self.age.mark().saturating_sub(age));
        i64::try_from(span).unwrap_or(i64::MAX)
    }
}

/// What each target has acknowledged.
pub(crate) async fn acknowledged(connection: &mut SqliteConnection) -> Result<BTreeMap<Name, Acknowledged>, Unusable> {
    let mut targets = BTreeMap::new();
    for row in sqlx::query("SELECT target, position FROM cursor").fetch_all(&mut *connection).await? {
        let done = Acknowledged::before(unsigned(row.try_get("position")?));
        targets.insert(streams::name(row.try_get("target")?)?, done);
    }
    let select = "SELECT target, first_position, end_position FROM acknowledged ORDER BY target, first_position";
    for row in sqlx::query(select).fetch_all(connection).await? {
        let range = Range::new(unsigned(row.try_get("first_position")?), unsigned(row.try_get("end_position")?));
        if let Some(done) = targets.get_mut(&streams::name(row.try_get("target")?)?) {
            done.insert(range);
        }
    }
    Ok(targets)
}

/// The position after the record of a row with `first_position` and `row_count`.
pub(crate) fn end(row: &SqliteRow) -> Result<u64, sqlx::Error> {
    let first = unsigned(row.try_get("first_position")?);
    Ok(first.saturating_add(unsigned(row.try_get("row_count")?)))
}

/// A time out of the database.
pub(crate) fn time(row: &SqliteRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    row.try_get(column).map(Timestamp::from_millis)
}

/// The newest time among the last records; the very last may have rows of the past only.
async fn newest(connection: &mut SqliteConnection) -> Option<Timestamp> {
    let select = "SELECT max(time_max) AS time_max FROM \
                  (SELECT time_max FROM log ORDER BY first_position DESC LIMIT 256)";
    time(&sqlx::query(select).fetch_one(connection).await.ok()?, "time_max").ok()
}

async fn number(connection: &mut SqliteConnection, select: &'static str) -> Result<u64, sqlx::Error> {
    sqlx::query(select).fetch_one(connection).await?.try_get(0).map(unsigned)
}

/// Notes the numbers of the rows that have been written since the table `sequence` was.
pub(crate) async fn recover_numbers(
    connection: &mut SqliteConnection,
    streams: &mut Streams,
    since: u64,
) -> Result<(), Unusable> {
    let select = "SELECT first_position, summary FROM log WHERE first_position >= ? ORDER BY first_position";
    for row in sqlx::query(select).bind(signed(since)).fetch_all(&mut *connection).await? {
        let first = unsigned(row.try_get("first_position")?);
        match Summary::decode(row.try_get("summary")?, first) {
            Some(summary) => summary.streams.iter().for_each(|(stream, span)| streams.wrote(*stream, span.last)),
            None => {
                let select = "SELECT body FROM log WHERE first_position = ?";
                let row = sqlx::query(select).bind(signed(first)).fetch_one(&mut *connection).await?;
                let record = record::Record::decode(row.try_get("body")?).map_err(|error| {
                    Unusable::Damaged(format!("the last numbers of the streams cannot be recovered: {error}"))
                })?;
                record.rows().iter().for_each(|row| streams.wrote(row.stream, row.seq));
            }
        }
    }
    Ok(())
}

/// Pages that are checked at the start when the store has not been closed: 64 MiB, a second or two on a slow disk. A
/// larger database is checked as it is read.
const QUICK: u64 = 16_384;
/// Pages that are checked at every start: 4 MiB.
const ALWAYS: u64 = 1_024;

async fn check(connection: &mut SqliteConnection, clean: bool) -> Result<(), Unusable> {
    let row = sqlx::query("PRAGMA page_count").fetch_one(&mut *connection).await?;
    let pages = unsigned(row.try_get(0)?);
    if pages > if clean { ALWAYS } else { QUICK } {
        return Ok(());
    }
    let row = sqlx::query("PRAGMA quick_check(1)").fetch_one(connection).await?;
    match row.try_get::<&str, _>(0)? {
        "ok" => Ok(()),
        finding => Err(Unusable::Damaged(finding.replace('\n', " "))),
    }
}

/// Bytes of the pages that are in use.
pub(crate) async fn bytes_in_use(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let row = sqlx::query(
        "SELECT (page_count - freelist_count) * page_size \
         FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
    )
    .fetch_one(connection)
    .await?;
    row.try_get::<i64, _>(0).map(unsigned)
}
