//! The gateway among OPC UA stacks that others wrote (asyncua and node-opcua): as a client of their servers, and as a server for
//! their clients.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

mod backfill;
mod browse;
mod events;
mod identities;
mod line;
mod outages;
mod security;
mod simulator;
mod structures;
mod target;
mod values;
