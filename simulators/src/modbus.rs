//! Modbus TCP devices made from profiles.

mod cell;
mod connection;
mod device;
mod faults;
mod frame;
mod image;
mod layout;
mod map;
mod operation;
mod options;
mod plan;
mod port;
mod script;
mod simulator;

pub use faults::{Fault, FaultKind, LONGEST_DELAY, SHORTEST_FLOOD};
pub use layout::Fill;
pub use options::{ModbusOptions, UnitRange, UnknownUnit};
pub use script::{parse_fault, parse_script};
pub use simulator::{ModbusSimulator, SimulatedDevice};
