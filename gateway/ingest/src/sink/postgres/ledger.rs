//! The ledger of the streams that a transaction writes to.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row};

use super::number::{Moment, parse_ranges, parse_starts, signed, write_ranges, write_starts};
use crate::{
    Ranges, Starts,
    ledger::Delivered,
    piece::{Gap, Rows},
};

const UPDATE: &str = "UPDATE tidegate.stream
SET delivered = stream.delivered + entry.added::int8multirange,
    declared = stream.declared + entry.declared::int8multirange,
    boot = greatest(stream.boot, entry.boot),
    rows = stream.rows + entry.fresh,
    duplicates = stream.duplicates + entry.again,
    numbered_again = stream.numbered_again + entry.numbered_again,
    starts = entry.starts::bigint[],
    first_time = least(stream.first_time, entry.earliest),
    last_time = greatest(stream.last_time, entry.latest)
FROM (
    SELECT id, added, declared, boot, fresh, again, numbered_again, starts,
           earliest, latest
    FROM unnest($1::int4[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::int8[], $7::timestamptz[], $8::timestamptz[],
                $9::int8[], $10::text[])
         AS given(id, added, declared, boot, fresh, again, earliest, latest, numbered_again, starts)
) AS entry
WHERE stream.id = entry.id";

/// The ledger rows of some streams, locked until the transaction ends.
#[derive(Debug)]
pub(crate) struct Books {
    entries: BTreeMap<i32, Entry>,
}

/// What changes in the ledger of one stream.
#[derive(Debug, Default)]
struct Entry {
    /// What had been delivered before, where it matters, and what this transaction delivers.
    delivered: Ranges,
    added: Ranges,
    declared: Ranges,
    rows: u64,
    duplicates: u64,
    numbered_again: u64,
    starts: Starts,
    boot: u64,
    /// Of the earliest and the latest new row.
    times: Option<(Moment, Moment)>,
}

impl Books {
    /// Locks the ledger rows of these streams in the order of their ids, then reads what they have of the numbers that come.
    pub(crate) async fn lock(
        connection: &mut PgConnection,
        streams: &BTreeMap<i32, Option<(u64, u64)>>,
    ) -> Result<Books, sqlx::Error> {
        let ids: Vec<i32> = streams.keys().copied().collect();
        if ids.is_empty() {
            return Ok(Books { entries: BTreeMap::new() });
        }
        let lock = "SELECT id FROM tidegate.stream WHERE id = ANY($1) ORDER BY id FOR UPDATE";
        let locked = sqlx::query(lock).bind(&ids).fetch_all(&mut *connection).await?;
        if locked.len() != ids.len() {
            return Err(sqlx::Error::RowNotFound);
        }
        // A statement of its own: it sees what was committed while the locks were waited for.
        let spans: Vec<(u64, u64)> = streams.values().map(|span| span.unwrap_or((1, 0))).collect();
        let firsts: Vec<i64> = spans.iter().map(|(first, _)| signed(*first)).collect();
        let ends: Vec<i64> = spans.iter().map(|(first, last)| signed((*last).saturating_add(1).max(*first))).collect();
        let read = "SELECT stream.id, (stream.delivered * int8multirange(int8range(span.first, span.behind)))::text, stream.starts \
                    FROM tidegate.stream JOIN unnest($1::int4[], $2::int8[], $3::int8[]) AS span(id, first, behind) \
                    ON span.id = stream.id";
        let rows = sqlx::query(read).bind(&ids).bind(&firsts).bind(&ends).fetch_all(&mut *connection).await?;
        let mut entries = BTreeMap::new();
        for row in rows {
            let delivered = parse_ranges(row.try_get(1)?).ok_or(sqlx::Error::RowNotFound)?;
            let starts = parse_starts(&row.try_get::<Vec<i64>, _>(2)?);
            entries.insert(row.try_get(0)?, Entry { delivered, starts, ..Entry::default() });
        }
        Ok(Books { entries })
    }

    /// Enters the rows of a block.
    pub(crate) fn deliver(&mut self, stream: i32, rows: &Rows) -> Delivered {
        let entry = self.entries.entry(stream).or_default();
        let delivered = Delivered::of(&entry.delivered, &entry.starts, rows.arrival);
        let new = &delivered.new;
        entry.delivered.insert(rows.arrival.first_seq, rows.arrival.last_seq);
        entry.added.extend(new);
        entry.starts.enter(rows.arrival.boot, new);
        entry.rows += new.count();
        entry.duplicates += delivered.duplicates;
        entry.numbered_again += delivered.numbered_again;
        entry.boot = entry.boot.max(rows.arrival.boot);
        if let (Some((earliest, latest)), false) = (rows.times(), new.is_empty()) {
            let (earliest, latest) = (Moment::of(earliest), Moment::of(latest));
            let times = entry.times.map_or((earliest, latest), |(a, b)| (a.min(earliest), b.max(latest)));
            entry.times = Some(times);
        }
        delivered
    }

    /// Enters that of rows that were entered so many values were here before, and so many rows had nothing else.
    pub(crate) fn repeated(&mut self, stream: i32, rows: u64, values: u64) {
        let entry = self.entries.entry(stream).or_default();
        entry.rows = entry.rows.saturating_sub(rows);
        entry.duplicates += values;
    }

    /// Enters what will not come; returns 1 when that is new.
    pub(crate) async fn declare(
        &mut self,
        connection: &mut PgConnection,
        stream: i32,
        gap: &Gap,
    ) -> Result<u64, sqlx::Error> {
        let entry = self.entries.entry(stream).or_default();
        let (first, last) = (gap.arrival.first_seq, gap.arrival.last_seq);
        entry.declared.insert(first, last);
        entry.boot = entry.boot.max(gap.arrival.boot);
        let sql = "INSERT INTO tidegate.gap (stream_id, first_seq, last_seq, reason, boot) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT DO NOTHING";
        let query = sqlx::query(sql).bind(stream).bind(signed(first)).bind(signed(last));
        let done = query.bind(gap.reason.as_str()).bind(signed(gap.arrival.boot)).execute(connection).await?;
        Ok(done.rows_affected())
    }

    /// Writes the changes.
    pub(crate) async fn close(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let list = |of: fn(&Entry) -> i64| self.entries.values().map(of).collect::<Vec<i64>>();
        let texts =
            |of: fn(&Entry) -> &Ranges| self.entries.values().map(|entry| write_ranges(of(entry))).collect::<Vec<_>>();
        let times = |of: fn((Moment, Moment)) -> Moment| {
            self.entries.values().map(|entry| entry.times.map(of)).collect::<Vec<_>>()
        };
        let done = sqlx::query(UPDATE)
            .bind(self.entries.keys().copied().collect::<Vec<i32>>())
            .bind(texts(|entry| &entry.added))
            .bind(texts(|entry| &entry.declared))
            .bind(list(|entry| signed(entry.boot)))
            .bind(list(|entry| signed(entry.rows)))
            .bind(list(|entry| signed(entry.duplicates)))
            .bind(times(|(earliest, _)| earliest))
            .bind(times(|(_, latest)| latest))
            .bind(list(|entry| signed(entry.numbered_again)))
            .bind(self.entries.values().map(|entry| write_starts(&entry.starts)).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        if usize::try_from(done.rows_affected()) != Ok(self.entries.len()) {
            return Err(sqlx::Error::RowNotFound);
        }
        Ok(())
    }
}
