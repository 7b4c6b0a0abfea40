//! From a block to a batch. Nothing in the bytes is believed.

use tidegate_model::Column;

use super::{
    Batch, BlockError, Codec, Head, MAX_BYTES, SchemaId,
    coder::Coder,
    column_read::ReadWork,
    convert::index,
    error::{TOO_LARGE, malformed},
    parts::Parts,
    planes::{self, PlaneReader},
    range::Reader,
    range_coder::RangeCoder,
    times,
};

/// Turns blocks into batches. It keeps its working memory.
pub struct Decoder {
    work: ReadWork,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

impl Decoder {
    /// A decoder.
    pub fn new() -> Decoder {
        Decoder { work: ReadWork::new() }
    }

    /// The rows of a block; `columns` are those of the schema with the id `schema`.
    ///
    /// # Errors
    ///
    /// As [`Decoder::decode_into`].
    pub fn decode(&mut self, head: &Head, schema: SchemaId, columns: &[Column]) -> Result<Batch, BlockError> {
        let mut batch = Batch::new(columns);
        self.decode_into(head, schema, &mut batch)?;
        Ok(batch)
    }

    /// The rows of a block in the place of those in `batch`, which was made with the columns of the schema with the id `schema`.
    ///
    /// # Errors
    ///
    /// The batch is empty then.
    ///
    /// - [`BlockError::UnknownSchema`] when the block has another schema.
    /// - [`BlockError::TooLarge`] when the rows take more than [`MAX_BYTES`] of memory.
    /// - [`BlockError::Malformed`], [`BlockError::Compression`]: the checksum is right, but no encoder has written this.
    pub fn decode_into(&mut self, head: &Head, schema: SchemaId, batch: &mut Batch) -> Result<(), BlockError> {
        self.read_into(head, schema, batch, Wanted::All)
    }

    /// As [`Decoder::decode_into`], but only the first columns of the schema: those that `batch` was made with. What comes
    /// after them is not unpacked, which is faster; only its checksum has been looked at.
    ///
    /// # Errors
    ///
    /// As [`Decoder::decode_into`].
    pub fn decode_first_into(&mut self, head: &Head, schema: SchemaId, batch: &mut Batch) -> Result<(), BlockError> {
        self.read_into(head, schema, batch, Wanted::First)
    }

    /// As [`Decoder::decode_first_into`], but only the last of these columns is wanted. Those before it are there or not: where
    /// the block has its columns in parts, they are not unpacked, and have no slots.
    ///
    /// # Errors
    ///
    /// As [`Decoder::decode_into`].
    pub fn decode_last_into(&mut self, head: &Head, schema: SchemaId, batch: &mut Batch) -> Result<(), BlockError> {
        self.read_into(head, schema, batch, Wanted::Last)
    }

    fn read_into(
        &mut self,
        head: &Head,
        schema: SchemaId,
        batch: &mut Batch,
        wanted: Wanted,
    ) -> Result<(), BlockError> {
        batch.clear();
        if head.schema != schema {
            return Err(BlockError::UnknownSchema { found: head.schema, given: schema });
        }
        let read = read(head, batch, &mut self.work, wanted);
        if read.is_err() {
            batch.clear();
        }
        read
    }
}

/// Which columns are wanted of those of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// All of them; the batch has them.
    All,
    /// Those of the batch, which are the first ones.
    First,
    /// The last of the batch.
    Last,
}

fn read(head: &Head, batch: &mut Batch, work: &mut ReadWork, wanted: Wanted) -> Result<(), BlockError> {
    let rows = index(head.rows);
    let fixed = rows.saturating_mul(batch.row_bytes());
    work.begin(MAX_BYTES.checked_sub(fixed).ok_or(TOO_LARGE)?);
    batch.begin(head.first_seq);
    let first = head.first_time.as_millis();
    match head.codec {
        Codec::Planes => {
            let body = planes::unpack(head.body())?;
            let mut coder = PlaneReader::new(&body)?;
            read_body(&mut coder, first, rows, batch, work)?;
            ends(wanted != Wanted::All || coder.is_at_end())?;
        }
        Codec::Range => {
            let mut coder = RangeCoder::new(Reader::new(head.body()));
            read_body(&mut coder, first, rows, batch, work)?;
            ends(wanted != Wanted::All || coder.bits.is_at_end())?;
        }
        Codec::Parts => read_parts(Parts::read(head.body())?, first, rows, batch, work, wanted)?,
    }
    batch.end();
    Ok(())
}

fn ends(at_end: bool) -> Result<(), BlockError> {
    if at_end { Ok(()) } else { Err(malformed("the end of the body")) }
}

fn read_body<C: Coder>(
    coder: &mut C,
    first: i64,
    rows: usize,
    batch: &mut Batch,
    work: &mut ReadWork,
) -> Result<(), BlockError> {
    coder.rows(rows);
    times::read(coder, first, rows, batch)?;
    for cells in batch.cells_mut() {
        work.read_column(coder, cells, rows)?;
    }
    Ok(())
}

/// Each part that is wanted to its end must end there.
fn read_parts(
    mut parts: Parts,
    first: i64,
    rows: usize,
    batch: &mut Batch,
    work: &mut ReadWork,
    wanted: Wanted,
) -> Result<(), BlockError> {
    let columns = batch.columns();
    if wanted == Wanted::All && !parts.fit(columns) {
        return Err(malformed("the parts of the body"));
    }
    let mut coder = RangeCoder::new(Reader::new(parts.next()?));
    coder.rows(rows);
    times::read(&mut coder, first, rows, batch)?;
    if columns == 0 {
        return ends(wanted != Wanted::All || coder.bits.is_at_end());
    }
    let skipped = if wanted == Wanted::Last { (columns - 1) / parts.columns } else { 0 };
    for (at, columns) in batch.cells_mut().chunks_mut(parts.columns).enumerate() {
        let body = if at > 0 { Some(parts.next()?) } else { None };
        if at < skipped {
            continue;
        }
        if let Some(body) = body {
            coder = RangeCoder::new(Reader::new(body));
            coder.rows(rows);
            work.begin_part();
        }
        let is_whole = wanted == Wanted::All || columns.len() == parts.columns;
        for cells in columns {
            work.read_column(&mut coder, cells, rows)?;
        }
        ends(!is_whole || coder.bits.is_at_end())?;
    }
    Ok(())
}
