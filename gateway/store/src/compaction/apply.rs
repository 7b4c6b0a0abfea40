//! What the writer does for compaction, between two commits.

use std::sync::{Arc, atomic::Ordering};

use sqlx::{Connection, QueryBuilder, Sqlite, SqliteConnection};
use tidegate_model::StreamId;

use super::{Applied, Begin, Body, Change, Plan, limits, sweep};
use crate::{
    GapReason,
    books::save_fact,
    commit::{Failure, Progress},
    database::{Trouble, trouble},
    epochs::{self, BlockHead},
    gaps::{self, Gap},
    missing::Missing,
    numbers::signed,
    ranges::{Acknowledged, Range},
    requests::next_readable,
    retention::Full,
    summary::Span,
    target::Target,
    writer::Writer,
};

/// Blocks written with one statement.
const BLOCKS: usize = 64;

impl Writer {
    /// What compaction is to do next.
    pub(crate) fn plan(&mut self) -> Plan {
        // Whatever was prepared before has come to its end.
        self.preparing = None;
        if self.is_failing() {
            return Plan::Rest;
        }
        let fresh_bytes = self.books.fresh_bytes;
        let begin = |first| Begin { body: self.books.next_body, boot: self.books.starts.boot_at(first) };
        let largest = self.retention.largest();
        if !largest.is_much(fresh_bytes) {
            let thin = self.retention.full() == Full::Thin;
            let epoch = self.books.epochs.values().find(|epoch| thin && epoch.level < limits::THINNED);
            if let Some(epoch) = epoch.copied() {
                return Plan::Thin { epoch, begin: begin(epoch.range.first) };
            }
            let epochs = largest.choose(self.books.epochs.values(), &self.books.starts);
            if let Some((first, last)) = epochs.first().zip(epochs.last())
                && !self.flies_in(Range::new(first.range.first, last.range.end))
            {
                let begin = begin(first.range.first);
                return Plan::Join { epochs, begin };
            }
        }
        match self.fresh_end() {
            Some(end) => {
                let range = Range::new(self.books.frontier, end);
                Plan::Fresh { range, limits: largest.fresh(), begin: begin(range.first) }
            }
            None => Plan::Rest,
        }
    }

    /// Has compaction leave out its pauses while it falls behind.
    pub(crate) fn look_whether_behind(&self) {
        let is_behind = self.retention.largest().is_behind(self.books.fresh_bytes, self.books.fresh_span());
        self.shared.hurry.store(is_behind, Ordering::Relaxed);
    }

    /// Up to where fresh records are to become blocks, if they are worth it.
    fn fresh_end(&self) -> Option<u64> {
        let books = &self.books;
        if !self.retention.largest().is_ripe(books.fresh_bytes, books.fresh_span()) {
            return None;
        }
        // Up to the last start of the gateway, when there is something from before it.
        let until = books.starts.end_of(books.frontier).unwrap_or(u64::MAX);
        let all = Range::new(books.frontier, books.last_record.min(until));
        let in_flight = books.targets.values().filter_map(|target| target.place().first_in_flight(all)).min();
        let end = in_flight.unwrap_or(all.end);
        // A little now and a little later would make many small epochs.
        (end > all.first && Range::new(all.first, end).len() >= all.len() / 4).then_some(end)
    }

    fn flies_in(&self, range: Range) -> bool {
        self.books.targets.values().any(|target| target.place().flies_in(range))
    }

    /// Writes bodies of blocks that nothing refers to yet. False when that fails.
    pub(crate) async fn write_bodies(&mut self, ids: Range, bodies: Vec<Body>) -> bool {
        self.books.next_body = self.books.next_body.max(ids.end);
        let claimed = self.preparing == Some(ids);
        if self.is_failing() {
            return false;
        }
        let Some(database) = self.database.as_mut() else { return false };
        match sweep::write(&mut database.connection, ids, &bodies, !claimed).await {
            Ok(()) => {
                self.preparing = Some(ids);
                self.books.loose = true;
                self.wrote(bodies.iter().map(|body| body.bytes.len()).sum());
                true
            }
            Err(error) => {
                self.failed(error.into()).await;
                false
            }
        }
    }

    /// What was prepared will not be used.
    pub(crate) fn give_up(&mut self) {
        self.preparing = None;
    }

    /// Puts new blocks into the place of what they were made of.
    pub(crate) async fn change(&mut self, change: Box<Change>) -> Applied {
        if self.is_failing() || !self.fits(&change) {
            self.preparing = None;
            return Applied::Failed;
        }
        let range = change.epoch.range;
        let targets: Vec<Arc<Target>> = self.books.targets.values().cloned().collect();
        if !targets.iter().all(|target| target.place().hold(range)) {
            targets.iter().for_each(|target| target.place().let_go());
            return Applied::InFlight(change);
        }
        self.books.next_body = self.books.next_body.max(change.new_bodies.end);
        let written = self.write_change(&change, &targets).await;
        match written {
            Ok((progress, told)) => {
                self.changed(&change, progress).await;
                self.count_thinned(told);
                Applied::Done
            }
            Err(error) if trouble(&error) == Trouble::Damaged => {
                targets.iter().for_each(|target| target.place().let_go());
                tracing::error!(
                    position = range.first, why = %error,
                    "a part of the database cannot be read; its rows stay where they are; check the disk"
                );
                self.leave(&change);
                Applied::Failed
            }
            Err(error) => {
                // Perhaps it has arrived: that is looked up when the database is opened again.
                self.unsure = Some(change);
                self.failed(error.into()).await;
                Applied::Failed
            }
        }
    }

    /// Whether the change is still about what is there.
    fn fits(&self, change: &Change) -> bool {
        let (range, books) = (change.epoch.range, &self.books);
        if change.was_fresh {
            return books.frontier == range.first && range.end <= books.last_record;
        }
        let last = books.epochs.range(..range.end).next_back();
        books.epochs.contains_key(&range.first) && last.is_some_and(|(_, last)| last.range.end == range.end)
    }

    async fn write_change(
        &mut self,
        change: &Change,
        targets: &[Arc<Target>],
    ) -> Result<(Vec<Progress>, u64), sqlx::Error> {
        let range = change.epoch.range;
        let database = self.database.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let mut transaction = database.connection.begin_with("BEGIN IMMEDIATE").await?;
        if change.was_fresh && self.books.sequence_position < range.end {
            self.books.streams.save_sequence(&mut transaction).await?;
            save_fact(&mut transaction, "sequence_position", self.books.end).await?;
        }
        if change.was_fresh {
            let delete = "DELETE FROM log WHERE first_position >= ? AND first_position < ?";
            sqlx::query(delete).bind(signed(range.first)).bind(signed(range.end)).execute(&mut *transaction).await?;
        } else {
            epochs::remove(&mut transaction, range).await?;
        }
        sweep::insert(&mut transaction, &change.bodies).await?;
        sweep::unclaim(&mut transaction, change.new_bodies).await?;
        for old in &change.old_bodies {
            sweep::claim(&mut transaction, *old).await?;
        }
        insert_blocks(&mut transaction, &change.blocks).await?;
        epochs::insert(&mut transaction, &change.epoch).await?;
        let (mut progress, mut told) = (Vec::with_capacity(targets.len()), 0);
        for target in targets {
            let mut of = Progress::of(target);
            let missing = removed(change, of.done_mut());
            told = told.max(missing.rows());
            for (stream, span) in missing.iter() {
                let gap = Gap { stream, span, reason: GapReason::Thinned };
                self.books.gaps.add(&mut transaction, target, range.first, gap).await?;
            }
            let parts = change.acknowledged(of.done_mut());
            of.done_mut().replace(range, &parts);
            of.save(&mut transaction).await?;
            progress.push(of);
        }
        transaction.commit().await?;
        Ok((progress, told))
    }

    /// Notes that a change is on the disk.
    async fn changed(&mut self, change: &Change, progress: Vec<Progress>) {
        let range = change.epoch.range;
        // While the targets still hold the range, so that none finds a row there under the position it had.
        self.shared.tail().pass(range.end);
        for of in progress {
            let target = Arc::clone(of.target());
            {
                let mut place = target.place();
                let parts = change.acknowledged(&place.done);
                place.permuted(range, &parts);
            }
            of.note();
            if !change.removed.is_empty()
                && let Some(database) = &mut self.database
                && let Err(error) = gaps::refresh(&mut database.connection, &target).await
            {
                tracing::warn!(for_target = %target.name, %error, "the gaps of a target could not be counted");
            }
            target.tell();
        }
        self.preparing = None;
        let books = &mut self.books;
        books.loose |= !change.old_bodies.is_empty();
        books.epochs.retain(|first, _| !(range.first..range.end).contains(first));
        books.epochs.insert(range.first, change.epoch);
        if change.was_fresh {
            books.frontier = books.frontier.max(range.end);
            if books.sequence_position < range.end {
                books.streams.saved_sequence();
                books.sequence_position = books.end;
            }
        }
        if let Some(database) = &mut self.database
            && let Err(error) = books.look_up_fresh(&mut database.connection).await
        {
            tracing::debug!(%error, "the fresh records could not be counted");
        }
        self.wrote(change.bodies.iter().map(|body| body.bytes.len()).sum());
        self.measure().await;
        self.count_epochs();
        self.look_whether_behind();
        self.arm();
    }

    /// Has a stretch that cannot be changed left as it is.
    fn leave(&mut self, change: &Change) {
        let range = change.epoch.range;
        self.preparing = None;
        self.books.gaps.forget();
        if change.was_fresh {
            self.books.frontier = range.end;
        }
        for (_, epoch) in self.books.epochs.range_mut(range.first..range.end) {
            // As if nothing could be gained.
            (epoch.short_blocks, epoch.level) = (0, limits::THINNED);
        }
    }

    /// Fresh records at this position cannot be moved: goes on behind them.
    pub(crate) async fn pass_unreadable(&mut self, position: u64) {
        let Some(database) = &mut self.database else { return };
        if self.books.frontier == position {
            let end = next_readable(&mut database.connection, position, self.books.end).await;
            self.books.frontier = end.min(self.books.last_record);
            if let Err(error) = self.books.look_up_fresh(&mut database.connection).await {
                tracing::debug!(%error, "the fresh records could not be counted");
            }
        }
    }

    /// Finds out what has become of a change whose end is not known, once the database is open again.
    pub(crate) async fn make_sure(&mut self) -> Result<(), Failure> {
        let Some(change) = self.unsure.take() else { return Ok(()) };
        let Some(database) = &mut self.database else { return Ok(()) };
        let epochs = epochs::load(&mut database.connection).await?;
        let targets: Vec<Arc<Target>> = self.books.targets.values().cloned().collect();
        if epochs.get(&change.epoch.range.first) == Some(&change.epoch) {
            self.books.gaps = gaps::Gaps::load(&mut database.connection).await?;
            let progress = targets.iter().map(|target| {
                let mut of = Progress::of(target);
                let parts = change.acknowledged(of.done_mut());
                of.done_mut().replace(change.epoch.range, &parts);
                of
            });
            let progress = progress.collect();
            self.changed(&change, progress).await;
        } else {
            targets.iter().for_each(|target| target.place().let_go());
        }
        Ok(())
    }
}

/// The rows taken out that a target has not acknowledged.
fn removed(change: &Change, done: &Acknowledged) -> Missing {
    let mut missing = Missing::default();
    for removed in &change.removed {
        for part in done.missing_in(removed.old) {
            let first = removed.first_seq + (part.first - removed.old.first);
            missing.add(removed.stream, Span { first, last: first + part.len() - 1 });
        }
    }
    missing
}

async fn insert_blocks(connection: &mut SqliteConnection, blocks: &[BlockHead]) -> Result<(), sqlx::Error> {
    for some in blocks.chunks(BLOCKS) {
        let insert = "INSERT INTO block (first_position, row_count, stream_id, first_seq, body_id, seqs) ";
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(insert);
        query.push_values(some, |mut row, block| {
            let StreamId(stream) = block.stream;
            row.push_bind(signed(block.range.first)).push_bind(signed(block.range.len()));
            row.push_bind(i64::from(stream)).push_bind(signed(block.first_seq));
            row.push_bind(signed(block.body)).push_bind(block.seqs.clone());
        });
        query.build().persistent(some.len() == BLOCKS).execute(&mut *connection).await?;
    }
    Ok(())
}
