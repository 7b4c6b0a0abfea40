//! Bodies that no block refers to: written before their blocks, removed after them, bit by bit.

use sqlx::{Connection, Row, SqliteConnection};

use super::Body;
use crate::{
    database::{Trouble, trouble},
    numbers::{signed, unsigned},
    ranges::Range,
    writer::Writer,
};

/// Bodies, and bytes of bodies, that are removed in one transaction at most; one body may have more.
const BODIES: i64 = 1_024;
const BYTES: u64 = 1 << 20;

/// Writes bodies that nothing refers to yet; `first` when they are the first of these numbers.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    ids: Range,
    bodies: &[Body],
    first: bool,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if first {
        claim(&mut transaction, ids).await?;
    }
    insert(&mut transaction, bodies).await?;
    transaction.commit().await
}

/// Writes bodies.
pub(super) async fn insert(connection: &mut SqliteConnection, bodies: &[Body]) -> Result<(), sqlx::Error> {
    for body in bodies {
        let insert = "INSERT INTO body (id, bytes) VALUES (?, ?)";
        sqlx::query(insert).bind(signed(body.id)).bind(body.bytes.as_slice()).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Nothing refers to these bodies.
pub(crate) async fn claim(connection: &mut SqliteConnection, ids: Range) -> Result<(), sqlx::Error> {
    let insert = "INSERT OR REPLACE INTO loose (first_id, end_id) VALUES (?, ?)";
    sqlx::query(insert).bind(signed(ids.first)).bind(signed(ids.end)).execute(connection).await.map(drop)
}

/// Blocks refer to these bodies from now on.
pub(super) async fn unclaim(connection: &mut SqliteConnection, ids: Range) -> Result<(), sqlx::Error> {
    let delete = "DELETE FROM loose WHERE first_id = ?";
    sqlx::query(delete).bind(signed(ids.first)).execute(connection).await.map(drop)
}

/// What was removed.
enum Swept {
    /// Some; there may be more.
    Some,
    /// There is nothing left to remove.
    All,
}

impl Writer {
    /// Whether there are bodies to remove now.
    pub(crate) fn may_sweep(&self) -> bool {
        self.books.loose && !self.is_failing() && self.preparing.is_none()
    }

    /// Removes some bodies that nothing refers to.
    pub(crate) async fn sweep(&mut self) {
        let Some(database) = &mut self.database else {
            return self.swept();
        };
        match sweep(&mut database.connection).await {
            Ok(Swept::Some) => {}
            Ok(Swept::All) => {
                self.swept();
                self.measure().await;
            }
            Err(error) if trouble(&error) == Trouble::Damaged => {
                // They take their room until the database is replaced.
                self.swept();
                tracing::error!(why = %error, "a part of the database cannot be removed; check the disk");
            }
            Err(error) => self.failed(error.into()).await,
        }
    }

    /// There is nothing more to remove, or it cannot be.
    fn swept(&mut self) {
        (self.books.loose, self.dropped_unswept) = (false, false);
    }
}

async fn sweep(connection: &mut SqliteConnection) -> Result<Swept, sqlx::Error> {
    let select = "SELECT first_id, end_id FROM loose ORDER BY first_id LIMIT 1";
    let Some(row) = sqlx::query(select).fetch_optional(&mut *connection).await? else { return Ok(Swept::All) };
    let ids = Range::new(unsigned(row.try_get("first_id")?), unsigned(row.try_get("end_id")?));
    let select = "SELECT id, length(bytes) AS bytes FROM body WHERE id >= ? AND id < ? ORDER BY id LIMIT ?";
    let query = sqlx::query(select).bind(signed(ids.first)).bind(signed(ids.end)).bind(BODIES);
    let (mut bytes, mut until) = (0, None);
    for row in query.fetch_all(&mut *connection).await? {
        bytes += unsigned(row.try_get("bytes")?);
        if until.is_some() && bytes > BYTES {
            break;
        }
        until = Some(unsigned(row.try_get("id")?) + 1);
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    unclaim(&mut transaction, ids).await?;
    if let Some(until) = until {
        let delete = "DELETE FROM body WHERE id >= ? AND id < ?";
        sqlx::query(delete).bind(signed(ids.first)).bind(signed(until)).execute(&mut *transaction).await?;
        if until < ids.end {
            claim(&mut transaction, Range::new(until, ids.end)).await?;
        }
    }
    transaction.commit().await?;
    Ok(Swept::Some)
}
