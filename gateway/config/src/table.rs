//! Tables that remember where each key stands, and which keys somebody wanted.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{At, FromNode, Origin, Place, Report, Source, report::nearest};

/// One value of the tree and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where the value stands.
    pub origin: Origin,
    /// The value.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A string.
    Text(String),
    /// An integer that fits 64 bits, signed.
    Integer(i64),
    /// A float, and its decimal text as written.
    Float(f64, String),
    /// A boolean.
    Bool(bool),
    /// An array.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
    /// A TOML date or time; no key of ours takes one.
    Date(String),
}

impl Kind {
    /// The word for this kind in messages, with its article.
    pub fn describe(&self) -> &'static str {
        match self {
            Kind::Text(_) => "a string",
            Kind::Integer(_) => "an integer",
            Kind::Float(..) => "a float",
            Kind::Bool(_) => "a boolean",
            Kind::Array(_) => "an array",
            Kind::Table(_) => "a table",
            Kind::Date(_) => "a date",
        }
    }
}

/// A key, its place and its value.
#[derive(Debug)]
struct Entry {
    key: String,
    key_origin: Origin,
    node: Node,
    /// Whether somebody took the key; what nobody took is unknown.
    taken: AtomicBool,
}

impl Clone for Entry {
    fn clone(&self) -> Entry {
        Entry {
            key: self.key.clone(),
            key_origin: self.key_origin.clone(),
            node: self.node.clone(),
            taken: AtomicBool::new(self.taken.load(Ordering::Relaxed)),
        }
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

impl Table {
    /// An empty table of this kind that stands at `origin`.
    pub fn empty(kind: &'static str, origin: Origin) -> Table {
        Table { kind, path: String::new(), origin, entries: Vec::new() }
    }

    /// The top table of a file. Mistakes of the syntax go into `report`; what could be read is returned.
    pub fn parse(source: &Arc<Source>, report: &mut Report) -> Table {
        let (table, errors) = toml::de::DeTable::parse_recoverable(source.text());
        for error in errors {
            let origin = Origin::File(Place::new(source, error.span().unwrap_or(0..0)));
            report.error(&origin, error.message().replace('\n', ", "), None);
        }
        let origin = Origin::File(Place::new(source, 0..0));
        Table::from_toml(source, origin, table.into_inner())
    }

    fn from_toml(source: &Arc<Source>, origin: Origin, table: toml::de::DeTable<'_>) -> Table {
        let mut entries: Vec<Entry> = table
            .into_iter()
            .map(|(key, value)| {
                let key_origin = Origin::File(Place::new(source, key.span()));
                Entry {
                    node: Node::from_toml(source, &key_origin, value),
                    key: key.into_inner().into_owned(),
                    key_origin,
                    taken: AtomicBool::new(false),
                }
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
        if !self.path.is_empty() {
            report.note_effective(format!("{}.{key}", self.path), node.to_string(), node.origin.clone());
        }
        T::from_node(node, key, report).map(|value| At { value, origin: node.origin.clone() })
    }

    /// Takes the key, or the default when it is missing or wrong.
    pub fn take_or<T: FromNode>(&self, key: &'static str, default: T, report: &mut Report) -> At<T> {
        if !self.has(key) && !self.path.is_empty() {
            report.note_effective(format!("{}.{key}", self.path), default.to_toml(), Origin::Default);
        }
        self.take(key, report).unwrap_or(At { value: default, origin: Origin::Default })
    }

    /// Takes the key; when it is missing, that is reported at the table, with `example` as the help.
    pub fn require<T: FromNode>(&self, key: &'static str, example: &str, report: &mut Report) -> Option<At<T>> {
        if !self.has(key) {
            report.note_asked(self.kind, key);
            report.error(&self.origin, format!("`{key}` is missing"), Some(format!("add `{key} = {example}`")));
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
        report.unknown_word(&word.origin, &format!("`{key}`"), &word.value, &names);
        None
    }

    /// Takes a key that holds a table; the inner table gets this kind.
    pub fn table(&self, key: &'static str, kind: &'static str, report: &mut Report) -> Option<Table> {
        let node = self.node(key, report)?;
        match &node.kind {
            Kind::Table(table) => Some(table.clone().named(kind, self.child_path(key))),
            other => {
                let message = format!("`{key}` has to be a table, but is {}", other.describe());
                report.error(&node.origin, message, None);
                None
            }
        }
    }

    /// Takes a key that holds an array of tables (`[[link]]`); missing is empty. The inner tables get this kind.
    pub fn tables(&self, key: &'static str, kind: &'static str, report: &mut Report) -> Vec<Table> {
        let Some(node) = self.node(key, report) else { return Vec::new() };
        let Kind::Array(items) = &node.kind else {
            let message = format!("`{key}` has to be an array of tables, but is {}", node.kind.describe());
            report.error(&node.origin, message, Some(format!("write `[[{key}]]`")));
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            match &item.kind {
                Kind::Table(table) => tables.push(table.clone().named(kind, self.child_path(key))),
                other => {
                    let message = format!("an item of `{key}` has to be a table, but is {}", other.describe());
                    report.error(&item.origin, message, Some(format!("write `[[{key}]]`")));
                }
            }
        }
        tables
    }

    /// Adds every key of `defaults` that this table does not have itself.
    pub fn fill_from(&mut self, defaults: &Table) {
        for entry in &defaults.entries {
            if !self.has(&entry.key) {
                self.entries.push(entry.clone());
            }
        }
    }

    /// Sets a key, in place of what was there.
    pub fn set(&mut self, key: &str, node: Node) {
        let key_origin = node.origin.clone();
        self.entries.retain(|entry| entry.key != key);
        self.entries.push(Entry { key: key.to_owned(), key_origin, node, taken: AtomicBool::new(false) });
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
        for entry in &self.entries {
            if entry.taken.load(Ordering::Relaxed) {
                continue;
            }
            let known: Vec<&str> = report.asked(self.kind).collect();
            let help = match nearest(&entry.key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys are {}", list(&known)),
            };
            report.error(&entry.key_origin, format!("unknown key `{}`", entry.key), Some(help));
        }
    }

    fn child_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl Report {
    /// Notes that `word` is none of `known`: "unknown {what} `word`", and the nearest known word, or all of them, as the help.
    pub fn unknown_word(&mut self, origin: &Origin, what: &str, word: &str, known: &[&str]) {
        let help = match nearest(word, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("known are {}", list(known)),
        };
        self.error(origin, format!("unknown {what} \"{word}\""), Some(help));
    }
}

/// `a`, `b` and `c`.
fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

impl Node {
    fn from_toml(source: &Arc<Source>, key_origin: &Origin, value: toml::Spanned<toml::de::DeValue<'_>>) -> Node {
        use toml::de::DeValue;
        let origin = Origin::File(Place::new(source, value.span()));
        let kind = match value.into_inner() {
            DeValue::String(text) => Kind::Text(text.into_owned()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Kind::Integer(number),
                Err(_) => Kind::Text(number.as_str().to_owned()),
            },
            DeValue::Float(number) => {
                let text = number.as_str().to_owned();
                Kind::Float(text.parse().unwrap_or(f64::NAN), text)
            }
            DeValue::Boolean(on) => Kind::Bool(on),
            DeValue::Datetime(date) => Kind::Date(date.to_string()),
            DeValue::Array(items) => {
                Kind::Array(items.into_iter().map(|item| Node::from_toml(source, key_origin, item)).collect())
            }
            DeValue::Table(table) => Kind::Table(Table::from_toml(source, origin.clone(), table)),
        };
        Node { origin, kind }
    }
}

/// The value as it would be written in TOML.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Text(text) => write!(f, "{text:?}"),
            Kind::Integer(number) => write!(f, "{number}"),
            Kind::Float(_, text) => f.write_str(text),
            Kind::Bool(on) => write!(f, "{on}"),
            Kind::Date(text) => f.write_str(text),
            Kind::Array(items) => {
                let items: Vec<String> = items.iter().map(Node::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Kind::Table(table) => {
                let items: Vec<String> = table.entries().map(|(key, _, node)| format!("{key} = {node}")).collect();
                write!(f, "{{ {} }}", items.join(", "))
            }
        }
    }
}
