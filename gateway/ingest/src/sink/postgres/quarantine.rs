//! Blocks that cannot be read, in a table, until somebody has looked at them or their schema has come.

use bytes::Bytes;
use sqlx::{PgConnection, Row};

use crate::piece::{Known, Refused};

/// Blocks that may be in the quarantine, and their bytes.
const MOST: i64 = 10_000;
const MOST_BYTES: i64 = 1 << 30;
/// Bytes of blocks that are taken out at once, and one block more.
const MOST_RELEASED: i64 = 16 << 20;
/// Characters of a gateway's name that are kept, of one that is none too: the index has to take it.
const MOST_NAME: usize = 256;
/// Characters of what is said that are kept.
const MOST_DETAIL: usize = 2000;

/// Puts blocks aside; returns how many, and how many did not find room. A block that is there already is there once.
pub(crate) async fn put(connection: &mut PgConnection, refused: &[&Refused]) -> Result<(u64, u64), sqlx::Error> {
    let (mut quarantined, mut lost) = (0, 0);
    if refused.is_empty() {
        return Ok((0, 0));
    }
    let size = "SELECT count(*), coalesce(sum(octet_length(frame)), 0)::bigint FROM tidegate.quarantine";
    let row = sqlx::query(size).fetch_one(&mut *connection).await?;
    let (mut count, mut bytes): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let sql = "INSERT INTO tidegate.quarantine (gateway, fault, detail, schema_id, frame) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT DO NOTHING";
    for refused in refused {
        bytes = bytes.saturating_add(i64::try_from(refused.frame.len()).unwrap_or(i64::MAX));
        count += 1;
        if count > MOST || bytes > MOST_BYTES {
            lost += 1;
            continue;
        }
        // PostgreSQL has no character 0 in texts.
        let clean = |text: &str, most| text.chars().take(most).collect::<String>().replace('\0', "\u{fffd}");
        let done = sqlx::query(sql)
            .bind(clean(&refused.gateway, MOST_NAME))
            .bind(refused.fault.as_str())
            .bind(clean(&refused.detail, MOST_DETAIL))
            .bind(refused.schema.map(|schema| schema.to_string()))
            .bind(refused.frame.as_ref())
            .execute(&mut *connection)
            .await?;
        quarantined += done.rows_affected();
    }
    Ok((quarantined, lost))
}

/// The blocks behind `after` that wait for this schema, at most so many, and no more than fit in memory at once.
pub(crate) async fn waiting(
    connection: &mut PgConnection,
    known: &Known,
    after: i64,
    most: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    let sql = "SELECT id, octet_length(frame) FROM tidegate.quarantine \
               WHERE gateway = $1 AND schema_id = $2 AND fault = 'unknown_schema' AND id > $3 ORDER BY id LIMIT $4";
    let query = sqlx::query(sql).bind(known.key.gateway.as_str()).bind(known.id.to_string()).bind(after).bind(most);
    let (mut ids, mut bytes) = (Vec::new(), 0_i64);
    for row in query.fetch_all(connection).await? {
        bytes = bytes.saturating_add(row.try_get::<i32, _>(1)?.into());
        if bytes > MOST_RELEASED && !ids.is_empty() {
            break;
        }
        ids.push(row.try_get(0)?);
    }
    Ok(ids)
}

/// Takes these blocks out, those of them that no other ingest takes out.
pub(crate) async fn take(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<Bytes>, sqlx::Error> {
    let sql = "DELETE FROM tidegate.quarantine WHERE id IN (SELECT id FROM tidegate.quarantine WHERE id = ANY($1) \
               ORDER BY id FOR UPDATE SKIP LOCKED) RETURNING frame";
    let rows = sqlx::query(sql).bind(ids).fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get::<Vec<u8>, _>(0).map(Bytes::from)).collect()
}
