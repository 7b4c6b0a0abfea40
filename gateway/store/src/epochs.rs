//! The epochs: stretches of the log whose rows are in blocks.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tidegate_model::{StreamId, Timestamp};

use crate::{
    numbering,
    numbers::{length, signed, unsigned},
    ranges::Range,
    summary::Span,
};

/// A stretch of the log whose rows are in blocks, in the order of their streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// Its positions; some at the end may have no row.
    pub(crate) range: Range,
    /// How often its rows have been joined to longer blocks.
    pub(crate) level: u64,
    pub(crate) rows: u64,
    pub(crate) blocks: u64,
    /// Blocks that are worth to be joined with others.
    pub(crate) short_blocks: u64,
    /// Bytes of the bodies.
    pub(crate) bytes: u64,
    pub(crate) time_min: Timestamp,
    pub(crate) time_max: Timestamp,
    /// The age mark of its newest rows.
    pub(crate) age: u64,
}

/// An epoch out of the database.
fn epoch(row: &SqliteRow) -> Result<Epoch, sqlx::Error> {
    let number = |column: &str| row.try_get(column).map(unsigned);
    Ok(Epoch {
        range: Range::new(number("first_position")?, number("end_position")?),
        level: number("level")?,
        rows: number("row_count")?,
        blocks: number("blocks")?,
        short_blocks: number("short_blocks")?,
        bytes: number("bytes")?,
        time_min: Timestamp::from_millis(row.try_get("time_min")?),
        time_max: Timestamp::from_millis(row.try_get("time_max")?),
        age: number("age")?,
    })
}

/// All of them, by their first position.
pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<BTreeMap<u64, Epoch>, sqlx::Error> {
    let rows = sqlx::query("SELECT * FROM epoch ORDER BY first_position").fetch_all(connection).await?;
    rows.iter().map(|row| epoch(row).map(|epoch| (epoch.range.first, epoch))).collect()
}

/// Writes one.
pub(crate) async fn insert(connection: &mut SqliteConnection, epoch: &Epoch) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO epoch (first_position, end_position, level, row_count, blocks, short_blocks, bytes, \
                  time_min, time_max, age) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(insert)
        .bind(signed(epoch.range.first))
        .bind(signed(epoch.range.end))
        .bind(signed(epoch.level))
        .bind(signed(epoch.rows))
        .bind(signed(epoch.blocks))
        .bind(signed(epoch.short_blocks))
        .bind(signed(epoch.bytes))
        .bind(epoch.time_min.as_millis())
        .bind(epoch.time_max.as_millis())
        .bind(signed(epoch.age))
        .execute(connection)
        .await
        .map(drop)
}

/// Removes those that begin within a range, with their blocks; the bodies stay.
pub(crate) async fn remove(connection: &mut SqliteConnection, range: Range) -> Result<(), sqlx::Error> {
    for delete in [
        "DELETE FROM block WHERE first_position >= ? AND first_position < ?",
        "DELETE FROM epoch WHERE first_position >= ? AND first_position < ?",
    ] {
        sqlx::query(delete).bind(signed(range.first)).bind(signed(range.end)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// What a block is without its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockHead {
    pub(crate) range: Range,
    pub(crate) stream: StreamId,
    pub(crate) first_seq: u64,
    /// 0 when its rows are lost.
    pub(crate) body: u64,
    /// Numbers that do not follow each other, as `numbering` writes them.
    pub(crate) seqs: Option<Vec<u8>>,
}

impl BlockHead {
    /// The numbers of its rows, from the first to the last.
    pub(crate) fn span(&self) -> Option<Span> {
        let first = self.first_seq;
        let last = match &self.seqs {
            Some(seqs) => *numbering::decode(seqs, length(self.range.len()))?.last()?,
            None => first.saturating_add(self.range.len()).saturating_sub(1),
        };
        Some(Span { first, last })
    }
}

/// The blocks at positions of a range, in order.
pub(crate) async fn blocks(connection: &mut SqliteConnection, range: Range) -> Result<Vec<BlockHead>, sqlx::Error> {
    let select = "SELECT first_position, row_count, stream_id, first_seq, body_id, seqs FROM block \
                  WHERE first_position >= ? AND first_position < ? ORDER BY first_position";
    let rows = sqlx::query(select).bind(signed(range.first)).bind(signed(range.end)).fetch_all(connection).await?;
    let block = |row: &SqliteRow| {
        let stream = u32::try_from(row.try_get::<i64, _>("stream_id")?).unwrap_or(0);
        Ok(BlockHead {
            range: crate::disk::range(row)?,
            stream: StreamId(stream),
            first_seq: unsigned(row.try_get("first_seq")?),
            body: unsigned(row.try_get("body_id")?),
            seqs: row.try_get("seqs")?,
        })
    };
    rows.iter().map(block).collect()
}

/// The bodies of these blocks.
pub(crate) fn bodies(blocks: &[BlockHead]) -> Vec<Range> {
    crate::compaction::ranges(blocks.iter().map(|block| block.body).filter(|body| *body != 0).collect())
}

/// The position of the first fresh record from this position on.
pub(crate) async fn first_record(connection: &mut SqliteConnection, from: u64) -> Result<Option<u64>, sqlx::Error> {
    let query = sqlx::query("SELECT min(first_position) FROM log WHERE first_position >= ?");
    let row = query.bind(signed(from)).fetch_one(connection).await?;
    Ok(row.try_get::<Option<i64>, _>(0)?.map(unsigned))
}
