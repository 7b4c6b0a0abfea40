//! Where the blocks of a few streams are: within a stretch blocks are in the order of their streams, so they are searched for,
//! and the blocks of the other streams, of which there may be a hundred thousand, are not looked at.

use std::ops::Range;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tidegate_model::StreamId;

use super::access::damage;
use crate::numbers::{signed, unsigned};

/// For each stretch (`[first, end, step]`) and each number: the first position of a block whose stream's number is not less. The
/// step is halved until it is 0; `before` is always before the position that is searched for.
const SEARCH: &str = "\
    WITH RECURSIVE search(stretch, stream, before, step, end) AS (\
        SELECT stretch.key, stream.value, (stretch.value->>0) - 1, stretch.value->>2, stretch.value->>1 \
            FROM json_each(?1) AS stretch, json_each(?2) AS stream \
        UNION ALL \
        SELECT stretch, stream, before + CASE WHEN before + step < end AND (SELECT stream_id FROM block \
                WHERE first_position <= before + step ORDER BY first_position DESC LIMIT 1) < stream THEN step ELSE 0 END, \
            step / 2, end \
            FROM search WHERE step > 0) \
    SELECT before + 1 FROM search WHERE step = 0 ORDER BY stretch, stream";

/// The blocks at positions of these ranges. The order of the two tables is stated, because the other one takes seconds.
const BLOCKS: &str = "\
    SELECT first_position, row_count, stream_id, first_seq, body_id, seqs FROM json_each(?1) AS range \
    CROSS JOIN block ON first_position >= range.value->>0 AND first_position < range.value->>1 ORDER BY first_position";

/// The heads of the blocks of these streams, in order; nothing when a part of the tables cannot be read.
pub(super) async fn blocks(
    connection: &mut SqliteConnection,
    stretches: &[Range<u64>],
    streams: &[StreamId],
) -> Result<Option<Vec<SqliteRow>>, sqlx::Error> {
    let within: Vec<String> = stretches.iter().map(searched).collect();
    let mut bounds: Vec<u64> = streams.iter().flat_map(|id| [u64::from(id.0), u64::from(id.0) + 1]).collect();
    bounds.sort_unstable();
    let search = sqlx::query(SEARCH).bind(format!("[{}]", within.join(","))).bind(format!("{bounds:?}"));
    let Ok(found) = damage(search.fetch_all(&mut *connection).await)? else { return Ok(None) };
    let positions = found.iter().map(|row| row.try_get(0).map(unsigned)).collect::<Result<Vec<u64>, _>>()?;
    let ranges: Vec<String> = positions
        .chunks_exact(2)
        .filter_map(|pair| pair.first().zip(pair.last()))
        .filter(|(from, to)| from < to)
        .map(|(from, to)| format!("[{from},{to}]"))
        .collect();
    let blocks = sqlx::query(BLOCKS).bind(format!("[{}]", ranges.join(",")));
    Ok(damage(blocks.fetch_all(connection).await)?.ok())
}

/// A stretch and the first step of the search in it: the largest power of two that is not more than its length.
fn searched(stretch: &Range<u64>) -> String {
    let length = stretch.end.saturating_sub(stretch.start).max(1);
    format!("[{},{},{}]", signed(stretch.start), signed(stretch.end), 1_u64 << length.ilog2())
}
