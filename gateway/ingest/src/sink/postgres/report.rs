//! What the ledger in the database says.

use std::collections::{BTreeMap, HashMap};

use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    connection::Connector,
    edge_nodes, migrations,
    number::{parse_ranges, parse_starts, unsigned},
};
use crate::{Account, IngestError, Ranges, Report, Secret, StreamKey, nodes::Nodes, report::StreamReport};

/// Reads the ledger of a database. Nothing is changed.
pub(crate) async fn report(url: &Secret) -> Result<Report, IngestError> {
    let failed = |doing| move |source: sqlx::Error| IngestError::Postgres { doing, source: Box::new(source) };
    let mut connection = Connector::new(url)?.connect().await.map_err(failed("connect to the database"))?;
    let failed = failed("read the ledger of the database");
    if migrations::version(&mut connection).await.map_err(failed)?.is_none() {
        return Err(IngestError::NoLedger { place: "the database".to_owned() });
    }
    read(&mut connection).await.map_err(failed)
}

async fn read(connection: &mut PgConnection) -> Result<Report, sqlx::Error> {
    let mut gaps: HashMap<i32, BTreeMap<String, Ranges>> = HashMap::new();
    let sql = "SELECT stream_id, first_seq, last_seq, reason FROM tidegate.gap ORDER BY stream_id, first_seq";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let of_reason = gaps.entry(row.try_get(0)?).or_default().entry(row.try_get(3)?).or_default();
        of_reason.insert(unsigned(row.try_get(1)?), unsigned(row.try_get(2)?));
    }
    let sql = "SELECT id, gateway, device, group_name, store, delivered::text, boot, rows, duplicates, \
               (extract(epoch FROM first_time) * 1000)::bigint, (extract(epoch FROM last_time) * 1000)::bigint, numbered_again, starts \
               FROM tidegate.stream ORDER BY gateway, device, group_name, store";
    let mut streams = Vec::new();
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let gaps = gaps.remove(&row.try_get(0)?).unwrap_or_default();
        streams.push(StreamReport::new(key(&row)?, &account(&row, gaps)?));
    }
    let count = "SELECT count(*) FROM tidegate.quarantine";
    let quarantined = unsigned(sqlx::query(count).fetch_one(&mut *connection).await?.try_get(0)?);
    // The tables of an earlier version have none; the next ingest makes it.
    let there = "SELECT to_regclass('tidegate.edge_node') IS NOT NULL";
    let nodes = match sqlx::query(there).fetch_one(&mut *connection).await?.try_get(0)? {
        true => edge_nodes::get(connection).await?,
        false => Nodes::new(),
    };
    Ok(Report::new(streams, nodes, quarantined))
}

fn key(row: &PgRow) -> Result<StreamKey, sqlx::Error> {
    fn name<T: std::str::FromStr>(row: &PgRow, index: usize) -> Result<T, sqlx::Error>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let parsed = row.try_get::<&str, _>(index)?.parse();
        parsed
            .map_err(|source: T::Err| sqlx::Error::ColumnDecode { index: index.to_string(), source: Box::new(source) })
    }
    Ok(StreamKey { gateway: name(row, 1)?, device: name(row, 2)?, group: name(row, 3)?, store: name(row, 4)? })
}

fn account(row: &PgRow, gaps: BTreeMap<String, Ranges>) -> Result<Account, sqlx::Error> {
    Ok(Account {
        delivered: parse_ranges(row.try_get(5)?).ok_or(sqlx::Error::RowNotFound)?,
        gaps,
        boot: unsigned(row.try_get(6)?),
        rows: unsigned(row.try_get(7)?),
        duplicates: unsigned(row.try_get(8)?),
        first_time: row.try_get(9)?,
        last_time: row.try_get(10)?,
        died: None,
        numbered_again: unsigned(row.try_get(11)?),
        starts: parse_starts(&row.try_get::<Vec<i64>, _>(12)?),
    })
}
