//! What a running gateway promises, shown with a plant whose devices do what each test says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod alarms;
mod arrivals;
mod browsing;
mod catalog;
mod connecting;
mod doors;
mod mistakes;
mod neighbours;
mod observer;
mod plant;
mod plant_driver;
mod plant_subscriber;
mod reloading;
mod rig;
mod rows;
mod slow_groups;
mod stopping;
mod topics;
mod writing;
