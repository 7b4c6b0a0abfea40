//! Records as they are read back from the log.

use std::collections::VecDeque;

use bytes::Bytes;
use sqlx::{Row, SqlitePool};

use crate::numbers::{signed, unsigned};

/// Records read at once: a megabyte at most, as they are compressed.
const AT_ONCE: i64 = 16;

/// A record that has not been decoded.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Position of its first row.
    pub(crate) first: u64,
    /// How many rows it holds.
    pub(crate) rows: u64,
    /// The encoded rows.
    pub(crate) body: Bytes,
}

impl Stored {
    /// The position after its last row.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(self.rows)
    }
}

/// The record that holds `position` and some of those after it; those after a hole when there is one.
pub(crate) async fn records(readers: &SqlitePool, position: u64) -> Result<VecDeque<Stored>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT first_position, row_count, body FROM log \
         WHERE first_position >= coalesce((SELECT max(first_position) FROM log WHERE first_position <= ?1), 0) \
         AND first_position + row_count > ?1 ORDER BY first_position LIMIT ?2",
    )
    .bind(signed(position))
    .bind(AT_ONCE)
    .fetch_all(readers)
    .await?;
    let stored = |row: &sqlx::sqlite::SqliteRow| {
        Ok(Stored {
            first: unsigned(row.try_get("first_position")?),
            rows: unsigned(row.try_get("row_count")?),
            body: row.try_get::<Vec<u8>, _>("body")?.into(),
        })
    };
    rows.iter().map(stored).collect()
}
