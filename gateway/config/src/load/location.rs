//! `[gateway.location]` and `location` of a device.

use crate::{Location, Report, Table};

/// A level of a location is at most this long, in bytes.
const LONGEST: usize = 128;

/// Reads a table of the levels of ISA-95.
pub(super) fn location(table: Option<Table>, report: &mut Report) -> Location {
    let Some(table) = table else { return Location::default() };
    let mut level = |key: &'static str| {
        let level = table.take::<String>(key, report)?;
        let why = if level.is_empty() {
            "is empty"
        } else if level.contains(['+', '#', '/']) {
            "has a `+`, a `#` or a slash, which cannot stand in a level of a topic"
        } else if level.starts_with('$') {
            "begins with `$`, which belongs to brokers"
        } else if level.chars().any(char::is_control) || level.len() > LONGEST {
            "has a control character or is too long"
        } else {
            return Some(level.value);
        };
        let help = format!("write a word like `{key} = \"hall-2\"`, or leave it out");
        report.error(&level.origin, format!("`{key}` {why}"), Some(help));
        None
    };
    let location = Location {
        enterprise: level("enterprise"),
        site: level("site"),
        area: level("area"),
        line: level("line"),
        cell: level("cell"),
    };
    table.finish(report);
    location
}
