//! Whether the drivers that a site names are there, and speak what its profiles are for.

use crate::{
    Device, Link, Report, Site,
    words::{are, list},
};

impl Site {
    /// Reports links with a driver that is not there, profiles of a family that no driver speaks, and devices whose
    /// profile is not for the driver of their link.
    ///
    /// `drivers` has the name (`modbus-tcp`) and the family (`modbus`) of each driver. To be called before the drivers
    /// compile the links.
    pub fn check_drivers(&self, drivers: &[(&str, &str)], report: &mut Report) {
        let names: Vec<&str> = drivers.iter().map(|(name, _)| *name).collect();
        let mut families: Vec<&str> = drivers.iter().map(|(_, family)| *family).collect();
        families.sort_unstable();
        families.dedup();
        for profile in &self.profiles {
            // An empty one is missing, which has been said.
            if !profile.driver.is_empty() && !families.contains(&profile.driver.as_str()) {
                report.unknown_word(&profile.driver.origin, "driver family", &profile.driver, &families);
            }
        }
        for link in &self.links {
            let Some((_, family)) = drivers.iter().find(|(name, _)| *name == link.driver.value) else {
                report.unknown_word(&link.driver.origin, "driver", &link.driver, &names);
                continue;
            };
            for device in &link.devices {
                if families.contains(&device.profile.driver.as_str()) && device.profile.driver.value != *family {
                    wrong_family(link, device, drivers, report);
                }
            }
        }
    }
}

fn wrong_family(link: &Link, device: &Device, drivers: &[(&str, &str)], report: &mut Report) {
    let wanted = device.profile.driver.as_str();
    let suitable: Vec<&str> = drivers.iter().filter(|(_, family)| *family == wanted).map(|(name, _)| *name).collect();
    let message = format!(
        "profile \"{}\" is for the {wanted} family, but link \"{}\" has the driver \"{}\"",
        device.profile.path, link.name, link.driver.value
    );
    let help = format!("for {wanted} there {} {}", are(&suitable), list(&suitable, '"'));
    report.error(device.table.origin_of("profile"), message, Some(help));
}
