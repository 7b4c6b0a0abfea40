//! `[[device]]`.

use std::{sync::Arc, time::Duration};

use tidegate_model::Name;

use super::{files::Files, group::INTERVALS, library::Library, link::Links, location::location, names::Names};
use crate::{At, Device, Kind, Profile, Report, Table};

/// Reads every `[[device]]` and puts it behind its link.
pub(super) fn devices(root: &Table, links: &mut Links, library: &mut Library, files: &mut Files, report: &mut Report) {
    let mut names = Names::new("device");
    for table in root.tables("device", "device", report) {
        let name = table.require::<Name>("name", "\"meter-1\"", report);
        if let Some(name) = &name {
            names.add(name, report);
        }
        let name = name.map_or_else(Name::placeholder, |name| name.value);
        let table = table.named("device", format!("device.{name}"));
        let link = table.require::<String>("link", "\"press\"", report);
        let link = link.filter(|link| check_link(link, links, report));
        let profile = table.require::<String>("profile", "\"eastron/sdm630\"", report);
        let profile = profile.and_then(|path| library.profile(&path, files, report));
        let location = location(table.table("location", "device.location", report), report);
        // Without a profile it cannot be said which groups there are.
        let overrides = table.table("group", "device.group", report);
        let Some(profile) = profile else { continue };
        let intervals = intervals(&profile, overrides.as_ref(), report);
        if let Some(link) = link {
            let device = Device { name, origin: table.origin().clone(), table, profile, location, intervals };
            links.add_device(&link, device);
        }
    }
}

fn check_link(link: &At<String>, links: &Links, report: &mut Report) -> bool {
    if links.names().contains(link) {
        return true;
    }
    // With a mistake in the syntax the link may be there, but not have been understood.
    if !report.is_incomplete() {
        report.unknown_word(&link.origin, "link", link, &links.names().sorted());
    }
    false
}

/// The interval of each group of the profile, with the device's `[device.group.NAME]`.
fn intervals(profile: &Arc<Profile>, overrides: Option<&Table>, report: &mut Report) -> Vec<Duration> {
    let mut intervals: Vec<Duration> = profile.groups.iter().map(|group| group.interval).collect();
    let groups: Vec<&str> = profile.groups.iter().map(|group| group.name.as_str()).collect();
    let entries = overrides.into_iter().flat_map(|table| table.entries());
    for (name, key_origin, node) in entries {
        let Kind::Table(table) = &node.kind else {
            let message = format!("`{name}` has to be a table, but is {}", node.kind.describe());
            report.error(&node.origin, message, Some(format!("write `[device.group.{name}]`")));
            continue;
        };
        let place = groups.iter().position(|group| *group == name);
        let Some(interval) = place.and_then(|index| intervals.get_mut(index)) else {
            if !report.is_incomplete() {
                report.unknown_word(key_origin, &format!("group of profile \"{}\":", profile.path), name, &groups);
            }
            continue;
        };
        let path = overrides.map(|table| table.child_path(name)).unwrap_or_default();
        let table = table.clone().named("device.group", path);
        *interval = table.take_within("interval", *interval, INTERVALS, report).value;
        table.finish(report);
    }
    intervals
}
