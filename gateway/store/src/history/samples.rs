//! From what a walk finds to the samples of one tag.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_codec::{
    block::{Batch, Decoder},
    record::Record,
};
use tidegate_model::{Slot, Stream, StreamId, TagName};

use super::thin::Thin;
use crate::{
    decode, numbering,
    reader::{Found, Span, Unit, Window},
};

/// Takes the samples of one tag out of what is found.
pub(super) struct Samples {
    thin: Thin,
    window: Window,
    decoder: Decoder,
    columns: BTreeMap<StreamId, Column>,
    /// The last number of the group that has been read.
    done: Option<u64>,
}

/// Where the tag is in the rows of a stream.
struct Column {
    index: usize,
    /// Memory for its rows, with the columns up to this one: those behind it are not unpacked.
    batch: Batch,
}

impl Samples {
    pub(super) fn new(thin: Thin, window: Window) -> Samples {
        Samples { thin, window, decoder: Decoder::new(), columns: BTreeMap::new(), done: None }
    }

    pub(super) fn into_thin(self) -> Thin {
        self.thin
    }

    pub(super) fn done(&self) -> Option<u64> {
        self.done
    }

    /// From now on the samples of another group.
    pub(super) fn begin_group(&mut self, streams: &[Arc<Stream>], tag: &TagName) {
        let column = |stream: &Arc<Stream>| {
            let index = stream.columns().iter().position(|column| column.name == *tag)?;
            let batch = Batch::new(stream.columns().get(..=index)?);
            Some((stream.id(), Column { index, batch }))
        };
        self.columns = streams.iter().filter_map(column).collect();
        self.done = None;
    }

    /// Takes the samples of these units, and gives those that cannot be read, and why.
    pub(super) fn take(&mut self, units: &[Unit]) -> Vec<(Option<Span>, String)> {
        let mut unreadable = Vec::new();
        for unit in units {
            if let Err(why) = self.take_one(&unit.found) {
                self.done = self.done.max(unit.span.map(|span| span.last));
                unreadable.push((unit.span, why));
            }
        }
        unreadable
    }

    fn take_one(&mut self, found: &Found) -> Result<(), String> {
        match found {
            Found::Unreadable(why) => Err(why.clone()),
            Found::Record(bytes) => self.record(bytes),
            Found::Block { stream, rows, first, seqs, bytes } => {
                self.block(*stream, *rows, *first, seqs.as_deref(), bytes)
            }
        }
    }

    fn record(&mut self, bytes: &[u8]) -> Result<(), String> {
        let record = Record::decode(bytes).map_err(|error| error.to_string())?;
        let before = self.done;
        for row in record.rows().iter().filter(|row| Some(row.seq) > before) {
            let Some(column) = self.columns.get(&row.stream) else { continue };
            self.done = self.done.max(Some(row.seq));
            match row.slots.get(column.index) {
                Some(Slot::Unchanged) => {}
                Some(slot) if self.window.holds(row.time) => self.thin.add(row.time, slot.clone()),
                Some(_) => {}
                None => return Err("a row does not fit its columns".to_owned()),
            }
        }
        Ok(())
    }

    fn block(
        &mut self,
        stream: StreamId,
        rows: u64,
        first: u64,
        seqs: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), String> {
        let Some(column) = self.columns.get_mut(&stream) else { return Ok(()) };
        let head = decode::head(bytes)?;
        if head.stream != stream || head.first_seq != first || u64::from(head.rows) != rows {
            return Err("its block is another one".to_owned());
        }
        let read = self.decoder.decode_first_into(&head, head.schema, &mut column.batch);
        read.map_err(|error| error.to_string())?;
        let batch = &column.batch;
        let (last, skip) = match seqs {
            Some(seqs) => {
                let seqs = numbering::decode(seqs, batch.len()).ok_or("the numbers of its rows are damaged")?;
                (seqs.last().copied(), seqs.partition_point(|seq| Some(*seq) <= self.done))
            }
            None => {
                // It may have been joined with rows that are read already.
                let next = self.done.map_or(0, |done| done.saturating_add(1));
                (batch.last_seq(), usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX))
            }
        };
        self.done = self.done.max(last);
        let samples = batch.times().iter().zip(batch.slots(column.index)).skip(skip);
        for (time, slot) in samples {
            if slot != Slot::Unchanged && self.window.holds(*time) {
                self.thin.add(*time, slot);
            }
        }
        Ok(())
    }
}
