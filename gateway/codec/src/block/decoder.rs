//! From a block to a batch. Nothing in the bytes is believed.

use tidegate_model::{Column, Timestamp};

use super::{
    Batch, BlockError, Head, MAX_BYTES, SchemaId,
    cells::{Cells, Words},
    convert::{index, place},
    error::malformed,
    input::Input,
    mark::Mark,
    object,
};
use crate::record::bytes::unzigzag;

/// Turns blocks into batches. It keeps its working memory.
#[derive(Debug, Default)]
pub struct Decoder {}

impl Decoder {
    /// A decoder.
    pub fn new() -> Decoder {
        Decoder {}
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
        batch.clear();
        if head.schema != schema {
            return Err(BlockError::UnknownSchema { found: head.schema, given: schema });
        }
        let read = read(head, batch);
        if read.is_err() {
            batch.clear();
        }
        read
    }
}

fn read(head: &Head, batch: &mut Batch) -> Result<(), BlockError> {
    let too_large = BlockError::TooLarge { what: "the memory of the rows", limit: MAX_BYTES };
    let rows = index(head.rows);
    let row_bytes = 16 + batch.cells().iter().map(|cells| cells.words.size() + 1).sum::<usize>();
    if rows.saturating_mul(row_bytes) > MAX_BYTES {
        return Err(too_large);
    }
    let mut packed = Input::new(head.body());
    let length = place(packed.varint("the length of the body")?);
    if length > 2 * MAX_BYTES {
        return Err(too_large);
    }
    let body = zstd::bulk::decompress(packed.rest(), length)
        .map_err(|error| BlockError::Compression { detail: error.to_string() })?;
    let mut input = Input::new(&body);
    batch.begin(head.first_seq);
    let mut times = vec![head.first_time.as_millis()];
    for _ in 1..rows {
        let last = times.last().copied().unwrap_or_default();
        times.push(last.wrapping_add(input.signed("a time")?));
    }
    let any = input.byte("device times")?;
    for time in times {
        let has = any == 1 && input.byte("device times")? == 1;
        let device = if has { Some(Timestamp::from_millis(input.signed("a device time")?)) } else { None };
        batch.push_times(Timestamp::from_millis(time), device);
    }
    for cells in batch.cells_mut() {
        read_cells(&mut input, rows, cells)?;
    }
    Ok(())
}

fn read_cells(input: &mut Input, rows: usize, cells: &mut Cells) -> Result<(), BlockError> {
    let marks = place(input.varint("marks")?);
    if marks != 0 && marks != rows {
        return Err(malformed("marks"));
    }
    for code in input.take(marks, "marks")? {
        cells.marks.push(Mark::from_code(*code)?);
    }
    match &mut cells.words {
        Words::Wide(words) => {
            words.resize(rows, 0);
            for plane in 0..8 {
                for (word, byte) in words.iter_mut().zip(input.take(rows, "values")?) {
                    *word |= u64::from(*byte) << (8 * plane);
                }
            }
            let mut last = 0_u64;
            for word in words {
                last = last.wrapping_add(unzigzag(*word).cast_unsigned());
                *word = last;
            }
        }
        Words::Narrow(words) => {
            for _ in 0..rows {
                words.push(input.word("values")?);
            }
        }
        Words::Flags(words) => words.extend(input.take(rows, "values")?.iter().map(|byte| *byte != 0)),
    }
    let mut objects = Vec::new();
    for _ in 0..input.varint("objects")? {
        objects.push(object::read(input)?);
    }
    cells.set_objects(objects);
    let mut foreign = Vec::new();
    for _ in 0..input.varint("foreign values")? {
        foreign.push((place(input.varint("foreign values")?), object::read(input)?));
    }
    cells.set_foreign(foreign);
    Ok(())
}
