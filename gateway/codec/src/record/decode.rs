//! From a record to rows. Nothing in the bytes is believed.

use std::sync::Arc;

use tidegate_model::{Row, Slot, StreamId, Timestamp};

use super::{
    FRAME, MARK, MAX_BYTES, PACKING_NONE, PACKING_ZSTD, RawRow, VERSION,
    bytes::Input,
    encode::{HAS_DEVICE_TIME, SAME_SHAPE},
    mark::Mark,
    values::Values,
};
use crate::{CodecError, packing};

/// Checks the frame and gives the body.
pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    let cut = |expected| CodecError::Cut { expected, found: bytes.len() };
    let mark = bytes.get(..MARK.len()).unwrap_or(bytes);
    if !MARK.starts_with(mark) {
        return Err(CodecError::NotARecord);
    }
    let Some((frame, packed)) = bytes.split_first_chunk::<FRAME>() else {
        return Err(cut(FRAME));
    };
    let [_, _, _, _, version, packing, p0, p1, p2, p3, b0, b1, b2, b3, c0, c1, c2, c3] = *frame;
    if version != VERSION {
        return Err(CodecError::Version { version });
    }
    let packed_length = length([p0, p1, p2, p3]);
    if packed.len() < packed_length {
        return Err(cut(packed_length.saturating_add(FRAME)));
    }
    if packed.len() > packed_length {
        return Err(CodecError::Trailing { count: packed.len() - packed_length });
    }
    let (stated, checked) = (u32::from_le_bytes([c0, c1, c2, c3]), frame.get(..FRAME - 4).unwrap_or_default());
    let computed = crc32c::crc32c_append(crc32c::crc32c(checked), packed);
    if computed != stated {
        return Err(CodecError::Checksum { stated, computed });
    }
    decompress(packing, packed, length([b0, b1, b2, b3]))
}

fn length(bytes: [u8; 4]) -> usize {
    // Saturates only where memory has no room for so many bytes either.
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

fn decompress(packing: u8, packed: &[u8], length: usize) -> Result<Vec<u8>, CodecError> {
    if length > MAX_BYTES {
        return Err(CodecError::TooLarge { limit: MAX_BYTES });
    }
    let body = match packing {
        PACKING_NONE => packed.to_vec(),
        PACKING_ZSTD => packing::decompress(packed, length).map_err(|detail| CodecError::Compression { detail })?,
        _ => return Err(CodecError::Malformed { what: "the packing is not known" }),
    };
    if body.len() == length { Ok(body) } else { Err(CodecError::Malformed { what: "the length of the body" }) }
}

/// Reads a body.
pub(super) fn rows(body: &[u8]) -> Result<Vec<RawRow>, CodecError> {
    let mut input = Input::new(body);
    let heads = heads(&mut input)?;
    let mut values = Values::read(&mut input)?;
    let mut rows = Vec::with_capacity(heads.len());
    for Head { stream, seq, time, device_time, shape, columns } in heads {
        let slots = values.slots(&shape, columns)?;
        rows.push(RawRow { stream, seq, time, device_time, slots });
    }
    values.finish()?;
    Ok(rows)
}

/// Memory that may still be promised to rows.
struct Budget(usize);

impl Budget {
    fn take(&mut self, count: usize, size: usize) -> Result<(), CodecError> {
        let left = count.checked_mul(size).and_then(|bytes| self.0.checked_sub(bytes));
        self.0 = left.ok_or(CodecError::TooLarge { limit: MAX_BYTES })?;
        Ok(())
    }

    /// How many things of that size it is still good for.
    fn room(&self, size: usize) -> usize {
        self.0 / size
    }
}

/// So many slots or items in a row that are of one kind.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) mark: Mark,
    pub(super) length: usize,
}

struct Head {
    stream: StreamId,
    seq: u64,
    time: Timestamp,
    device_time: Option<Timestamp>,
    shape: Arc<[Run]>,
    columns: usize,
}

fn heads(input: &mut Input) -> Result<Vec<Head>, CodecError> {
    let mut budget = Budget(MAX_BYTES);
    let count = input.count("the number of rows")?;
    budget.take(count, size_of::<Row>())?;
    let (mut stream, mut seq, mut time) = (0_i64, 0_u64, 0_i64);
    let (mut shape, mut columns): (Option<Arc<[Run]>>, usize) = (None, 0);
    let mut heads = Vec::with_capacity(count);
    for _ in 0..count {
        let flags = input.byte("the flags of a row")?;
        if flags & !(HAS_DEVICE_TIME | SAME_SHAPE) != 0 {
            return Err(CodecError::Malformed { what: "the flags of a row" });
        }
        stream = stream.wrapping_add(input.signed("the stream of a row")?);
        let id = u32::try_from(stream).map_err(|_| CodecError::Malformed { what: "the stream of a row" })?;
        seq = seq.wrapping_add(input.signed("the number of a row")?.cast_unsigned());
        time = time.wrapping_add(input.signed("the time of a row")?);
        let device_time = if flags & HAS_DEVICE_TIME == 0 {
            None
        } else {
            Some(Timestamp::from_millis(time.wrapping_add(input.signed("the device's time of a row")?)))
        };
        if flags & SAME_SHAPE == 0 {
            let runs;
            (columns, runs) = read_runs(input, budget.room(size_of::<Slot>()))?;
            shape = Some(runs.into());
        }
        budget.take(columns, size_of::<Slot>())?;
        let shape = shape.clone().ok_or(CodecError::Malformed { what: "the first row has no shape" })?;
        heads.push(Head { stream: StreamId(id), seq, time: Timestamp::from_millis(time), device_time, shape, columns });
    }
    Ok(heads)
}

/// How many marks there are, at most `limit`, and the marks.
pub(super) fn read_runs(input: &mut Input, limit: usize) -> Result<(usize, Vec<Run>), CodecError> {
    const WHAT: &str = "a run of slots";
    let count = input.count(WHAT)?;
    if count > limit {
        return Err(CodecError::TooLarge { limit: MAX_BYTES });
    }
    let mut left = count;
    let mut runs = Vec::new();
    while left > 0 {
        let mark = Mark::read(input)?;
        let length = input.count(WHAT)?;
        left = left.checked_sub(length).filter(|_| length > 0).ok_or(CodecError::Malformed { what: WHAT })?;
        runs.push(Run { mark, length });
    }
    Ok((count, runs))
}
