//! Going through the log for one group of a device, in the order of its rows, in steps of one short transaction each.
//!
//! What is kept between two steps holds whatever happens to the log in between: the position before which every row of the
//! group has been given, always the beginning or the end of an epoch or a record, and, by the caller, the last number. Rows
//! may be put in another order only within stretches that begin and end at such positions.

use std::ops::Range;

use bytes::Bytes;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tidegate_model::{StreamId, Timestamp};

use super::{
    access::{Access, Snapshot, damage},
    damaged::{self, Heads},
    locate,
};
use crate::{
    StoreError, numbering,
    numbers::{count, length, signed, unsigned},
    ranges,
    summary::Summary,
};

pub(crate) use crate::summary::Span;

/// Epochs looked at in one step: the heads of their blocks are small.
const EPOCHS: i64 = 64;
/// Blocks read in one step.
const BLOCKS: usize = 256;
/// Records looked at in one step.
const RECORDS: i64 = 256;
/// Bytes of packed rows read in one step, unless a single block or record has more.
const BYTES: u64 = 1 << 20;

/// In the place of a body: what it held was lost before.
const LOST: i64 = 0;

/// From when until when; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Window {
    /// From `from` until before `to`.
    pub(crate) fn new(from: Option<Timestamp>, to: Option<Timestamp>) -> Window {
        let first = from.map_or(i64::MIN, Timestamp::as_millis);
        // Nothing is before the smallest time.
        let last = to.map_or(Some(i64::MAX), |to| to.as_millis().checked_sub(1));
        last.map_or(Window { first: i64::MAX, last: i64::MIN }, |last| Window { first, last })
    }

    /// The same and so many milliseconds more at either end.
    pub(crate) fn widened(self, millis: i64) -> Window {
        if self.first > self.last {
            return self;
        }
        Window { first: self.first.saturating_sub(millis), last: self.last.saturating_add(millis) }
    }

    pub(crate) fn holds(&self, time: Timestamp) -> bool {
        (self.first..=self.last).contains(&time.as_millis())
    }

    fn is_everything(&self) -> bool {
        (self.first, self.last) == (i64::MIN, i64::MAX)
    }
}

/// Rows that lie together on the disk, some of them of the group.
#[derive(Debug)]
pub(crate) struct Unit {
    /// The numbers of the group's rows in it, as far as that is known without reading them.
    pub(crate) span: Option<Span>,
    /// Whether something was left out just before it because of its times.
    pub(crate) after_jump: bool,
    /// The start in which its rows were numbered.
    pub(crate) boot: u64,
    pub(crate) found: Found,
}

/// What was found of a unit.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// A record of one commit.
    Record(Bytes),
    /// A block, and the numbers of its rows when they do not follow each other.
    Block { stream: StreamId, rows: u64, first: u64, seqs: Option<Bytes>, bytes: Bytes },
    /// Nothing, and why.
    Unreadable(String),
}

/// What is known of a unit before its bytes are read.
struct Head {
    /// Where its bytes are.
    place: Place,
    /// The stretch that it belongs to.
    stretch: Range<u64>,
    bytes: u64,
    span: Option<Span>,
}

enum Place {
    Record { position: i64 },
    Block { body: i64, rows: u64, first: u64, stream: StreamId, seqs: Option<Bytes> },
    Damage(String),
}

/// A walk through the log for one group.
#[derive(Debug)]
pub(crate) struct Walk {
    access: Access,
    /// The streams of the group, as a list for SQL.
    streams: String,
    ids: Vec<StreamId>,
    window: Window,
    begin: u64,
    at: u64,
    end: u64,
    /// The end of the stretch that was given last.
    given: Option<u64>,
}

impl Walk {
    /// Begins where the first rows in the window are; ends where the log ends now.
    pub(crate) async fn begin(access: Access, ids: Vec<StreamId>, window: Window) -> Result<Walk, StoreError> {
        let mut snapshot = access.snapshot().await?;
        let bounds = bounds(&mut snapshot, window).await;
        snapshot.end().await;
        let (begin, end) = bounds.map_err(|error| access.error(error))?;
        let list: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
        let streams = list.join(",");
        Ok(Walk { access, streams, ids, window, begin, at: begin, end, given: None })
    }

    /// How far it is, and how far it will be at the end.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.at.min(self.end).saturating_sub(self.begin), self.end.saturating_sub(self.begin))
    }

    /// Some of what comes next, in the order of the numbers; `None` at the end. `done` is the last number that the caller has.
    pub(crate) async fn next(&mut self, done: Option<u64>) -> Result<Option<Vec<Unit>>, StoreError> {
        while self.at < self.end {
            let mut snapshot = self.access.snapshot().await?;
            let units = self.step(&mut snapshot, done).await;
            snapshot.end().await;
            let units = units.map_err(|error| self.access.error(error))?;
            if !units.is_empty() {
                return Ok(Some(units));
            }
        }
        Ok(None)
    }

    async fn step(&mut self, snapshot: &mut Snapshot, done: Option<u64>) -> Result<Vec<Unit>, sqlx::Error> {
        let mut heads = Vec::new();
        let mut reached = None;
        if snapshot.has_blocks() {
            reached = self.epochs(snapshot.connection(), &mut heads).await?;
        }
        let reached = match reached {
            Some(reached) => reached,
            None => self.records(snapshot.connection(), &mut heads).await?,
        };
        let is_new = |head: &Head| head.span.is_none_or(|span| done.is_none_or(|done| span.last > done));
        heads.retain(is_new);
        heads.sort_by_key(|head| (head.stretch.start, head.span.map_or(0, |span| span.first)));
        self.weigh(snapshot.connection(), &mut heads).await?;
        let (mut taken, mut bytes) = (0, 0_u64);
        while let Some(head) = heads.get(taken).filter(|head| taken == 0 || bytes + head.bytes <= BYTES) {
            bytes += head.bytes;
            taken += 1;
        }
        // What is left begins again at the beginning of its stretch: `done` says what of it has been given.
        self.at = heads.get(taken).map_or(reached, |next| next.stretch.start.max(self.at));
        heads.truncate(taken);
        self.read(snapshot, heads).await
    }

    /// The heads of the blocks in the next epochs, and the position behind these; `None` when there are no more epochs.
    async fn epochs(
        &self,
        connection: &mut SqliteConnection,
        heads: &mut Vec<Head>,
    ) -> Result<Option<u64>, sqlx::Error> {
        let select = "SELECT first_position, end_position FROM epoch \
                      WHERE end_position > ? AND first_position < ? AND time_max >= ? AND time_min <= ? \
                      ORDER BY first_position LIMIT ?";
        let query = sqlx::query(select).bind(signed(self.at)).bind(signed(self.end));
        let query = query.bind(self.window.first).bind(self.window.last).bind(EPOCHS);
        let found = match damage(query.fetch_all(&mut *connection).await)? {
            Ok(found) => found,
            Err(why) => {
                // The table has a page or two; without it nobody knows where blocks begin.
                let first = log_begin(connection).await?.unwrap_or(self.end);
                if first <= self.at {
                    return Ok(None);
                }
                heads.push(Head { place: Place::Damage(why), stretch: self.at..first, bytes: 0, span: None });
                return Ok(Some(first));
            }
        };
        let mut stretches = Vec::with_capacity(found.len());
        for row in &found {
            stretches.push(unsigned(row.try_get(0)?)..unsigned(row.try_get(1)?));
        }
        let (Some(first), Some(last)) = (stretches.first(), stretches.last()) else { return Ok(None) };
        if let Some(rows) = locate::blocks(connection, &stretches, &self.ids).await? {
            for row in &rows {
                if let Some(stretch) = stretch_of(&stretches, unsigned(row.try_get(0)?)) {
                    heads.extend(self.block_head(row, stretch)?);
                }
            }
            return Ok(Some(last.end));
        }
        let mut from = first.start;
        while from < last.end {
            let read = self.block_heads(connection, from..last.end).await?;
            for row in &read.rows {
                let position = unsigned(row.try_get(0)?);
                if let Some(stretch) = stretch_of(&stretches, position) {
                    heads.extend(self.block_head(row, stretch)?);
                }
            }
            let Some(hole) = read.hole else { break };
            for stretch in stretches.iter().filter(|stretch| stretch.start < hole.end && stretch.end > hole.start) {
                heads.push(Head {
                    place: Place::Damage(hole.why.clone()),
                    stretch: stretch.clone(),
                    bytes: 0,
                    span: None,
                });
            }
            from = hole.end;
        }
        Ok(Some(last.end))
    }

    async fn block_heads(&self, connection: &mut SqliteConnection, within: Range<u64>) -> Result<Heads, sqlx::Error> {
        // The stream's number is no outside input.
        let select = format!(
            "SELECT first_position, row_count, stream_id, first_seq, body_id, seqs FROM block \
             WHERE first_position >= ? AND first_position < ? AND stream_id IN ({}) ORDER BY first_position LIMIT ?",
            self.streams
        );
        let any = "SELECT first_position FROM block WHERE first_position >= ? ORDER BY first_position LIMIT 1";
        damaged::heads(connection, select, any, within, i64::MAX).await
    }

    /// Finds out how long the bodies of the first blocks are; the rest is for a later step.
    async fn weigh(&mut self, connection: &mut SqliteConnection, heads: &mut [Head]) -> Result<(), sqlx::Error> {
        let body = |head: &Head| match head.place {
            Place::Block { body, .. } => Some(body),
            _ => None,
        };
        let ids: Vec<i64> = heads.iter().take(BLOCKS).filter_map(body).collect();
        let lengths = damaged::lengths(connection, &ids).await?;
        for (at, head) in heads.iter_mut().enumerate() {
            if let Some(id) = body(head) {
                head.bytes = if at < BLOCKS { lengths.get(&id).copied().unwrap_or(0) } else { BYTES };
            }
        }
        Ok(())
    }

    fn block_head(&self, row: &SqliteRow, stretch: Range<u64>) -> Result<Option<Head>, sqlx::Error> {
        let (rows, first) = (unsigned(row.try_get(1)?), unsigned(row.try_get(3)?));
        let Ok(stream) = u32::try_from(row.try_get::<i64, _>(2)?) else { return Ok(None) };
        let seqs: Option<Vec<u8>> = row.try_get(5)?;
        let last = match &seqs {
            Some(seqs) => numbering::decode(seqs, length(rows)).and_then(|seqs| seqs.last().copied()),
            None => Some(first.saturating_add(rows).saturating_sub(1)),
        };
        let span = last.map(|last| Span { first, last });
        let body = row.try_get(4)?;
        let place = Place::Block { body, rows, first, stream: StreamId(stream), seqs: seqs.map(Bytes::from) };
        Ok(Some(Head { place, stretch, bytes: 0, span }))
    }

    /// The heads of the next records that hold rows of the group, and the position behind all that were looked at.
    async fn records(&self, connection: &mut SqliteConnection, heads: &mut Vec<Head>) -> Result<u64, sqlx::Error> {
        let select = "SELECT first_position, row_count, time_min, time_max, summary, length(body) FROM log \
                      WHERE first_position >= ? AND first_position < ? ORDER BY first_position LIMIT ?";
        let any = "SELECT first_position FROM log WHERE first_position >= ? ORDER BY first_position LIMIT 1";
        let read = damaged::heads(connection, select.to_owned(), any, self.at..self.end, RECORDS).await?;
        let mut reached = None;
        for row in &read.rows {
            let first = unsigned(row.try_get(0)?);
            let end = first.saturating_add(unsigned(row.try_get(1)?));
            reached = Some(end);
            let (earliest, latest): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
            if latest < self.window.first || earliest > self.window.last {
                continue;
            }
            let span = match Summary::decode(row.try_get(4)?, first) {
                Some(summary) => match self.span(&summary) {
                    Some(span) => Some(span),
                    None => continue,
                },
                None => None,
            };
            let (place, bytes) = (Place::Record { position: signed(first) }, unsigned(row.try_get(5)?));
            heads.push(Head { place, stretch: first..end, bytes, span });
        }
        if let Some(hole) = read.hole {
            heads.push(Head { place: Place::Damage(hole.why), stretch: hole.start..hole.end, bytes: 0, span: None });
            return Ok(hole.end);
        }
        let is_all = count(read.rows.len()) < RECORDS.unsigned_abs();
        Ok(reached.filter(|_| !is_all).unwrap_or(self.end))
    }

    /// The numbers of the group's rows in a record.
    fn span(&self, summary: &Summary) -> Option<Span> {
        let spans = self.ids.iter().filter_map(|id| summary.streams.get(id).copied());
        spans.reduce(|a, b| Span { first: a.first.min(b.first), last: a.last.max(b.last) })
    }

    /// Reads what the heads are of.
    async fn read(&mut self, snapshot: &mut Snapshot, heads: Vec<Head>) -> Result<Vec<Unit>, sqlx::Error> {
        let (first, last) = (heads.iter().map(|head| head.stretch.start), heads.iter().map(|head| head.stretch.end));
        let starts = match first.min().zip(last.max()) {
            Some((first, end)) => snapshot.starts(ranges::Range::new(first, end)).await?,
            None => return Ok(Vec::new()),
        };
        let place = |head: &Head| match head.place {
            Place::Record { position } => Some(position),
            Place::Block { body, .. } => Some(body),
            Place::Damage(_) => None,
        };
        let of_blocks = heads.iter().any(|head| matches!(head.place, Place::Block { .. }));
        let is_lost = |place| of_blocks && place == LOST;
        let vanished = |place| Err(if is_lost(place) { "it was damaged" } else { "it has vanished" }.to_owned());
        let table = if of_blocks { damaged::BODIES } else { damaged::RECORDS };
        let places: Vec<i64> = heads.iter().filter_map(place).collect();
        let mut bytes = damaged::bytes(snapshot.connection(), &table, &places).await?;
        let mut units = Vec::with_capacity(heads.len());
        for head in heads {
            let after_jump = !self.window.is_everything() && self.given.is_some_and(|given| given < head.stretch.start);
            self.given = Some(head.stretch.end.max(self.given.unwrap_or(0)));
            let read = place(&head).map(|place| bytes.remove(&place).unwrap_or_else(|| vanished(place)));
            let found = match (head.place, read) {
                (Place::Record { .. }, Some(Ok(bytes))) => Found::Record(bytes),
                (Place::Block { rows, first, stream, seqs, .. }, Some(Ok(bytes))) => {
                    Found::Block { stream, rows, first, seqs, bytes }
                }
                (Place::Damage(why), _) | (_, Some(Err(why))) => Found::Unreadable(why),
                (_, None) => continue,
            };
            units.push(Unit { span: head.span, after_jump, boot: starts.boot_at(head.stretch.start), found });
        }
        Ok(units)
    }
}

/// The stretch that holds a position; none when its epoch is outside the window.
fn stretch_of(stretches: &[Range<u64>], position: u64) -> Option<Range<u64>> {
    let after = stretches.partition_point(|stretch| stretch.start <= position);
    stretches.get(after.checked_sub(1)?).filter(|stretch| stretch.contains(&position)).cloned()
}

/// Where the rows in the window begin, and where the log ends. What cannot be read does not keep anybody from reading the
/// rest.
async fn bounds(snapshot: &mut Snapshot, window: Window) -> Result<(u64, u64), sqlx::Error> {
    let has_blocks = snapshot.has_blocks();
    let connection = snapshot.connection();
    let (mut begin, mut end) = (log_begin(connection).await?, None);
    if has_blocks {
        let select = "SELECT min(first_position), (SELECT max(end_position) FROM epoch) FROM epoch \
                      WHERE time_max >= ? AND time_min <= ?";
        let query = sqlx::query(select).bind(window.first).bind(window.last);
        match damage(query.fetch_one(&mut *connection).await)? {
            Ok(row) => {
                begin = row.try_get::<Option<i64>, _>(0)?.map(unsigned).or(begin);
                end = row.try_get::<Option<i64>, _>(1)?.map(unsigned);
            }
            Err(_) => begin = Some(0),
        }
    }
    let select = "SELECT first_position, row_count FROM log ORDER BY first_position DESC LIMIT 1";
    match damage(sqlx::query(select).fetch_optional(&mut *connection).await)? {
        Ok(Some(row)) => end = Some(unsigned(row.try_get(0)?).saturating_add(unsigned(row.try_get(1)?))),
        Ok(None) => {}
        // Nobody knows where it ends: until nothing more is found.
        Err(_) => end = Some(unsigned(i64::MAX)),
    }
    let end = end.unwrap_or(0);
    Ok((begin.unwrap_or(end).min(end), end))
}

/// Where the first record begins, if there is one that can be read.
async fn log_begin(connection: &mut SqliteConnection) -> Result<Option<u64>, sqlx::Error> {
    let select = "SELECT first_position FROM log ORDER BY first_position LIMIT 1";
    match damage(sqlx::query(select).fetch_optional(connection).await)? {
        Ok(Some(row)) => row.try_get(0).map(|first| Some(unsigned(first))),
        Ok(None) => Ok(None),
        Err(_) => Ok(Some(0)),
    }
}
