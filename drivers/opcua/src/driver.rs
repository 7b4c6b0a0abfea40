//! The driver: from one `[[link]]` to a link that is ready to connect.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tidegate_driver_api::{
    Capabilities, Compiled, CompiledDevice, Driver, GroupPlan, Poll,
    config::{self, Profile, Report},
};

use crate::{
    config::{LinkKeys, root},
    link::{ServerDevice, ServerLink},
    plan::{ProfilePlan, Slot},
};

/// The driver `opcua`.
#[derive(Default)]
pub struct OpcUa {
    /// The plans of profiles that are in use, so that all devices of a model share one.
    plans: Mutex<Vec<(Weak<Profile>, Arc<ProfilePlan>)>>,
}

impl Driver for OpcUa {
    fn name(&self) -> &'static str {
        "opcua"
    }

    fn family(&self) -> &'static str {
        "opcua"
    }

    fn summary(&self) -> &'static str {
        "OPC UA: subscribes, reads, writes, calls and browses servers in controllers, machines and SCADA systems"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { poll: true, write: true, subscribe: true, browse: true }
    }

    fn plan(&self, profile: &Arc<Profile>, report: &mut Report) -> Option<Arc<[GroupPlan]>> {
        self.profile_plan(profile, report).map(|plan| plan.kinds())
    }

    fn compile(&self, link: &config::Link, report: &mut Report) -> Option<Compiled> {
        // Everything is looked at before anything is given up, so that all mistakes come out at once.
        let keys = LinkKeys::parse(&link.table, report);
        let mut devices = Vec::with_capacity(link.devices.len());
        let mut compiled = Vec::with_capacity(link.devices.len());
        let mut slots = Vec::new();
        let mut items = 0;
        let mut complete = true;
        for (index, device) in link.devices.iter().enumerate() {
            let root = root(device, report);
            complete &= root.is_some() || !device.table.has("root");
            let Some(plan) = self.profile_plan(&device.profile, report) else {
                complete = false;
                continue;
            };
            for (group, tags) in plan.groups().iter().enumerate() {
                let interval = device.intervals.get(group).copied().unwrap_or(link.timeout);
                let poll = Poll { device: index, group };
                slots.push(Slot { poll, plan: Arc::clone(&plan), interval, first_item: items });
                items += tags.items.len();
            }
            compiled.push(CompiledDevice { groups: plan.kinds() });
            devices.push(ServerDevice { name: device.name.clone(), root });
        }
        let link = ServerLink::new(keys?, link, devices, slots);
        complete.then(|| Compiled { link: Box::new(link), devices: compiled })
    }
}

impl OpcUa {
    /// The driver, without any plan yet.
    pub const fn new() -> OpcUa {
        OpcUa { plans: Mutex::new(Vec::new()) }
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
        let plan = Arc::new(ProfilePlan::parse(profile, report)?);
        if report.mistakes().len() == mistakes {
            plans.push((Arc::downgrade(profile), Arc::clone(&plan)));
        }
        Some(plan)
    }
}
