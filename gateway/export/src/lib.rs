//! Rows as files that other programs read: CSV, JSON Lines, Parquet, and blocks.
//!
//! A [`Table`] is the rows of one group of one device: a column for each tag, a line for each row. A [`Writer`] makes one file
//! of it, batch after batch, as they come out of the store or out of blocks; a [`BlockFile`] holds rows of any streams. What
//! stands in the files is described for users in `docs/reference/export.md`. A [`Fill`] draws what a swinging door left out.
//!
//! **Invariant:** what a writer keeps in memory has a bound, however much it has written, and no value is left out of a
//! file without being counted.

mod block_file;
mod csv;
mod error;
mod fill;
mod format;
pub mod json_lines;
mod parquet;
mod state;
mod table;
mod writer;

pub use block_file::BlockFile;
pub use error::ExportError;
pub use fill::{Fill, Filled};
pub use format::Format;
pub use table::{Places, Table};
pub use writer::{Finished, Writer};
