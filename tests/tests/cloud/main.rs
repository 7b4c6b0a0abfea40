//! The cloud side and what it gets, with real parts: blocks as they are stored, ingests that share the work, sinks that are away, files
//! that others read, rows as JSON, edge nodes of Sparkplug B, and a target that gets another name while the gateway runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

mod blocks;
mod files;
mod ingest;
mod ingests;
mod json;
mod renamed;
mod sender;
mod sparkplug;
