//! From rows to bytes and back: the JSON of the topics, the record of one commit, the schema of a stream.
//!
//! - [`json`] writes the payloads of the local broker and of `json` targets; it only writes.
//! - [`block`] holds many rows of one stream as compressed columns: in the store, in the history, on the wire.
//! - [`record`] holds all rows of one commit of the store, compressed and checksummed; `FORMAT.md` beside this crate's
//!   `Cargo.toml` describes every byte of it.
//! - [`schema`] keeps the columns of a stream for the store's table.
//!
//! **Invariant:** no I/O and no clock here, and no input makes a decoder panic or take more memory than it states.

pub mod block;
mod error;
pub mod json;
pub mod record;
pub mod schema;

pub use error::CodecError;
