//! The target with `format = "sparkplug_b"` against a broker that does what the test says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod broker;
mod deliveries;
mod hosts;
mod refusals;
mod scene;
