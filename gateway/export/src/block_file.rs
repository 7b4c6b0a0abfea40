//! Rows as blocks in a file, with the schemas by which they are read.

use std::{collections::BTreeMap, io::Write};

use tidegate_codec::block::{
    Batch, BlockError, BlockSchema, Codec, Encoder, GapRecord, Origin, SchemaId, StoreId, file::put_schema,
};
use tidegate_model::{Column, Stream, StreamId};

use crate::{ExportError, Places};

/// Rows of a block, as long as they are in memory together no more than [`BYTES`].
const ROWS: usize = 600;
const BYTES: usize = 8 << 20;

/// Writes rows of any streams of one store to one file, as blocks of codec 1 between which the schemas stand. `tidegate block
/// decode` and the decoder in Python read it with nothing else.
pub struct BlockFile<W: Write> {
    to: W,
    store: StoreId,
    encoder: Encoder,
    /// The documents that stand in the file.
    documents: BTreeMap<SchemaId, Vec<u8>>,
    streams: BTreeMap<StreamId, Known>,
    open: Option<Open>,
    out: Vec<u8>,
}

/// A stream that has been seen.
#[derive(Clone)]
struct Known {
    schema: SchemaId,
    columns: Vec<Column>,
    /// Where these are among the columns of the stream; `None` when they are all of them, in their order.
    places: Option<Vec<usize>>,
}

/// The block that is not written yet.
struct Open {
    origin: Origin,
    batch: Batch,
}

impl<W: Write> BlockFile<W> {
    /// Begins a file of rows that `store` has numbered.
    pub fn new(to: W, store: StoreId) -> BlockFile<W> {
        let (documents, streams) = (BTreeMap::new(), BTreeMap::new());
        BlockFile { to, store, encoder: Encoder::new(Codec::Range), documents, streams, open: None, out: Vec::new() }
    }

    /// Appends rows of a stream that were numbered in that start of the gateway. `places` says which columns: those that a table
    /// has ([`Table::places`](crate::Table::places)), the same for all rows of the stream.
    ///
    /// # Errors
    ///
    /// [`ExportError::Write`] and [`ExportError::Block`]; the file is of no use then.
    pub fn write(&mut self, stream: &Stream, boot: u64, batch: &Batch, places: &Places) -> Result<(), ExportError> {
        let known = self.known(stream, places)?;
        let origin = Origin { stream: stream.id(), schema: known.schema, boot };
        let selected = known.places.as_ref().map(|places| select(batch, places, &known.columns)).transpose()?;
        let batch = selected.as_ref().unwrap_or(batch);
        let mut row = 0;
        while row < batch.len() {
            let goes_on = self.open.as_ref().is_some_and(|open| {
                let next = open.batch.last_seq().and_then(|last| last.checked_add(1));
                open.origin == origin
                    && open.batch.len() < ROWS
                    && open.batch.heap_bytes() < BYTES
                    && next == batch.seq(row)
            });
            if !goes_on {
                self.flush()?;
            }
            let open = self.open.get_or_insert_with(|| Open { origin, batch: Batch::new(&known.columns) });
            let rows = batch.slice(row..row.saturating_add(ROWS - open.batch.len().min(ROWS)));
            // One long piece of much is a block of its own.
            if open.batch.append(&rows).is_err() {
                self.flush()?;
                self.put(&origin, &rows)?;
            }
            row += rows.len();
        }
        Ok(())
    }

    /// Says that rows of a stream are missing, from the number `first` to `last`, for a reason as FORMAT.md of the codec has it.
    /// The rest is as for [`BlockFile::write`].
    ///
    /// # Errors
    ///
    /// As [`BlockFile::write`].
    pub fn write_gap(
        &mut self,
        (stream, boot): (&Stream, u64),
        (first, last): (u64, u64),
        reason: u8,
        places: &Places,
    ) -> Result<(), ExportError> {
        let schema = self.known(stream, places)?.schema;
        self.flush()?;
        let gap = GapRecord { stream: stream.id(), schema, boot, first_seq: first, last_seq: last, reason };
        gap.encode(&mut self.out);
        Ok(())
    }

    /// What is known of a stream; its schema is written when it is the first time.
    fn known(&mut self, stream: &Stream, places: &Places) -> Result<Known, ExportError> {
        if let Some(known) = self.streams.get(&stream.id()) {
            return Ok(known.clone());
        }
        let places: Vec<usize> = places.iter().flatten().collect();
        let columns: Vec<Column> = places.iter().filter_map(|place| stream.columns().get(*place)).cloned().collect();
        let all = places.iter().copied().eq(0..stream.columns().len());
        let (device, group) = (stream.device().clone(), stream.group().clone());
        let mut schema = BlockSchema { store: self.store, device, group, columns: columns.clone().into(), salt: 0 };
        let (id, document) = loop {
            let document = schema.encode()?;
            let id = BlockSchema::id_of(&document);
            if self.documents.get(&id).is_none_or(|other| *other == document) {
                break (id, document);
            }
            schema.salt += 1;
        };
        if !self.documents.contains_key(&id) {
            self.flush()?;
            put_schema(&document, &mut self.out);
            self.documents.insert(id, document);
        }
        let known = Known { schema: id, columns, places: (!all).then_some(places) };
        self.streams.insert(stream.id(), known.clone());
        Ok(known)
    }

    /// Writes the block that is open.
    fn flush(&mut self) -> Result<(), ExportError> {
        match self.open.take() {
            Some(Open { origin, batch }) if !batch.is_empty() => self.put(&origin, &batch),
            _ => Ok(()),
        }
    }

    fn put(&mut self, origin: &Origin, batch: &Batch) -> Result<(), ExportError> {
        self.encoder.encode(origin, batch, &mut self.out)?;
        self.to.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Completes the file. Without it, the last rows are missing.
    ///
    /// # Errors
    ///
    /// As [`BlockFile::write`].
    pub fn finish(mut self) -> Result<W, ExportError> {
        self.flush()?;
        self.to.write_all(&self.out)?;
        self.to.flush()?;
        Ok(self.to)
    }
}

/// The rows with some of their columns.
fn select(batch: &Batch, places: &[usize], columns: &[Column]) -> Result<Batch, BlockError> {
    let mut selected = Batch::new(columns);
    let mut slots = Vec::with_capacity(columns.len());
    for row in 0..batch.len() {
        let (Some(seq), Some(time)) = (batch.seq(row), batch.time(row)) else { break };
        slots.clear();
        slots.extend(places.iter().filter_map(|place| batch.slot(row, *place)));
        selected.push(seq, time, batch.device_time(row), &slots)?;
    }
    Ok(selected)
}
