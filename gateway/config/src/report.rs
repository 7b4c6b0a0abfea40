//! Everything that is to be said about a configuration, collected before anything is printed.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Origin, Place, Source, render::without_logins};

/// After this many mistakes the rest is only counted.
const MAX_MISTAKES: usize = 1000;

/// How bad a mistake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The site cannot run like this.
    Error,
    /// The site runs, but somebody should look.
    Warning,
}

/// One thing that is wrong, where it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// Collects the mistakes, and the keys in force, of a whole site. Also knows what surrounds the site: the folder that
/// paths are relative to, and the environment that secrets come from.
#[derive(Debug, Default)]
pub struct Report {
    mistakes: Vec<Mistake>,
    /// The same mistakes, to find out quickly whether one is new.
    seen: HashSet<Mistake>,
    /// Mistakes beyond [`MAX_MISTAKES`].
    uncounted: usize,
    effective: Vec<Effective>,
    listed: HashSet<String>,
    /// By kind of table: the keys that anybody asked for, to suggest from.
    asked: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// In the order they were read.
    sources: Vec<Arc<Source>>,
    /// Path and line of each mistake of the syntax.
    broken: BTreeSet<(String, usize)>,
    /// Texts that are never printed.
    hidden: Vec<Place>,
    /// Whether any of them, also of the uncounted, is an error.
    has_errors: bool,
    folder: PathBuf,
    environment: Variables,
}

/// Variables of the environment, whose texts may be secrets.
#[derive(Default)]
struct Variables(BTreeMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Report {
    /// A report without anything in it: paths are relative to the working directory, the environment is empty.
    pub fn new() -> Report {
        Report::default()
    }

    /// A report on a site in this folder and environment.
    pub fn of_site(folder: impl Into<PathBuf>, environment: impl IntoIterator<Item = (String, String)>) -> Report {
        Report { folder: folder.into(), environment: Variables(environment.into_iter().collect()), ..Report::default() }
    }

    /// Notes an error. The same error at the same place is kept once.
    pub fn error(&mut self, origin: &Origin, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Error, origin, message.into(), help);
    }

    /// Notes a warning. The same warning at the same place is kept once.
    pub fn warning(&mut self, origin: &Origin, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Warning, origin, message.into(), help);
    }

    /// Notes that something is missing, unless it may be missing only because the file's syntax is wrong.
    pub(crate) fn missing(&mut self, origin: &Origin, message: String, help: Option<String>) {
        if let Origin::File(place) = origin
            && self.broken.iter().any(|(path, _)| path == place.source().path())
        {
            return;
        }
        self.error(origin, message, help);
    }

    /// Notes a mistake of the syntax. What else is found on its line is a consequence and not reported.
    pub(crate) fn syntax_error(&mut self, origin: &Origin, message: &str, help: Option<String>) {
        self.error(origin, message, help);
        if let Origin::File(place) = origin {
            self.broken.insert((place.source().path().to_owned(), place.line_and_column().0));
        }
    }

    /// Whether a file had a mistake of the syntax, so that something may be missing only because of that.
    pub(crate) fn is_incomplete(&self) -> bool {
        !self.broken.is_empty()
    }

    fn push(&mut self, severity: Severity, origin: &Origin, message: String, help: Option<String>) {
        if let Origin::File(place) = origin
            && !self.broken.is_empty()
            && self.broken.contains(&(place.source().path().to_owned(), place.line_and_column().0))
        {
            return;
        }
        let (message, help) = (without_logins(&message), help.map(|help| without_logins(&help)));
        let mistake = Mistake { severity, origin: origin.clone(), message, help };
        if self.seen.contains(&mistake) {
            return;
        }
        self.has_errors |= severity == Severity::Error;
        if self.mistakes.len() >= MAX_MISTAKES {
            self.uncounted += 1;
            return;
        }
        self.seen.insert(mistake.clone());
        self.mistakes.push(mistake);
    }

    /// Whether an error was noted; warnings do not count.
    pub fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// All mistakes in the order they were found; the first thousand.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// All keys in force in the order they were asked for.
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// How many mistakes were found after the first thousand.
    pub(crate) fn uncounted(&self) -> usize {
        self.uncounted
    }

    /// The files in the order they were read.
    pub(crate) fn sources(&self) -> &[Arc<Source>] {
        &self.sources
    }

    pub(crate) fn note_source(&mut self, source: &Arc<Source>) {
        self.sources.push(Arc::clone(source));
    }

    /// Makes sure that this text is never printed.
    pub(crate) fn hide(&mut self, origin: &Origin) {
        if let Origin::File(place) = origin {
            self.hidden.push(place.clone());
        }
    }

    pub(crate) fn hidden(&self) -> &[Place] {
        &self.hidden
    }

    pub(crate) fn note_effective(&mut self, path: String, value: String, origin: Origin) {
        if self.listed.insert(path.clone()) {
            self.effective.push(Effective { path, value: without_logins(&value), origin });
        }
    }

    pub(crate) fn note_asked(&mut self, kind: &'static str, key: &'static str) {
        self.asked.entry(kind).or_default().insert(key);
    }

    pub(crate) fn asked(&self, kind: &'static str) -> impl Iterator<Item = &'static str> {
        self.asked.get(kind).into_iter().flatten().copied()
    }

    /// A path of the site: relative ones begin at the site file's folder.
    pub(crate) fn path_of(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.join(path)
    }

    /// The environment variable of that name.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.0.get(name).map(String::as_str)
    }

    /// The whole environment.
    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_mistake_at_the_same_place_is_kept_once() {
        let mut report = Report::new();
        let source = Source::new("site.toml", "a = 1\na = 1\n");
        for start in [0, 0, 6] {
            report.error(&Origin::File(Place::new(&source, start..start + 1)), "wrong", None);
        }
        assert_eq!(report.mistakes().len(), 2);
    }

    #[test]
    fn an_error_after_a_thousand_warnings_still_counts() {
        let mut report = Report::new();
        for number in 0..MAX_MISTAKES {
            report.warning(&Origin::Default, format!("warning {number}"), None);
        }
        assert!(!report.has_errors());
        report.error(&Origin::Default, "wrong", None);
        assert!(report.has_errors());
        assert_eq!(report.mistakes().len(), MAX_MISTAKES);
        assert!(report.render().ends_with("1000 warnings; 1 more are not shown\n"));
    }

    #[test]
    fn what_follows_from_a_mistake_of_the_syntax_is_not_reported() {
        let mut report = Report::new();
        let source = Source::new("site.toml", "a = b\nc = 1\n");
        let at = |start: usize| Origin::File(Place::new(&source, start..start + 1));
        report.syntax_error(&at(4), "a text has to stand in quotes", None);
        report.error(&at(0), "`a` has to be a number", None);
        report.missing(&at(6), "`d` is missing".to_owned(), None);
        report.error(&at(6), "unknown key `c`", None);
        let messages: Vec<&str> = report.mistakes().iter().map(|mistake| mistake.message.as_str()).collect();
        assert_eq!(messages, ["a text has to stand in quotes", "unknown key `c`"]);
    }

    #[test]
    fn the_environment_is_never_printed() {
        let report = Report::of_site(".", [("SCADA".to_owned(), "hunter2".to_owned())]);
        assert!(!format!("{report:?}").contains("hunter2"));
        assert_eq!(report.variable("SCADA"), Some("hunter2"));
    }
}
