//! The local broker among clients that others wrote, beside mosquitto, and among clients that send anything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "what a test cannot go on without may end it"
)]

mod certificates;
mod churn;
mod fuzz;
mod hostile;
mod places;
mod process;
mod slow;
mod suite;
mod talk;
