//! What the writer does for handles and cursors between two commits.

use std::{collections::BTreeMap, sync::Arc};

use sqlx::{Connection, Row, SqliteConnection};
use tidegate_config::StartAt;
use tidegate_model::{Name, Stream, StreamId, Timestamp};

use crate::{
    GapReason, StoreError, Ticket,
    books::{Books, end},
    database::failed,
    epochs,
    gaps::{self, Gap},
    numbers::{signed, unsigned},
    ranges::{Acknowledged, Range},
    shared::{Command, Unreadable},
    streams::Wanted,
    summary::{Span, Summary, widen},
    target::Target,
    writer::Writer,
};

/// Records looked at on either side of damage to find out what is missing.
const NEIGHBOURS: i64 = 1024;

impl Writer {
    /// Does what is asked and answers. That nobody waits for the answer any more is no error.
    pub(crate) async fn obey(&mut self, command: Command) {
        match command {
            Command::Stream(wanted) => self.give_stream(*wanted).await,
            Command::Cursor { target, start, reply } => {
                if let Err(Ok(target)) = reply.send(self.open_target(&target, start).await) {
                    target.place().open = false;
                }
                self.arm();
            }
            Command::Gaps { target, reply } => {
                if reply.send(self.next_gaps(&target).await).is_err() {
                    target.place().take_back_gaps();
                }
            }
            Command::Plan { reply } => {
                let _ = reply.send(self.plan());
            }
            Command::Bodies { ids, bodies, reply } => {
                let _ = reply.send(self.write_bodies(ids, bodies).await);
            }
            Command::Change { change, reply } => {
                let _ = reply.send(self.change(change).await);
            }
            Command::GiveUp { reply } => {
                self.give_up();
                let _ = reply.send(());
            }
            Command::PassUnreadable { position, reply } => {
                self.pass_unreadable(position).await;
                let _ = reply.send(());
            }
            Command::Move { from, to, reply } => {
                let _ = reply.send(self.move_target(&from, &to).await);
            }
            Command::Commit { reply } => {
                // While nothing can be written, it is tried again at its own times.
                if !self.is_failing() && self.shared.pending.waiting().any {
                    self.commit(false).await;
                }
                let _ = reply.send(());
            }
            Command::Finish { reply } => {
                let _ = reply.send(());
            }
            Command::Damaged { target, generation, place, reply } => {
                if target.place().generation == generation {
                    self.pass_damage(&target, place).await;
                }
                let _ = reply.send(());
            }
            Command::Close { reply } => {
                let _ = reply.send(());
            }
        }
    }

    async fn give_stream(&mut self, wanted: Wanted) {
        let Wanted { device, group, columns, reply } = wanted;
        let answer = self.stream(&device, &group, &columns).await;
        let _ = reply.send(answer);
        self.arm();
    }

    async fn stream(
        &mut self,
        device: &Name,
        group: &Name,
        columns: &Arc<[tidegate_model::Column]>,
    ) -> Result<(Arc<Stream>, u64), StoreError> {
        let connection = self.database.as_mut().map(|database| &mut database.connection);
        let stream = self.books.streams.find(connection, device, group, columns).await?;
        if let Some(salt) = self.books.streams.tell_apart(self.books.store, &stream) {
            self.shared.wire.salted(stream.id(), salt);
        }
        let id = stream.id();
        let stream = Arc::clone(self.shared.streams().entry(id).or_insert_with(|| Arc::new(stream)));
        if let Some(last) = self.books.streams.unannounced(id) {
            let gap = Gap { stream: id, span: Span { first: 1, last }, reason: GapReason::Damaged };
            let targets: Vec<Arc<Target>> = self.books.targets.values().cloned().collect();
            let gaps: Vec<_> = targets.into_iter().map(|target| (target, gap)).collect();
            self.add_gaps(&gaps).await.map_err(failed("note a gap"))?;
            self.books.streams.announced(id);
        }
        let last_seq = self.books.streams.series_of(id).map_or(0, |series| series.last_seq);
        let same = |stream: &Stream| stream.device() == device && stream.group() == group;
        let pending = self.shared.pending.last_seq(same).unwrap_or(0);
        Ok((stream, last_seq.max(pending)))
    }

    /// Adds gaps before whatever the targets are given next.
    async fn add_gaps(&mut self, gaps: &[(Arc<Target>, Gap)]) -> Result<(), sqlx::Error> {
        let Some(database) = &mut self.database else {
            return Err(sqlx::Error::Protocol("it cannot be reached at the moment".to_owned()));
        };
        let mut transaction = database.connection.begin_with("BEGIN IMMEDIATE").await?;
        // A gap is never there without its stream.
        self.books.streams.save_new(&mut transaction).await?;
        for (target, gap) in gaps {
            let position = target.place().next();
            self.books.gaps.add(&mut transaction, target, position, *gap).await?;
        }
        transaction.commit().await?;
        self.books.streams.saved_new();
        for (target, _) in gaps {
            gaps::refresh(&mut database.connection, target).await?;
            target.tell();
        }
        Ok(())
    }

    async fn open_target(&mut self, name: &Name, start: StartAt) -> Result<Arc<Target>, StoreError> {
        let known = self.books.targets.get(name).cloned();
        let target = match known {
            Some(target) if target.place().open => return Err(StoreError::CursorTaken { target: name.clone() }),
            Some(target) => target,
            None => self.new_target(name, start).await.map_err(failed("begin a cursor"))?,
        };
        let since = self.time_at(target.base()).await;
        let commits = self.shared.tail().commits();
        {
            let mut place = target.place();
            place.open = true;
            place.read_at_commit = commits;
            place.since = since;
        }
        Ok(target)
    }

    async fn new_target(&mut self, name: &Name, start: StartAt) -> Result<Arc<Target>, sqlx::Error> {
        let base = match start {
            StartAt::Now => self.books.end,
            StartAt::Oldest => self.books.first,
        };
        let mut done = Acknowledged::before(base);
        for epoch in self.books.epochs.values() {
            // Where rows have been thinned there are none.
            done.insert(Range::new(epoch.range.first.saturating_add(epoch.rows), epoch.range.end));
        }
        let target = Arc::new(Target::new(name.clone(), done, false));
        if self.books.targets_lost > 0 {
            // It may be one of those whose places have been lost to damage.
            let last = self.books.targets_lost;
            let lost: Vec<StreamId> = self.books.streams.series().iter().map(|series| series.newest).collect();
            let gap = |stream| Gap { stream, span: Span { first: 1, last }, reason: GapReason::Damaged };
            let gaps: Vec<_> = lost.into_iter().map(|stream| (Arc::clone(&target), gap(stream))).collect();
            self.add_gaps(&gaps).await?;
        }
        self.books.targets.insert(name.clone(), Arc::clone(&target));
        self.shared.targets().insert(name.clone(), Arc::clone(&target));
        Ok(target)
    }

    /// Gives the place of a target to another name. False when there is nothing to move.
    async fn move_target(&mut self, from: &Name, to: &Name) -> Result<bool, StoreError> {
        let Some(old) = self.books.targets.get(from).cloned() else { return Ok(false) };
        if self.books.targets.contains_key(to) {
            return Ok(false);
        }
        if old.place().open {
            return Err(StoreError::CursorTaken { target: from.clone() });
        }
        let doing = || failed("move a cursor to another name");
        let Some(database) = &mut self.database else {
            return Err(doing()(sqlx::Error::Protocol("it cannot be reached at the moment".to_owned())));
        };
        self.books.gaps.forget();
        rename(&mut database.connection, from, to).await.map_err(doing())?;
        let target = Arc::new(old.renamed(to.clone()));
        gaps::refresh(&mut database.connection, &target).await.map_err(doing())?;
        let mut known = self.shared.targets();
        for targets in [&mut self.books.targets, &mut *known] {
            targets.remove(from);
            targets.insert(to.clone(), Arc::clone(&target));
        }
        drop(known);
        tracing::info!(from = %from, to = %to, "what waits for a target waits under its new name now");
        Ok(true)
    }

    /// Time of the row at this position, or a little before.
    async fn time_at(&mut self, position: u64) -> Option<Timestamp> {
        if position >= self.books.end {
            return None;
        }
        // Blocks do not say their times without being unpacked; an epoch says when its first row was.
        let epoch = self.books.epochs.range(..=position).next_back().filter(|(_, epoch)| position < epoch.range.end);
        if let Some((_, epoch)) = epoch {
            return Some(epoch.time_min);
        }
        let select = "SELECT time_min FROM log WHERE first_position <= ? ORDER BY first_position DESC LIMIT 1";
        let query = sqlx::query(select).bind(signed(position));
        let row = query.fetch_optional(&mut self.database.as_mut()?.connection).await.ok()??;
        row.try_get("time_min").ok().map(Timestamp::from_millis)
    }

    async fn next_gaps(&mut self, target: &Arc<Target>) -> Result<Vec<(Ticket, Gap)>, StoreError> {
        let Some(database) = &mut self.database else {
            let source = sqlx::Error::Protocol("it cannot be reached at the moment".to_owned());
            return Err(failed("read gaps")(source));
        };
        let found = gaps::next(&mut database.connection, target).await.map_err(failed("read gaps"))?;
        let given = {
            let mut place = target.place();
            let mut given = Vec::with_capacity(found.len());
            for (key, gap) in found {
                if place.gaps_done.contains(&key.id) {
                    place.last_gap = Some(key);
                } else {
                    given.push((place.give_gap(key), gap));
                }
            }
            given
        };
        match gaps::refresh(&mut database.connection, target).await {
            Ok(()) => Ok(given),
            Err(error) => {
                target.place().take_back_gaps();
                Err(failed("read gaps")(error))
            }
        }
    }

    /// Tells a target of rows that cannot be read, and lets it go on behind them.
    async fn pass_damage(&mut self, target: &Arc<Target>, place: Unreadable) {
        let Some(database) = &mut self.database else { return };
        if target.place().done.next_missing(place.position) != place.position {
            return;
        }
        let connection = &mut database.connection;
        let behind = match place.range {
            Some(range) => range.end,
            None => next_readable(connection, place.position, self.books.end).await,
        };
        let spans = match place.range {
            Some(range) => match known(connection, range).await {
                Some(known) => known,
                None => between(connection, &self.books, place.position, behind).await,
            },
            None => between(connection, &self.books, place.position, behind).await,
        };
        let rows: u64 = spans.values().map(|span| span.rows()).sum();
        tracing::error!(
            for_target = %target.name, position = place.position, rows, why = %place.why,
            "a part of the database cannot be read; its rows are announced to the target as gaps and the rest is \
             served; check the disk"
        );
        let gap = |(stream, span)| (Arc::clone(target), Gap { stream, span, reason: GapReason::Damaged });
        let gaps: Vec<_> = spans.into_iter().map(gap).collect();
        if let Err(error) = self.add_gaps(&gaps).await {
            self.books.gaps.forget();
            // The target comes here again and is told then.
            tracing::warn!(%error, "a gap could not be noted");
            return;
        }
        self.shared.numbers().dropped.damaged += rows;
        target.place().pass(Range::new(place.position, behind));
        target.tell();
        self.arm();
    }
}

/// Gives everything of a target to another name, in one transaction.
async fn rename(connection: &mut SqliteConnection, from: &Name, to: &Name) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for update in [
        "UPDATE cursor SET target = ? WHERE target = ?",
        "UPDATE acknowledged SET target = ? WHERE target = ?",
        "UPDATE gap SET target = ? WHERE target = ?",
    ] {
        sqlx::query(update).bind(to.as_str()).bind(from.as_str()).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// What a record or a block holds, as far as it can be told without its rows.
async fn known(connection: &mut SqliteConnection, range: Range) -> Option<BTreeMap<StreamId, Span>> {
    let first = Range::new(range.first, range.first.saturating_add(1));
    let block = epochs::blocks(connection, first).await.ok()?.into_iter().find(|block| block.range == range);
    if let Some(block) = block {
        return block.span().map(|span| [(block.stream, span)].into());
    }
    let query = sqlx::query("SELECT summary FROM log WHERE first_position = ?").bind(signed(range.first));
    let row = query.fetch_one(connection).await.ok()?;
    Summary::decode(row.try_get("summary").ok()?, range.first).map(|summary| summary.streams)
}

/// The first record after `position` from which on the log can be read; damage is taken to be in one piece.
pub(crate) async fn next_readable(connection: &mut SqliteConnection, position: u64, log_end: u64) -> u64 {
    let mut step = 1_u64;
    let mut found = None;
    while found.is_none() && position.saturating_add(step) < log_end {
        found = readable_from(connection, position + step).await;
        step = step.saturating_mul(2);
    }
    let Some(mut found) = found else { return log_end };
    // Somewhere between the last that could not be read and this one.
    let mut unreadable = position + step / 4;
    while unreadable + 1 < found {
        let middle = unreadable + (found - unreadable) / 2;
        match readable_from(connection, middle).await {
            Some(first) if first < found => found = first,
            Some(_) => break,
            None => unreadable = middle,
        }
    }
    found
}

/// The first block or record from this position on, if it can be read.
async fn readable_from(connection: &mut SqliteConnection, position: u64) -> Option<u64> {
    let select = "SELECT first_position FROM block WHERE first_position >= ? ORDER BY first_position LIMIT 1";
    let block = sqlx::query(select).bind(signed(position)).fetch_optional(&mut *connection).await.ok()?;
    if let Some(block) = block {
        return block.try_get("first_position").ok().map(unsigned).filter(|first| *first >= position);
    }
    let select = "SELECT first_position, summary FROM log WHERE first_position >= ? ORDER BY first_position LIMIT 1";
    let row = sqlx::query(select).bind(signed(position)).fetch_optional(connection).await.ok()??;
    let first = row.try_get("first_position").ok().map(unsigned).filter(|first| *first >= position)?;
    Summary::decode(row.try_get("summary").ok()?, first).map(|_| first)
}

/// Which rows are missing between two positions, told from the records and blocks on both sides. A stream of which they say
/// nothing is taken to have lost everything up to its last number: rather too much is announced than too little.
async fn between(
    connection: &mut SqliteConnection,
    books: &Books,
    position: u64,
    behind: u64,
) -> BTreeMap<StreamId, Span> {
    let mut before = neighbours(
        connection,
        "SELECT first_position, row_count, summary FROM log WHERE first_position < ? \
         ORDER BY first_position DESC LIMIT ?",
        position,
    )
    .await;
    let mut after = neighbours(
        connection,
        "SELECT first_position, row_count, summary FROM log WHERE first_position >= ? \
         ORDER BY first_position LIMIT ?",
        behind,
    )
    .await;
    let previous = books.epochs.range(..position).rev().find(|(_, epoch)| epoch.range.end <= position);
    let next = books.epochs.range(behind..).next();
    let near =
        Range::new(previous.map_or(position, |(first, _)| *first), next.map_or(behind, |(_, epoch)| epoch.range.end));
    for epoch in books.epochs.range(near.first..near.end.max(near.first)).map(|(_, epoch)| epoch) {
        for block in epochs::blocks(connection, epoch.range).await.unwrap_or_default() {
            let Some(span) = block.span() else { continue };
            if block.range.end <= position {
                widen(&mut before, block.stream, span);
            } else if block.range.first >= behind {
                widen(&mut after, block.stream, span);
            }
        }
    }
    let mut missing = BTreeMap::new();
    for series in books.streams.series() {
        let is_of = |id: &StreamId| books.streams.series_of(*id).is_some_and(|of| std::ptr::eq(of, series));
        let last_before = before.iter().filter(|(id, _)| is_of(id)).map(|(_, span)| span.last).max();
        let first_after = after.iter().filter(|(id, _)| is_of(id)).map(|(_, span)| span.first).min();
        let first = last_before.map_or(1, |last| last.saturating_add(1));
        let last = first_after.map_or(series.written, |first| first.saturating_sub(1));
        if first <= last {
            missing.insert(series.newest, Span { first, last });
        }
    }
    missing
}

/// What the records on one side of damage hold, as far as they can be read.
async fn neighbours(connection: &mut SqliteConnection, select: &'static str, from: u64) -> BTreeMap<StreamId, Span> {
    use futures_util::TryStreamExt;

    let mut spans = BTreeMap::new();
    let mut rows = sqlx::query(select).bind(signed(from)).bind(NEIGHBOURS).fetch(connection);
    while let Ok(Some(row)) = rows.try_next().await {
        let first = row.try_get("first_position").map_or(0, unsigned);
        // A record that reaches into the damage is the damage.
        if first < from && end(&row).is_ok_and(|end| end > from) {
            continue;
        }
        let summary = row.try_get("summary").ok().and_then(|bytes| Summary::decode(bytes, first));
        for (stream, span) in summary.iter().flat_map(|summary| &summary.streams) {
            widen(&mut spans, *stream, *span);
        }
    }
    spans
}
