//! A damaged database is set aside under another name, and a new one begun that goes on with as much as can be known.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sqlx::{Connection, Row, SqliteConnection};
use tidegate_model::{Column, Name};

use crate::{
    GapReason, SetAside, StoreError,
    age::AgeClock,
    books::{Books, Meta, acknowledged, end, recover_numbers},
    database::{Database, FILE, Unusable, failed},
    dropping::{candidates, missing, missing_of},
    epochs,
    gaps::{self, Gap, Gaps},
    lock::Here,
    numbers::{signed, unsigned},
    ranges::{Acknowledged, Range},
    starts::Starts,
    streams::{self, Streams},
    summary::Span,
    target::Target,
    wire::new_store_id,
};

/// What SQLite puts beside the database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// Milliseconds since 1970. The one place where the store asks for the time: a name, a number and a count of starts that have
/// not been used before.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Gives the database and what belongs to it another name.
pub(crate) fn set_aside(dir: &Path, why: &str) -> Result<SetAside, StoreError> {
    let path = dir.join(FILE);
    let mut seconds = now() / 1000;
    let mut aside = dir.join(format!("{FILE}.damaged-{seconds}"));
    while aside.exists() {
        seconds += 1;
        aside = dir.join(format!("{FILE}.damaged-{seconds}"));
    }
    let unusable = |source| StoreError::Directory { path: dir.to_owned(), source };
    std::fs::rename(&path, &aside).map_err(unusable)?;
    for suffix in BESIDE {
        // Often there is none; one that cannot be moved is removed before the new database is made.
        let _ = std::fs::rename(beside(&path, suffix), beside(&aside, suffix));
    }
    tracing::error!(
        set_aside = %aside.display(), %why,
        "the database is damaged; it has been set aside and a new one is begun; rows that waited in it are announced \
         to their targets as gaps; check the disk, and delete the file when nobody needs it any more"
    );
    Ok(SetAside { path: aside, why: why.to_owned() })
}

/// What could be read from a damaged database, each part on its own.
#[derive(Debug, Default)]
struct Salvage {
    meta: Option<Meta>,
    /// The streams with their last numbers.
    streams: Option<Streams>,
    columns: BTreeMap<u32, Arc<[Column]>>,
    /// What each target had acknowledged.
    positions: Option<BTreeMap<Name, Acknowledged>>,
    /// The position after the last row.
    end: Option<u64>,
    /// Gaps that had not been acknowledged, and rows that had not been.
    unsent: Option<Vec<(Name, Gap)>>,
}

impl Salvage {
    /// Reads what can be read; `known` says what the targets have acknowledged when that is known already.
    async fn read(path: &Path, known: Option<BTreeMap<Name, Acknowledged>>) -> Salvage {
        let Ok(mut connection) = Database::read_only(path).await else { return Salvage::default() };
        let connection = &mut connection;
        let meta = Meta::load(connection).await.ok();
        let positions = match known {
            Some(known) => Some(known),
            None => acknowledged(connection).await.ok(),
        };
        let end = log_end(connection).await.ok();
        let streams = match &meta {
            Some(meta) => numbered(connection, meta.sequence_position).await.ok(),
            None => None,
        };
        let unsent = match (&positions, end) {
            (Some(positions), Some(end)) => unsent(connection, positions, end).await.ok().flatten(),
            _ => None,
        };
        Salvage { meta, streams, columns: streams::all_columns(connection).await, positions, end, unsent }
    }
}

async fn log_end(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let select = "SELECT first_position, row_count FROM log ORDER BY first_position DESC LIMIT 1";
    sqlx::query(select).fetch_optional(connection).await?.map_or(Ok(0), |row| end(&row))
}

async fn numbered(connection: &mut SqliteConnection, sequence_position: u64) -> Result<Streams, Unusable> {
    let mut streams = Streams::load(connection).await?;
    recover_numbers(connection, &mut streams, sequence_position).await?;
    Ok(streams)
}

/// What the targets have not got; `None` when that cannot be said exactly.
async fn unsent(
    connection: &mut SqliteConnection,
    positions: &BTreeMap<Name, Acknowledged>,
    log_end: u64,
) -> Result<Option<Vec<(Name, Gap)>>, Unusable> {
    let mut unsent = Vec::new();
    // An index may be what is damaged.
    let select = "SELECT target, stream_id, first_seq, last_seq, reason FROM gap NOT INDEXED ORDER BY position, id";
    for row in sqlx::query(select).fetch_all(&mut *connection).await? {
        unsent.push((streams::name(row.try_get("target")?)?, gaps::gap(&row)?));
    }
    for (target, done) in positions {
        let behind = Range::new(done.floor(), log_end.max(done.floor()));
        let blocks = epochs::blocks(connection, Range::new(0, behind.end)).await?;
        let behind: Vec<_> = blocks.into_iter().filter(|block| block.range.end > behind.first).collect();
        let Some(mut waiting) = missing_of(&behind, done) else { return Ok(None) };
        let mut from = done.floor();
        let select = "SELECT coalesce(max(first_position), 0) FROM log WHERE first_position <= ?";
        let row = sqlx::query(select).bind(signed(from)).fetch_one(&mut *connection).await?;
        from = unsigned(row.try_get(0)?);
        loop {
            let records = candidates(connection, from, log_end.saturating_add(1)).await?;
            let Some(last) = records.last() else { break };
            from = last.range.end;
            let Some(found) = missing(connection, &records, done).await? else { return Ok(None) };
            found.iter().for_each(|(stream, span)| waiting.add(stream, span));
        }
        let gap = |(stream, span)| (target.clone(), Gap { stream, span, reason: GapReason::Damaged });
        unsent.extend(waiting.iter().map(gap));
    }
    Ok(Some(unsent))
}

/// At the start: what is known is what could be read. The last commits may be lost, the one of a start among them: `here` knows
/// of it.
pub(crate) async fn replace(
    dir: &Path,
    why: &str,
    max_age: Duration,
    here: Here,
) -> Result<(Database, Books, SetAside), StoreError> {
    let aside = set_aside(dir, why)?;
    let salvage = Salvage::read(&aside.path, None).await;
    let known = salvage.meta.unwrap_or_default();
    let end = salvage.end.unwrap_or(0);
    let exact = salvage.meta.is_some() && salvage.streams.is_some() && salvage.positions.is_some();
    let numbering_base = if exact { known.numbering_base } else { now() };
    let targets_lost = if salvage.positions.is_some() { known.targets_lost } else { numbering_base };
    let mut streams = salvage.streams.unwrap_or_default();
    streams.raise_to(numbering_base);
    let begin = |name: Name| (name.clone(), Arc::new(Target::new(name, Acknowledged::before(end), false)));
    let store = known.store.filter(|_| exact);
    if store.is_none() {
        streams.forget_wire_ids();
    }
    let boot = known.next_boot(here);
    let mut books = Books {
        store: store.unwrap_or_else(new_store_id),
        boot,
        place: here.place,
        machine: here.machine,
        starts: Starts::new(end, boot),
        just_opened: false,
        first: end,
        end,
        oldest: None,
        oldest_age: 0,
        age: AgeClock::new(0, None, max_age),
        streams,
        gaps: Gaps::new(),
        sequence_position: end,
        targets_lost,
        epochs: BTreeMap::new(),
        stuck: Range::new(0, 0),
        frontier: end,
        fresh_bytes: 0,
        fresh_age: None,
        last_record: end,
        next_body: 1,
        loose: false,
        targets: salvage.positions.into_iter().flatten().map(|(name, _)| begin(name)).collect(),
    };
    let unsent = salvage.unsent.filter(|_| exact).unwrap_or_else(|| everything(&books, books.targets.keys()));
    let database = write(dir, &mut books, &salvage.columns, unsent).await?;
    Ok((database, books, aside))
}

/// While the gateway runs: everything but the rows is known by heart, and so is what the targets have got.
pub(crate) async fn begin_again(dir: &Path, aside: &SetAside, books: &mut Books) -> Result<Database, StoreError> {
    let waiting = |target: &&Arc<Target>| target.base() < books.end || target.place().gaps > 0;
    let done = |target: &Arc<Target>| (target.name.clone(), target.place().done.clone());
    let behind: BTreeMap<Name, Acknowledged> = books.targets.values().filter(waiting).map(done).collect();
    let salvage = Salvage::read(&aside.path, Some(behind.clone())).await;
    books.gaps = Gaps::new();
    books.starts = Starts::new(books.end, books.boot);
    let unsent = salvage.unsent.unwrap_or_else(|| everything(books, behind.keys()));
    let database = write(dir, books, &salvage.columns, unsent).await?;
    (books.first, books.oldest, books.sequence_position) = (books.end, None, books.end);
    (books.frontier, books.fresh_bytes, books.fresh_age, books.last_record) = (books.end, 0, None, books.end);
    (books.next_body, books.loose) = (1, false);
    books.epochs.clear();
    books.stuck = Range::new(0, 0);
    Ok(database)
}

/// Makes a new database with what the books say and the gaps that follow from the damage.
async fn write(
    dir: &Path,
    books: &mut Books,
    columns: &BTreeMap<u32, Arc<[Column]>>,
    unsent: Vec<(Name, Gap)>,
) -> Result<Database, StoreError> {
    let doing = failed("be begun anew");
    let path = dir.join(FILE);
    // Left by a try before this one that has not come to its end; a write-ahead log would even be taken for the new.
    for file in BESIDE.map(|suffix| beside(&path, suffix)).into_iter().chain([path.clone()]) {
        match std::fs::remove_file(file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Directory { path: dir.to_owned(), source });
            }
            _ => {}
        }
    }
    let mut database = Database::open(path).await.map_err(|error| match error {
        Unusable::Damaged(why) => doing(sqlx::Error::Protocol(why)),
        Unusable::Other(error) => error,
    })?;
    books.streams.write_all(columns)?;
    fill(&mut database.connection, books, &unsent).await.map_err(&doing)?;
    books.streams.saved_new();
    books.streams.saved_sequence();
    for target in books.targets.values() {
        {
            let mut place = target.place();
            place.restart(books.end);
            place.has_saved(Acknowledged::before(books.end));
        }
        gaps::refresh(&mut database.connection, target).await.map_err(&doing)?;
    }
    Ok(database)
}

/// Every row that has been written, as lost for these targets: some of the rows they have got, but which cannot be
/// told.
fn everything<'a>(books: &Books, targets: impl Iterator<Item = &'a Name>) -> Vec<(Name, Gap)> {
    let written = || books.streams.series().iter().filter(|series| series.written > 0);
    let gap = |last, stream| Gap { stream, span: Span { first: 1, last }, reason: GapReason::Damaged };
    let of = |target: &Name| {
        written().map(|series| (target.clone(), gap(series.written, series.newest))).collect::<Vec<_>>()
    };
    targets.flat_map(of).collect()
}

async fn fill(connection: &mut SqliteConnection, books: &mut Books, unsent: &[(Name, Gap)]) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let meta = Meta {
        store: Some(books.store),
        boot: books.boot,
        place: books.place,
        machine: books.machine,
        clean: 0,
        numbering_base: books.streams.numbering_base(),
        targets_lost: books.targets_lost,
        sequence_position: books.end,
        start_position: books.end,
    };
    meta.save(&mut transaction).await?;
    books.starts.save_newest(&mut transaction).await?;
    books.streams.save_new(&mut transaction).await?;
    books.streams.save_sequence(&mut transaction).await?;
    for target in books.targets.values() {
        let insert = "INSERT INTO cursor (target, position) VALUES (?, ?)";
        sqlx::query(insert).bind(target.name.as_str()).bind(signed(books.end)).execute(&mut *transaction).await?;
    }
    for (name, gap) in unsent {
        if let Some(target) = books.targets.get(name) {
            books.gaps.add(&mut transaction, target, books.end, *gap).await?;
        }
    }
    transaction.commit().await
}
