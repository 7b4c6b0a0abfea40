//! The edge node: what it publishes, in which order, and what it does with what comes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod births;
mod commands;
mod devices;
mod large;
mod plant;
mod primary_host;
mod rows;
mod sessions;
