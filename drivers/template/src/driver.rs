//! The driver: from one `[[link]]` to a link that is ready to connect.

use std::sync::Arc;

use tidegate_driver_api::{
    Capabilities, Compiled, CompiledDevice, Driver, GroupPlan,
    config::{Link, Profile, Report},
};

use crate::{config, plan, session::LineLink};

/// The driver `line-tcp`.
pub struct LineTcp;

impl Driver for LineTcp {
    fn name(&self) -> &'static str {
        "line-tcp"
    }

    fn family(&self) -> &'static str {
        "line"
    }

    fn summary(&self) -> &'static str {
        "Lines of text over TCP: the driver to copy for a new one"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { poll: true, write: true, ..Capabilities::default() }
    }

    fn plan(&self, profile: &Arc<Profile>, report: &mut Report) -> Option<Arc<[GroupPlan]>> {
        plan::groups(profile, report).map(|groups| plan::describe(&groups))
    }

    fn compile(&self, link: &Link, report: &mut Report) -> Option<Compiled> {
        // Everything is looked at before anything is given up, so that all mistakes come out at once.
        let address = config::address(&link.table, report);
        let mut devices = Vec::with_capacity(link.devices.len());
        for device in &link.devices {
            device.table.finish(report);
            devices.push(plan::groups(&device.profile, report).map(|groups| (device.name.clone(), groups)));
        }
        let devices: Vec<_> = devices.into_iter().collect::<Option<_>>()?;
        let compiled = devices.iter().map(|(_, groups)| CompiledDevice { groups: plan::describe(groups) }).collect();
        Some(Compiled { link: Box::new(LineLink { address: address?, devices }), devices: compiled })
    }
}
