//! The durable log: what waits for the targets and what is kept as history, in one SQLite file.
//!
//! Rows go in through [`Store::append`], which never blocks; a writer task commits them at the interval of the
//! configuration, one transaction and one fsync for all streams. Beside it, compaction moves old rows into blocks, one
//! stream each, and joins short blocks to longer ones. What is committed is read back through [`Cursor`]s, one per
//! target, in one lane or in two (live and backlog); what the other side has acknowledged is kept as a set of ranges.
//! `FORMAT.md` beside this crate's `Cargo.toml` describes the file.
//!
//! **Invariant:** a cursor delivers committed rows only, and what is dropped on purpose is delivered as a gap.
//! **Invariant:** a row is acknowledged, in flight, or waiting, for each target; compaction changes none of it.
//! **Invariant:** no block, and no stretch whose rows are put in order together, has rows of two starts of the gateway.
//! **Invariant:** a body is referred to by a block or named as loose; both change in one transaction.
//! **Invariant:** order is by position in the log, never by time; a clock that jumps reorders nothing.

mod age;
mod batch;
mod books;
mod commit;
mod compaction;
mod cursor;
mod damage;
mod database;
mod decode;
mod delivery;
mod disk;
mod dropping;
mod epochs;
mod error;
mod gaps;
mod history;
mod lock;
mod migrations;
mod missing;
mod numbering;
mod numbers;
mod parcel;
mod pending;
mod place;
mod ranges;
mod reader;
mod reading;
mod requests;
mod retention;
mod shared;
mod silence;
mod starts;
mod status;
mod store;
mod streams;
mod summary;
mod tail;
mod target;
mod wire;
mod writer;

pub use cursor::{Acknowledger, Cursor, Lane};
pub use delivery::{Delivery, GapReason, Item, Shape, Ticket};
pub use error::StoreError;
pub use history::{Fill, History, HistoryQuery, Sample};
pub use reader::{Missing, Part, Progress, Query, Reader, Recorded, Scan, Version, Why};
pub use status::{CommitTimes, CursorStatus, Dropped, StoreStatus};
pub use store::{Opened, SetAside, Store};
pub use wire::WireSchema;
