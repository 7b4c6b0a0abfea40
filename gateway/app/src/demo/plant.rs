//! The machines of the demo, each behind a port of its own.

use std::{net::SocketAddr, path::Path};

use anyhow::Context;
use tidegate_config::Report;
use tidegate_simulators::modbus::{ModbusOptions, ModbusSimulator};

/// One kind of machine of the demo.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Its name in the site.
    pub(crate) device: &'static str,
    /// The link it is behind.
    pub(crate) link: &'static str,
    /// Its profile, as a site names it.
    pub(crate) profile: &'static str,
    /// The profile's text, built in so that the demo needs no files.
    pub(crate) text: &'static str,
}

const MACHINES: [Machine; 3] = [
    Machine {
        device: "meter-1",
        link: "switchboard",
        profile: "eastron/sdm630",
        text: include_str!("../../../../profiles/eastron/sdm630.toml"),
    },
    Machine {
        device: "oven-1",
        link: "oven",
        profile: "eurotherm/3216",
        text: include_str!("../../../../profiles/eurotherm/3216.toml"),
    },
    Machine {
        device: "solar-1",
        link: "roof",
        profile: "fronius/symo",
        text: include_str!("../../../../profiles/fronius/symo.toml"),
    },
];

/// The running machines.
pub(crate) struct Plant {
    simulators: Vec<ModbusSimulator>,
}

impl Plant {
    /// Starts the machines; their profiles are read from this folder, where a person may have changed them.
    pub(crate) fn start(profiles: &Path) -> anyhow::Result<Plant> {
        let mut simulators = Vec::new();
        for machine in &MACHINES {
            let mut report = Report::new();
            let file = profiles.join(machine.profile).with_extension("toml");
            let profile = tidegate_config::load_profile(&file, &mut report);
            let profile = profile.filter(|_| !report.has_errors()).with_context(|| report.render())?;
            let simulator = ModbusSimulator::start(ModbusOptions::new(profile))
                .with_context(|| format!("failed to simulate {}", machine.device))?;
            simulators.push(simulator);
        }
        Ok(Plant { simulators })
    }

    /// The machines.
    pub(crate) fn machines(&self) -> &'static [Machine] {
        machines()
    }

    /// The machines and where each can be reached.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static Machine, SocketAddr)> {
        let addresses = self.simulators.iter().filter_map(|simulator| simulator.addresses().first().copied());
        machines().iter().zip(addresses)
    }
}

/// The machines of the demo, whether or not they run.
pub(crate) fn machines() -> &'static [Machine] {
    &MACHINES
}
