//! Simulated devices: any profile served as a machine that moves, answers, and fails on command.
//!
//! The command `tidegate-sim` is made of it; tests, the demo and the benches use it in their own process:
//!
//! ```no_run
//! use tidegate_config::Report;
//! use tidegate_driver_modbus::UnitId;
//! use tidegate_simulators::modbus::{Fault, FaultKind, ModbusOptions, ModbusSimulator};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut report = Report::new();
//! let profile = tidegate_config::load_profile("profiles/eastron/sdm630.toml".as_ref(), &mut report);
//! let profile = profile.ok_or_else(|| report.render())?;
//! let simulator = ModbusSimulator::start(ModbusOptions::new(profile))?;
//! println!("listening on {}", simulator.addresses()[0]);
//! simulator.set_faults([Fault::new(FaultKind::Silence).of_unit(UnitId::from(1))]);
//! # Ok(())
//! # }
//! ```
//!
//! **Invariant:** a simulator has no part in the gateway; it shares with it the reading of profiles and the meaning of
//! registers, and nothing of the way to them.

mod clock;
mod error;
mod fault_words;
pub mod modbus;
mod motion;
mod noise;
pub mod opcua;
mod plausible;
mod profile;
mod scaling;

pub use error::SimulatorError;
pub use profile::{BenchProfile, BenchType};
