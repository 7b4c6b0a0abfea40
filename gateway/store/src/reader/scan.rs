//! The rows of a device, group by group, for an export.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use tidegate_codec::block::{Batch, Decoder, StoreId};
use tidegate_model::{Name, Stream, StreamId};

use super::{
    Access, Progress, Query, catalog,
    decode::{self, Group, Run},
    walk::{Span, Unit, Walk, Window},
};
use crate::{StoreError, numbers::count, silence};

/// Rows and bytes that small batches are joined up to.
const ROWS: usize = 4_096;
const BYTES: usize = 1 << 20;

/// Some of what a scan gives.
#[derive(Debug)]
pub enum Part {
    /// Consecutive rows of one stream, with all of its columns, numbered in one start of the gateway.
    Rows {
        /// Whose rows they are.
        stream: Arc<Stream>,
        /// The start in which the rows were numbered ([`Store::boot`](crate::Store::boot)); 0 when it is not known.
        boot: u64,
        /// The rows.
        batch: Batch,
    },
    /// Rows that are not there, before those that follow.
    Missing(Missing),
}

/// Rows of a group that are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The device.
    pub device: Name,
    /// Its group.
    pub group: Name,
    /// Number of the first that is missing; `None` when it is not known, because nothing before it was read.
    pub first: Option<u64>,
    /// Number of the last that is missing; `None` when it is not known, because nothing after it could be read.
    pub last: Option<u64>,
    /// Why.
    pub why: Why,
}

/// Why rows are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// What holds them cannot be read, for this reason.
    Damaged(String),
    /// They have been left out on purpose: they found no room, or were thinned, or were dropped while the scan was on its way.
    Dropped,
}

/// The rows of a device, one group after the other, each in the order of its numbers.
#[derive(Debug)]
pub struct Scan {
    access: Access,
    store: Option<StoreId>,
    window: Window,
    /// Whether what lines need comes, too.
    lines: bool,
    /// The groups that have not been begun.
    groups: VecDeque<Vec<Arc<Stream>>>,
    streams: Vec<Arc<Stream>>,
    current: Option<Current>,
    progress: Progress,
    /// What the groups before the current one count for.
    passed: u64,
}

/// The group that is being read.
#[derive(Debug)]
struct Current {
    device: Name,
    group: Name,
    streams: Arc<Group>,
    /// Those of them of which all rows that are read come, whatever their times: lines are drawn there.
    drawn: BTreeSet<StreamId>,
    walk: Walk,
    units: VecDeque<Unit>,
    parts: VecDeque<Part>,
    /// Number of the last row that has been read or is known to be missing.
    done: Option<u64>,
    /// What could not be read since, of which the numbers are not known.
    damage: Option<String>,
    has_ended: bool,
}

impl Scan {
    pub(super) async fn begin(access: Access, query: &Query) -> Result<Scan, StoreError> {
        let window = Window::new(query.from, query.to);
        let store = catalog::store(&access).await?;
        let groups: VecDeque<Vec<Arc<Stream>>> = catalog::matching(&access, query).await?.into();
        let streams = groups.iter().flatten().cloned().collect();
        let (current, progress, passed) = (None, Progress::default(), 0);
        let mut scan = Scan { access, store, window, lines: query.lines, groups, streams, current, progress, passed };
        scan.next_group().await?;
        Ok(scan)
    }

    /// The streams that rows can come of, by group; none when nothing of the query has ever been recorded.
    pub fn streams(&self) -> &[Arc<Stream>] {
        &self.streams
    }

    /// The identity of the numbering of the rows, as [`Store::id`](crate::Store::id) gives it; `None` while no gateway that knows
    /// of blocks has written to this database, or where it cannot be read.
    pub fn store(&self) -> Option<StoreId> {
        self.store
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// What comes next; `None` at the end. After an error it can be tried again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`], [`StoreError::Closed`].
    pub async fn next(&mut self) -> Result<Option<Part>, StoreError> {
        while let Some(current) = &mut self.current {
            if let Some(part) = current.next(&self.window).await? {
                let (passed, total) = current.walk.passed();
                let groups = count(self.groups.len() + 1);
                self.progress.passed = self.passed + passed;
                self.progress.total = self.passed + total * groups;
                if let Part::Rows { batch, .. } = &part {
                    self.progress.rows += count(batch.times().iter().filter(|time| self.window.holds(**time)).count());
                }
                return Ok(Some(part));
            }
            self.passed += current.walk.passed().1;
            self.current = None;
            self.next_group().await?;
        }
        self.progress.total = self.passed;
        self.progress.passed = self.passed;
        Ok(None)
    }

    async fn next_group(&mut self) -> Result<(), StoreError> {
        let Some(streams) = self.groups.front() else { return Ok(()) };
        let ids = streams.iter().map(|stream| stream.id()).collect();
        let silences = streams.iter().filter_map(|stream| Some((stream.id(), silence::longest(stream)?)));
        let drawn: BTreeMap<StreamId, i64> = silences.filter(|_| self.lines).collect();
        // A line may begin before what is wanted, and end behind it.
        let window = self.window.widened(drawn.values().copied().max().unwrap_or(0));
        let walk = Walk::begin(self.access.clone(), ids, window).await?;
        let streams = self.groups.pop_front().unwrap_or_default();
        self.current = streams.first().cloned().map(|first| Current {
            device: first.device().clone(),
            group: first.group().clone(),
            streams: Arc::new(streams.into_iter().map(|stream| (stream.id(), stream)).collect::<BTreeMap<_, _>>()),
            drawn: drawn.into_keys().collect(),
            walk,
            units: VecDeque::new(),
            parts: VecDeque::new(),
            done: None,
            damage: None,
            has_ended: false,
        });
        Ok(())
    }
}

impl Current {
    async fn next(&mut self, window: &Window) -> Result<Option<Part>, StoreError> {
        loop {
            // The last may still grow, unless it is long enough or there is nothing more.
            let is_complete = self.parts.len() > 1 || self.has_ended || self.parts.front().is_some_and(is_long);
            if is_complete && let Some(part) = self.parts.pop_front() {
                return Ok(Some(part));
            }
            if self.has_ended {
                return Ok(None);
            }
            if self.units.is_empty() && !self.read_more().await? {
                self.end();
                continue;
            }
            self.decode(window).await?;
        }
    }

    /// False at the end.
    async fn read_more(&mut self) -> Result<bool, StoreError> {
        let Some(units) = self.walk.next(self.done).await? else { return Ok(false) };
        self.units.extend(units);
        Ok(true)
    }

    async fn decode(&mut self, window: &Window) -> Result<(), StoreError> {
        // Rows that were committed together can be in two records, the later numbers first.
        if self.is_hole_ahead() && self.read_more().await? {
            let key = |unit: &Unit| unit.span.map_or(0, |span| span.first);
            self.units.make_contiguous().sort_by_key(key);
        }
        let Some(unit) = self.units.front() else { return Ok(()) };
        let (found, streams, done) = (unit.found.clone(), Arc::clone(&self.streams), self.done);
        // Milliseconds of work that would keep other tasks of this thread waiting.
        let decoding = tokio::task::spawn_blocking(move || decode::runs(&mut Decoder::new(), &found, &streams, done));
        let runs = decoding.await.unwrap_or_else(|error| Err(format!("reading it has failed: {error}")));
        let Some(unit) = self.units.pop_front() else { return Ok(()) };
        let boot = unit.boot;
        match runs {
            Ok(runs) => {
                if unit.after_jump && self.damage.is_none() {
                    self.done = runs.first().and_then(|run| run.batch.first_seq()).map(|first| first.saturating_sub(1));
                }
                for run in runs {
                    self.add(run, boot, window);
                }
            }
            Err(why) => self.is_damaged(unit.span, why),
        }
        Ok(())
    }

    /// Whether the next rows do not follow those before.
    fn is_hole_ahead(&self) -> bool {
        let next = self.units.front().and_then(|unit| unit.span);
        self.units.len() == 1
            && matches!((next, self.done), (Some(next), Some(done)) if next.first > done.saturating_add(1))
    }

    fn add(&mut self, run: Run, boot: u64, window: &Window) {
        let (Some(first), Some(last)) = (run.batch.first_seq(), run.batch.last_seq()) else { return };
        let follows = self.done.is_none_or(|done| done.saturating_add(1) >= first);
        let damage = self.damage.take();
        if !follows || (self.done.is_none() && damage.is_some() && first > 1) {
            let why = damage.map_or(Why::Dropped, Why::Damaged);
            let (from, to) = (self.done.map(|done| done.saturating_add(1)), first.checked_sub(1));
            self.missing(from, to, why);
        }
        self.done = Some(last);
        let parts = if self.drawn.contains(&run.stream.id()) { vec![run] } else { run.within(window) };
        for part in parts {
            self.hand_out(part, boot);
        }
    }

    /// Joins it with what is there when it goes on with it.
    fn hand_out(&mut self, run: Run, boot: u64) {
        if let Some(Part::Rows { stream, boot: before, batch }) = self.parts.back_mut()
            && stream.id() == run.stream.id()
            && *before == boot
            && batch.len() + run.batch.len() <= ROWS
            && batch.heap_bytes() + run.batch.heap_bytes() <= BYTES
            && batch.append(&run.batch).is_ok()
        {
            return;
        }
        self.parts.push_back(Part::Rows { stream: run.stream, boot, batch: run.batch });
    }

    fn is_damaged(&mut self, span: Option<Span>, why: String) {
        match span {
            Some(span) => {
                let from = self.done.map_or(span.first, |done| span.first.max(done.saturating_add(1)));
                if let Some(done) = self.done.filter(|done| done.saturating_add(1) < span.first) {
                    let before = self.damage.take().map_or(Why::Dropped, Why::Damaged);
                    self.missing(Some(done.saturating_add(1)), span.first.checked_sub(1), before);
                }
                self.missing(Some(from), Some(span.last), Why::Damaged(why));
                self.done = Some(span.last);
            }
            None => drop(self.damage.get_or_insert(why)),
        }
    }

    fn end(&mut self) {
        self.has_ended = true;
        if let Some(why) = self.damage.take() {
            let first = self.done.map(|done| done.saturating_add(1));
            self.missing(first, None, Why::Damaged(why));
        }
    }

    fn missing(&mut self, first: Option<u64>, last: Option<u64>, why: Why) {
        let missing = Missing { device: self.device.clone(), group: self.group.clone(), first, last, why };
        if let Some(Part::Missing(before)) = self.parts.back_mut() {
            let goes_on = before.last.and_then(|last| last.checked_add(1)) == missing.first && missing.first.is_some();
            if goes_on && before.why == missing.why {
                before.last = missing.last;
                return;
            }
        }
        self.parts.push_back(Part::Missing(missing));
    }
}

fn is_long(part: &Part) -> bool {
    match part {
        Part::Rows { batch, .. } => batch.len() >= ROWS / 2 || batch.heap_bytes() >= BYTES / 2,
        Part::Missing(_) => false,
    }
}
