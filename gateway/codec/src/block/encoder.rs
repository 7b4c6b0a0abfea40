//! From a batch to a block.

use super::{
    Batch, BlockError, Codec, MAX_BYTES, Origin,
    coder::Coder,
    column::Work,
    error::TOO_LARGE,
    frame,
    memory::{Memories, Memory},
    planes::PlaneWriter,
    range::Writer,
    range_coder::RangeCoder,
    times,
};

/// Turns batches into blocks. It remembers what it has found out about the columns of the streams, which makes it faster; each
/// block stands for itself.
pub struct Encoder {
    codec: Codec,
    contents: Vec<u8>,
    planes: PlaneWriter,
    range: RangeCoder<Writer>,
    work: Work,
    memories: Memories,
}

impl Encoder {
    /// An encoder that packs rows so.
    pub fn new(codec: Codec) -> Encoder {
        Encoder {
            codec,
            contents: Vec::new(),
            planes: PlaneWriter::default(),
            range: RangeCoder::new(Writer::default()),
            work: Work::new(),
            memories: Memories::default(),
        }
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
        if batch.heap_bytes() > MAX_BYTES {
            return Err(TOO_LARGE);
        }
        self.contents.clear();
        frame::put_head(origin, first_seq, batch.len(), first_time, &mut self.contents);
        self.work.begin();
        let memories = self.memories.of(origin.schema, batch.columns());
        match self.codec {
            Codec::Planes => {
                self.planes.reset();
                write(&mut self.planes, &mut self.work, batch, memories)?;
                self.planes.finish(&mut self.contents)?;
            }
            Codec::Range => {
                self.range.reset();
                self.range.bits.begin();
                write(&mut self.range, &mut self.work, batch, memories)?;
                self.range.bits.finish(&mut self.contents);
            }
        }
        frame::put_frame(self.codec, &self.contents, out);
        Ok(())
    }
}

fn write<C: Coder>(coder: &mut C, work: &mut Work, batch: &Batch, memories: &mut [Memory]) -> Result<(), BlockError> {
    coder.rows(batch.len());
    times::write(coder, batch, &mut work.search)?;
    for (cells, memory) in batch.cells().iter().zip(memories) {
        work.write_column(coder, cells, batch.len(), memory)?;
    }
    Ok(())
}
