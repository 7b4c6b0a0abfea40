//! What the loader asks of tables beyond what drivers do.

use crate::{Kind, Origin, Report, Table};

impl Table {
    /// The text of a key, without taking it.
    pub(crate) fn peek_text(&self, key: &str) -> Option<&str> {
        self.entries().find_map(|(found, _, node)| match &node.kind {
            Kind::Text(text) if found == key => Some(text.as_str()),
            _ => None,
        })
    }

    /// The table of a key, without taking it.
    pub(crate) fn peek_table(&self, key: &str) -> Option<&Table> {
        self.entries().find_map(|(found, _, node)| match &node.kind {
            Kind::Table(table) if found == key => Some(table),
            _ => None,
        })
    }

    /// Takes a key that holds a table; for anything else the help is what could be written.
    pub(crate) fn inner(
        &self,
        key: &'static str,
        kind: &'static str,
        example: &str,
        report: &mut Report,
    ) -> Option<Table> {
        if self.has(key) && self.peek_table(key).is_none() {
            let node = self.node(key, report)?;
            let message = format!("`{key}` has to be a table, but is {}", node.kind.describe());
            report.error(&node.origin, message, Some(format!("write `{key} = {example}`")));
            return None;
        }
        self.table(key, kind, report)
    }

    /// The table of a key that is missing, so that its keys have their defaults.
    pub(crate) fn empty_inner(&self, key: &str, kind: &'static str) -> Table {
        Table::empty(kind, Origin::Default).named(kind, self.child_path(key))
    }

    /// Lists the default of a key that is missing.
    pub(crate) fn note_default(&self, key: &str, value: &str, report: &mut Report) {
        let path = self.child_path(key);
        if !self.has(key) && !path.is_empty() {
            report.note_effective(path, value.to_owned(), Origin::Default);
        }
    }
}
