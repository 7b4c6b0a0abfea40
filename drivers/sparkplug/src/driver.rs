//! The driver: from one `[[link]]` to a link that is ready to connect.

use std::sync::Arc;

use tidegate_driver_api::{
    Capabilities, Compiled, CompiledDevice, Driver, GroupPlan,
    config::{Link, Profile, Report},
};

use crate::{
    config::{self, LinkKeys},
    link::{NodeDevice, NodeLink},
    plan::Plan,
};

/// The driver `sparkplug`.
pub struct Sparkplug;

impl Driver for Sparkplug {
    fn name(&self) -> &'static str {
        "sparkplug"
    }

    fn family(&self) -> &'static str {
        "sparkplug"
    }

    fn summary(&self) -> &'static str {
        "Sparkplug B: other edge nodes on a broker, with their devices; takes what they publish, writes, browses births"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { poll: true, write: true, subscribe: true, browse: true }
    }

    fn plan(&self, profile: &Arc<Profile>, report: &mut Report) -> Option<Arc<[GroupPlan]>> {
        Plan::parse(profile, report).map(|plan| plan.describe())
    }

    fn compile(&self, link: &Link, report: &mut Report) -> Option<Compiled> {
        // Everything is looked at before anything is given up, so that all mistakes come out at once.
        let keys = LinkKeys::parse(&link.table, report);
        let mut devices = Vec::with_capacity(link.devices.len());
        for device in &link.devices {
            let (whose, plan) = (config::whose(device, report), Plan::parse(&device.profile, report));
            devices.push(whose.zip(plan).map(|(whose, plan)| NodeDevice { whose, plan }));
        }
        let devices: Vec<NodeDevice> = devices.into_iter().collect::<Option<_>>()?;
        let compiled = devices.iter().map(|device| CompiledDevice { groups: device.plan.describe() }).collect();
        let link = NodeLink::new(keys?, link, devices);
        Some(Compiled { link: Box::new(link), devices: compiled })
    }
}
