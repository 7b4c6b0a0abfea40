//! The host application: what it makes of what edge nodes publish.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod foreign;
mod listening;
mod orders;
mod scene;
