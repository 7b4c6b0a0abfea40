//! What has been seen of edge nodes, and values that came again from them after a start of the ingest.

use sqlx::{PgConnection, Row};

use super::number::{signed, storable, unsigned};
use crate::{NodeAccount, NodeKey, nodes::Nodes, piece::Rows};

/// Each number only grows: entering an account twice changes nothing.
const PUT: &str = "INSERT INTO tidegate.edge_node AS known
    (group_id, node_id, births, asked, holes, missing, unread, repeated, dropped, interruptions)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (group_id, node_id) DO UPDATE SET
    births = greatest(known.births, excluded.births), asked = greatest(known.asked, excluded.asked),
    holes = greatest(known.holes, excluded.holes), missing = greatest(known.missing, excluded.missing),
    unread = greatest(known.unread, excluded.unread), repeated = greatest(known.repeated, excluded.repeated),
    dropped = greatest(known.dropped, excluded.dropped),
    interruptions = greatest(known.interruptions, excluded.interruptions)";

const GET: &str = "SELECT group_id, node_id, births, asked, holes, missing, unread, repeated, dropped, interruptions
FROM tidegate.edge_node";

/// Of the values that were just written, those that an earlier row has to the last bit. As texts, 0 and -0 are two.
const REPEATS: &str = "DELETE FROM tidegate.sample AS again USING tidegate.sample AS before
WHERE again.tag_id = ANY($1) AND again.seq BETWEEN $2 AND $3
    AND again.time BETWEEN timestamptz 'epoch' + $4 * interval '1 millisecond' AND timestamptz 'epoch' + $5 * interval '1 millisecond'
    AND before.time BETWEEN timestamptz 'epoch' + $4 * interval '1 millisecond' AND timestamptz 'epoch' + $5 * interval '1 millisecond'
    AND before.tag_id = again.tag_id AND before.time = again.time AND before.seq < $2
    AND before.quality = again.quality AND before.value::text IS NOT DISTINCT FROM again.value::text
    AND before.text IS NOT DISTINCT FROM again.text AND before.reason IS NOT DISTINCT FROM again.reason
RETURNING again.seq";

const LEFT: &str = "SELECT count(DISTINCT seq) FROM tidegate.sample
WHERE tag_id = ANY($1) AND seq = ANY($2)
    AND time BETWEEN timestamptz 'epoch' + $3 * interval '1 millisecond' AND timestamptz 'epoch' + $4 * interval '1 millisecond'";

/// Enters accounts.
pub(super) async fn put(connection: &mut PgConnection, nodes: &Nodes) -> Result<(), sqlx::Error> {
    for (key, account) in nodes {
        // PostgreSQL has no character 0.
        let clean = |id: &str| id.replace('\0', "\u{fffd}");
        let query = sqlx::query(PUT).bind(clean(&key.group)).bind(clean(&key.node));
        let query = account.numbers().into_iter().fold(query, |query, number| query.bind(signed(number)));
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// All accounts.
pub(super) async fn get(connection: &mut PgConnection) -> Result<Nodes, sqlx::Error> {
    let mut nodes = Nodes::new();
    for row in sqlx::query(GET).fetch_all(connection).await? {
        let mut numbers = [0; crate::nodes::NUMBERS];
        for (number, column) in numbers.iter_mut().zip(2_usize..) {
            *number = unsigned(row.try_get(column)?);
        }
        nodes.insert(NodeKey { group: row.try_get(0)?, node: row.try_get(1)? }, NodeAccount::of(numbers));
    }
    Ok(nodes)
}

/// Removes values that were just written and had been written before; how many they were, and how many rows have none left.
pub(super) async fn remove_repeats(
    connection: &mut PgConnection,
    rows: &Rows,
    tags: &[i32],
) -> Result<(u64, u64), sqlx::Error> {
    let Some((earliest, latest)) = rows.times().map(|(earliest, latest)| (storable(earliest), storable(latest))) else {
        return Ok((0, 0));
    };
    let query =
        sqlx::query(REPEATS).bind(tags).bind(signed(rows.arrival.first_seq)).bind(signed(rows.arrival.last_seq));
    let gone = query.bind(earliest).bind(latest).fetch_all(&mut *connection).await?;
    let values = u64::try_from(gone.len()).unwrap_or(u64::MAX);
    let mut seqs = gone.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    seqs.sort_unstable();
    seqs.dedup();
    if seqs.is_empty() {
        return Ok((0, 0));
    }
    let query = sqlx::query(LEFT).bind(tags).bind(&seqs).bind(earliest).bind(latest);
    let left = unsigned(query.fetch_one(connection).await?.try_get(0)?);
    Ok((values, u64::try_from(seqs.len()).unwrap_or(u64::MAX).saturating_sub(left)))
}
