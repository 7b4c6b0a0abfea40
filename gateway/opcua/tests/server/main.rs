//! The server as a client meets it: a gateway over devices in memory, and a client of the same library in the same process.
//! Clients of other makers are in `tests/` of the repository.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::as_conversions,
    reason = "a test fails by panicking"
)]

mod archive;
mod browsing;
mod changes;
mod client;
mod doors;
mod events;
mod fetching;
mod plant;
mod reading;
mod rig;
mod strangers;
mod times;
mod writing;
