//! Everything that is to be said about a configuration, collected before anything is printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use crate::Origin;

/// How bad a mistake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The site cannot run like this.
    Error,
    /// The site runs, but somebody should look.
    Warning,
}

/// One thing that is wrong, where it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Whether the site can run like this.
    pub severity: Severity,
    /// Where it is.
    pub origin: Origin,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// One key as it is in force, for `print-config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Dotted path of the key (`store.max_age`, `link.press.timeout`).
    pub path: String,
    /// The value as it would be written; a secret as its reference, never its text.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Collects the mistakes, and the keys in force, of a whole site.
#[derive(Debug, Default)]
pub struct Report {
    mistakes: Vec<Mistake>,
    effective: Vec<Effective>,
    /// By kind of table: the keys that anybody asked for, to suggest from.
    asked: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

impl Report {
    /// A report without anything in it.
    pub fn new() -> Report {
        Report::default()
    }

    /// Notes an error. The same error at the same place is kept once.
    pub fn error(&mut self, origin: &Origin, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Error, origin, message.into(), help);
    }

    /// Notes a warning. The same warning at the same place is kept once.
    pub fn warning(&mut self, origin: &Origin, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Warning, origin, message.into(), help);
    }

    fn push(&mut self, severity: Severity, origin: &Origin, message: String, help: Option<String>) {
        let mistake = Mistake { severity, origin: origin.clone(), message, help };
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    /// Whether an error was noted; warnings do not count.
    pub fn has_errors(&self) -> bool {
        self.mistakes.iter().any(|mistake| mistake.severity == Severity::Error)
    }

    /// All mistakes in the order they were found.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// All keys in force in the order they were asked for.
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    pub(crate) fn note_effective(&mut self, path: String, value: String, origin: Origin) {
        self.effective.push(Effective { path, value, origin });
    }

    pub(crate) fn note_asked(&mut self, kind: &'static str, key: &'static str) {
        self.asked.entry(kind).or_default().insert(key);
    }

    pub(crate) fn asked(&self, kind: &'static str) -> impl Iterator<Item = &'static str> {
        self.asked.get(kind).into_iter().flatten().copied()
    }

    /// All mistakes as text for a person: `file:line:column: message`, the line, a caret, a help.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for mistake in &self.mistakes {
            // Writing to a `String` cannot fail.
            let _ = mistake.render(&mut text);
        }
        text
    }
}

impl Mistake {
    fn render(&self, out: &mut String) -> std::fmt::Result {
        let severity = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        match &self.origin {
            Origin::File(place) => {
                let (line, column) = place.line_and_column();
                let margin = " ".repeat(line.to_string().len());
                let indent: String =
                    place.line().chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                let carets = "^".repeat(place.width());
                writeln!(out, "{}:{line}:{column}: {severity}{}", place.source().path(), self.message)?;
                writeln!(out, "{margin} |")?;
                writeln!(out, "{line} | {}", place.line())?;
                writeln!(out, "{margin} | {indent}{carets}")?;
                if let Some(help) = &self.help {
                    writeln!(out, "{margin} = help: {help}")?;
                }
            }
            Origin::Environment(variable) => {
                writeln!(out, "environment variable {variable}: {severity}{}", self.message)?;
                if let Some(help) = &self.help {
                    writeln!(out, "  = help: {help}")?;
                }
            }
            Origin::Default => {
                writeln!(out, "{severity}{}", self.message)?;
                if let Some(help) = &self.help {
                    writeln!(out, "  = help: {help}")?;
                }
            }
        }
        writeln!(out)
    }
}

/// The nearest of `candidates` to `word`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(word.chars().count()) / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}
