//! From a batch to a block.

use super::{
    Batch, BlockError, Codec, Origin,
    cells::{Cells, Words},
    convert::{count, low_byte},
    frame, object,
};
use crate::record::bytes::{put_signed, put_varint, zigzag};

/// Turns batches into blocks. It remembers what it has found out about the columns of the streams, which makes it faster; each
/// block stands for itself.
#[derive(Debug)]
pub struct Encoder {
    codec: Codec,
    contents: Vec<u8>,
}

impl Encoder {
    /// An encoder that packs rows so.
    pub fn new(codec: Codec) -> Encoder {
        Encoder { codec, contents: Vec::new() }
    }

    /// Appends the batch to `out` as one block.
    ///
    /// # Errors
    ///
    /// - [`BlockError::Empty`] when the batch has no row.
    /// - [`BlockError::Compression`] when the library fails, which only a lack of memory is known to cause.
    pub fn encode(&mut self, origin: &Origin, batch: &Batch, out: &mut Vec<u8>) -> Result<(), BlockError> {
        let (Some(first_seq), Some(first_time)) = (batch.first_seq(), batch.time(0)) else {
            return Err(BlockError::Empty);
        };
        self.contents.clear();
        frame::put_head(origin, first_seq, batch.len(), first_time, &mut self.contents);
        let mut body = Vec::new();
        for row in 1..batch.len() {
            let time = |row| batch.time(row).map_or(0, tidegate_model::Timestamp::as_millis);
            put_signed(time(row).wrapping_sub(time(row - 1)), &mut body);
        }
        body.push(u8::from(batch.has_device_times()));
        for row in 0..batch.len() {
            if batch.has_device_times() {
                body.push(u8::from(batch.device_time(row).is_some()));
            }
            if let Some(time) = batch.device_time(row) {
                put_signed(time.as_millis(), &mut body);
            }
        }
        for cells in batch.cells() {
            put_cells(cells, &mut body);
        }
        let packed =
            zstd::bulk::compress(&body, 3).map_err(|error| BlockError::Compression { detail: error.to_string() })?;
        put_varint(count(body.len()), &mut self.contents);
        self.contents.extend_from_slice(&packed);
        frame::put_frame(self.codec, &self.contents, out);
        Ok(())
    }
}

fn put_cells(cells: &Cells, body: &mut Vec<u8>) {
    put_varint(count(cells.marks.len()), body);
    body.extend(cells.marks.iter().map(|mark| mark.code()));
    match &cells.words {
        Words::Wide(words) => {
            let mut last = 0_u64;
            let mut deltas = Vec::new();
            for word in words {
                deltas.push(zigzag(word.wrapping_sub(last).cast_signed()));
                last = *word;
            }
            for plane in 0..8 {
                body.extend(deltas.iter().map(|delta| low_byte(delta >> (8 * plane))));
            }
        }
        Words::Narrow(words) => body.extend(words.iter().flat_map(|word| word.to_le_bytes())),
        Words::Flags(words) => body.extend(words.iter().map(|on| u8::from(*on))),
    }
    put_varint(count(cells.objects.len()), body);
    for value in &cells.objects {
        object::write(value, body);
    }
    put_varint(count(cells.foreign.len()), body);
    for (row, value) in &cells.foreign {
        put_varint(count(*row), body);
        object::write(value, body);
    }
}
