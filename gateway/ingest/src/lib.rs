//! The cloud side: takes blocks from an MQTT broker, proves that none is missing, and writes their rows. It takes the rows of
//! `format = "json"` too, of which less can be proven, and what edge nodes of Sparkplug B publish, as their host application.
//!
//! An ingest subscribes to the blocks and schemas, or the rows, of all gateways below one topic root, drops what it has had before, and writes the
//! rest to PostgreSQL, to Parquet files or as JSON Lines. What each stream has delivered is kept in a ledger, which changes together
//! with the rows or not at all, so that rows are there exactly once whatever is killed when. Tables, files and the way to run several
//! are described in `docs/reference/ingest.md`.
//!
//! **Invariant:** a message is acknowledged when everything in it has been written, or put aside for good in a quarantine, and not
//! before.
//! **Invariant:** nothing that has come is dropped without being counted and said.

mod address;
mod counters;
mod error;
mod ingest;
mod intake;
mod json;
mod ledger;
mod mqtt;
mod nodes;
mod options;
mod piece;
mod ranges;
mod report;
#[cfg(test)]
mod scene;
mod schemas;
mod sink;
mod sparkplug;
mod starts;
mod topics;
mod writer;

pub use counters::{Counters, Snapshot};
pub use error::IngestError;
pub use ingest::{run, verify};
pub use ledger::{Account, StreamKey};
pub use nodes::{NodeAccount, NodeKey};
pub use options::{
    Address, Broker, Destination, Format, Options, Rotation, Secret, check_share, check_topic_root, sparkplug_id,
};
pub use piece::Fault;
pub use ranges::Ranges;
pub use report::{NodeReport, Report, StreamReport};
pub use starts::Starts;
