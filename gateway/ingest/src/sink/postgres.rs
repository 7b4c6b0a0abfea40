//! PostgreSQL, also with TimescaleDB: one transaction a batch, in which the rows and the ledger change together.
//!
//! What keeps each row from being there twice: a transaction locks the ledger rows of all streams that it writes to, in the order of
//! their ids, before it looks which of its rows are new. So two ingests wait for each other and never for a circle, and whatever is
//! killed between two instants leaves either all of a batch or nothing. Blocks that leave the quarantine have transactions of their own:
//! whatever is wrong with them is nothing to those that come.

mod connection;
mod copy;
mod edge_nodes;
mod identities;
mod ledger;
mod migrations;
mod number;
mod patience;
mod quarantine;
mod release;
mod repeats;
mod report;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use sqlx::{Connection, PgConnection, Row};
use tidegate_codec::block::{Decoder, SchemaId};

pub(crate) use self::{connection::explain, report::report};
use self::{
    copy::Copy,
    identities::{Identities, Place},
    ledger::Books,
    number::unsigned,
    patience::Progress,
    release::Release,
};
use super::{OpenError, Remembered, SinkError, Trouble, Written};
use crate::{
    IngestError, Secret, StreamKey,
    nodes::Nodes,
    piece::{Gap, Known, Piece, Refused, Rows},
    sparkplug::{Before, NUMBERED_HERE, NUMBERED_THERE},
};

/// A transaction that does not move for so long is given up, and with it its connection.
const PATIENCE: Duration = Duration::from_secs(120);

/// What has been written of streams, and whether the last of it is that the device is gone: asked for tag after tag, at that one time.
const NUMBERED: &str =
    "SELECT gateway, device, group_name, coalesce(upper(delivered), 1) - 1, (extract(epoch FROM last_time) * 1000)::bigint,
    death.seq IS NOT NULL
FROM tidegate.stream LEFT JOIN LATERAL (
    SELECT sample.seq FROM tidegate.tag JOIN tidegate.sample ON sample.tag_id = tag.id
    WHERE tag.stream_id = stream.id AND sample.time = stream.last_time AND sample.reason = 'disconnected' LIMIT 1
) AS death ON true
WHERE store = $1";

/// A PostgreSQL database.
pub(crate) struct Postgres {
    connector: connection::Connector,
    connection: Option<PgConnection>,
    identities: Identities,
    decoder: Decoder,
    copy: Copy,
    progress: Progress,
    /// Schemas that have come and have, or may have, blocks in the quarantine.
    releases: VecDeque<Release>,
}

impl Postgres {
    /// Connects and brings the tables to the newest version.
    pub(crate) async fn open(url: &Secret) -> Result<(Postgres, Remembered), OpenError> {
        let connector = connection::Connector::new(url)?;
        let failed = |doing| {
            move |source: sqlx::Error| {
                let passing = connection::trouble(&source) == Trouble::Away;
                OpenError { error: IngestError::Postgres { doing, source: Box::new(source) }, passing }
            }
        };
        let mut connection = connector.connect().await.map_err(failed("connect to the database"))?;
        let encoding =
            connection::encoding(&mut connection).await.map_err(failed("ask the database for its encoding"))?;
        if encoding != "UTF8" {
            return Err(IngestError::Encoding { found: encoding }.into());
        }
        migrations::run(&mut connection).await?;
        let remembered = remembered(&mut connection).await.map_err(failed("read the schemas of the database"))?;
        let progress = Progress::default();
        let postgres = Postgres {
            connector,
            connection: Some(connection),
            identities: Identities::default(),
            decoder: Decoder::new(),
            copy: Copy::new(progress.clone()),
            progress,
            releases: VecDeque::new(),
        };
        Ok((postgres, remembered))
    }

    /// Writes a batch in one transaction. What `arrived` releases is written by [`Postgres::tick`].
    pub(crate) async fn write(&mut self, pieces: &[Piece], arrived: &[Arc<Known>]) -> Result<Written, SinkError> {
        for known in arrived {
            if !self.releases.iter().any(|release| Arc::ptr_eq(&release.known, known)) {
                self.releases.push_back(Release::new(Arc::clone(known)));
            }
        }
        if pieces.is_empty() {
            return Ok(Written::default());
        }
        self.run(Task::Write(pieces)).await
    }

    /// Does one thing with the database, over a new connection where the last one broke.
    async fn run(&mut self, task: Task<'_>) -> Result<Written, SinkError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connector.connect().await.map_err(|error| connection::failed(&error))?,
        };
        let progress = self.progress.clone();
        let work = async {
            match task {
                Task::Write(pieces) => self.write_pieces(&mut connection, pieces).await,
                Task::Release(release) => self.release(&mut connection, release).await,
            }
        };
        // A transaction that was dropped half-way takes its connection with it.
        match progress.wait(PATIENCE, work).await {
            Some(Ok(written)) => {
                self.connection = Some(connection);
                Ok(written)
            }
            Some(Err(error)) => {
                // Whatever was remembered may belong to a database that was set back.
                self.identities.forget();
                Err(connection::failed(&error))
            }
            None => {
                let text = format!("the database has not moved for {} s", PATIENCE.as_secs());
                Err(SinkError { trouble: Trouble::Away, text })
            }
        }
    }

    async fn write_pieces(&mut self, connection: &mut PgConnection, pieces: &[Piece]) -> Result<Written, sqlx::Error> {
        self.identities.learn(connection, pieces.iter().filter_map(Piece::known), &self.progress).await?;
        let mut transaction = connection.begin().await?;
        let written = self.enter(&mut transaction, pieces).await?;
        transaction.commit().await?;
        Ok(written)
    }

    /// Enters pieces into the tables, within a transaction.
    async fn enter(&mut self, transaction: &mut PgConnection, pieces: &[Piece]) -> Result<Written, sqlx::Error> {
        let mut written = Written::default();
        let work = Work::of(pieces);
        let identities = &self.identities;
        let mut books = Books::lock(transaction, &work.streams(identities)?).await?;
        let (mut new, mut again) = (Vec::with_capacity(work.rows.len()), Vec::new());
        for rows in &work.rows {
            let place = identities.of(&rows.known)?;
            let delivered = books.deliver(place.stream, rows);
            if written.deliver(&delivered) {
                again.push(rows.numbered_again());
            }
            new.push((*rows, delivered.new, place.tags.as_slice()));
        }
        written.values = self.copy.send(transaction, &new).await?;
        for (rows, _, tags) in new.iter().filter(|(_, new, _)| !new.is_empty()) {
            let (values, gone) = repeats::remove(transaction, rows, tags, &self.progress).await?;
            books.repeated(identities.of(&rows.known)?.stream, gone, values);
            written.values = written.values.saturating_sub(values);
            written.rows = written.rows.saturating_sub(gone);
            written.duplicates = written.duplicates.saturating_add(values);
        }
        for nodes in &work.nodes {
            edge_nodes::put(transaction, nodes).await?;
        }
        for gap in &work.gaps {
            written.gaps += books.declare(transaction, identities.of(&gap.known)?.stream, gap).await?;
        }
        books.close(transaction).await?;
        let refused: Vec<&Refused> = work.refused.into_iter().chain(&again).collect();
        (written.quarantined, written.lost) = quarantine::put(transaction, &refused).await?;
        Ok(written)
    }
}

/// What is done with the database.
enum Task<'a> {
    Write(&'a [Piece]),
    Release(&'a mut Release),
}

/// What a batch asks for, by kind.
#[derive(Default)]
struct Work<'a> {
    rows: Vec<&'a Rows>,
    gaps: Vec<&'a Gap>,
    refused: Vec<&'a Refused>,
    nodes: Vec<&'a Nodes>,
}

impl<'a> Work<'a> {
    fn of(pieces: &'a [Piece]) -> Work<'a> {
        let mut work = Work::default();
        for piece in pieces {
            match piece {
                Piece::Rows(rows) => work.rows.push(rows),
                Piece::Gap(gap) => work.gaps.push(gap),
                Piece::Refused(refused) => work.refused.push(refused),
                Piece::Nodes(nodes) => work.nodes.push(nodes),
            }
        }
        work
    }

    /// The streams that are written to, in the order of their ids, with the first and the last number that comes.
    fn streams(&self, identities: &Identities) -> Result<BTreeMap<i32, Option<(u64, u64)>>, sqlx::Error> {
        let mut streams = BTreeMap::new();
        for rows in &self.rows {
            let Place { stream, .. } = identities.of(&rows.known)?;
            let (first, last) = (rows.arrival.first_seq, rows.arrival.last_seq);
            let span = streams.entry(*stream).or_insert(None);
            *span = Some(span.map_or((first, last), |(a, b): (u64, u64)| (a.min(first), b.max(last))));
        }
        for gap in &self.gaps {
            streams.entry(identities.of(&gap.known)?.stream).or_insert(None);
        }
        Ok(streams)
    }
}

/// What the database has kept: schemas, and which ones were missing.
async fn remembered(connection: &mut PgConnection) -> Result<Remembered, sqlx::Error> {
    let mut remembered = Remembered::default();
    let rows = sqlx::query("SELECT gateway, document FROM tidegate.schema").fetch_all(&mut *connection).await?;
    for row in rows {
        let (gateway, document): (String, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
        let Ok(gateway) = gateway.parse() else { continue };
        remembered.schemas.extend(Known::read(gateway, document.into()));
    }
    let sql = "SELECT DISTINCT gateway, schema_id FROM tidegate.quarantine WHERE fault = 'unknown_schema' AND schema_id IS NOT NULL";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let (gateway, schema): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        remembered.wanted.extend(schema.parse::<SchemaId>().map(|schema| (gateway, schema)));
    }
    remembered.nodes = edge_nodes::get(connection).await?;
    remembered.streams = numbered_here(connection).await?;
    remembered.gaps = numbered_there(connection).await?;
    Ok(remembered)
}

/// What has been written of streams whose rows were numbered by an ingest.
async fn numbered_here(connection: &mut PgConnection) -> Result<HashMap<StreamKey, Before>, sqlx::Error> {
    let mut streams = HashMap::new();
    for row in sqlx::query(NUMBERED).bind(NUMBERED_HERE.to_string()).fetch_all(connection).await? {
        let name = |index| row.try_get::<&str, _>(index).map(str::parse);
        let (Ok(gateway), Ok(device), Ok(group)) = (name(0)?, name(1)?, name(2)?) else { continue };
        let key = StreamKey { gateway, device, group, store: NUMBERED_HERE };
        let (last_time, is_dead): (Option<i64>, bool) = (row.try_get(4)?, row.try_get(5)?);
        let died = last_time.filter(|_| is_dead);
        let before = Before { last_seq: unsigned(row.try_get(3)?), last_time, died };
        streams.insert(key, before);
    }
    Ok(streams)
}

/// The streams of gaps that edge nodes have declared.
async fn numbered_there(connection: &mut PgConnection) -> Result<HashSet<StreamKey>, sqlx::Error> {
    let sql = "SELECT gateway, device, group_name FROM tidegate.stream WHERE store = $1";
    let mut streams = HashSet::new();
    for row in sqlx::query(sql).bind(NUMBERED_THERE.to_string()).fetch_all(connection).await? {
        let name = |index| row.try_get::<&str, _>(index).map(str::parse);
        let (Ok(gateway), Ok(device), Ok(group)) = (name(0)?, name(1)?, name(2)?) else { continue };
        streams.insert(StreamKey { gateway, device, group, store: NUMBERED_THERE });
    }
    Ok(streams)
}
