//! What the store promises, from outside.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets what it does not expect has failed"
)]

mod boots;
mod closing;
mod compaction;
mod crash;
mod cursors;
mod damage;
mod failing;
mod fullness;
mod lanes;
mod migration;
mod plant;
mod retention;
mod status;
mod streams;
