//! The layer of the environment: variables laid over the tables of the files.

use config::Source as _;

use crate::{
    Kind, Node, Origin, Report, Table,
    table::Entry,
    words::{folded, list, nearest},
};

/// What the names of all variables of the configuration begin with.
const PREFIX: &str = "TIDEGATE";
/// What separates the levels of a key in a variable's name.
const SEPARATOR: &str = "__";
/// No key of ours is nested as deeply.
const MAX_LEVELS: usize = 8;

/// Keys that hold arrays of tables: a variable can change an item, not add one.
const ARRAYS: [&str; 4] = ["link", "device", "target", "user"];

/// A variable of the environment that stands for a key.
pub(crate) struct Variable {
    /// The variable as it is called (`TIDEGATE__STORE__MAX_AGE`).
    name: String,
    /// The key it stands for (`store`, `max_age`).
    path: Vec<String>,
    text: String,
}

impl Variable {
    /// Whether the variable stands for this key.
    pub(crate) fn is(&self, path: &[&str]) -> bool {
        self.path == path
    }
}

/// The environment of this process, without what is no Unicode text.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
}

/// The variables that stand for keys, ordered by key.
pub(crate) fn variables(report: &mut Report) -> Vec<Variable> {
    let environment = report.environment().clone();
    let layer = config::Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .source(Some(environment.clone().into_iter().collect()));
    let found = match layer.collect() {
        Ok(found) => found,
        Err(error) => {
            report.error(&Origin::Default, format!("the environment cannot be read: {error}"), None);
            return Vec::new();
        }
    };
    let mut variables = Vec::new();
    for (name, text) in environment {
        // The layer knows keys, not variables; a key's value came from the variable that reads the same.
        let Some(key) = key_of(&name) else { continue };
        if found.contains_key(&key) {
            variables.push(Variable { name, path: key.split('.').map(str::to_owned).collect(), text });
        }
    }
    variables.sort_by(|a, b| (&a.path, &a.name).cmp(&(&b.path, &b.name)));
    variables
}

/// The key that the layer makes of a variable's name.
fn key_of(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let prefix = format!("{PREFIX}{SEPARATOR}").to_lowercase();
    Some(lower.strip_prefix(&prefix)?.replace(SEPARATOR, "."))
}

/// Lays one variable over the tables. An item of an array of tables is found by its `name`; upper and lower case, `-` and `_`
/// are the same.
pub(crate) fn overlay(root: &mut Table, variable: &Variable, report: &mut Report) {
    let origin = Origin::Environment(variable.name.clone());
    if variable.path.len() > MAX_LEVELS {
        report.error(&origin, "no key has so many levels", None);
        return;
    }
    let Some((last, levels)) = variable.path.split_last() else { return };
    if let Some(table) = descend(root, levels, &origin, report) {
        let node = Node { origin: origin.clone(), kind: Kind::Text(variable.text.clone()) };
        match find(table, last) {
            Some(entry) => entry.node = node,
            None => table.entries_mut().push(Entry::new(last, origin, node)),
        }
    }
}

/// The key of a table that a level of a variable's name means.
fn find<'a>(table: &'a mut Table, level: &str) -> Option<&'a mut Entry> {
    let level = folded(level);
    table.entries_mut().iter_mut().find(|entry| folded(&entry.key) == level)
}

fn descend<'a>(
    mut table: &'a mut Table,
    mut levels: &[String],
    origin: &Origin,
    report: &mut Report,
) -> Option<&'a mut Table> {
    let mut path = String::new();
    while let Some((level, rest)) = levels.split_first() {
        levels = rest;
        if !path.is_empty() {
            path.push('.');
        }
        if find(table, level).is_none() {
            if ARRAYS.contains(&level.as_str())
                && let Some((name, _)) = levels.split_first()
            {
                report.error(origin, format!("there is no `[[{path}{level}]]` with the name \"{name}\""), None);
                return None;
            }
            let inner = Table::empty("", origin.clone());
            let node = Node { origin: origin.clone(), kind: Kind::Table(inner) };
            table.entries_mut().push(Entry::new(level, origin.clone(), node));
        }
        let entry = find(table, level)?;
        let key = entry.key.clone();
        path.push_str(&key);
        table = match &mut entry.node.kind {
            Kind::Table(inner) => inner,
            Kind::Array(items) => {
                let (name, rest) = levels.split_first()?;
                levels = rest;
                item_named(items, &path, name, origin, report)?
            }
            other => {
                let message = format!("`{key}` has no keys below it: it is {}", other.describe());
                report.error(origin, message, None);
                return None;
            }
        };
    }
    Some(table)
}

/// The only table among the items whose `name` is meant.
fn item_named<'a>(
    items: &'a mut [Node],
    key: &str,
    name: &str,
    origin: &Origin,
    report: &mut Report,
) -> Option<&'a mut Table> {
    let names: Vec<String> = items.iter().filter_map(name_of).collect();
    let matching: Vec<&str> = names.iter().map(String::as_str).filter(|n| folded(n) == folded(name)).collect();
    if matching.len() > 1 {
        let message = format!("the variable could mean {} of `[[{key}]]`", list(&matching, '"'));
        report.error(origin, message, Some("rename one of them".to_owned()));
        return None;
    }
    if matching.is_empty() {
        let help = nearest(name, names.iter().map(String::as_str)).map(|near| format!("did you mean \"{near}\"?"));
        report.error(origin, format!("there is no `[[{key}]]` with the name \"{name}\""), help);
        return None;
    }
    items.iter_mut().find_map(|item| {
        let meant = name_of(item).is_some_and(|found| folded(&found) == folded(name));
        match &mut item.kind {
            Kind::Table(table) if meant => Some(table),
            _ => None,
        }
    })
}

fn name_of(item: &Node) -> Option<String> {
    let Kind::Table(table) = &item.kind else { return None };
    table.entries().find_map(|(key, _, node)| match &node.kind {
        Kind::Text(text) if key == "name" => Some(text.clone()),
        _ => None,
    })
}
