//! The gaps that targets have to be told of, in the database.

use std::collections::HashMap;

use sqlx::{Row, SqliteConnection};
use tidegate_model::{Name, StreamId};

use crate::{
    GapReason,
    numbers::{signed, unsigned},
    place::GapKey,
    summary::Span,
    target::Target,
};

/// Gaps read at once.
const PAGE: i64 = 256;

/// Rows of one stream that a target will never get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) stream: StreamId,
    pub(crate) span: Span,
    pub(crate) reason: GapReason,
}

/// Where new gaps go.
#[derive(Debug)]
pub(crate) struct Gaps {
    next_id: u64,
    /// The last gap of a target's stream: while nobody has been told of it, it can grow instead of having a successor.
    last: HashMap<(Name, StreamId), (GapKey, Gap)>,
}

impl Gaps {
    /// Begins with the first number.
    pub(crate) fn new() -> Gaps {
        Gaps { next_id: 1, last: HashMap::new() }
    }

    /// Goes on with the numbers of the database.
    pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Gaps, sqlx::Error> {
        let row = sqlx::query("SELECT coalesce(max(id), 0) FROM gap").fetch_one(connection).await?;
        Ok(Gaps { next_id: unsigned(row.try_get(0)?) + 1, last: HashMap::new() })
    }

    /// Forgets which gaps can grow: a transaction has failed.
    pub(crate) fn forget(&mut self) {
        self.last.clear();
    }

    /// Adds a gap that is to be delivered before the row at `position`; [`refresh`] the target afterwards.
    pub(crate) async fn add(
        &mut self,
        connection: &mut SqliteConnection,
        target: &Target,
        position: u64,
        gap: Gap,
    ) -> Result<(), sqlx::Error> {
        let key = (target.name.clone(), gap.stream);
        if let Some((place, last)) = self.last.get_mut(&key) {
            let follows = last.reason == gap.reason && last.span.last.checked_add(1) == Some(gap.span.first);
            if follows && !target.place().is_given(*place) {
                last.span.last = gap.span.last;
                let query = sqlx::query("UPDATE gap SET last_seq = ? WHERE id = ?");
                let done = query.bind(signed(gap.span.last)).bind(signed(place.id)).execute(&mut *connection).await?;
                // Not there any more when it was acknowledged before a rewind.
                if done.rows_affected() == 1 {
                    return Ok(());
                }
            }
        }
        let place = GapKey { position, id: self.next_id };
        insert(connection, &target.name, place, gap).await?;
        self.next_id += 1;
        self.last.insert(key, (place, gap));
        Ok(())
    }
}

async fn insert(connection: &mut SqliteConnection, target: &Name, key: GapKey, gap: Gap) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO gap (id, target, position, stream_id, first_seq, last_seq, reason) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(signed(key.id))
    .bind(target.as_str())
    .bind(signed(key.position))
    .bind(i64::from(gap.stream.0))
    .bind(signed(gap.span.first))
    .bind(signed(gap.span.last))
    .bind(i64::from(gap.reason.code()))
    .execute(connection)
    .await?;
    Ok(())
}

/// The next gaps of a target that come before the row it is given next, in order; with two lanes, in the order of their
/// numbers whatever is next.
pub(crate) async fn next(
    connection: &mut SqliteConnection,
    target: &Target,
) -> Result<Vec<(GapKey, Gap)>, sqlx::Error> {
    let (after, next, lanes) = {
        let mut place = target.place();
        (place.last_gap.unwrap_or(GapKey { position: 0, id: 0 }), place.next(), place.live.is_some())
    };
    let select = if lanes {
        "SELECT id, position, stream_id, first_seq, last_seq, reason FROM gap \
         WHERE target = ?1 AND id > ?4 ORDER BY id LIMIT ?5"
    } else {
        "SELECT id, position, stream_id, first_seq, last_seq, reason FROM gap \
         WHERE target = ?1 AND position <= ?2 AND (position, id) > (?3, ?4) ORDER BY position, id LIMIT ?5"
    };
    let rows = sqlx::query(select)
        .bind(target.name.as_str())
        .bind(signed(next))
        .bind(signed(after.position))
        .bind(signed(after.id))
        .bind(PAGE)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((key(row)?, gap(row)?))).collect()
}

fn key(row: &sqlx::sqlite::SqliteRow) -> Result<GapKey, sqlx::Error> {
    Ok(GapKey { position: unsigned(row.try_get("position")?), id: unsigned(row.try_get("id")?) })
}

/// A gap out of the database. A reason of a later version counts as damage.
pub(crate) fn gap(row: &sqlx::sqlite::SqliteRow) -> Result<Gap, sqlx::Error> {
    let reason = u8::try_from(row.try_get::<i64, _>("reason")?).ok().and_then(GapReason::from_code);
    Ok(Gap {
        stream: StreamId(u32::try_from(row.try_get::<i64, _>("stream_id")?).unwrap_or(0)),
        span: Span { first: unsigned(row.try_get("first_seq")?), last: unsigned(row.try_get("last_seq")?) },
        reason: reason.unwrap_or(GapReason::Damaged),
    })
}

/// Counts the gaps of a target anew and looks up the next one that it has not been given.
pub(crate) async fn refresh(connection: &mut SqliteConnection, target: &Target) -> Result<(), sqlx::Error> {
    let (after, lanes) = {
        let place = target.place();
        (place.last_gap.unwrap_or(GapKey { position: 0, id: 0 }), place.live.is_some())
    };
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM gap WHERE target = ?1), \
         (SELECT min(position) FROM gap WHERE target = ?1 AND iif(?4, id > ?3, (position, id) > (?2, ?3)))",
    )
    .bind(target.name.as_str())
    .bind(signed(after.position))
    .bind(signed(after.id))
    .bind(lanes)
    .fetch_one(connection)
    .await?;
    let (gaps, next) = (unsigned(row.try_get(0)?), row.try_get::<Option<i64>, _>(1)?);
    let mut place = target.place();
    place.gaps = gaps;
    place.next_gap = next.map(unsigned);
    Ok(())
}

/// Removes gaps that have been acknowledged.
pub(crate) async fn remove(connection: &mut SqliteConnection, ids: &[u64]) -> Result<(), sqlx::Error> {
    for id in ids {
        sqlx::query("DELETE FROM gap WHERE id = ?").bind(signed(*id)).execute(&mut *connection).await?;
    }
    Ok(())
}
