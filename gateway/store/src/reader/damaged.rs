//! Reading a table of which some pages are damaged: what can be read is read, and what cannot is told.

use std::{collections::HashMap, ops::Range};

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row, SqliteConnection, sqlite::SqliteRow};

use super::access::damage;
use crate::numbers::{signed, unsigned};

/// Rows of a table.
#[derive(Debug)]
pub(super) struct Heads {
    /// In order, up to the first damage.
    pub(super) rows: Vec<SqliteRow>,
    /// The damage behind them, if there is any.
    pub(super) hole: Option<Hole>,
}

/// A part of a table that cannot be read.
#[derive(Debug)]
pub(super) struct Hole {
    pub(super) start: u64,
    /// From here on it can be read again, as far as can be told; the end of what was asked for if it cannot.
    pub(super) end: u64,
    pub(super) why: String,
}

/// Reads rows whose keys are in a range. `select` has places for both ends and for the most rows to read, and gives the key first;
/// `any` has one for a key, and gives the first from it on.
pub(super) async fn heads(
    connection: &mut SqliteConnection,
    select: String,
    any: &'static str,
    within: Range<u64>,
    most: i64,
) -> Result<Heads, sqlx::Error> {
    let mut rows = Vec::new();
    let mut why = None;
    {
        // Made of constants and of numbers that this crate has given.
        let query = sqlx::query(AssertSqlSafe(select)).bind(signed(within.start)).bind(signed(within.end)).bind(most);
        let mut found = query.fetch(&mut *connection);
        while why.is_none() {
            match damage(found.try_next().await)? {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => break,
                Err(damage) => why = Some(damage),
            }
        }
    }
    let Some(why) = why else { return Ok(Heads { rows, hole: None }) };
    let start = match rows.last() {
        Some(last) => unsigned(last.try_get(0)?).saturating_add(1),
        None => within.start,
    };
    let end = readable_again(connection, any, start, within.end).await?;
    Ok(Heads { rows, hole: Some(Hole { start, end, why }) })
}

/// The first key after `damaged` from which on there is something to read, or `end`; the damage is taken to be in one piece.
async fn readable_again(
    connection: &mut SqliteConnection,
    any: &'static str,
    damaged: u64,
    end: u64,
) -> Result<u64, sqlx::Error> {
    let (mut unreadable, mut step, mut found) = (damaged, 1_u64, None);
    while found.is_none() && damaged.saturating_add(step) < end {
        found = readable_from(connection, any, damaged + step).await?;
        if found.is_none() {
            unreadable = damaged + step;
        }
        step = step.saturating_mul(2);
    }
    let Some(mut found) = found else { return Ok(end) };
    while unreadable + 1 < found {
        let middle = unreadable + (found - unreadable) / 2;
        match readable_from(connection, any, middle).await? {
            Some(first) if first < found => found = first,
            Some(_) => break,
            None => unreadable = middle,
        }
    }
    Ok(found.min(end))
}

async fn readable_from(
    connection: &mut SqliteConnection,
    any: &'static str,
    key: u64,
) -> Result<Option<u64>, sqlx::Error> {
    let query = sqlx::query(any).bind(signed(key));
    match damage(query.fetch_optional(&mut *connection).await)? {
        Ok(Some(row)) => Ok(Some(unsigned(row.try_get(0)?)).filter(|first| *first >= key)),
        // Nothing more follows.
        Ok(None) => Ok(Some(u64::MAX)),
        Err(_) => Ok(None),
    }
}

/// A table with bytes in it.
pub(super) struct Table {
    /// Those with keys of a list.
    many: &'static str,
    /// Those with one key.
    one: &'static str,
}

/// The bodies of records.
pub(super) const RECORDS: Table = Table {
    many: "SELECT first_position, body FROM log WHERE first_position IN (SELECT value FROM json_each(?))",
    one: "SELECT first_position, body FROM log WHERE first_position = ?",
};

/// The bodies of blocks.
pub(super) const BODIES: Table = Table {
    many: "SELECT id, bytes FROM body WHERE id IN (SELECT value FROM json_each(?))",
    one: "SELECT id, bytes FROM body WHERE id = ?",
};

/// The bytes with these keys, or what is wrong with them; nothing for a key that is not there.
pub(super) async fn bytes(
    connection: &mut SqliteConnection,
    table: &Table,
    keys: &[i64],
) -> Result<HashMap<i64, Result<Bytes, String>>, sqlx::Error> {
    let mut found = HashMap::with_capacity(keys.len());
    if keys.is_empty() {
        return Ok(found);
    }
    let query = sqlx::query(table.many).bind(list(keys));
    if let Ok(rows) = damage(query.fetch_all(&mut *connection).await)? {
        for row in &rows {
            found.insert(row.try_get(0)?, Ok(row.try_get::<Vec<u8>, _>(1)?.into()));
        }
        return Ok(found);
    }
    // One by one, so that the damage of one is not that of all.
    for key in keys.iter().copied() {
        let query = sqlx::query(table.one).bind(key);
        match damage(query.fetch_optional(&mut *connection).await)? {
            Ok(Some(row)) => drop(found.insert(key, Ok(row.try_get::<Vec<u8>, _>(1)?.into()))),
            Ok(None) => {}
            Err(why) => drop(found.insert(key, Err(why))),
        }
    }
    Ok(found)
}

/// How long the bodies of these blocks are, as far as that can be read.
pub(super) async fn lengths(connection: &mut SqliteConnection, ids: &[i64]) -> Result<HashMap<i64, u64>, sqlx::Error> {
    let mut lengths = HashMap::with_capacity(ids.len());
    if ids.is_empty() {
        return Ok(lengths);
    }
    let select = "SELECT id, length(bytes) FROM body WHERE id IN (SELECT value FROM json_each(?))";
    if let Ok(rows) = damage(sqlx::query(select).bind(list(ids)).fetch_all(connection).await)? {
        for row in &rows {
            lengths.insert(row.try_get(0)?, unsigned(row.try_get(1)?));
        }
    }
    Ok(lengths)
}

/// As JSON.
fn list(keys: &[i64]) -> String {
    let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
    format!("[{}]", keys.join(","))
}
