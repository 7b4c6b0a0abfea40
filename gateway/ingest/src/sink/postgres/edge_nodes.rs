//! What has been seen of edge nodes.

use sqlx::{PgConnection, Row};

use super::number::{signed, unsigned};
use crate::{NodeAccount, NodeKey, nodes::Nodes};

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
