//! The smallest driver that passes the testkit; copied for a new one. `README.md` beside it says how.
//!
//! It speaks a protocol of its own: `read level` is answered with `level 12.5`, `write level 12.5` with `level ok`.

mod config;
mod driver;
mod fault;
mod plan;
mod session;
mod wire;

pub use driver::LineTcp;
