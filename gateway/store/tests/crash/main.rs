//! What is left after a kill, a cut and a full disk: everything that was committed, each row once, as it was.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod chance;
mod cuts;
mod kills;
#[path = "../behaviour/plant.rs"]
#[allow(dead_code, unused_imports, reason = "not every test makes use of all of the plant")]
mod plant;
mod rotten;
mod works;
