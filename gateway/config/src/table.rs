//! Tables that remember where each key stands, and which keys somebody wanted.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    At, FromNode, Kind, Node, Origin, Place, Report, Source,
    words::{either, list, nearest, only_part, shorten},
};

/// No table of ours has as many keys; what is more is reported and left out, so that looking for a key stays cheap.
const MAX_KEYS: usize = 4096;

/// A key, its place and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_origin: Origin,
    pub(crate) node: Node,
    /// Whether somebody took the key; what nobody took is unknown. Shared by all copies of the entry, so that a default
    /// counts as taken when one tag took it.
    taken: Arc<AtomicBool>,
}

impl Entry {
    pub(crate) fn new(key: impl Into<String>, key_origin: Origin, node: Node) -> Entry {
        Entry { key: key.into(), key_origin, node, taken: Arc::new(AtomicBool::new(false)) }
    }
}

/// A table of a configuration file. Readers take the keys they know; [`Table::finish`] reports the rest as unknown.
#[derive(Debug, Clone)]
pub struct Table {
    /// Which kind of table it is (`link`, `tag`): suggestions come from the keys asked of the same kind.
    kind: &'static str,
    /// Dotted path for `print-config`; empty: keys are not listed there.
    path: String,
    origin: Origin,
    entries: Vec<Entry>,
}

/// What stands in the brackets of a table under this key: its kind is the way to it, but where other tables are of the same kind.
fn header(key: &'static str, kind: &'static str) -> &'static str {
    if kind.rsplit('.').next() == Some(key) { kind } else { key }
}

impl Table {
    /// An empty table of this kind that stands at `origin`.
    pub fn empty(kind: &'static str, origin: Origin) -> Table {
        Table { kind, path: String::new(), origin, entries: Vec::new() }
    }

    /// The top table of a file. Mistakes of the syntax go into `report`; what could be read is returned.
    pub fn parse(source: &Arc<Source>, report: &mut Report) -> Table {
        report.note_source(source);
        let (table, errors) = toml::de::DeTable::parse_recoverable(source.text());
        for error in errors {
            report.parser_error(source, &error);
        }
        let origin = Origin::File(Place::new(source, 0..0));
        Table::from_toml(source, origin, table.into_inner(), 0, report)
    }

    pub(crate) fn from_toml(
        source: &Arc<Source>,
        origin: Origin,
        table: toml::de::DeTable<'_>,
        depth: usize,
        report: &mut Report,
    ) -> Table {
        if table.len() > MAX_KEYS {
            report.error(&origin, format!("more than {MAX_KEYS} keys in one table"), None);
        }
        let mut entries: Vec<Entry> = table
            .into_iter()
            .take(MAX_KEYS)
            .map(|(key, value)| {
                let key_origin = Origin::File(Place::new(source, key.span()));
                let node = Node::from_toml(source, &key_origin, value, depth, report);
                Entry::new(key.into_inner(), key_origin, node)
            })
            .collect();
        entries.sort_by_key(|entry| match &entry.key_origin {
            Origin::File(place) => place.start(),
            Origin::Environment(_) | Origin::Default => usize::MAX,
        });
        Table { kind: "", path: String::new(), origin, entries }
    }

    /// Gives the table its kind and the path its keys are listed under by `print-config`.
    pub fn named(mut self, kind: &'static str, path: impl Into<String>) -> Table {
        self.kind = kind;
        self.path = path.into();
        self
    }

    /// Where the table stands: its header, or its opening brace.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the table has the key, taken or not.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// All keys in the order they stand, with their places and values; marks none of them taken.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Origin, &Node)> {
        self.entries.iter().map(|entry| (entry.key.as_str(), &entry.key_origin, &entry.node))
    }

    /// Where the key's value stands; the table's own place when the key is missing.
    pub fn origin_of(&self, key: &str) -> &Origin {
        self.entries.iter().find(|entry| entry.key == key).map_or(&self.origin, |entry| &entry.node.origin)
    }

    /// Takes the key's raw node, if it is there.
    pub fn node(&self, key: &'static str, report: &mut Report) -> Option<&Node> {
        report.note_asked(self.kind, key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        entry.taken.store(true, Ordering::Relaxed);
        Some(&entry.node)
    }

    /// Takes the key, if it is there. A value of the wrong kind is reported and comes back as `None`.
    pub fn take<T: FromNode>(&self, key: &'static str, report: &mut Report) -> Option<At<T>> {
        let node = self.node(key, report)?;
        let value = T::from_node(node, key, report);
        if !self.path.is_empty() {
            // The environment has only text, also for numbers and switches.
            let read = value.as_ref().filter(|_| node.variable_text().is_some()).map(FromNode::to_toml);
            let shown = read.filter(|toml| !toml.starts_with('"')).unwrap_or_else(|| T::shown(node));
            report.note_effective(format!("{}.{key}", self.path), shown, node.origin.clone());
        }
        value.map(|value| At { value, origin: node.origin.clone() })
    }

    /// Takes the key, or the default when it is missing or wrong.
    pub fn take_or<T: FromNode>(&self, key: &'static str, default: T, report: &mut Report) -> At<T> {
        if !self.has(key) && !self.path.is_empty() {
            report.note_effective(format!("{}.{key}", self.path), default.to_toml(), Origin::Default);
        }
        self.take(key, report).unwrap_or(At { value: default, origin: Origin::Default })
    }

    /// Takes the key, or the default when it is missing or wrong; a value outside of the range is wrong.
    pub fn take_within<T: FromNode + PartialOrd>(
        &self,
        key: &'static str,
        default: T,
        range: RangeInclusive<T>,
        report: &mut Report,
    ) -> At<T> {
        if !self.has(key) {
            return self.take_or(key, default, report);
        }
        let fallback = At { value: default, origin: Origin::Default };
        let Some(found) = self.take::<T>(key, report) else { return fallback };
        if range.contains(&found.value) {
            return found;
        }
        let (low, high) = (range.start().to_toml(), range.end().to_toml());
        let message = format!("`{key}` has to be between {low} and {high}, but is {}", found.value.to_toml());
        report.error(&found.origin, message, None);
        fallback
    }

    /// Takes the key; when it is missing, that is reported at the table, with `example` as the help.
    pub fn require<T: FromNode>(&self, key: &'static str, example: &str, report: &mut Report) -> Option<At<T>> {
        if !self.has(key) {
            report.note_asked(self.kind, key);
            report.missing(&self.origin, format!("`{key}` is missing"), Some(format!("add `{key} = {example}`")));
            return None;
        }
        self.take(key, report)
    }

    /// Takes a key that has to be one of these words. Anything else is reported with the words and the nearest one.
    pub fn choice<T: Clone>(
        &self,
        key: &'static str,
        choices: &[(&'static str, T)],
        report: &mut Report,
    ) -> Option<At<T>> {
        let word: At<String> = self.take(key, report)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word.value) {
            return Some(At { value: value.clone(), origin: word.origin });
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let help = match nearest(&word, names.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("it can be {}", either(&names)),
        };
        report.error(&word.origin, format!("`{key}` cannot be \"{}\"", shorten(&word)), Some(help));
        None
    }

    /// Takes a key that holds a table; the inner table gets this kind.
    pub fn table(&self, key: &'static str, kind: &'static str, report: &mut Report) -> Option<Table> {
        let node = self.node(key, report)?;
        match &node.kind {
            Kind::Table(table) => Some(table.clone().named(kind, self.child_path(key))),
            other => {
                let header = header(key, kind);
                let help = match other {
                    Kind::Array(_) => format!("write `[{header}]`, once"),
                    _ => format!("write `[{header}]` on a line of its own, and its keys below it"),
                };
                let message = format!("`{key}` has to be a table, but is {}", other.describe());
                report.error(&node.origin, message, Some(help));
                None
            }
        }
    }

    /// Takes a key that holds an array of tables (`[[link]]`); missing is empty. The inner tables get this kind.
    pub fn tables(&self, key: &'static str, kind: &'static str, report: &mut Report) -> Vec<Table> {
        let Some(node) = self.node(key, report) else { return Vec::new() };
        let Kind::Array(items) = &node.kind else {
            let message = format!("`{key}` has to be an array of tables, but is {}", node.kind.describe());
            report.error(&node.origin, message, Some(format!("write `[[{}]]`", header(key, kind))));
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            match &item.kind {
                Kind::Table(table) => tables.push(table.clone().named(kind, self.child_path(key))),
                other => {
                    let message = format!("an item of `{key}` has to be a table, but is {}", other.describe());
                    report.error(&item.origin, message, Some(format!("write `[[{}]]`", header(key, kind))));
                }
            }
        }
        tables
    }

    /// Adds every key of `defaults` that this table does not have itself.
    pub fn fill_from(&mut self, defaults: &Table) {
        self.fill_some_from(defaults, |_| true);
    }

    /// Adds the `wanted` keys of `defaults` that this table does not have itself.
    pub(crate) fn fill_some_from(&mut self, defaults: &Table, wanted: impl Fn(&str) -> bool) {
        for entry in defaults.entries.iter().filter(|entry| wanted(&entry.key)) {
            if !self.has(&entry.key) {
                self.entries.push(entry.clone());
            }
        }
    }

    /// Sets a key, in place of what was there.
    pub fn set(&mut self, key: &str, node: Node) {
        let key_origin = node.origin.clone();
        self.entries.retain(|entry| entry.key != key);
        self.entries.push(Entry::new(key, key_origin, node));
    }

    /// The inner table of a key, made if it is not there; `None` when the key holds something else.
    pub fn table_mut(&mut self, key: &str) -> Option<&mut Table> {
        if !self.has(key) {
            let inner = Table::empty("", Origin::Default);
            self.set(key, Node { origin: Origin::Default, kind: Kind::Table(inner) });
        }
        let entry = self.entries.iter_mut().find(|entry| entry.key == key)?;
        match &mut entry.node.kind {
            Kind::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Reports every key that nobody took, with the nearest known one.
    pub fn finish(&self, report: &mut Report) {
        for entry in self.entries.iter().filter(|entry| !entry.taken.load(Ordering::Relaxed)) {
            let known: Vec<&str> = report.asked(self.kind).collect();
            if known.contains(&entry.key.as_str()) {
                let message = format!("`{}` has no effect here", entry.key);
                report.error(&entry.key_origin, message, Some("remove it".to_owned()));
                continue;
            }
            report.unknown_key(&entry.key_origin, &entry.key, &known);
        }
    }

    /// Reports every key that nobody took and that no table of this kind knows.
    pub(crate) fn finish_defaults(&self, report: &mut Report) {
        for entry in self.entries.iter().filter(|entry| !entry.taken.load(Ordering::Relaxed)) {
            let known: Vec<&str> = report.asked(self.kind).collect();
            if !known.contains(&entry.key.as_str()) {
                report.unknown_key(&entry.key_origin, &entry.key, &known);
            }
        }
    }

    /// The keys that nobody took yet, with their places.
    pub(crate) fn untaken(&self) -> impl Iterator<Item = (&str, &Origin)> {
        let untaken = self.entries.iter().filter(|entry| !entry.taken.load(Ordering::Relaxed));
        untaken.map(|entry| (entry.key.as_str(), &entry.key_origin))
    }

    pub(crate) fn entries_mut(&mut self) -> &mut Vec<Entry> {
        &mut self.entries
    }

    /// The path of a table within this one; a table that is not listed has none that are.
    pub(crate) fn child_path(&self, key: &str) -> String {
        if self.path.is_empty() { String::new() } else { format!("{}.{key}", self.path) }
    }
}

impl Report {
    pub(crate) fn unknown_key(&mut self, origin: &Origin, key: &str, known: &[&str]) {
        let help = match nearest(key, known.iter().copied()).or_else(|| only_part(key, known)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys are {}", list(known, '`')),
        };
        self.error(origin, format!("unknown key `{}`", shorten(key)), Some(help));
    }
}
