//! `[store]`.

use std::time::Duration;

use super::section;
use crate::{ByteSize, Report, Store, Table, WhenFull};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// The database itself needs some space, and retention works in steps.
const SMALLEST: ByteSize = ByteSize(16 << 20);
const LARGEST: ByteSize = ByteSize(16 << 40);

/// Reads `[store]`.
pub(super) fn store(root: &Table, report: &mut Report) -> Store {
    let table = section(root, "store", report);
    let commits = Duration::from_millis(10)..=MINUTE;
    let ages = MINUTE..=24 * 3650 * HOUR;
    let store = Store {
        commit: table.take_within("commit", Duration::from_millis(250), commits, report).value,
        max_age: table.take_within("max_age", 72 * HOUR, ages, report).value,
        max_size: table.take_within("max_size", ByteSize(4 << 30), SMALLEST..=LARGEST, report).value,
        when_full: when_full(&table, report),
    };
    table.finish(report);
    store
}

fn when_full(table: &Table, report: &mut Report) -> WhenFull {
    let choices = [("drop_oldest", WhenFull::DropOldest), ("thin", WhenFull::Thin), ("block", WhenFull::Block)];
    table.note_default("when_full", "\"drop_oldest\"", report);
    table.choice("when_full", &choices, report).map_or(WhenFull::DropOldest, |found| found.value)
}
