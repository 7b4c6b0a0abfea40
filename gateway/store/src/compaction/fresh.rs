//! From fresh records to the first blocks.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::{Row, SqliteConnection};
use tidegate_codec::record::RawRow;
use tidegate_model::{Stream, StreamId, Timestamp};

use super::{
    Begin, Change, Compactor, Stopped, at,
    building::{Building, Collected, Series},
    change::Move,
    limits,
};
use crate::{
    database::{Trouble, trouble},
    decode,
    disk::{self, Form, Stored},
    epochs::Epoch,
    numbers::{signed, unsigned},
    ranges::Range,
    summary::Summary,
};

/// Records looked at in one step.
const RECORDS: i64 = 4_096;
/// Bytes of bodies read at once, unless one has more.
const BYTES: u64 = 256 << 10;

/// A record without its rows.
#[derive(Debug, Clone)]
struct Head {
    range: Range,
    time_min: Timestamp,
    time_max: Timestamp,
    age: u64,
    bytes: u64,
    summary: Option<Summary>,
}

/// Rows of a record, or nothing when they cannot be read.
type Decoded = Vec<(Head, Option<Vec<RawRow>>)>;

impl Compactor {
    /// Prepares the first records of a range as an epoch, whose rows lie at most so many milliseconds apart and whose
    /// records have about so many bytes at most.
    pub(super) async fn fresh(
        &mut self,
        range: Range,
        (span, most): (u64, u64),
        begin: Begin,
    ) -> Result<Option<Change>, Stopped> {
        let mut heads = heads(&mut *self.reader().await?, range).await.map_err(at(range.first))?;
        let latest = heads.first().map_or(0, |first| first.age.saturating_add(span));
        let mut bytes = 0;
        let fits = |head: &&Head| {
            let fits = head.age <= latest && bytes < most;
            bytes += head.bytes;
            fits
        };
        heads.truncate(heads.iter().take_while(fits).count());
        let (mut collected, mut lost, mut taken) = (Collected::default(), Vec::new(), Vec::new());
        let mut left = heads.as_slice();
        // What does not follow comes after a hole, which no epoch spans.
        'records: while let Some(next) =
            left.first().filter(|head| taken.last().is_none_or(|last: &Head| last.range.end == head.range.first))
        {
            let (mut bytes, mut until) = (0, next.range.first);
            let fits = |head: &&Head| {
                bytes += head.bytes;
                let fits = head.range.first == next.range.first || (bytes <= BYTES && head.range.first == until);
                until = head.range.end;
                fits
            };
            let some: Vec<Head> = left.iter().take_while(fits).cloned().collect();
            left = left.get(some.len()..).unwrap_or_default();
            for (head, rows) in self.rows(some).await? {
                let rows = match rows {
                    Some(rows) => self.with_streams(rows).await?,
                    None => None,
                };
                match rows {
                    Some((rows, streams)) => {
                        let begin = head.range.first;
                        collected = self.work(move |_| collect(collected, begin, &rows, &streams)).await??;
                    }
                    None if spans(&head).is_empty() && taken.is_empty() => {
                        let why = "neither a record nor its summary can be read".to_owned();
                        return Err(Stopped::Damaged { position: head.range.first, why });
                    }
                    // It will be the first of the next run.
                    None if spans(&head).is_empty() => break 'records,
                    None => lost.push(head.clone()),
                }
                taken.push(head);
            }
            if collected.heap_bytes() >= limits::MEMORY {
                break;
            }
        }
        let Some((from, to)) = taken.first().zip(taken.last()) else { return Ok(None) };
        let range = Range::new(from.range.first, to.range.end);
        let age = to.age;
        let mut building = Building::new(range.first, begin);
        for head in &lost {
            building.has_times(head.time_min, head.time_max);
        }
        let building = self.build(building, collected, &lost).await?;
        Ok(Some(finish(building, range, age, 0, true)))
    }

    /// The rows of some records.
    async fn rows(&mut self, heads: Vec<Head>) -> Result<Decoded, Stopped> {
        let mut stored = Vec::with_capacity(heads.len());
        let mut reader = self.reader().await?;
        for head in heads {
            // One by one: what cannot be read must not take its neighbours with it.
            let body = body(&mut reader, head.range.first).await;
            let body = match body.map_err(at(head.range.first)) {
                Ok(body) => Some(body),
                Err(Stopped::Damaged { .. }) => None,
                Err(stopped) => return Err(stopped),
            };
            stored.push((head, body));
        }
        drop(reader);
        let decode = |(head, body): (Head, Option<Bytes>)| {
            let stored = body.map(|body| Stored { range: head.range, form: Form::Record, body });
            let rows = stored.and_then(|stored| decode::record(&stored).ok());
            (head, rows)
        };
        self.work(move |_| stored.into_iter().map(decode).collect()).await
    }

    /// The streams of these rows; `None` when the columns of one cannot be read.
    async fn with_streams(
        &mut self,
        rows: Vec<RawRow>,
    ) -> Result<Option<(Vec<RawRow>, HashMap<StreamId, Arc<Stream>>)>, Stopped> {
        let mut streams = HashMap::new();
        for id in decode::streams(&rows) {
            let Some(stream) = self.stream(id).await? else { return Ok(None) };
            streams.insert(id, stream);
        }
        let fit = |row: &RawRow| streams.get(&row.stream).is_some_and(|of| of.columns().len() == row.slots.len());
        let all = rows.iter().all(fit);
        Ok(all.then_some((rows, streams)))
    }

    /// Encodes everything that has been collected.
    async fn build(
        &mut self,
        mut building: Building,
        collected: Collected,
        lost: &[Head],
    ) -> Result<Building, Stopped> {
        let mut lost: Vec<(StreamId, u64, u64, u64)> = lost.iter().flat_map(spans).collect();
        lost.sort_unstable();
        let mut lost = lost.into_iter().peekable();
        let mut series = collected.into_series().into_iter().peekable();
        while series.peek().is_some() || lost.peek().is_some() {
            while let Some((stream, seq, rows, position)) =
                lost.next_if(|lost| series.peek().is_none_or(|(key, _)| (lost.0, lost.1) < *key))
            {
                let new = building.next_position();
                building.moves.push(Move { old: Range::new(position, position + rows), new });
                building.put(stream, seq, rows, 0, None);
            }
            let mut some: Vec<Series> = Vec::new();
            let mut values = 0;
            while let Some((_, next)) = series.next_if(|(key, next)| {
                let before_lost = lost.peek().is_none_or(|lost| *key < (lost.0, lost.1));
                let size = next.batch.len() * next.batch.columns().max(1);
                values += size;
                before_lost && (values == size || values <= 100_000)
            }) {
                some.push(next);
            }
            let shared = Arc::clone(&self.shared);
            building = self
                .work(move |tools| {
                    for series in &some {
                        building.add(&mut tools.encoder, &shared.wire, series)?;
                    }
                    Ok(building)
                })
                .await?
                .map_err(|error: tidegate_codec::block::BlockError| Stopped::Later(error.to_string()))?;
        }
        Ok(building)
    }
}

fn collect(
    mut collected: Collected,
    first: u64,
    rows: &[RawRow],
    streams: &HashMap<StreamId, Arc<Stream>>,
) -> Result<Collected, Stopped> {
    for (position, row) in (first..).zip(rows) {
        let Some(stream) = streams.get(&row.stream) else { continue };
        collected.add(stream, position, row).map_err(|error| Stopped::Later(error.to_string()))?;
    }
    Ok(collected)
}

/// The rows of a record that cannot be read, by stream: number of the first, how many, and where. Nothing when its
/// summary does not say so exactly.
fn spans(head: &Head) -> Vec<(StreamId, u64, u64, u64)> {
    let Some(summary) = &head.summary else { return Vec::new() };
    let rows: u64 = summary.streams.values().map(|span| span.rows()).sum();
    if rows != head.range.len() {
        return Vec::new();
    }
    let mut position = head.range.first;
    let mut spans = Vec::new();
    for (stream, span) in &summary.streams {
        spans.push((*stream, span.first, span.rows(), position));
        position += span.rows();
    }
    spans
}

/// The change that puts the new blocks into the place of what was in `range`.
pub(super) fn finish(mut building: Building, range: Range, age: u64, level: u64, was_fresh: bool) -> Change {
    building.moves.sort_unstable_by_key(|moved| moved.old);
    let zero = Timestamp::from_millis(0);
    let (time_min, time_max) = building.times.unwrap_or((zero, zero));
    let epoch = Epoch {
        range,
        level,
        rows: building.next_position().saturating_sub(range.first),
        blocks: crate::numbers::count(building.blocks.len()),
        short_blocks: building.short_blocks,
        bytes: building.bytes,
        time_min,
        time_max,
        age,
    };
    let new_bodies = building.new_bodies();
    Change {
        epoch,
        was_fresh,
        blocks: building.blocks,
        moves: building.moves,
        removed: Vec::new(),
        bodies: building.bodies,
        new_bodies,
        old_bodies: Vec::new(),
    }
}

async fn heads(connection: &mut SqliteConnection, range: Range) -> Result<Vec<Head>, sqlx::Error> {
    let mut rows = sqlx::query(
        "SELECT first_position, row_count, time_min, time_max, age, length(body) AS bytes, summary FROM log \
         WHERE first_position >= ? AND first_position + row_count <= ? ORDER BY first_position LIMIT ?",
    )
    .bind(signed(range.first))
    .bind(signed(range.end))
    .bind(RECORDS)
    .fetch(connection);
    let head = |row: &sqlx::sqlite::SqliteRow| {
        let range = disk::range(row)?;
        Ok::<Head, sqlx::Error>(Head {
            range,
            time_min: Timestamp::from_millis(row.try_get("time_min")?),
            time_max: Timestamp::from_millis(row.try_get("time_max")?),
            age: unsigned(row.try_get("age")?),
            bytes: unsigned(row.try_get("bytes")?),
            summary: Summary::decode(row.try_get("summary")?, range.first),
        })
    };
    let mut heads = Vec::new();
    loop {
        match rows.try_next().await {
            Ok(Some(row)) => heads.push(head(&row)?),
            Ok(None) => return Ok(heads),
            // What comes before the damage can be moved.
            Err(error) if trouble(&error) == Trouble::Damaged && !heads.is_empty() => return Ok(heads),
            Err(error) => return Err(error),
        }
    }
}

async fn body(connection: &mut SqliteConnection, position: u64) -> Result<Bytes, sqlx::Error> {
    let select = "SELECT body FROM log WHERE first_position = ?";
    let row = sqlx::query(select).bind(signed(position)).fetch_one(connection).await?;
    row.try_get::<Vec<u8>, _>("body").map(Bytes::from)
}
