//! From rows to a record.

use std::sync::Arc;

use tidegate_model::{Reason, Row, Slot, Value};

use super::{
    FRAME, MARK, MAX_BYTES, PACKING_NONE, PACKING_ZSTD, VERSION,
    bytes::{put_count, put_signed, put_varint, zigzag},
    floats::{Double, Floats, Single},
    mark::{Content, Mark},
    planes,
};
use crate::{CodecError, packing};

/// Level 1: the record is short-lived, and the planes have done most of the work.
const ZSTD_LEVEL: i32 = 1;

pub(super) const HAS_DEVICE_TIME: u8 = 1;
pub(super) const SAME_SHAPE: u8 = 2;

/// All rows of one commit as one record, which [`Record::decode`](super::Record::decode) reads.
///
/// Every value comes back to the last bit. An array of arrays, which nothing in the gateway makes, becomes bad with
/// `invalid_value`.
///
/// # Errors
///
/// - [`CodecError::TooLarge`] when the rows take more than [`MAX_BYTES`] of memory.
/// - [`CodecError::Compression`] when the library fails, which only a lack of memory is known to cause.
pub fn encode(rows: &[Arc<Row>]) -> Result<Vec<u8>, CodecError> {
    if rows.iter().map(|row| row.heap_bytes()).sum::<usize>() > MAX_BYTES {
        return Err(CodecError::TooLarge { limit: MAX_BYTES });
    }
    let mut body = Body::new();
    for row in rows {
        body.push(row);
    }
    pack(&body.finish(rows.len()))
}

/// Compresses the body where that helps, and puts the frame around it.
fn pack(body: &[u8]) -> Result<Vec<u8>, CodecError> {
    let compressed = packing::compress(body, ZSTD_LEVEL).map_err(|detail| CodecError::Compression { detail })?;
    match compressed {
        Some(compressed) => frame(PACKING_ZSTD, &compressed, body.len()),
        None => frame(PACKING_NONE, body, body.len()),
    }
}

/// The frame around a packed body.
pub(super) fn frame(packing: u8, packed: &[u8], body_length: usize) -> Result<Vec<u8>, CodecError> {
    let length = |length| u32::try_from(length).map_err(|_| CodecError::TooLarge { limit: MAX_BYTES });
    let mut out = Vec::with_capacity(FRAME + packed.len());
    out.extend_from_slice(&MARK);
    out.push(VERSION);
    out.push(packing);
    out.extend_from_slice(&length(packed.len())?.to_le_bytes());
    out.extend_from_slice(&length(body_length)?.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&out), packed);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(packed);
    Ok(out)
}

/// The sections of a body while rows are added.
struct Body {
    heads: Vec<u8>,
    /// The runs of the row that is being added, and of the one before.
    shape: Vec<u8>,
    last_shape: Vec<u8>,
    last_stream: i64,
    last_seq: u64,
    last_time: i64,
    bools: Vec<u64>,
    ints: Vec<u64>,
    uints: Vec<u64>,
    singles: Floats<Single>,
    doubles: Floats<Double>,
    text_lengths: Vec<u64>,
    text_bytes: Vec<u8>,
    /// Of each array: its runs.
    arrays: Vec<u8>,
}

impl Body {
    fn new() -> Body {
        Body {
            heads: Vec::new(),
            shape: Vec::new(),
            last_shape: Vec::new(),
            last_stream: 0,
            last_seq: 0,
            last_time: 0,
            bools: Vec::new(),
            ints: Vec::new(),
            uints: Vec::new(),
            singles: Floats::new(),
            doubles: Floats::new(),
            text_lengths: Vec::new(),
            text_bytes: Vec::new(),
            arrays: Vec::new(),
        }
    }

    fn push(&mut self, row: &Row) {
        self.shape.clear();
        write_runs(row.slots.len(), row.slots.iter().map(mark), &mut self.shape);
        let same_shape = self.shape == self.last_shape;
        self.head(row, same_shape);
        std::mem::swap(&mut self.shape, &mut self.last_shape);
        self.singles.begin_row(same_shape);
        self.doubles.begin_row(same_shape);
        for slot in &row.slots {
            if let Some(value) = slot.value() {
                self.value(value);
            }
        }
    }

    fn head(&mut self, row: &Row, same_shape: bool) {
        let out = &mut self.heads;
        let device_time = if row.device_time.is_some() { HAS_DEVICE_TIME } else { 0 };
        out.push(device_time | if same_shape { SAME_SHAPE } else { 0 });
        let (stream, seq, time) = (i64::from(row.stream.id().0), row.seq, row.time.as_millis());
        put_signed(stream - self.last_stream, out);
        put_signed(seq.wrapping_sub(self.last_seq).cast_signed(), out);
        put_signed(time.wrapping_sub(self.last_time), out);
        (self.last_stream, self.last_seq, self.last_time) = (stream, seq, time);
        if let Some(device_time) = row.device_time {
            put_signed(device_time.as_millis().wrapping_sub(time), out);
        }
        if !same_shape {
            out.extend_from_slice(&self.shape);
        }
    }

    #[inline]
    fn value(&mut self, value: &Value) {
        match value {
            Value::F32(number) => self.singles.push(u64::from(number.to_bits())),
            Value::F64(number) => self.doubles.push(number.to_bits()),
            Value::Int(number) => self.ints.push(zigzag(*number)),
            Value::Uint(number) => self.uints.push(*number),
            Value::Bool(on) => self.bools.push(u64::from(*on)),
            Value::Text(text) => self.bytes(text.as_bytes()),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Array(items) => self.array(items),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // Nothing is longer than 2^64 bytes.
        self.text_lengths.push(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.text_bytes.extend_from_slice(bytes);
    }

    fn array(&mut self, items: &[Value]) {
        // `mark` has made arrays of arrays bad already, and bad slots have no value in the sections.
        if has_array(items) {
            return;
        }
        write_runs(items.len(), items.iter().map(|item| Mark::Good(Content::of(item))), &mut self.arrays);
        for item in items {
            self.value(item);
        }
    }

    /// All sections, one after the other.
    fn finish(self, rows: usize) -> Vec<u8> {
        let values = 4 * self.singles.len() + 8 * (self.doubles.len() + self.ints.len() + self.uints.len());
        let mut out = Vec::with_capacity(64 + self.heads.len() + self.text_bytes.len() + values);
        put_count(rows, &mut out);
        out.extend_from_slice(&self.heads);
        put_count(self.arrays.len(), &mut out);
        out.extend_from_slice(&self.arrays);
        planes::write(&self.bools, &mut out);
        planes::write(&self.ints, &mut out);
        planes::write(&self.uints, &mut out);
        self.singles.write(&mut out);
        self.doubles.write(&mut out);
        planes::write(&self.text_lengths, &mut out);
        out.extend_from_slice(&self.text_bytes);
        out
    }
}

/// What a slot is, as it is written.
#[inline]
fn mark(slot: &Slot) -> Mark {
    match slot.value() {
        Some(Value::Array(items)) if has_array(items) => Mark::Bad(Reason::InvalidValue),
        _ => Mark::of(slot),
    }
}

fn has_array(items: &[Value]) -> bool {
    items.iter().any(|item| matches!(item, Value::Array(_)))
}

/// Appends how many marks there are, and the marks as runs.
fn write_runs(count: usize, marks: impl Iterator<Item = Mark>, out: &mut Vec<u8>) {
    put_count(count, out);
    let mut run: Option<(Mark, u64)> = None;
    for mark in marks {
        match &mut run {
            Some((of, length)) if *of == mark => *length += 1,
            _ => {
                if let Some((of, length)) = run.replace((mark, 1)) {
                    of.write(out);
                    put_varint(length, out);
                }
            }
        }
    }
    if let Some((of, length)) = run {
        of.write(out);
        put_varint(length, out);
    }
}
