//! The mqtt target against a broker that does what each test says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod acknowledgements;
mod announcements;
mod blocks;
mod certificates;
mod lanes;
mod outages;
mod refusals;
mod scene;
mod templates;
mod version5;
