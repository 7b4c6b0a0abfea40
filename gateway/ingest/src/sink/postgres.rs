//! PostgreSQL, also with TimescaleDB: one transaction a batch, in which the rows and the ledger change together.
//!
//! What keeps each row from being there twice: a transaction locks the ledger rows of all streams that it writes to, in the order of
//! their ids, before it looks which of its rows are new. So two ingests wait for each other and never for a circle, and whatever is
//! killed between two instants leaves either all of a batch or nothing.

mod connection;
mod copy;
mod identities;
mod ledger;
mod migrations;
mod number;
mod quarantine;
mod report;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sqlx::{Connection, PgConnection, Row};
use tidegate_codec::block::{Decoder, SchemaId};

pub(crate) use self::{connection::explain, report::report};
use self::{
    copy::Copy,
    identities::{Identities, Place},
    ledger::Books,
};
use super::{OpenError, Remembered, SinkError, Trouble, Written};
use crate::{
    IngestError, Secret,
    piece::{Gap, Known, Piece, Refused, Rows},
};

/// A transaction that takes longer is given up, and with it its connection.
const PATIENCE: Duration = Duration::from_secs(120);

/// A PostgreSQL database.
pub(crate) struct Postgres {
    connector: connection::Connector,
    connection: Option<PgConnection>,
    identities: Identities,
    decoder: Decoder,
    copy: Copy,
    /// Schemas that have come and have, or may have, blocks in the quarantine.
    arrived: Vec<Arc<Known>>,
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
        migrations::run(&mut connection).await?;
        let remembered = remembered(&mut connection).await.map_err(failed("read the schemas of the database"))?;
        let postgres = Postgres {
            connector,
            connection: Some(connection),
            identities: Identities::default(),
            decoder: Decoder::new(),
            copy: Copy::default(),
            arrived: Vec::new(),
        };
        Ok((postgres, remembered))
    }

    /// Writes a batch in one transaction.
    pub(crate) async fn write(&mut self, pieces: &[Piece], arrived: &[Arc<Known>]) -> Result<Written, SinkError> {
        for known in arrived {
            if !self.arrived.iter().any(|other| Arc::ptr_eq(other, known)) {
                self.arrived.push(Arc::clone(known));
            }
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connector.connect().await.map_err(|error| connection::failed(&error))?,
        };
        // A transaction that was dropped half-way takes its connection with it.
        let written = tokio::time::timeout(PATIENCE, self.transaction(&mut connection, pieces)).await;
        match written {
            Ok(Ok(written)) => {
                self.connection = Some(connection);
                Ok(written)
            }
            Ok(Err(error)) => {
                // Whatever was remembered may belong to a database that was set back.
                self.identities.forget();
                Err(connection::failed(&error))
            }
            Err(_) => {
                let text = format!("the database has not taken a batch for {} s", PATIENCE.as_secs());
                Err(SinkError { trouble: Trouble::Away, text })
            }
        }
    }

    async fn transaction(&mut self, connection: &mut PgConnection, pieces: &[Piece]) -> Result<Written, sqlx::Error> {
        let mut written = Written::default();
        let schemas = pieces.iter().filter_map(Piece::known).chain(&self.arrived);
        self.identities.learn(connection, schemas).await?;
        let mut transaction = connection.begin().await?;
        let mut work = Work::default();
        for piece in pieces {
            work.add(piece);
        }
        let released = quarantine::release(&mut transaction, &self.arrived, &mut self.decoder).await?;
        written.released = u64::try_from(released.pieces.len()).unwrap_or(u64::MAX);
        for piece in &released.pieces {
            work.add(piece);
        }
        let identities = &self.identities;
        let places = work.streams(identities)?;
        let mut books = Books::lock(&mut transaction, &places).await?;
        self.copy.begin();
        for rows in &work.rows {
            let place = identities.of(&rows.known)?;
            let new = books.deliver(place.stream, rows, &mut written);
            self.copy.rows(rows, &new, &place.tags);
        }
        written.values = self.copy.values();
        self.copy.send(&mut transaction).await?;
        for gap in &work.gaps {
            written.gaps += books.declare(&mut transaction, identities.of(&gap.known)?.stream, gap).await?;
        }
        books.close(&mut transaction).await?;
        let (quarantined, lost) = quarantine::put(&mut transaction, &work.refused).await?;
        (written.quarantined, written.lost) = (quarantined, lost);
        transaction.commit().await?;
        self.arrived = released.more;
        Ok(written)
    }
}

/// What a batch asks for, by kind.
#[derive(Default)]
struct Work<'a> {
    rows: Vec<&'a Rows>,
    gaps: Vec<&'a Gap>,
    refused: Vec<&'a Refused>,
}

impl<'a> Work<'a> {
    fn add(&mut self, piece: &'a Piece) {
        match piece {
            Piece::Rows(rows) => self.rows.push(rows),
            Piece::Gap(gap) => self.gaps.push(gap),
            Piece::Refused(refused) => self.refused.push(refused),
        }
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
    Ok(remembered)
}
