//! The drivers that are built in: the list, and nothing else. Each has a feature of its own, all of them on by default.

use tidegate_driver_api::Driver;

#[cfg(feature = "modbus")]
static MODBUS_TCP: tidegate_driver_modbus::ModbusTcp = tidegate_driver_modbus::ModbusTcp::new();

#[cfg(feature = "opcua")]
static OPCUA: tidegate_driver_opcua::OpcUa = tidegate_driver_opcua::OpcUa::new();

#[cfg(feature = "sparkplug")]
static SPARKPLUG: tidegate_driver_sparkplug::Sparkplug = tidegate_driver_sparkplug::Sparkplug;

static ALL: &[&dyn Driver] = &[
    #[cfg(feature = "modbus")]
    &MODBUS_TCP,
    #[cfg(feature = "opcua")]
    &OPCUA,
    #[cfg(feature = "sparkplug")]
    &SPARKPLUG,
];

/// Every driver that is built in, in the order they are listed to a person.
pub fn all() -> &'static [&'static dyn Driver] {
    ALL
}

/// The driver that `driver = "…"` of a link names.
pub fn find(name: &str) -> Option<&'static dyn Driver> {
    all().iter().copied().find(|driver| driver.name() == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_driver_is_found_by_its_own_name() {
        let names: BTreeSet<&str> = all().iter().map(|driver| driver.name()).collect();
        assert_eq!(names.len(), all().len());
        for driver in all() {
            assert_eq!(find(driver.name()).map(Driver::summary), Some(driver.summary()));
        }
        assert!(find("modbus").is_none(), "that is the family, not a driver");
    }
}
