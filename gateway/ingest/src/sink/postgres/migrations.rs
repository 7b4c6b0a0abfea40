//! The versions of the tables, and how a database gets from one to the next.

use sqlx::{Connection, Executor, PgConnection, Row};

use super::super::{OpenError, Trouble};
use crate::IngestError;

/// One step each; the version of a database is the number of steps it has taken.
const STEPS: [&str; 4] = [
    include_str!("../../../migrations/postgres_0001_begin.sql"),
    include_str!("../../../migrations/postgres_0002_starts.sql"),
    include_str!("../../../migrations/postgres_0003_edge_nodes.sql"),
    include_str!("../../../migrations/postgres_0004_declared_gaps.sql"),
];

/// Any number, the same for all ingests: they bring the tables to the newest version one after the other.
const LOCK: i64 = 0x7469_6465_6761_7465;

const BEGIN: &str = "CREATE SCHEMA IF NOT EXISTS tidegate;
CREATE TABLE tidegate.migration (version bigint PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())";

/// Makes the samples a hypertable where TimescaleDB is installed in the database. Only for a table that is new and empty.
const HYPERTABLE: &str = "DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        PERFORM create_hypertable('tidegate.sample', 'time',
            chunk_time_interval => interval '1 day', create_default_indexes => false);
    END IF;
END $$";

/// Brings the tables to the newest version.
pub(crate) async fn run(connection: &mut PgConnection) -> Result<(), OpenError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let failed = |source: sqlx::Error| {
        let passing = matches!(super::connection::trouble(&source), Trouble::Away | Trouble::Conflict);
        let error = IngestError::Postgres { doing: "make the tables in the database", source: Box::new(source) };
        OpenError { error, passing }
    };
    let mut transaction = connection.begin().await.map_err(failed)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await.map_err(failed)?;
    let found = version(&mut transaction).await.map_err(failed)?;
    if found.is_some_and(|found| found > known) {
        return Err(IngestError::NewerTables { found: found.unwrap_or_default(), known }.into());
    }
    if found.is_none() {
        transaction.execute(BEGIN).await.map_err(failed)?;
    }
    for (step, version) in STEPS.into_iter().zip(1_i64..).skip_while(|(_, version)| Some(*version) <= found) {
        transaction.execute(step).await.map_err(failed)?;
        if version == 1 {
            transaction.execute(HYPERTABLE).await.map_err(failed)?;
        }
        let query = sqlx::query("INSERT INTO tidegate.migration (version) VALUES ($1)").bind(version);
        query.execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

/// The version of the tables; `None` when there are none.
pub(crate) async fn version(connection: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    let there = "SELECT to_regclass('tidegate.migration') IS NOT NULL";
    if !sqlx::query(there).fetch_one(&mut *connection).await?.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let row = sqlx::query("SELECT coalesce(max(version), 0) FROM tidegate.migration").fetch_one(connection).await?;
    row.try_get(0).map(Some)
}
