//! A profile's file.

use std::time::Duration;

use tidegate_model::Name;

use super::{group, names::Names, tag};
use crate::{At, Group, Origin, Profile, Report, ReportWhen, Table};

/// Keys that every tag has for itself.
const NEVER_DEFAULTS: [&str; 3] = ["name", "value", "expr"];

/// Reads the profile named `path` from the top table of its file.
pub(super) fn profile(path: &str, root: Table, report: &mut Report) -> Profile {
    let root = root.named("profile file", "");
    let head = match root.table("profile", "profile", report) {
        Some(head) => Some(head),
        None if root.has("profile") => None,
        None => {
            let help = "add `[profile]` with `manufacturer`, `model` and `driver`".to_owned();
            report.missing(root.origin(), "`[profile]` is missing".to_owned(), Some(help));
            None
        }
    };
    let missing_head = head.is_none();
    let head = head.unwrap_or_else(|| Table::empty("profile", Origin::Default));
    let defaults = defaults(&root, report);
    let quirks = root.table("quirks", "quirks", report);
    let groups = groups(&root, &defaults, report);
    root.finish(report);
    let required = |key: &'static str, example: &str, report: &mut Report| -> Option<At<String>> {
        if missing_head { None } else { head.require(key, example, report) }
    };
    let profile = Profile {
        path: path.to_owned(),
        origin: head.origin().clone(),
        manufacturer: required("manufacturer", "\"Eastron\"", report).map(|at| at.value).unwrap_or_default(),
        model: required("model", "\"SDM630\"", report).map(|at| at.value).unwrap_or_default(),
        driver: required("driver", "\"modbus\"", report)
            .unwrap_or(At { value: String::new(), origin: Origin::Default }),
        version: head.take_within("version", 1, 1..=u32::MAX, report).value,
        description: head.take("description", report).map(|at| at.value),
        source: head.take("source", report).map(|at| at.value),
        defaults,
        quirks: quirks.unwrap_or_else(|| Table::empty("quirks", Origin::Default)),
        groups,
    };
    head.finish(report);
    profile
}

/// `[defaults]`, without the keys that no tag can have from there.
fn defaults(root: &Table, report: &mut Report) -> Table {
    let mut defaults =
        root.table("defaults", "tag", report).unwrap_or_else(|| Table::empty("tag", Origin::Default)).named("tag", "");
    for key in NEVER_DEFAULTS {
        let found = defaults.entries().find(|(found, _, _)| *found == key).map(|(_, origin, _)| origin.clone());
        if let Some(origin) = found {
            let message = format!("`{key}` cannot have a default: every tag has its own");
            report.error(&origin, message, Some("move it to the tags".to_owned()));
        }
    }
    defaults.entries_mut().retain(|entry| !NEVER_DEFAULTS.contains(&entry.key.as_str()));
    defaults
}

fn groups(root: &Table, defaults: &Table, report: &mut Report) -> Vec<Group> {
    let mut names = Names::new("group");
    let mut drafts: Vec<group::Draft> = Vec::new();
    for table in root.tables("group", "group", report) {
        drafts.push(group::draft(table, &mut names, report));
    }
    let words: Vec<String> = drafts.iter().map(|draft| draft.group.name.to_string()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if drafts.is_empty() {
        if !root.has("group") {
            let help = "add `[[group]]` with `name = \"fast\"` and `interval = \"1s\"`".to_owned();
            report.missing(root.origin(), "a profile needs at least one `[[group]]`".to_owned(), Some(help));
        }
        // The tags are checked all the same.
        drafts.push(group::Draft::stand_in());
    }
    let mut tag_names = Names::new("tag");
    for table in root.tables("tag", "tag", report) {
        let tag = tag::tag(table, defaults, &words, report);
        if let Some(name) = &tag.name {
            tag_names.add(name, report);
        }
        if let Some(draft) = drafts.get_mut(tag.group) {
            draft.group.tags.push(tag.tag);
        }
    }
    drafts.into_iter().map(|draft| draft.finish(report)).collect()
}

/// A group of its own when the profile has none, so that its tags can be checked.
pub(super) fn stand_in() -> Group {
    Group {
        name: Name::placeholder(),
        origin: Origin::Default,
        table: Table::empty("group", Origin::Default),
        interval: Duration::from_secs(1),
        report: ReportWhen::Always,
        device_time: None,
        tags: Vec::new(),
    }
}
