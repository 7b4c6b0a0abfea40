//! OPC UA servers made from profiles.

mod cell;
mod faults;
mod front;
mod kind;
mod options;
mod place;
mod plan;
mod plant;
mod script;
mod server;
mod simulator;
mod space;

pub use faults::{Fault, FaultKind};
pub use options::OpcuaOptions;
pub use script::{parse_fault, parse_script};
pub use simulator::OpcuaSimulator;
