//! From what a walk finds to the samples of one tag.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_codec::{
    block::{Batch, Decoder},
    record::Record,
};
use tidegate_model::{Slot, Stream, StreamId, TagName, Timestamp};

use super::{
    Sample,
    line::{self, Lines},
    thin::Thin,
};
use crate::{
    decode, numbering,
    reader::{Found, Span, Unit, Window},
    silence,
};

/// Packed bytes that are not worth to be shared out.
const FEW: usize = 16 << 10;

/// Unpacks the samples of one tag. It keeps its working memory.
pub(super) struct Unpacker {
    window: Window,
    /// Whether rows are wanted, too, that say nothing of the tag or are outside the window: a line goes on over them by their numbers.
    every_row: bool,
    decoder: Decoder,
    columns: BTreeMap<StreamId, Column>,
}

/// Where the tag is in the rows of a stream.
struct Column {
    index: usize,
    /// Memory for its rows, with the columns up to this one: those behind it are not unpacked, and those before it only where
    /// they have to be.
    batch: Batch,
    /// How long the tag may be silent in it, where it has a swinging door.
    silence: Option<i64>,
}

/// What a unit holds.
pub(super) struct Unpacked {
    span: Option<Span>,
    boot: u64,
    rows: Result<Rows, String>,
}

struct Rows {
    /// The rows with samples in the window, or all where every row is wanted.
    samples: Vec<Seen>,
    /// The largest number of all rows.
    last: Option<u64>,
    silence: Option<i64>,
}

/// What a row says of the tag.
struct Seen {
    seq: u64,
    time: Timestamp,
    /// Whether its time is the device's.
    is_of_device: bool,
    slot: Slot,
}

/// Takes the samples of one tag.
pub(super) struct Samples {
    thin: Thin,
    /// The last number of the group that has been read.
    done: Option<u64>,
    /// The lines that are drawn, and the times that are wanted.
    lines: Option<(Lines, Window)>,
}

/// Cuts units into two parts of about the same size, to be unpacked at the same time; the second is empty when it is little.
pub(super) fn halves(mut units: Vec<Unit>) -> (Vec<Unit>, Vec<Unit>) {
    let bytes = |unit: &Unit| match &unit.found {
        Found::Record(bytes) | Found::Block { bytes, .. } => bytes.len(),
        Found::Unreadable(_) => 0,
    };
    let all: usize = units.iter().map(bytes).sum();
    if all <= FEW {
        return (units, Vec::new());
    }
    let mut before = 0;
    let is_first = |unit: &&Unit| {
        let is_first = before < all / 2;
        before += bytes(unit);
        is_first
    };
    let first = units.iter().take_while(is_first).count();
    let second = units.split_off(first);
    (units, second)
}

impl Unpacker {
    pub(super) fn new(streams: &[Arc<Stream>], tag: &TagName, window: Window, every_row: bool) -> Unpacker {
        let column = |stream: &Arc<Stream>| {
            let index = stream.columns().iter().position(|column| column.name == *tag)?;
            let batch = Batch::new(stream.columns().get(..=index)?);
            Some((stream.id(), Column { index, batch, silence: silence::of_tag(stream, tag) }))
        };
        Unpacker { window, every_row, decoder: Decoder::new(), columns: streams.iter().filter_map(column).collect() }
    }

    /// The samples of these units.
    pub(super) fn unpack(&mut self, units: &[Unit]) -> Vec<Unpacked> {
        let unpacked = |unit: &Unit| Unpacked { span: unit.span, boot: unit.boot, rows: self.rows(&unit.found) };
        units.iter().map(unpacked).collect()
    }

    fn rows(&mut self, found: &Found) -> Result<Rows, String> {
        match found {
            Found::Unreadable(why) => Err(why.clone()),
            Found::Record(bytes) => self.record(bytes),
            Found::Block { stream, rows, first, seqs, bytes } => {
                self.block(*stream, *rows, *first, seqs.as_deref(), bytes)
            }
        }
    }

    fn record(&mut self, bytes: &[u8]) -> Result<Rows, String> {
        let record = Record::decode(bytes).map_err(|error| error.to_string())?;
        let mut rows = Rows { samples: Vec::new(), last: None, silence: None };
        for row in record.rows() {
            let Some(column) = self.columns.get(&row.stream) else { continue };
            rows.last = rows.last.max(Some(row.seq));
            let slot = row.slots.get(column.index).ok_or("a row does not fit its columns")?;
            rows.silence = column.silence;
            if self.every_row || (*slot != Slot::Unchanged && self.window.holds(row.time)) {
                let is_of_device = row.device_time == Some(row.time);
                rows.samples.push(Seen { seq: row.seq, time: row.time, is_of_device, slot: slot.clone() });
            }
        }
        Ok(rows)
    }

    fn block(
        &mut self,
        stream: StreamId,
        rows: u64,
        first: u64,
        seqs: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<Rows, String> {
        let Some(column) = self.columns.get_mut(&stream) else {
            return Ok(Rows { samples: Vec::new(), last: None, silence: None });
        };
        let head = decode::head(bytes)?;
        if head.stream != stream || head.first_seq != first || u64::from(head.rows) != rows {
            return Err("its block is another one".to_owned());
        }
        let read = self.decoder.decode_last_into(&head, head.schema, &mut column.batch);
        read.map_err(|error| error.to_string())?;
        let batch = &column.batch;
        let seqs = match seqs {
            Some(seqs) => numbering::decode(seqs, batch.len()).ok_or("the numbers of its rows are damaged")?,
            None => (first..).take(batch.len()).collect(),
        };
        let samples = batch.times().iter().zip(batch.slots(column.index)).zip(&seqs).enumerate();
        let every_row = self.every_row;
        let is_one = |time: Timestamp, slot: &Slot| every_row || (*slot != Slot::Unchanged && self.window.holds(time));
        let seen = |(row, ((time, slot), seq)): (usize, ((&Timestamp, Slot), &u64))| Seen {
            seq: *seq,
            time: *time,
            is_of_device: batch.device_time(row) == Some(*time),
            slot,
        };
        Ok(Rows {
            samples: samples.filter(|(_, ((time, slot), _))| is_one(**time, slot)).map(seen).collect(),
            last: seqs.last().copied(),
            silence: column.silence,
        })
    }
}

impl Samples {
    pub(super) fn new(thin: Thin) -> Samples {
        Samples { thin, done: None, lines: None }
    }

    pub(super) fn into_thin(self) -> Thin {
        self.thin
    }

    pub(super) fn done(&self) -> Option<u64> {
        self.done
    }

    /// From now on the samples of another group; lines are drawn when it is said which times are wanted.
    pub(super) fn begin_group(&mut self, lines: Option<Window>) {
        self.done = None;
        self.lines = lines.map(|wanted| (Lines::default(), wanted));
    }

    /// Takes the samples of these units, and gives those that cannot be read, and why.
    pub(super) fn take(&mut self, units: impl Iterator<Item = Unpacked>) -> Vec<(Option<Span>, String)> {
        let mut unreadable = Vec::new();
        for Unpacked { span, boot, rows } in units {
            match rows {
                Ok(rows) => {
                    // Rows before may have been joined with rows that are read already.
                    let before = self.done;
                    self.done = before.max(rows.last);
                    let new = rows.samples.into_iter().filter(|seen| Some(seen.seq) > before);
                    let Some((lines, wanted)) = &mut self.lines else {
                        new.for_each(|Seen { time, slot, .. }| self.thin.add(Sample { time, slot, drawn: false }));
                        continue;
                    };
                    for Seen { seq, time, is_of_device, slot } in new {
                        let row = line::Row { seq, boot, time, is_of_device, slot };
                        lines.take(row, rows.silence, |sample| {
                            if wanted.holds(sample.time) {
                                self.thin.add(sample);
                            }
                        });
                    }
                }
                Err(why) => {
                    self.done = self.done.max(span.map(|span| span.last));
                    unreadable.push((span, why));
                }
            }
        }
        unreadable
    }
}
