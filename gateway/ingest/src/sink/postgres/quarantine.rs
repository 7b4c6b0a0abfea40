//! Blocks that cannot be read, in a table, until somebody has looked at them or their schema has come.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::{PgConnection, Row};
use tidegate_codec::block::Decoder;

use crate::piece::{self, Known, Piece, Refused};

/// Blocks that may be in the quarantine, and their bytes.
const MOST: i64 = 10_000;
const MOST_BYTES: i64 = 1 << 30;
/// Blocks of one schema that are taken out by one transaction.
const RELEASED: i64 = 64;

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
        let clean = |text: &str| text.replace('\0', "\u{fffd}");
        let done = sqlx::query(sql)
            .bind(clean(&refused.gateway))
            .bind(refused.fault.as_str())
            .bind(clean(&refused.detail))
            .bind(refused.schema.map(|schema| schema.to_string()))
            .bind(refused.frame.as_ref())
            .execute(&mut *connection)
            .await?;
        quarantined += done.rows_affected();
    }
    Ok((quarantined, lost))
}

/// What was taken out of the quarantine.
#[derive(Debug, Default)]
pub(crate) struct Released {
    pub(crate) pieces: Vec<Piece>,
    /// The schemas that have more blocks there.
    pub(crate) more: Vec<Arc<Known>>,
}

/// Takes out the blocks that can be read now that their schemas have come.
pub(crate) async fn release(
    connection: &mut PgConnection,
    arrived: &[Arc<Known>],
    decoder: &mut Decoder,
) -> Result<Released, sqlx::Error> {
    let mut released = Released::default();
    let sql = "DELETE FROM tidegate.quarantine WHERE id IN (SELECT id FROM tidegate.quarantine \
               WHERE gateway = $1 AND schema_id = $2 AND fault = 'unknown_schema' ORDER BY id LIMIT $3 \
               FOR UPDATE SKIP LOCKED) RETURNING frame";
    for known in arrived {
        let query = sqlx::query(sql).bind(known.key.gateway.as_str()).bind(known.id.to_string()).bind(RELEASED);
        let rows = query.fetch_all(&mut *connection).await?;
        if i64::try_from(rows.len()) == Ok(RELEASED) {
            released.more.push(Arc::clone(known));
        }
        for row in rows {
            let frame = Bytes::from(row.try_get::<Vec<u8>, _>(0)?);
            let (whole, _) = piece::blocks(&frame);
            for (schema, whole) in whole {
                let piece = whole.unpack(known, decoder).unwrap_or_else(|error| {
                    Piece::Refused(Refused::new(known.key.gateway.as_str(), &error, schema, frame.clone()))
                });
                released.pieces.push(piece);
            }
        }
    }
    Ok(released)
}
