//! What a target is given next: out of memory, or read from the disk.

mod from_disk;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use tidegate_model::{Row, Stream, StreamId, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Delivery, Item, Shape, StoreError, Ticket,
    database::{Unusable, failed},
    disk::Stored,
    gaps::Gap,
    parcel::Parcel,
    place::Place,
    ranges::Range,
    shared::{Command, GapsAnswer, Shared},
    tail::Tail,
    target::Target,
};

/// A live lane that is further behind the newest row leaves out what is between, in milliseconds.
const LIVE_LAG: i64 = 10_000;

/// Which part of the log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it, oldest first.
    All,
    /// What the live lane leaves.
    Backlog,
    /// What is committed while it is read.
    Live,
}

/// Reads for one lane of a target.
#[derive(Debug)]
pub(crate) struct Reading {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    target: Arc<Target>,
    /// Read from the disk, in order.
    stored: VecDeque<Stored>,
    /// What is given next, in order.
    ahead: VecDeque<Piece>,
    /// Blocks before this position are given row by row.
    single_before: u64,
    /// What `stored` and `ahead` are as of; see [`Place::generation`].
    generation: u64,
    /// Streams that have had no row since the start.
    old_streams: HashMap<StreamId, Arc<Stream>>,
    /// The answer of the writer that gaps have been asked for from.
    asked: Option<oneshot::Receiver<GapsAnswer>>,
    /// Gaps that the writer has given and that have not been handed out.
    gaps: Vec<(Ticket, Gap)>,
}

/// What has been read from the disk, and is not given yet.
#[derive(Debug)]
enum Piece {
    Row { position: u64, row: Arc<Row> },
    Block { range: Range, bytes: Bytes, stream: Arc<Stream>, first_seq: u64, rows: u32, time: Timestamp },
}

impl Piece {
    fn range(&self) -> Range {
        match self {
            Piece::Row { position, .. } => Range::new(*position, position + 1),
            Piece::Block { range, .. } => *range,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Piece::Row { row, .. } => row.heap_bytes(),
            Piece::Block { bytes, .. } => bytes.len(),
        }
    }

    fn into_item(self) -> (Timestamp, Item) {
        match self {
            Piece::Row { row, .. } => (row.time, Item::Row { row, payload: None }),
            Piece::Block { bytes, stream, first_seq, rows, time, .. } => {
                (time, Item::Block { bytes, stream, first_seq, rows, time })
            }
        }
    }
}

/// What there is to give.
enum Found {
    Deliveries(Vec<Delivery>),
    Gaps,
    OnDisk(u64),
    Nothing,
}

impl Reading {
    pub(crate) fn new(shared: Arc<Shared>, commands: mpsc::Sender<Command>, target: Arc<Target>) -> Reading {
        let (stored, ahead, single_before, generation, old_streams, asked, gaps) = Default::default();
        Reading { shared, commands, target, stored, ahead, single_before, generation, old_streams, asked, gaps }
    }

    /// Forgets what has been read and not given.
    pub(crate) fn forget(&mut self) {
        self.stored.clear();
        self.ahead.clear();
        self.single_before = 0;
        self.asked = None;
        self.gaps.clear();
    }

    /// As [`crate::Lane::next`] describes it.
    pub(crate) async fn next(
        &mut self,
        part: Part,
        shape: Shape,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        loop {
            if self.shared.is_closed() {
                return Err(StoreError::Closed);
            }
            let boot = self.shared.numbers().boot;
            let parcel =
                Parcel { deliveries: Vec::new(), boot, rows: 0, bytes: 0, max_rows: max_rows.max(1), max_bytes };
            let found = if part == Part::Live { self.look_live(parcel) } else { self.look(part, parcel) };
            match found {
                // None when all that is next has been acknowledged before a rewind.
                Found::Deliveries(deliveries) if deliveries.is_empty() => {}
                Found::Deliveries(deliveries) => return Ok(deliveries),
                Found::Gaps => {
                    let deliveries = self.gaps().await?;
                    if !deliveries.is_empty() {
                        return Ok(deliveries);
                    }
                }
                Found::OnDisk(position) => self.read(position, shape).await?,
                Found::Nothing if part == Part::Live => self.target.live_news.notified().await,
                Found::Nothing => self.target.news.notified().await,
            }
        }
    }

    /// What the live lane gives now.
    fn look_live(&mut self, mut parcel: Parcel) -> Found {
        let mut place = self.target.place();
        let tail = self.shared.tail();
        place.read_at_commit = tail.commits();
        let Some(mut live) = place.live else { return Found::Nothing };
        if place.is_full() || place.is_scattered() {
            return Found::Nothing;
        }
        let begun = live.from;
        // Within the newest commit times may lie far apart, when the clock was set: nothing is left out there, and nothing given again.
        if live.next < tail.newest() && is_behind(&tail, live.next) {
            live.next = tail.newest();
            live.from = live.next;
        }
        for (position, row, payload) in tail.read(live.next) {
            // Rows that are about to get other positions are given when they have them, by the other lane.
            let is_held = place.is_held(Range::new(position, position + 1));
            if is_held || place.is_full() || !parcel.has_room(1, payload.len()) {
                break;
            }
            parcel.add_row(&mut place, position, row, payload);
            live.next = position + 1;
        }
        place.live = Some(live);
        if live.from != begun {
            self.target.news.notify_one();
        }
        if parcel.deliveries.is_empty() { Found::Nothing } else { Found::Deliveries(parcel.deliveries) }
    }

    /// What there is to give now, oldest first.
    fn look(&mut self, part: Part, parcel: Parcel) -> Found {
        let target = Arc::clone(&self.target);
        let mut place = target.place();
        if place.is_full() {
            return Found::Nothing;
        }
        if !self.gaps.is_empty() || self.asked.is_some() || place.gap_is_due() {
            return Found::Gaps;
        }
        if place.generation != self.generation {
            self.generation = place.generation;
            self.stored.clear();
            self.ahead.clear();
        }
        let until = match part {
            Part::All => place.next_gap.unwrap_or(u64::MAX),
            Part::Backlog | Part::Live => place.live.map_or(0, |live| live.from),
        };
        let position = place.next();
        if position >= until || place.is_held(Range::new(position, position + 1)) {
            return Found::Nothing;
        }
        while self.ahead.pop_front_if(|piece| piece.range().end <= position).is_some() {}
        if self.ahead.front().is_some_and(|piece| piece.range().first <= position) {
            return self.give_ahead(&mut place, until, parcel);
        }
        let tail = self.shared.tail();
        if !tail.reaches(position) {
            return Found::OnDisk(position);
        }
        place.read_at_commit = tail.commits();
        give_tail(&tail, &mut place, until, parcel)
    }

    /// Gives what has been read from the disk.
    fn give_ahead(&mut self, place: &mut Place, until: u64, mut parcel: Parcel) -> Found {
        while let Some(piece) = self.ahead.front() {
            let range = piece.range();
            let done = range.end <= place.next();
            if done {
                self.ahead.pop_front();
                continue;
            }
            if range.first > place.next() || range.first >= until || place.is_full() {
                break;
            }
            let whole = range.first == place.next() && range.end <= until && place.is_untouched(range);
            if matches!(piece, Piece::Block { .. }) && !whole {
                // A part of it has been given or is not this lane's: row by row then.
                self.ahead.clear();
                self.single_before = range.end;
                break;
            }
            if !parcel.has_room(range.len(), piece.bytes()) {
                break;
            }
            let Some(piece) = self.ahead.pop_front() else { break };
            let (time, item) = piece.into_item();
            let ticket = place.give(range, time);
            parcel.deliveries.push(Delivery { ticket, boot: self.shared.boot_at(range.first), item });
        }
        Found::Deliveries(parcel.deliveries)
    }

    /// The gaps that come before the next row.
    async fn gaps(&mut self) -> Result<Vec<Delivery>, StoreError> {
        if self.gaps.is_empty() {
            let answer = match &mut self.asked {
                Some(answer) => answer,
                None => {
                    let (reply, answer) = oneshot::channel();
                    self.ask(Command::Gaps { target: Arc::clone(&self.target), reply }).await?;
                    self.asked.insert(answer)
                }
            };
            let answered = answer.await;
            self.asked = None;
            self.gaps = answered.map_err(|_| StoreError::Closed)??;
        }
        // They stay here until all their streams are known: this call may be given up at every await.
        let (boot, mut deliveries) = (self.shared.numbers().boot, Vec::with_capacity(self.gaps.len()));
        for (ticket, gap) in self.gaps.clone() {
            let stream = self.stream(gap.stream).await?;
            let item = Item::Gap { stream, from: gap.span.first, to: gap.span.last, reason: gap.reason };
            deliveries.push(Delivery { ticket, boot, item });
        }
        self.gaps.clear();
        Ok(deliveries)
    }

    async fn stream(&mut self, id: StreamId) -> Result<Arc<Stream>, StoreError> {
        self.find_stream(id).await.map_err(|error| match error {
            Unusable::Damaged(why) => failed("read the columns of a stream")(sqlx::Error::Protocol(why)),
            Unusable::Other(error) => error,
        })
    }

    async fn ask(&self, command: Command) -> Result<(), StoreError> {
        self.commands.send(command).await.map_err(|_| StoreError::Closed)
    }
}

/// Whether a live lane at this position is too far behind.
fn is_behind(tail: &Tail, position: u64) -> bool {
    if !tail.reaches(position) {
        return true;
    }
    tail.lag(position).is_some_and(|lag| lag > LIVE_LAG)
}

/// Gives rows that are still in memory.
fn give_tail(tail: &Tail, place: &mut Place, until: u64, mut parcel: Parcel) -> Found {
    for (position, row, payload) in tail.read(place.next()) {
        if position >= until || place.is_full() || place.is_held(Range::new(position, position + 1)) {
            break;
        }
        if place.next() != position {
            continue;
        }
        if !parcel.has_room(1, payload.len()) {
            break;
        }
        parcel.add_row(place, position, row, payload);
    }
    let nothing = parcel.deliveries.is_empty() && place.next() >= tail.end().min(until);
    if nothing { Found::Nothing } else { Found::Deliveries(parcel.deliveries) }
}
