//! Records and blocks as they are read back from the log.

use std::collections::VecDeque;

use bytes::Bytes;
use sqlx::{Row, SqlitePool, sqlite::SqliteRow};
use tidegate_model::StreamId;

use crate::{
    numbers::{signed, unsigned},
    ranges::Range,
};

/// Records read at once: a megabyte at most, as they are compressed.
const AT_ONCE: i64 = 16;

/// Rows that have not been decoded.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// The positions of its rows.
    pub(crate) range: Range,
    /// What they are encoded as.
    pub(crate) form: Form,
    /// The encoded rows.
    pub(crate) body: Bytes,
}

/// What rows are encoded as.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// A fresh record: rows of many streams.
    Record,
    /// A block: rows of this one.
    Block {
        /// The stream.
        stream: StreamId,
        /// The number of the first row.
        first_seq: u64,
        /// The numbers of the rows as `numbering` writes them, when they do not follow each other.
        seqs: Option<Vec<u8>>,
    },
}

/// What holds `position` and some of what comes after it; what comes after a hole when there is one.
pub(crate) async fn stored(readers: &SqlitePool, position: u64) -> Result<VecDeque<Stored>, sqlx::Error> {
    let mut connection = readers.acquire().await?;
    let rows = sqlx::query(
        "SELECT first_position, row_count, stream_id, first_seq, seqs, bytes FROM block \
         LEFT JOIN body ON body.id = block.body_id \
         WHERE first_position >= coalesce((SELECT max(first_position) FROM block WHERE first_position <= ?1), 0) \
         AND first_position + row_count > ?1 ORDER BY first_position LIMIT ?2",
    )
    .bind(signed(position))
    .bind(AT_ONCE)
    .fetch_all(&mut *connection)
    .await?;
    if !rows.is_empty() {
        return rows.iter().map(block).collect();
    }
    let rows = sqlx::query(
        "SELECT first_position, row_count, body FROM log \
         WHERE first_position >= coalesce((SELECT max(first_position) FROM log WHERE first_position <= ?1), 0) \
         AND first_position + row_count > ?1 ORDER BY first_position LIMIT ?2",
    )
    .bind(signed(position))
    .bind(AT_ONCE)
    .fetch_all(&mut *connection)
    .await?;
    let record = |row: &SqliteRow| {
        Ok(Stored { range: range(row)?, form: Form::Record, body: row.try_get::<Vec<u8>, _>("body")?.into() })
    };
    rows.iter().map(record).collect()
}

fn block(row: &SqliteRow) -> Result<Stored, sqlx::Error> {
    let form = Form::Block {
        stream: StreamId(u32::try_from(row.try_get::<i64, _>("stream_id")?).unwrap_or(0)),
        first_seq: unsigned(row.try_get("first_seq")?),
        seqs: row.try_get("seqs")?,
    };
    // One whose body has vanished is empty, which no block is.
    let body = row.try_get::<Option<Vec<u8>>, _>("bytes")?.unwrap_or_default();
    Ok(Stored { range: range(row)?, form, body: body.into() })
}

/// The positions of a row with `first_position` and `row_count`.
pub(crate) fn range(row: &SqliteRow) -> Result<Range, sqlx::Error> {
    let first = unsigned(row.try_get("first_position")?);
    Ok(Range::new(first, first.saturating_add(unsigned(row.try_get("row_count")?))))
}
