//! The block: many rows of one stream as columns, compressed and checksummed, the same bytes in the store, in the history and on
//! the wire.
//!
//! A message is one or more blocks, one after the other. [`split`] finds them and says whose rows they hold; a [`Decoder`] unpacks
//! them into a [`Batch`], for which it needs the columns of their [`BlockSchema`]. `FORMAT.md` beside this crate's `Cargo.toml`
//! describes every byte.

mod batch;
mod cells;
mod coder;
mod column;
mod column_read;
mod convert;
mod decoder;
mod document;
mod encoder;
mod error;
pub mod file;
mod float;
mod float_search;
mod frame;
mod gap;
mod identity;
mod input;
mod lattice;
mod lattice_search;
mod mark;
mod memory;
mod object;
mod parts;
mod planes;
mod predict;
mod range;
mod range_coder;
mod residual;
mod search;
mod series;
mod times;

pub use batch::Batch;
pub use decoder::Decoder;
pub use document::BlockSchema;
pub use encoder::Encoder;
pub use error::BlockError;
pub use frame::{Frame, Head, Origin, Split, split};
pub use gap::GapRecord;
pub use identity::{IdentityError, SchemaId, StoreId};

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 1;
/// Rows of one block at most.
pub const MAX_ROWS: usize = 65_536;
/// Memory that the rows of one block may take, as [`Batch::heap_bytes`] counts it: 64 MiB.
pub const MAX_BYTES: usize = 64 << 20;

/// How the rows of a block are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Byte planes and zstd: simple to read in any language.
    Planes,
    /// An adaptive range coder: the smallest.
    #[default]
    Range,
    /// The range coder on a few columns at a time: a column of many is read without those before it. A little larger.
    Parts,
}

impl Codec {
    /// Columns that [`Codec::Parts`] packs together: to read one column, no more than so many are unpacked.
    pub const PART_COLUMNS: usize = 4;

    /// Its code in a block.
    pub fn code(self) -> u8 {
        match self {
            Codec::Planes => 0,
            Codec::Range => 1,
            Codec::Parts => 2,
        }
    }

    /// The codec with that code, if there is one.
    pub fn from_code(code: u8) -> Option<Codec> {
        match code {
            0 => Some(Codec::Planes),
            1 => Some(Codec::Range),
            2 => Some(Codec::Parts),
            _ => None,
        }
    }
}
