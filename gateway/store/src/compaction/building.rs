//! Collects rows by stream and encodes them as blocks.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tidegate_codec::block::{Batch, BlockError, Encoder, Origin};
use tidegate_codec::record::RawRow;
use tidegate_model::{Stream, StreamId, Timestamp};

use super::{
    Begin,
    change::{Body, Move},
    limits,
};
use crate::{
    epochs::BlockHead,
    numbers::{count, length},
    ranges::Range,
    wire::WireSchemas,
};

/// Consecutive rows of one stream, and where they are now.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) stream: Arc<Stream>,
    pub(crate) batch: Batch,
    pub(crate) old: Vec<Range>,
}

impl Series {
    pub(crate) fn new(stream: Arc<Stream>) -> Series {
        let batch = Batch::new(stream.columns());
        Series { stream, batch, old: Vec::new() }
    }

    /// Notes where the next rows are.
    pub(crate) fn came_from(&mut self, range: Range) {
        match self.old.last_mut() {
            Some(last) if last.end == range.first => last.end = range.end,
            _ => self.old.push(range),
        }
    }
}

/// Rows collected by stream.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    open: HashMap<StreamId, Series>,
    full: Vec<Series>,
}

impl Collected {
    /// Adds a row of this stream, which is at this position now.
    ///
    /// # Errors
    ///
    /// [`BlockError::OtherColumns`].
    pub(crate) fn add(&mut self, stream: &Arc<Stream>, position: u64, row: &RawRow) -> Result<(), BlockError> {
        let series = self.open.entry(stream.id()).or_insert_with(|| Series::new(Arc::clone(stream)));
        let push = |series: &mut Series| series.batch.push(row.seq, row.time, row.device_time, &row.slots);
        match push(series) {
            Ok(()) => {}
            Err(BlockError::NotConsecutive { .. } | BlockError::TooLarge { .. }) if !series.batch.is_empty() => {
                self.full.push(std::mem::replace(series, Series::new(Arc::clone(stream))));
                push(series)?;
            }
            Err(error) => return Err(error),
        }
        series.came_from(Range::new(position, position + 1));
        Ok(())
    }

    /// Memory that the rows take, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.open.values().chain(&self.full).map(|series| series.batch.heap_bytes()).sum()
    }

    /// Everything, by stream and number.
    pub(crate) fn into_series(self) -> BTreeMap<(StreamId, u64), Series> {
        let all = self.open.into_values().chain(self.full);
        all.filter_map(|series| Some(((series.stream.id(), series.batch.first_seq()?), series))).collect()
    }
}

/// The new blocks of an epoch, in order.
#[derive(Debug)]
pub(crate) struct Building {
    next_position: u64,
    first_body: u64,
    next_body: u64,
    boot: u64,
    pub(crate) blocks: Vec<BlockHead>,
    pub(crate) bodies: Vec<Body>,
    pub(crate) moves: Vec<Move>,
    pub(crate) short_blocks: u64,
    pub(crate) bytes: u64,
    pub(crate) times: Option<(Timestamp, Timestamp)>,
}

impl Building {
    /// Begins at this position.
    pub(crate) fn new(first_position: u64, begin: Begin) -> Building {
        Building {
            next_position: first_position,
            first_body: begin.body,
            next_body: begin.body,
            boot: begin.boot,
            blocks: Vec::new(),
            bodies: Vec::new(),
            moves: Vec::new(),
            short_blocks: 0,
            bytes: 0,
            times: None,
        }
    }

    /// The position after the last row.
    pub(crate) fn next_position(&self) -> u64 {
        self.next_position
    }

    /// The numbers of the new bodies.
    pub(crate) fn new_bodies(&self) -> Range {
        Range::new(self.first_body, self.next_body)
    }

    /// The start in which the rows were numbered.
    pub(crate) fn boot(&self) -> u64 {
        self.boot
    }

    /// Encodes rows as blocks of good length.
    ///
    /// # Errors
    ///
    /// Those of the codec.
    pub(crate) fn add(&mut self, encoder: &mut Encoder, wire: &WireSchemas, series: &Series) -> Result<(), BlockError> {
        let columns = series.stream.columns().len();
        let origin = Origin { stream: series.stream.id(), schema: wire.of(&series.stream).id, boot: self.boot };
        let lengths = limits::cut(count(series.batch.len()), columns);
        let (whole, mut from) = (lengths.len() == 1, 0);
        for rows in lengths {
            let to = from + length(rows);
            let mut bytes = Vec::new();
            encoder.set_codec(limits::codec(rows, columns));
            if whole {
                encoder.encode(&origin, &series.batch, &mut bytes)?;
            } else {
                encoder.encode(&origin, &series.batch.slice(from..to), &mut bytes)?;
            }
            let first_seq = series.batch.seq(from).unwrap_or(0);
            self.push(origin.stream, first_seq, rows, None, bytes, columns);
            from = to;
        }
        let mut new = self.next_position.saturating_sub(count(series.batch.len()));
        for old in &series.old {
            self.moves.push(Move { old: *old, new });
            new += old.len();
        }
        for time in series.batch.times() {
            self.has_times(*time, *time);
        }
        Ok(())
    }

    /// Adds an encoded block at the next positions.
    pub(crate) fn push(
        &mut self,
        stream: StreamId,
        first_seq: u64,
        rows: u64,
        seqs: Option<Vec<u8>>,
        bytes: Vec<u8>,
        columns: usize,
    ) {
        let id = self.next_body;
        self.next_body += 1;
        self.bytes += count(bytes.len());
        self.bodies.push(Body { id, bytes });
        self.put(stream, first_seq, rows, id, seqs);
        self.short_blocks += u64::from(limits::is_short(rows, columns));
    }

    /// Adds a block whose body stays, or that has none, at the next positions.
    pub(crate) fn put(&mut self, stream: StreamId, first_seq: u64, rows: u64, body: u64, seqs: Option<Vec<u8>>) {
        let range = Range::new(self.next_position, self.next_position + rows);
        self.next_position = range.end;
        self.blocks.push(BlockHead { range, stream, first_seq, body, seqs });
    }

    /// Notes between which times rows are.
    pub(crate) fn has_times(&mut self, first: Timestamp, last: Timestamp) {
        let (min, max) = self.times.unwrap_or((first, last));
        self.times = Some((min.min(first), max.max(last)));
    }
}
