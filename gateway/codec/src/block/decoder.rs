//! From a block to a batch. Nothing in the bytes is believed.

use tidegate_model::Column;

use super::{
    Batch, BlockError, Codec, Head, MAX_BYTES, SchemaId,
    coder::Coder,
    column_read::ReadWork,
    convert::index,
    error::{TOO_LARGE, malformed},
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
        self.read_into(head, schema, batch, true)
    }

    /// As [`Decoder::decode_into`], but only the first columns of the schema: those that `batch` was made with. What comes
    /// after them is not unpacked, which is faster; only its checksum has been looked at.
    ///
    /// # Errors
    ///
    /// As [`Decoder::decode_into`].
    pub fn decode_first_into(&mut self, head: &Head, schema: SchemaId, batch: &mut Batch) -> Result<(), BlockError> {
        self.read_into(head, schema, batch, false)
    }

    fn read_into(
        &mut self,
        head: &Head,
        schema: SchemaId,
        batch: &mut Batch,
        to_the_end: bool,
    ) -> Result<(), BlockError> {
        batch.clear();
        if head.schema != schema {
            return Err(BlockError::UnknownSchema { found: head.schema, given: schema });
        }
        let read = match read(head, batch, &mut self.work) {
            Ok(false) if to_the_end => Err(malformed("the end of the body")),
            read => read.map(drop),
        };
        if read.is_err() {
            batch.clear();
        }
        read
    }
}

/// Whether the body ends with the columns of the batch.
fn read(head: &Head, batch: &mut Batch, work: &mut ReadWork) -> Result<bool, BlockError> {
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
            Ok(coder.is_at_end())
        }
        Codec::Range => {
            let mut coder = RangeCoder::new(Reader::new(head.body()));
            read_body(&mut coder, first, rows, batch, work)?;
            Ok(coder.bits.is_at_end())
        }
    }
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
    batch.end();
    Ok(())
}
