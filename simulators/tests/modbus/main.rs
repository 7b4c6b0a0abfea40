//! The simulated Modbus devices as a client on the network sees them.

mod command;
mod exchanges;
mod faults;
mod rig;
mod values;
