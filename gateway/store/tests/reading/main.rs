//! What is read back from the store: the rows of a device for an export, the samples of a tag for a chart.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets what it does not expect has failed"
)]

mod archive;
mod elsewhere;
mod history;
#[path = "../behaviour/plant.rs"]
#[allow(dead_code, unused_imports, reason = "not every test makes use of all of the plant")]
mod plant;
mod scan;
