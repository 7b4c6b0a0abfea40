//! A report as text for a person.

mod mask;

use std::{
    collections::BTreeSet,
    fmt::{self, Write},
};

use mask::MASK;
pub(crate) use mask::without_logins;

use crate::{Mistake, Origin, Place, Report, Severity};

/// A line of a file is shown up to this many characters around the mistake.
const MAX_SHOWN: usize = 160;
/// Characters shown before the mistake when the line is cut.
const BEFORE: usize = 60;

impl Report {
    /// All mistakes as text for a person: `file:line:column: message`, the line, a caret, a help; ordered by file and
    /// place, with their number at the end. Empty when there is none.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut mistakes: Vec<&Mistake> = self.mistakes().iter().collect();
        mistakes.sort_by(|a, b| self.order(&a.origin).cmp(&self.order(&b.origin)));
        for mistake in &mistakes {
            // Writing to a `String` cannot fail.
            let _ = self.render_one(mistake, &mut text);
        }
        if let Some(summary) = self.summary() {
            text.push_str(&summary);
            text.push('\n');
        }
        text
    }

    /// The keys in force, one a line, each with where its value comes from: `store.max_age = "48h"   # default`.
    pub fn render_effective(&self) -> String {
        let lines: Vec<(String, String)> = self
            .effective()
            .iter()
            .map(|key| (format!("{} = {}", key.path, printable(&key.value)), describe(&key.origin)))
            .collect();
        let widest = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0).min(60);
        let mut text = String::new();
        for (line, origin) in lines {
            let _ = writeln!(text, "{line:widest$}   # {origin}");
        }
        text
    }

    /// What has no place comes first, then the files as they were read, then the environment.
    fn order<'a>(&self, origin: &'a Origin) -> (usize, usize, &'a str) {
        let files = self.sources().len();
        match origin {
            Origin::Default => (0, 0, ""),
            Origin::File(place) => {
                let position = self.sources().iter().position(|source| source.path() == place.source().path());
                (position.unwrap_or(files) + 1, place.start(), "")
            }
            Origin::Environment(variable) => (files + 2, 0, variable),
        }
    }

    /// `3 mistakes and 1 warning in 2 files`.
    fn summary(&self) -> Option<String> {
        let errors = self.mistakes().iter().filter(|mistake| mistake.severity == Severity::Error).count();
        let warnings = self.mistakes().len() - errors;
        let mut counts = Vec::new();
        if errors > 0 {
            counts.push(count(errors, "mistake"));
        }
        if warnings > 0 {
            counts.push(count(warnings, "warning"));
        }
        if counts.is_empty() {
            return None;
        }
        let mut text = counts.join(" and ");
        let mut files = BTreeSet::new();
        let mut environment = false;
        for mistake in self.mistakes() {
            match &mistake.origin {
                Origin::File(place) => drop(files.insert(place.source().path())),
                Origin::Environment(_) => environment = true,
                Origin::Default => {}
            }
        }
        let mut places = Vec::new();
        if !files.is_empty() {
            places.push(count(files.len(), "file"));
        }
        if environment {
            places.push("the environment".to_owned());
        }
        if !places.is_empty() {
            text.push_str(" in ");
            text.push_str(&places.join(" and "));
        }
        if self.uncounted() > 0 {
            let _ = write!(text, "; {} more are not shown", self.uncounted());
        }
        Some(text)
    }

    fn render_one(&self, mistake: &Mistake, out: &mut String) -> fmt::Result {
        let severity = match mistake.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        let message = printable(&mistake.message);
        let mut margin = String::from(" ");
        match &mistake.origin {
            Origin::File(place) => {
                let (line, column) = place.line_and_column();
                margin = " ".repeat(line.to_string().len());
                let (shown, carets) = self.shown(place);
                writeln!(out, "{}:{line}:{column}: {severity}{message}", place.source().path())?;
                writeln!(out, "{margin} |")?;
                writeln!(out, "{line} | {shown}")?;
                writeln!(out, "{margin} | {carets}")?;
            }
            Origin::Environment(variable) => {
                writeln!(out, "environment variable {}: {severity}{message}", printable(variable))?;
            }
            Origin::Default => writeln!(out, "{severity}{message}")?,
        }
        if let Some(help) = &mistake.help {
            writeln!(out, "{margin} = help: {}", printable(help))?;
        }
        writeln!(out)
    }

    /// The line of a place and the carets under it. Secrets are masked, control characters made harmless, and a very
    /// long line is cut around the place.
    fn shown(&self, place: &Place) -> (String, String) {
        let line = place.line();
        let hidden = self.hidden_in(place);
        let (mut shown, mut carets) = (String::new(), String::new());
        let cut_before = if line.chars().count() > MAX_SHOWN { place.column().saturating_sub(BEFORE) } else { 0 };
        if cut_before > 0 {
            shown.push('…');
            carets.push(' ');
        }
        let mut masked = false;
        let end = place.end_in_line().max(place.start() + 1);
        for (index, (offset, c)) in line.char_indices().enumerate().skip(cut_before) {
            if index >= cut_before + MAX_SHOWN {
                shown.push('…');
                break;
            }
            let at = place.line_start() + offset;
            let caret = if at >= place.start() && at < end { '^' } else { ' ' };
            let hide = hidden.iter().any(|span| span.contains(&at));
            if hide && !masked {
                shown.push_str(MASK);
                carets.extend(std::iter::repeat_n(caret, MASK.len()));
            } else if !hide {
                shown.push(if c.is_control() && c != '\t' { '\u{fffd}' } else { c });
                carets.push(if c == '\t' && caret == ' ' { '\t' } else { caret });
            }
            masked = hide;
        }
        if !carets.contains('^') {
            carets.push('^');
        }
        (shown, carets.trim_end().to_owned())
    }

    /// The bytes of the place's line that are never printed.
    fn hidden_in(&self, place: &Place) -> Vec<std::ops::Range<usize>> {
        let same_file = self.hidden().iter().filter(|hidden| hidden.source().path() == place.source().path());
        let mut spans: Vec<std::ops::Range<usize>> = same_file.map(|hidden| hidden.start()..hidden.end()).collect();
        let secrets = mask::secrets(place.line_above(), place.line());
        spans.extend(secrets.into_iter().map(|span| span.start + place.line_start()..span.end + place.line_start()));
        spans
    }
}

/// Where something stands, in a few words: `tidegate.toml:12:1`.
pub(crate) fn describe(origin: &Origin) -> String {
    match origin {
        Origin::File(place) => {
            let (line, column) = place.line_and_column();
            format!("{}:{line}:{column}", place.source().path())
        }
        Origin::Environment(variable) => format!("environment {}", printable(variable)),
        Origin::Default => "default".to_owned(),
    }
}

/// `1 file`, `2 files`.
fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// The text without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_far_into_a_long_line_is_still_seen() {
        let line = format!("a = \"{}\" b {}", "x".repeat(500), "y".repeat(500));
        let at = line.find('b').unwrap();
        let mut report = Report::new();
        let source = crate::Source::new("site.toml", line);
        report.error(&Origin::File(Place::new(&source, at..at + 1)), "wrong", None);
        let text = report.render();
        let lines: Vec<&str> = text.lines().collect();
        let caret = lines[3].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[2].chars().nth(caret), Some('b'), "{text}");
        assert!(lines[2].chars().count() < 200);
    }
}
