//! What devices of edge nodes have said, as rows of streams, until the writer takes them.
//!
//! A stream is a device: its gateway is the edge node, its group the group of the node. What has one time in a message is a row. The columns
//! are those of the birth, at most [`columns::MOST`] in one schema: a device with more has several, and a row whose values are of several
//! becomes one for each.

mod gaps;
mod lives;
mod rows;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use tidegate_codec::block::{Codec, Encoder, StoreId};
use tidegate_model::Timestamp;
use tidegate_sparkplug::{Known as Metric, NodeId, Sample};

#[cfg(test)]
pub(super) use self::lives::PATIENCE;
pub(super) use self::rows::Row;
use self::{
    gaps::Gaps,
    lives::{Awaited, after},
};
use super::{
    columns,
    marks::{MOST_SEEN, Marks},
    names,
    print::{self, Print},
    seen::Seen,
};
use crate::{
    StreamKey,
    piece::{Fault, Known, Piece, Refused},
};

/// The store of rows that are numbered here, as they come.
pub(crate) const NUMBERED_HERE: StoreId = StoreId(1);
/// The store of gaps that our own gateways declare, in the numbers of their rows, which do not come with these.
pub(crate) const NUMBERED_THERE: StoreId = StoreId(2);
/// Devices whose rows are taken, at most, and devices and groups of which gaps are.
const MOST_STREAMS: usize = 20_000;
/// Bytes that may wait; what comes beyond is dropped.
const MOST_BYTES: usize = 96 << 20;
/// Cells of a piece: its rows times its columns.
const CELLS: usize = 500_000;
/// Rows of a piece.
const ROWS: usize = 10_000;
/// What a batch for the writer takes in memory, about, and one piece more.
const BATCH_BYTES: usize = 16 << 20;
const BATCH_PIECES: usize = 4096;
/// Bytes of a row that cannot be written that are put aside, as text.
const TOLD: usize = 64 * 1024;

/// What a sink has written of a stream before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    pub(crate) last_seq: u64,
    /// The latest time of its rows, in Unix milliseconds.
    pub(crate) last_time: Option<i64>,
    /// When it went, in Unix milliseconds, where that is the last that was written.
    pub(crate) died: Option<i64>,
}

/// What became of values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Known before, to the last bit.
    pub(super) repeated: u64,
    /// Dropped, as too much waits.
    pub(super) dropped: u64,
    /// Not taken: of devices beyond the limit, or metrics that are none of a process; or not as the gap that it declares.
    pub(super) beyond: u64,
}

/// The streams, and the rows that wait.
pub(super) struct Streams {
    streams: Vec<Stream>,
    places: HashMap<(NodeId, Option<Arc<str>>), usize>,
    /// Those that have a stream, and ids of devices that are not taken, as others have their names.
    keys: HashSet<StreamKey>,
    strangers: HashSet<(NodeId, Option<Arc<str>>)>,
    /// Births that have to come, by the number of the stream.
    awaited: HashMap<usize, Awaited>,
    /// The time of the last birth.
    birth: Timestamp,
    waiting: VecDeque<Waiting>,
    /// The number of the first that waits.
    first: u64,
    bytes: usize,
    most_bytes: usize,
    seen: Seen,
    gaps: Gaps,
    before: HashMap<StreamKey, Before>,
    encoder: Encoder,
    /// The start of this ingest.
    boot: u64,
}

/// A device, or a node itself.
struct Stream {
    key: StreamKey,
    /// Those of the last birth.
    metrics: Arc<[Metric]>,
    /// For each metric its schema and its column there; `None` for those that are not taken.
    places: Vec<Option<(usize, usize)>>,
    schemas: Vec<Arc<Known>>,
    /// For each metric the tag that it is, and what it has said last of the present since the birth.
    prints: Vec<Option<print::Metric>>,
    present: Vec<Option<(Timestamp, Print)>>,
    /// For each schema the number of what waits and may get more rows.
    open: Vec<Option<u64>>,
    next: u64,
    /// When its values became bad, as it is gone; `None` while it is there.
    died: Option<Timestamp>,
    /// When it died and when it was born after that; its values of before that death get the time of the birth.
    reborn: Option<(Timestamp, Timestamp)>,
    /// Values up to this time may have been written and forgotten here.
    doubt: Option<Timestamp>,
}

/// Rows that wait, of one stream and schema.
struct Waiting {
    stream: usize,
    known: Arc<Known>,
    rows: VecDeque<Row>,
    /// When the first of them came.
    since: Instant,
}

impl Streams {
    /// No stream. `before`: what the sink has written of streams; `gaps`: those of which it has gaps; `taken`: values that it has; `boot`: a number
    /// that is larger at each start.
    pub(super) fn new(
        before: HashMap<StreamKey, Before>,
        gaps: HashSet<StreamKey>,
        taken: &Marks,
        boot: u64,
    ) -> Streams {
        Streams {
            streams: Vec::new(),
            places: HashMap::new(),
            keys: HashSet::new(),
            strangers: HashSet::new(),
            awaited: HashMap::new(),
            birth: Timestamp::from_millis(0),
            waiting: VecDeque::new(),
            first: 0,
            bytes: 0,
            most_bytes: MOST_BYTES,
            seen: Seen::new(MOST_SEEN, taken),
            gaps: Gaps::new(gaps),
            before,
            encoder: Encoder::new(Codec::Range),
            boot,
        }
    }

    /// The same with other bytes that may wait.
    #[cfg(test)]
    pub(super) fn set_most_bytes(&mut self, most: usize) {
        self.most_bytes = most;
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows that wait.
    pub(super) fn rows(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.rows.len()).sum()
    }

    /// When the oldest came that waits.
    pub(super) fn since(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.since)
    }

    /// Takes the values of a message.
    pub(super) fn take(
        &mut self,
        node: &NodeId,
        device: Option<&Arc<str>>,
        metrics: &Arc<[Metric]>,
        samples: &[Sample],
        now: Instant,
    ) -> Taken {
        let all = u64::try_from(samples.len()).unwrap_or(u64::MAX);
        if self.bytes >= self.most_bytes {
            // Should these be those of a birth, what comes after them is not.
            let number = self.places.get(&(node.clone(), device.cloned())).copied();
            if let Some(stream) = number.and_then(|number| self.streams.get_mut(number)) {
                stream.reborn = None;
            }
            return Taken { dropped: all, ..Taken::default() };
        }
        let Some(number) = self.stream(node, device, metrics) else { return Taken { beyond: all, ..Taken::default() } };
        let (rows, taken) = self.rows_of(number, node, samples);
        for (schema, row) in rows {
            self.put(number, schema, row, now);
        }
        taken
    }

    /// The stream of a device with the metrics of its birth; `None` when there are too many.
    fn stream(&mut self, node: &NodeId, device: Option<&Arc<str>>, metrics: &Arc<[Metric]>) -> Option<usize> {
        let place = (node.clone(), device.cloned());
        if let Some(number) = self.places.get(&place).copied() {
            let stream = self.streams.get_mut(number)?;
            if !Arc::ptr_eq(&stream.metrics, metrics) {
                stream.born(metrics);
            }
            return Some(number);
        }
        if self.streams.len() >= MOST_STREAMS {
            return None;
        }
        let key = StreamKey {
            gateway: names::name(node.node()),
            group: names::name(node.group()),
            device: names::device(device.map(|id| &**id)),
            store: NUMBERED_HERE,
        };
        if self.keys.contains(&key) {
            self.refuse(place, &key);
            return None;
        }
        self.keys.insert(key.clone());
        let before = self.before.remove(&key);
        let last = before.and_then(|before| before.last_time).map(Timestamp::from_millis);
        let died = before.and_then(|before| before.died).map(Timestamp::from_millis);
        let mut stream = Stream {
            metrics: Arc::default(),
            places: Vec::new(),
            schemas: Vec::new(),
            prints: Vec::new(),
            present: Vec::new(),
            open: Vec::new(),
            died: None,
            reborn: died.map(|died| (died, after(died, self.birth))),
            next: before.map_or(1, |before| before.last_seq.saturating_add(1)),
            doubt: last,
            key,
        };
        stream.born(metrics);
        let number = self.streams.len();
        self.streams.push(stream);
        self.places.insert(place, number);
        Some(number)
    }

    /// The ids of a device are other ones than those of the stream of that name, and spelled alike.
    fn refuse(&mut self, place: (NodeId, Option<Arc<str>>), key: &StreamKey) {
        if self.strangers.len() >= MOST_STREAMS || self.strangers.contains(&place) {
            return;
        }
        let (node, device) = (&place.0, place.1.as_deref().unwrap_or("the node itself"));
        tracing::error!(
            %node, device, stream = %key,
            "another device is written under the same name already; what this one says is not written; give one of them another id"
        );
        self.strangers.insert(place);
    }

    fn put(&mut self, number: usize, schema: usize, row: Row, now: Instant) {
        let Some(stream) = self.streams.get_mut(number) else { return };
        let (Some(known), Some(open)) = (stream.schemas.get(schema), stream.open.get_mut(schema)) else { return };
        self.bytes = self.bytes.saturating_add(row.bytes);
        let place = open.and_then(|open| usize::try_from(open.checked_sub(self.first)?).ok());
        if let Some(waiting) = place.and_then(|place| self.waiting.get_mut(place)) {
            waiting.rows.push_back(row);
            return;
        }
        *open = Some(self.first.saturating_add(u64::try_from(self.waiting.len()).unwrap_or(u64::MAX)));
        let rows = VecDeque::from([row]);
        self.waiting.push_back(Waiting { stream: number, known: Arc::clone(known), rows, since: now });
    }

    /// The next pieces for the writer. True when nothing waits behind them.
    pub(super) fn batch(&mut self, out: &mut Vec<Piece>) -> bool {
        let mut bytes = 0_usize;
        // No later than the row that says so.
        self.gaps.batch(self.boot, out);
        while let Some(waiting) = self.waiting.front_mut() {
            if bytes >= BATCH_BYTES || out.len() >= BATCH_PIECES {
                return false;
            }
            let most = (CELLS / waiting.known.schema.columns.len().max(1)).clamp(1, ROWS).min(waiting.rows.len());
            let (number, known) = (waiting.stream, Arc::clone(&waiting.known));
            let mut rows: VecDeque<Row> = waiting.rows.drain(..most).collect();
            if waiting.rows.is_empty() {
                self.waiting.pop_front();
                self.first += 1;
            }
            let taken: usize = rows.iter().map(|row| row.bytes).sum();
            self.bytes = self.bytes.saturating_sub(taken);
            let before = out.len();
            while !rows.is_empty() {
                self.piece(number, &known, &mut rows, out);
            }
            bytes = out.iter().skip(before).map(Piece::bytes).fold(bytes, usize::saturating_add);
        }
        true
    }

    /// Makes a piece of the first rows; of a row that no block can hold, one that is put aside.
    fn piece(&mut self, number: usize, known: &Arc<Known>, rows: &mut VecDeque<Row>, out: &mut Vec<Piece>) {
        let Some(stream) = self.streams.get_mut(number) else { return rows.clear() };
        let mut count = rows.len();
        loop {
            match columns::encode(&mut self.encoder, known, self.boot, stream.next, rows.iter().take(count)) {
                Ok(piece) => {
                    stream.next = stream.next.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                    rows.drain(..count);
                    return out.push(Piece::Rows(piece));
                }
                Err(_) if count > 1 => count /= 2,
                Err(error) => {
                    let row = rows.pop_front().map(|row| format!("{row:?}")).unwrap_or_default();
                    let mut frame = row.into_bytes();
                    frame.truncate(TOLD);
                    let gateway = stream.key.gateway.to_string();
                    let detail = format!("a row of {} at that moment cannot be kept: {error}", stream.key);
                    let frame = Bytes::from(frame);
                    let refused = Refused { gateway, fault: Fault::Sparkplug, detail, schema: None, frame };
                    return out.push(Piece::Refused(refused));
                }
            }
        }
    }
}

impl Stream {
    /// The device is born with these metrics.
    fn born(&mut self, metrics: &Arc<[Metric]>) {
        self.metrics = Arc::clone(metrics);
        match columns::schemas(&self.key, metrics) {
            Ok((places, schemas)) => (self.places, self.schemas) = (places, schemas),
            // No metrics are known to cause this; their values would have nowhere to go.
            Err(error) => {
                tracing::error!(stream = %self.key, %error, "the metrics of a device cannot be described; they are not written");
                (self.places, self.schemas) = (Vec::new(), Vec::new());
            }
        }
        self.open = vec![None; self.schemas.len()];
        self.present = vec![None; self.metrics.len()];
        let tag = |place: &columns::Place| {
            let (schema, column) = (*place)?;
            let column = self.schemas.get(schema)?.schema.columns.get(column)?;
            Some(print::Metric::of(&self.key, column.name.as_str()))
        };
        self.prints = self.places.iter().map(tag).collect();
    }
}
