//! `topics` of a `[[target]]`.

use tidegate_model::Name;

use super::names::Names;
use crate::{At, Report, RowTopics, Table};

/// The word for the topics that every gateway has.
const STANDARD: &str = "standard";

/// Reads the key. `is_json`: whether rows travel one by one, so that they have topics at all.
pub(super) fn row_topics(table: &Table, is_json: bool, templates: &Names, report: &mut Report) -> RowTopics {
    if is_json {
        table.note_default("topics", "[\"standard\"]", report);
    }
    let Some(found) = table.take::<Vec<At<String>>>("topics", report) else { return RowTopics::default() };
    if !is_json {
        let help = "rows have topics of their own with `format = \"json\"` alone; remove it".to_owned();
        report.error(&found.origin, "`topics` has no effect with this `format`".to_owned(), Some(help));
        return RowTopics::default();
    }
    if found.value.is_empty() {
        let help = "write [\"standard\"], or names of `[[topics.template]]`".to_owned();
        report.error(&found.origin, "`topics` is empty, so that rows would go nowhere".to_owned(), Some(help));
    }
    let mut topics = RowTopics { standard: false, templates: Vec::new() };
    for word in found.value {
        if word.value == STANDARD {
            topics.standard = true;
        } else if topics.templates.iter().any(|name| name.as_str() == word.value) {
            let help = "rows go there once; remove one of them".to_owned();
            report.error(&word.origin, format!("`topics` has \"{}\" twice", word.value), Some(help));
        } else if templates.contains(&word.value)
            && let Ok(name) = word.value.parse::<Name>()
        {
            topics.templates.push(name);
        } else {
            let known = [&[STANDARD], templates.sorted().as_slice()].concat();
            report.unknown_word(&word.origin, "template", &word.value, &known);
        }
    }
    topics
}
