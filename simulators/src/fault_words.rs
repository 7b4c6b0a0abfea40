//! Faults in words: `silence after=10s for=30s` on the command line, `[[fault]]` tables in a script; what all protocols have in
//! common.

use std::{ops::Range, path::Path, sync::Arc, time::Duration};

use tidegate_config::{At, Kind, Node, Origin, Place, Report, Source, Table};

use crate::SimulatorError;

/// Reads one fault as it is written on a command line: words with `=` are its keys, the one without is its kind.
pub(crate) fn parse_words<T>(
    text: &str,
    fault: impl Fn(&Table, &mut Report) -> Option<T>,
) -> Result<T, SimulatorError> {
    let mut report = Report::new();
    let source = Source::new("--fault", text);
    let table = words(&source, &mut report);
    finish(fault(&table, &mut report), &report)
}

/// Reads a script: a TOML file with a `[[fault]]` table for each fault.
pub(crate) fn parse_file<T>(
    file: &Path,
    fault: impl Fn(&Table, &mut Report) -> Option<T>,
) -> Result<Vec<T>, SimulatorError> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| SimulatorError::Faults(format!("{shown}: the file cannot be read: {error}")))?;
    let mut report = Report::new();
    let script = Table::parse(&Source::new(shown, text), &mut report).named("script", "");
    let tables = script.tables("fault", "fault", &mut report);
    script.finish(&mut report);
    // Every table is read before anything is given up, so that all mistakes come out at once.
    let faults: Vec<Option<T>> = tables.iter().map(|table| fault(table, &mut report)).collect();
    finish(faults.into_iter().collect(), &report)
}

/// What goes wrong: the key `kind` as one of the words of a protocol.
pub(crate) fn kind<T: Copy>(table: &Table, kinds: &[(&'static str, T)], report: &mut Report) -> Option<At<T>> {
    if table.has("kind") {
        return table.choice("kind", kinds, report);
    }
    let known: Vec<&str> = kinds.iter().map(|(word, _)| *word).collect();
    let help = format!("one of {}", known.join(", "));
    report.error(table.origin(), "the fault does not say what goes wrong", Some(help));
    None
}

/// The key `key` as a time between these two.
pub(crate) fn time(
    table: &Table,
    key: &'static str,
    example: &str,
    (least, most): (Duration, Duration),
    report: &mut Report,
) -> Option<Duration> {
    let value: At<Duration> = table.require(key, example, report)?;
    if (least..=most).contains(&value.value) {
        return Some(value.value);
    }
    let message = format!("`{key}` has to be between {least:?} and {most:?}, but is {:?}", value.value);
    report.error(&value.origin, message, None);
    None
}

fn finish<T>(read: Option<T>, report: &Report) -> Result<T, SimulatorError> {
    read.filter(|_| !report.has_errors()).ok_or_else(|| SimulatorError::Faults(report.render()))
}

/// The words of a command line as the table that a script would have in their place.
fn words(source: &Arc<Source>, report: &mut Report) -> Table {
    let text = source.text();
    let place = |span: Range<usize>| Origin::File(Place::new(source, span));
    let mut table = Table::empty("fault", place(0..text.len()));
    let mut rest = text;
    while let Some(word) = rest.split_whitespace().next() {
        let begin = text.len() - rest.trim_start().len();
        rest = rest.trim_start().get(word.len()..).unwrap_or_default();
        let origin = place(begin..begin + word.len());
        let (key, value) = word.split_once('=').unwrap_or(("kind", word));
        if table.has(key) {
            report.error(&origin, format!("`{key}` is there twice"), None);
        }
        let kind = value.parse().map_or_else(|_| Kind::Text(value.to_owned()), Kind::Integer);
        table.set(key, Node { origin, kind });
    }
    table
}
