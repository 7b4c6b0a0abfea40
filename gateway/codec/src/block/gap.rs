//! Rows that are missing on purpose, as a block that travels like rows.

use tidegate_model::StreamId;

use super::{SchemaId, frame};

/// Rows of one stream that will never come, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapRecord {
    /// The store's number of the stream.
    pub stream: StreamId,
    /// The schema of the stream, which says whose rows they are.
    pub schema: SchemaId,
    /// In which start of the gateway the rows were dropped; a later start has a higher number.
    pub boot: u64,
    /// The number of the first row that is missing.
    pub first_seq: u64,
    /// The number of the last row that is missing; not below the first.
    pub last_seq: u64,
    /// Why, as the store's code of a reason.
    pub reason: u8,
}

impl GapRecord {
    /// Appends the gap record as one block.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::put_gap(self, out);
    }
}
