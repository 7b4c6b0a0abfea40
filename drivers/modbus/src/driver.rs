//! The driver: from one `[[link]]` to a link that is ready to connect.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tidegate_driver_api::{
    Capabilities, Compiled, CompiledDevice, Driver, GroupPlan,
    config::{self, Profile, Report},
};

use crate::{
    Endpoint, Points, UnitId,
    link::{Device, TcpLink},
    plan::ProfilePlan,
};

/// The driver `modbus-tcp`.
#[derive(Default)]
pub struct ModbusTcp {
    /// The plans of profiles that are in use, so that a thousand devices on a hundred links share one.
    plans: Mutex<Vec<(Weak<Profile>, Arc<ProfilePlan>)>>,
}

impl Driver for ModbusTcp {
    fn name(&self) -> &'static str {
        "modbus-tcp"
    }

    fn family(&self) -> &'static str {
        "modbus"
    }

    fn summary(&self) -> &'static str {
        "Modbus TCP: reads and writes coils and registers of devices with an Ethernet port or behind a gateway"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { poll: true, write: true, ..Capabilities::default() }
    }

    fn plan(&self, profile: &Arc<Profile>, report: &mut Report) -> Option<Arc<[GroupPlan]>> {
        self.profile_plan(profile, report).map(|plan| plan.kinds())
    }

    fn compile(&self, link: &config::Link, report: &mut Report) -> Option<Compiled> {
        // Everything is looked at before anything is given up, so that all mistakes come out at once.
        let endpoint = Endpoint::parse(&link.table, report);
        let mut devices = Vec::with_capacity(link.devices.len());
        let mut compiled = Vec::with_capacity(link.devices.len());
        let mut complete = true;
        for device in &link.devices {
            let unit = UnitId::parse(device, report);
            let Some(plan) = self.profile_plan(&device.profile, report) else {
                complete = false;
                continue;
            };
            let turnaround = plan.quirks().turnaround;
            if turnaround >= link.timeout {
                let message = format!(
                    "the profile's turnaround of {} ms leaves no time for an answer within the link's timeout of {} ms",
                    turnaround.as_millis(),
                    link.timeout.as_millis()
                );
                report.error(&device.origin, message, Some("give the link a longer `timeout`".to_owned()));
                complete = false;
            }
            compiled.push(CompiledDevice { groups: plan.kinds() });
            devices.push(Device::new(device.name.clone(), unit, plan));
        }
        let link = TcpLink::new(endpoint?, devices);
        complete.then(|| Compiled { link: Box::new(link), devices: compiled })
    }
}

impl ModbusTcp {
    /// The driver, without any plan yet.
    pub const fn new() -> ModbusTcp {
        ModbusTcp { plans: Mutex::new(Vec::new()) }
    }

    /// The plan of a profile; made once, as long as the profile lives. A profile with mistakes is read again each time, so
    /// that every report has them.
    fn profile_plan(&self, profile: &Arc<Profile>, report: &mut Report) -> Option<Arc<ProfilePlan>> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.retain(|(profile, _)| profile.strong_count() > 0);
        let known = plans.iter().find(|(known, _)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(profile)));
        if let Some((_, plan)) = known {
            return Some(Arc::clone(plan));
        }
        let mistakes = report.mistakes().len();
        let plan = Arc::new(ProfilePlan::new(Points::parse(profile, report)?));
        if report.mistakes().len() == mistakes {
            plans.push((Arc::downgrade(profile), Arc::clone(&plan)));
        }
        Some(plan)
    }
}
