//! What the fuzz targets do with whatever bytes come. Ordinary functions: `tests/tests/any_bytes.rs` includes this file and calls them
//! with bytes of its own. Each panics when something does not hold.

pub mod block;
pub mod modbus;
pub mod profile;
pub mod site;
