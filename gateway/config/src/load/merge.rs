//! Putting the tables of an included file into those of the site file.

use crate::{Kind, Node, Report, Table, render::describe};

/// Adds everything of `from` to `into`: arrays of tables are joined, tables are merged key by key, and a key that both have is
/// a mistake.
pub(super) fn merge(into: &mut Table, mut from: Table, report: &mut Report) {
    for entry in from.entries_mut().drain(..) {
        let Some(existing) = into.entries_mut().iter_mut().find(|found| found.key == entry.key) else {
            into.entries_mut().push(entry);
            continue;
        };
        match (&mut existing.node.kind, entry.node.kind) {
            (Kind::Table(ours), Kind::Table(theirs)) => merge(ours, theirs, report),
            (Kind::Array(ours), Kind::Array(theirs)) if are_tables(ours) && are_tables(&theirs) => ours.extend(theirs),
            _ => {
                let message = format!("`{}` is already set at {}", entry.key, describe(&existing.key_origin));
                report.error(&entry.key_origin, message, Some("remove one of the two".to_owned()));
            }
        }
    }
}

fn are_tables(items: &[Node]) -> bool {
    items.iter().all(|item| matches!(item.kind, Kind::Table(_)))
}
