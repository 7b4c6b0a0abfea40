//! Names that may be given only once.

use std::collections::HashMap;

use crate::{At, Origin, Report, render::describe};

/// The names of all things of one kind, with where each was given first.
pub(super) struct Names {
    /// The word for the things in messages (`link`).
    what: &'static str,
    given: HashMap<String, Origin>,
}

impl Names {
    pub(super) fn new(what: &'static str) -> Names {
        Names { what, given: HashMap::new() }
    }

    /// Notes a name, and whether it is new; the second of the same is a mistake.
    pub(super) fn add(&mut self, name: &At<impl ToString>, report: &mut Report) -> bool {
        let text = name.value.to_string();
        if let Some(first) = self.given.get(&text) {
            let message = format!("there is already a {} named \"{text}\", at {}", self.what, describe(first));
            report.error(&name.origin, message, Some("rename one of them".to_owned()));
            return false;
        }
        self.given.insert(text, name.origin.clone()).is_none()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// All names, sorted.
    pub(super) fn sorted(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.given.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}
