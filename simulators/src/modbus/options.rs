//! What a Modbus simulator is to be.

use std::{
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use tidegate_config::Profile;
use tidegate_driver_modbus::UnitId;

use super::{faults::Fault, layout::Fill};

/// What a simulator serves, where, and how it moves.
#[derive(Debug, Clone)]
pub struct ModbusOptions {
    /// What every device is.
    pub profile: Arc<Profile>,
    /// The first port. Port 0 takes a free one for each; another number is followed by its neighbours.
    pub listen: SocketAddr,
    /// How many ports, at least 1.
    pub ports: u16,
    /// The units behind each port. Every one of them is a device with a course of its own.
    pub units: UnitRange,
    /// What a unit that is not there does.
    pub unknown_unit: UnknownUnit,
    /// What can be read between the tags.
    pub fill: Fill,
    /// Devices with the same seed, port index and unit show the same values at the same time after the start.
    pub seed: u64,
    /// Time between two changes of a value, at least 1 ms.
    pub step: Duration,
    /// No value moves by itself.
    pub still: bool,
    /// Each float differs from what was read one step or more before (with `full_precision` all but certainly).
    pub all_change: bool,
    /// Floats use all their bits instead of the decimals that a device would show.
    pub full_precision: bool,
    /// Threads, at least 1; a port belongs to one of them.
    pub workers: usize,
    /// The faults from the start on.
    pub faults: Vec<Fault>,
}

impl ModbusOptions {
    /// One device, unit 1, on a free port of the loopback interface, without faults.
    pub fn new(profile: Arc<Profile>) -> ModbusOptions {
        ModbusOptions {
            profile,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ports: 1,
            units: UnitRange::ONE,
            unknown_unit: UnknownUnit::default(),
            fill: Fill::default(),
            seed: 1,
            step: Duration::from_millis(100),
            still: false,
            all_change: false,
            full_precision: false,
            workers: 1,
            faults: Vec::new(),
        }
    }
}

/// What a unit that is not there does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownUnit {
    /// Answers with exception 11, as a gateway to a serial line does.
    #[default]
    Exception,
    /// Says nothing.
    Silent,
}

/// Units from a first to a last one, written `1-10` or `7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitRange {
    first: u8,
    last: u8,
}

impl UnitRange {
    /// Unit 1 alone.
    pub const ONE: UnitRange = UnitRange { first: 1, last: 1 };

    /// The units from `first` to `last`, both included; `None` when they are in the wrong order.
    pub fn new(first: UnitId, last: UnitId) -> Option<UnitRange> {
        (first <= last).then_some(UnitRange { first: first.get(), last: last.get() })
    }

    /// Each of the units.
    pub fn iter(self) -> impl Iterator<Item = UnitId> {
        (self.first..=self.last).map(UnitId::from)
    }
}

/// `1-10`, `1..10` (both included) or `7`.
impl FromStr for UnitRange {
    type Err = String;

    fn from_str(text: &str) -> Result<UnitRange, String> {
        let (first, last) = text.split_once("..").or_else(|| text.split_once('-')).unwrap_or((text, text));
        let unit = |text: &str| match text.trim_start_matches('=').trim().parse::<u8>() {
            Ok(unit) => Ok(UnitId::from(unit)),
            Err(_) => Err(format!("\"{text}\" is no unit from 0 to 255; write one (7) or a range (1-10)")),
        };
        UnitRange::new(unit(first)?, unit(last)?).ok_or_else(|| format!("\"{text}\" ends before it begins"))
    }
}

/// `1-10`, or `7`.
impl std::fmt::Display for UnitRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_units_is_written_with_a_dash_or_dots() {
        for text in ["1-10", "1..10", "1..=10"] {
            let range: UnitRange = text.parse().unwrap();
            assert_eq!(range.to_string(), "1-10");
            assert_eq!(range.iter().count(), 10);
        }
        assert_eq!("7".parse::<UnitRange>().unwrap().iter().collect::<Vec<_>>(), [UnitId::from(7)]);
        assert_eq!("0-255".parse::<UnitRange>().unwrap().iter().count(), 256);
    }

    #[test]
    fn what_is_no_range_of_units_is_refused() {
        for text in ["", "a", "1-256", "10-1", "-3", "1-2-3"] {
            assert!(text.parse::<UnitRange>().is_err(), "{text}");
        }
    }
}
