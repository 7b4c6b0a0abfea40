//! From a batch to a block.

use super::{
    Batch, BlockError, Codec, MAX_BYTES, Origin,
    cells::Cells,
    coder::Coder,
    column::Work,
    error::TOO_LARGE,
    frame,
    memory::{Memories, Memory},
    parts::PartWriter,
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
    parts: PartWriter,
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
            parts: PartWriter::default(),
            work: Work::new(),
            memories: Memories::default(),
        }
    }

    /// From now on packs rows so.
    pub fn set_codec(&mut self, codec: Codec) {
        self.codec = codec;
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
                write_times(&mut self.planes, &mut self.work, batch)?;
                write_columns(&mut self.planes, &mut self.work, batch.len(), batch.cells(), memories)?;
                self.planes.finish(&mut self.contents)?;
            }
            Codec::Range => {
                self.range.reset();
                self.range.bits.begin();
                write_times(&mut self.range, &mut self.work, batch)?;
                write_columns(&mut self.range, &mut self.work, batch.len(), batch.cells(), memories)?;
                self.range.bits.finish(&mut self.contents);
            }
            Codec::Parts => {
                self.parts.begin();
                self.range.reset();
                self.range.bits.begin();
                write_times(&mut self.range, &mut self.work, batch)?;
                let cells = batch.cells().chunks(Codec::PART_COLUMNS);
                for (at, (cells, memories)) in cells.zip(memories.chunks_mut(Codec::PART_COLUMNS)).enumerate() {
                    if at > 0 {
                        self.parts.add(|out| self.range.bits.finish(out));
                        self.range.reset();
                        self.range.bits.begin();
                        self.range.rows(batch.len());
                        self.work.begin_part();
                    }
                    write_columns(&mut self.range, &mut self.work, batch.len(), cells, memories)?;
                }
                self.parts.add(|out| self.range.bits.finish(out));
                self.parts.finish(&mut self.contents);
            }
        }
        frame::put_frame(self.codec, &self.contents, out);
        Ok(())
    }
}

fn write_times<C: Coder>(coder: &mut C, work: &mut Work, batch: &Batch) -> Result<(), BlockError> {
    coder.rows(batch.len());
    times::write(coder, batch, &mut work.search)
}

fn write_columns<C: Coder>(
    coder: &mut C,
    work: &mut Work,
    rows: usize,
    columns: &[Cells],
    memories: &mut [Memory],
) -> Result<(), BlockError> {
    for (cells, memory) in columns.iter().zip(memories) {
        work.write_column(coder, cells, rows, memory)?;
    }
    Ok(())
}
