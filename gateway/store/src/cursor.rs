//! Reading the log for one target, in order, and remembering how far it is.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use tidegate_codec::record::Record;
use tidegate_model::{Row, Stream, StreamId};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Delivery, Item, StoreError, Ticket,
    database::{Trouble, Unusable, failed, trouble},
    disk::{self, Stored},
    gaps::Gap,
    numbers::count,
    shared::{Command, GapsAnswer, Shared, Unreadable},
    streams,
    target::Target,
};

/// The place of one target in the log. There is at most one per target; dropping it frees the target's name, its
/// place stays.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    target: Arc<Target>,
    /// Records read from the disk.
    stored: VecDeque<Stored>,
    /// Rows of the last record, by position.
    ahead: VecDeque<(u64, Arc<Row>)>,
    /// Streams that have had no row since the start.
    old_streams: HashMap<StreamId, Arc<Stream>>,
    /// The answer of the writer that gaps have been asked for from.
    asked: Option<oneshot::Receiver<GapsAnswer>>,
    /// Gaps that the writer has given and that have not been handed out.
    gaps: Vec<(Ticket, Gap)>,
}

/// What there is to give.
enum Found {
    Deliveries(Vec<Delivery>),
    Gaps,
    OnDisk(u64),
    Nothing,
}

impl Cursor {
    pub(crate) fn new(shared: Arc<Shared>, commands: mpsc::Sender<Command>, target: Arc<Target>) -> Cursor {
        let (stored, ahead, old_streams, asked, gaps) = Default::default();
        Cursor { shared, commands, target, stored, ahead, old_streams, asked, gaps }
    }

    /// The next committed rows and gaps, at least one and at most `max_rows`; waits until there is something.
    ///
    /// Stops before the sum of the payloads (where a payload is not in memory, of the row's values) exceeds
    /// `max_bytes`, but never before the first. Waits, too, while 65,536 deliveries are not acknowledged. A future
    /// that is dropped while it waits loses nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] once the store has been closed; [`StoreError::Database`] when the disk cannot be read
    /// now, in which case a later call goes on at the same place.
    pub async fn next(&mut self, max_rows: usize, max_bytes: usize) -> Result<Vec<Delivery>, StoreError> {
        loop {
            if self.shared.is_closed() {
                return Err(StoreError::Closed);
            }
            match self.look(max_rows.max(1), max_bytes) {
                // None when all that is next has been acknowledged before a rewind.
                Found::Deliveries(deliveries) if deliveries.is_empty() => {}
                Found::Deliveries(deliveries) => return Ok(deliveries),
                Found::Gaps => {
                    let deliveries = self.gaps().await?;
                    if !deliveries.is_empty() {
                        return Ok(deliveries);
                    }
                }
                Found::OnDisk(position) => self.read(position).await?,
                Found::Nothing => self.target.news.notified().await,
            }
        }
    }

    /// Says that the other side has it. In any order; the place kept on disk is the first row that has not been
    /// acknowledged, and is saved with the next commit.
    pub fn acknowledge(&self, ticket: Ticket) {
        acknowledge(&self.target, &self.shared, ticket);
    }

    /// A handle that acknowledges for this cursor while [`Cursor::next`] is waiting or reading.
    ///
    /// A target gets acknowledgements all the time; were it to drop `next` for each of them, a slow disk would never
    /// finish a read.
    pub fn acknowledger(&self) -> Acknowledger {
        Acknowledger { shared: Arc::clone(&self.shared), target: Arc::clone(&self.target) }
    }

    /// Goes back to the first row that has not been acknowledged; what was acknowledged behind it is not delivered
    /// again.
    pub fn rewind(&mut self) {
        self.target.place().rewind();
        self.stored.clear();
        self.ahead.clear();
        self.asked = None;
        self.gaps.clear();
    }

    /// What there is to give now, without waiting.
    fn look(&mut self, max_rows: usize, max_bytes: usize) -> Found {
        let target = Arc::clone(&self.target);
        let mut place = target.place();
        while place.pass_damage() {}
        if place.is_full() {
            return Found::Nothing;
        }
        if !self.gaps.is_empty() || self.asked.is_some() || place.next_gap.is_some_and(|gap| gap <= place.read) {
            return Found::Gaps;
        }
        let until = place.next_gap.unwrap_or(u64::MAX);
        let mut parcel = Parcel { deliveries: Vec::new(), bytes: 0, max_rows, max_bytes };
        while self.ahead.pop_front_if(|(position, _)| *position < place.read).is_some() {}
        if self.ahead.front().is_some_and(|(position, _)| *position == place.read) {
            while let Some((position, row)) = self.ahead.front() {
                let wanted = *position < until && !place.is_full();
                if !wanted || !parcel.has_room(row, None) {
                    break;
                }
                let Some((position, row)) = self.ahead.pop_front() else { break };
                if let Some(ticket) = place.give_row(position, row.time) {
                    parcel.add(ticket, row, None);
                }
            }
        } else {
            let tail = self.shared.tail();
            if !tail.reaches(place.read) {
                return Found::OnDisk(place.read);
            }
            place.read_at_commit = tail.commits();
            for (position, row, payload) in tail.read(place.read) {
                if position >= until || place.is_full() || !parcel.has_room(row, Some(payload)) {
                    break;
                }
                if let Some(ticket) = place.give_row(position, row.time) {
                    parcel.add(ticket, Arc::clone(row), Some(payload.clone()));
                }
            }
            if parcel.deliveries.is_empty() && place.read == tail.end() {
                return Found::Nothing;
            }
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
        let mut deliveries = Vec::with_capacity(self.gaps.len());
        for (ticket, gap) in self.gaps.clone() {
            let stream = self.stream(gap.stream).await?;
            let item = Item::Gap { stream, from: gap.span.first, to: gap.span.last, reason: gap.reason };
            deliveries.push(Delivery { ticket, item });
        }
        self.gaps.clear();
        Ok(deliveries)
    }

    /// Brings the rows at `position` from the disk into `ahead`.
    async fn read(&mut self, position: u64) -> Result<(), StoreError> {
        while self.stored.pop_front_if(|record| record.end() <= position).is_some() {}
        if self.stored.front().is_none_or(|record| record.first > position) {
            match disk::records(&self.shared.readers(), position).await {
                Ok(stored) => self.stored = stored,
                Err(_) if self.shared.is_closed() => return Err(StoreError::Closed),
                Err(error) if trouble(&error) == Trouble::Damaged => {
                    return self.damaged(Unreadable { position, record: None, why: error.to_string() }).await;
                }
                Err(error) => return Err(failed("read rows")(error)),
            }
        }
        // The record stays where it is until its rows are there: this call may be given up at every await.
        let Some(record) = self.stored.front().filter(|record| record.first <= position).cloned() else {
            return self.pass_hole(position).await;
        };
        match self.decode(&record).await? {
            Ok(rows) => self.ahead = (record.first..).zip(rows).skip_while(|(at, _)| *at < position).collect(),
            Err(why) => {
                let record = Some((record.first, record.end()));
                self.damaged(Unreadable { position, record, why }).await?;
            }
        }
        Ok(())
    }

    /// The rows of a record, or what is wrong with it.
    async fn decode(&mut self, record: &Stored) -> Result<Result<Vec<Arc<Row>>, String>, StoreError> {
        let decoded = match Record::decode(&record.body) {
            Ok(decoded) => decoded.into_rows(),
            Err(error) => return Ok(Err(error.to_string())),
        };
        if count(decoded.len()) != record.rows {
            return Ok(Err(format!("it holds {} rows instead of {}", decoded.len(), record.rows)));
        }
        let mut rows = Vec::with_capacity(decoded.len());
        for row in decoded {
            let stream = match self.find_stream(row.stream).await {
                Ok(stream) => stream,
                Err(Unusable::Damaged(why)) => return Ok(Err(why)),
                Err(Unusable::Other(error)) => return Err(error),
            };
            let Some(row) = row.into_row(&stream) else {
                return Ok(Err(format!("a row of {}/{} does not fit its columns", stream.device(), stream.group())));
            };
            rows.push(Arc::new(row));
        }
        Ok(Ok(rows))
    }

    async fn find_stream(&mut self, id: StreamId) -> Result<Arc<Stream>, Unusable> {
        if let Some(stream) = self.shared.streams().get(&id).or_else(|| self.old_streams.get(&id)) {
            return Ok(Arc::clone(stream));
        }
        let mut connection = self.shared.readers().acquire().await?;
        let stream = streams::load(&mut connection, id).await?;
        self.old_streams.insert(id, Arc::clone(&stream));
        Ok(stream)
    }

    async fn stream(&mut self, id: StreamId) -> Result<Arc<Stream>, StoreError> {
        self.find_stream(id).await.map_err(|error| match error {
            Unusable::Damaged(why) => failed("read the columns of a stream")(sqlx::Error::Protocol(why)),
            Unusable::Other(error) => error,
        })
    }

    /// There is no row at this position. Mostly the writer has just dropped it: once it has finished that, the target
    /// has been moved on and told. Otherwise the row has vanished.
    async fn pass_hole(&self, position: u64) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Finish { reply }).await?;
        answer.await.map_err(|_| StoreError::Closed)?;
        if self.target.place().read == position {
            let why = "rows are missing".to_owned();
            self.damaged(Unreadable { position, record: None, why }).await?;
        }
        Ok(())
    }

    async fn damaged(&self, place: Unreadable) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let target = Arc::clone(&self.target);
        self.ask(Command::Damaged { target, place, reply }).await?;
        answer.await.map_err(|_| StoreError::Closed)
    }

    async fn ask(&self, command: Command) -> Result<(), StoreError> {
        self.commands.send(command).await.map_err(|_| StoreError::Closed)
    }
}

/// Acknowledges for one cursor; see [`Cursor::acknowledger`].
#[derive(Debug, Clone)]
pub struct Acknowledger {
    shared: Arc<Shared>,
    target: Arc<Target>,
}

impl Acknowledger {
    /// As [`Cursor::acknowledge`].
    pub fn acknowledge(&self, ticket: Ticket) {
        acknowledge(&self.target, &self.shared, ticket);
    }
}

fn acknowledge(target: &Target, shared: &Shared, ticket: Ticket) {
    let (was_full, news) = {
        let mut place = target.place();
        (place.is_full(), place.acknowledge(ticket))
    };
    if was_full {
        target.news.notify_one();
    }
    if news && !shared.armed.load(Ordering::Acquire) {
        shared.wake.notify_one();
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let mut place = self.target.place();
        place.rewind();
        place.open = false;
    }
}

/// Deliveries within the bounds of one call.
struct Parcel {
    deliveries: Vec<Delivery>,
    bytes: usize,
    max_rows: usize,
    max_bytes: usize,
}

impl Parcel {
    /// Whether the row fits in, and if so counts it.
    fn has_room(&mut self, row: &Row, payload: Option<&Bytes>) -> bool {
        let bytes = self.bytes + payload.map_or_else(|| row.heap_bytes(), Bytes::len);
        let fits = self.deliveries.is_empty() || (self.deliveries.len() < self.max_rows && bytes <= self.max_bytes);
        if fits {
            self.bytes = bytes;
        }
        fits
    }

    fn add(&mut self, ticket: Ticket, row: Arc<Row>, payload: Option<Bytes>) {
        self.deliveries.push(Delivery { ticket, item: Item::Row { row, payload } });
    }
}
