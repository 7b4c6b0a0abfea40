//! `[[group]]` of a profile.

use std::{ops::RangeInclusive, time::Duration};

use tidegate_model::Name;

use super::{names::Names, profile::stand_in};
use crate::{Access, At, DeviceTimeUnit, Group, Report, ReportWhen, Table, TagSource};

/// How often a group can be read.
pub(super) const INTERVALS: RangeInclusive<Duration> =
    RangeInclusive::new(Duration::from_millis(10), Duration::from_secs(24 * 3600));

/// A group whose tags are still to come.
pub(super) struct Draft {
    pub(super) group: Group,
    /// `device_time`, to be found among the tags.
    device_time: Option<(At<String>, DeviceTimeUnit)>,
    /// Whether tags are expected: the tags of a group that is there twice are in the first.
    expects_tags: bool,
}

/// Reads a `[[group]]`.
pub(super) fn draft(table: Table, names: &mut Names, report: &mut Report) -> Draft {
    let table = table.named("group", "");
    let name = table.require::<Name>("name", "\"fast\"", report);
    let is_new = name.as_ref().is_none_or(|name| names.add(name, report));
    let default = Duration::from_secs(1);
    let interval = if table.has("interval") {
        table.take_within("interval", default, INTERVALS, report).value
    } else {
        table.require("interval", "\"1s\"", report).map_or(default, |at: At<Duration>| at.value)
    };
    let when = [("always", ReportWhen::Always), ("on_change", ReportWhen::OnChange)];
    let when = table.choice("report", &when, report).map_or(ReportWhen::Always, |at| at.value);
    let device_time = device_time(&table, report);
    let group = Group {
        name: name.map_or_else(Name::placeholder, |name| name.value),
        origin: table.origin().clone(),
        table,
        interval,
        report: when,
        device_time: None,
        tags: Vec::new(),
    };
    Draft { group, device_time, expects_tags: is_new }
}

fn device_time(table: &Table, report: &mut Report) -> Option<(At<String>, DeviceTimeUnit)> {
    let units = [("s", DeviceTimeUnit::Seconds), ("ms", DeviceTimeUnit::Millis)];
    let unit = table.choice("device_time_unit", &units, report);
    let tag = table.take::<String>("device_time", report);
    if let (Some(unit), false) = (&unit, table.has("device_time")) {
        let help = "add `device_time`, the tag that holds the device's clock".to_owned();
        report.error(&unit.origin, "`device_time_unit` has no effect without `device_time`", Some(help));
    }
    tag.map(|tag| (tag, unit.map_or(DeviceTimeUnit::Seconds, |unit| unit.value)))
}

impl Draft {
    /// For tags of a profile without any group.
    pub(super) fn stand_in() -> Draft {
        Draft { group: stand_in(), device_time: None, expects_tags: false }
    }

    /// The group, once all its tags are in it.
    pub(super) fn finish(self, report: &mut Report) -> Group {
        let mut group = self.group;
        if group.tags.is_empty() && self.expects_tags {
            let help = format!("give a tag `group = \"{}\"`, or remove the group", group.name);
            report.missing(&group.origin, format!("group \"{}\" has no tags", group.name), Some(help));
        }
        check_doors(&group, report);
        if let Some((tag, unit)) = self.device_time {
            group.device_time = clock_column(&group, &tag, report).map(|column| (column, unit));
        }
        group
    }
}

/// Where a poll without a change is no row, nobody could tell what is as before from what is on a line.
fn check_doors(group: &Group, report: &mut Report) {
    if group.report != ReportWhen::OnChange {
        return;
    }
    for door in group.tags.iter().filter_map(|tag| tag.swinging_door.as_ref()) {
        let message = format!("`swinging_door` needs every sample, but group \"{}\" reports on change", group.name);
        let help = "move the tag to a group with `report = \"always\"`, or give it a `deadband` instead".to_owned();
        report.error(&door.origin, message, Some(help));
    }
}

fn clock_column(group: &Group, tag: &At<String>, report: &mut Report) -> Option<usize> {
    let column = group.tags.iter().position(|found| found.name.as_str() == tag.value);
    let Some(found) = column.and_then(|column| group.tags.get(column)) else {
        let names: Vec<&str> = group.tags.iter().map(|tag| tag.name.as_str()).collect();
        report.unknown_word(&tag.origin, &format!("tag of group \"{}\":", group.name), tag, &names);
        return None;
    };
    let why = match (&found.source, found.access) {
        (TagSource::Constant(_), _) => Some("a constant"),
        (_, Access::Write) => Some("only written"),
        _ => None,
    };
    if let Some(why) = why {
        let message = format!("\"{}\" is {why} and no clock", found.name);
        report.error(&tag.origin, message, Some("name a tag that is read from the device".to_owned()));
        return None;
    }
    column
}
