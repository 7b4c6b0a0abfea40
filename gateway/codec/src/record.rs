//! The fresh record: all rows of one commit of the store, of all streams, compressed and checksummed.
//!
//! `FORMAT.md` beside this crate's `Cargo.toml` says what each byte means. In short: a frame of 18 bytes (mark, version,
//! packing, two lengths, CRC-32C), then the body, mostly zstd level 1. The body has the heads of all rows, each with
//! the kinds and qualities of its slots as runs, and after them all values by kind, as byte planes, floats first turned back
//! into the decimal integers they came from. A decoder needs no schema.

pub(crate) mod bytes;
mod decode;
mod encode;
mod floats;
mod mark;
mod planes;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use tidegate_model::{Row, Slot, Stream, StreamId, Timestamp};

pub use encode::encode;

use crate::CodecError;

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 1;

/// Memory that the rows of one record may take together, as [`Row::heap_bytes`] counts it: 64 MiB.
///
/// Rows within it can always be encoded. It bounds the body too, and so what a decoder may take before it knows whether the
/// bytes are honest.
pub const MAX_BYTES: usize = 64 << 20;

/// First bytes of every record.
const MARK: [u8; 4] = *b"TGFR";
/// Bytes of the frame before the packed body.
const FRAME: usize = 18;
/// The body stands as it is.
const PACKING_NONE: u8 = 0;
/// The body is one zstd frame.
const PACKING_ZSTD: u8 = 1;

/// One row as it comes out of a record: its stream is only a number, which the store knows the columns of.
#[derive(Debug, Clone, PartialEq)]
pub struct RawRow {
    /// The store's number of the stream.
    pub stream: StreamId,
    /// The row's number in its stream.
    pub seq: u64,
    /// When the gateway had the device's last answer.
    pub time: Timestamp,
    /// The device's own time, where it has one.
    pub device_time: Option<Timestamp>,
    /// One slot per column of the stream.
    pub slots: Box<[Slot]>,
}

impl RawRow {
    /// The row of `stream`.
    ///
    /// `None` when it is not one of its rows: another number, or another number of columns.
    pub fn into_row(self, stream: &Arc<Stream>) -> Option<Row> {
        let RawRow { stream: id, seq, time, device_time, slots } = self;
        let fits = id == stream.id() && slots.len() == stream.columns().len();
        fits.then(|| Row { stream: Arc::clone(stream), seq, time, device_time, slots })
    }
}

/// A decoded record: rows in the order they were encoded in.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    rows: Vec<RawRow>,
}

impl Record {
    /// Reads what [`encode()`] has written. Takes at most five times [`MAX_BYTES`] of memory, whatever the bytes are.
    ///
    /// # Errors
    ///
    /// - [`CodecError::Cut`], [`CodecError::Trailing`]: not all bytes of a record, or more than that.
    /// - [`CodecError::NotARecord`], [`CodecError::Version`], [`CodecError::Checksum`]: something else, from a later
    ///   gateway, or damaged.
    /// - [`CodecError::TooLarge`], [`CodecError::Malformed`], [`CodecError::Compression`]: the checksum is right, but no
    ///   version of [`encode()`] has written this.
    pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
        let body = decode::unpack(bytes)?;
        Ok(Record { rows: decode::rows(&body)? })
    }

    /// The rows in the order they were encoded in.
    pub fn rows(&self) -> &[RawRow] {
        &self.rows
    }

    /// The rows, to keep.
    pub fn into_rows(self) -> Vec<RawRow> {
        self.rows
    }
}
