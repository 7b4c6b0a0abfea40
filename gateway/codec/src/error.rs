//! Why bytes could not be turned into rows or columns, or rows into bytes.

/// Why bytes could not be turned into rows or columns, or rows into bytes. The same bytes always give the same error, so
/// trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end before the record does.
    #[error("the record is cut off: {found} of {expected} bytes are there")]
    Cut {
        /// Bytes that the record has, as far as can be known.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// There are bytes after the end of the record.
    #[error("{count} bytes follow the end of the record")]
    Trailing {
        /// Bytes too many.
        count: usize,
    },
    /// The bytes do not begin with the mark of a record.
    #[error("the bytes do not begin like a record")]
    NotARecord,
    /// The record was written by a later version, or its version is damaged.
    #[error("the record has version {version}; known is {known}", known = crate::record::VERSION)]
    Version {
        /// The version that the record states.
        version: u8,
    },
    /// The record is damaged.
    #[error("the record is damaged: its checksum is {computed:08x}, stated is {stated:08x}")]
    Checksum {
        /// What the record says its checksum is.
        stated: u32,
        /// What it is.
        computed: u32,
    },
    /// The rows take more memory than one record may hold.
    #[error("the record would hold more than {limit} bytes of rows")]
    TooLarge {
        /// Bytes that the rows of one record may take in memory.
        limit: usize,
    },
    /// The checksum is right but the contents make no sense: whoever wrote them has a bug, or means harm.
    #[error("the record has a right checksum but makes no sense: {what}")]
    Malformed {
        /// What makes no sense.
        what: &'static str,
    },
    /// The compression library has failed.
    #[error("compression failed: {detail}")]
    Compression {
        /// What the library says.
        detail: String,
    },
    /// The stored schema of a stream cannot be read.
    #[error("the schema of a stream cannot be read: {detail}")]
    Schema {
        /// What is wrong with it, and where.
        detail: String,
    },
}
