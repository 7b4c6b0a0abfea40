//! Why bytes are no block, or rows fit in none.

use super::SchemaId;

/// Why bytes are no block, or rows fit in none. The same bytes always give the same error, so trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The bytes do not begin with the mark of a block.
    #[error("the bytes do not begin like a block")]
    NotABlock,
    /// A later gateway has written the block; its checksum is right.
    #[error("the block has version {version}; known is {known}", known = super::VERSION)]
    NewerVersion {
        /// The version that the block states.
        version: u8,
    },
    /// The bytes end before the block does.
    #[error("the block is cut off: {found} of {expected} bytes are there")]
    Cut {
        /// Bytes that the block has, as far as can be known.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The block is damaged.
    #[error("the block is damaged: its checksum is {computed:08x}, stated is {stated:08x}")]
    Checksum {
        /// What the block says its checksum is.
        stated: u32,
        /// What it is.
        computed: u32,
    },
    /// The rows are packed in a way that this version does not know; the checksum is right.
    #[error("the block is packed with codec {codec}, which is not known")]
    UnknownCodec {
        /// The codec that the block states.
        codec: u8,
    },
    /// The block was written for other columns than the ones at hand.
    #[error("the block has schema {found}, at hand is {given}")]
    UnknownSchema {
        /// The schema that the block states.
        found: SchemaId,
        /// The schema that was given to read it with.
        given: SchemaId,
    },
    /// A document is no schema of a block.
    #[error("the schema cannot be read: {detail}")]
    Schema {
        /// What is wrong with it, and where.
        detail: String,
    },
    /// The checksum is right but the contents make no sense: whoever wrote them has a bug, or means harm.
    #[error("the block has a right checksum but makes no sense: {what}")]
    Malformed {
        /// What makes no sense.
        what: &'static str,
    },
    /// The rows are too many for one block, or take too much memory.
    #[error("{what} would be more than {limit}, the most that a block holds")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The most there can be.
        limit: usize,
    },
    /// A row does not follow the one before: blocks have no holes.
    #[error("row {found} does not follow row {last}")]
    NotConsecutive {
        /// The number of the last row.
        last: u64,
        /// The number of the row that was to follow.
        found: u64,
    },
    /// A row or a batch has other columns than the batch it was to be added to.
    #[error("the row has {found} columns instead of {expected}, or their types differ")]
    OtherColumns {
        /// Columns of the batch.
        expected: usize,
        /// Columns of what was to be added.
        found: usize,
    },
    /// There is no row to make a block of.
    #[error("a block needs at least one row")]
    Empty,
    /// The compression library has failed.
    #[error("compression failed: {detail}")]
    Compression {
        /// What the library says.
        detail: String,
    },
}

/// The rows take more memory than those of one block may.
pub(super) const TOO_LARGE: BlockError =
    BlockError::TooLarge { what: "the memory of the rows", limit: super::MAX_BYTES };

/// The checksum is right, the contents make no sense.
pub(super) fn malformed(what: &'static str) -> BlockError {
    BlockError::Malformed { what }
}
