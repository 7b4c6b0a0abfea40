//! The Modbus TCP driver: `driver = "modbus-tcp"`, profiles with `driver = "modbus"`.
//!
//! The registers of a profile are planned once into as few requests as its quirks allow; each request is one call of the
//! session, and whatever is not exactly the answer to it ends the session.

mod address;
mod config;
mod connection;
mod driver;
mod encode;
mod fault;
mod format;
mod invalid;
mod kind;
mod learned;
mod link;
mod order;
mod plan;
mod point;
mod session;
pub mod wire;
mod writer;

pub use address::{PrimaryTable, RegisterAddress, UnitId};
pub use config::{Endpoint, Points, Quirks};
pub use driver::ModbusTcp;
pub use encode::{Encoded, Refusal};
pub use format::{Format, Half};
pub use order::ByteOrder;
pub use point::{Point, WriteWith};
