//! The rows of one group of one device as a table, and where its columns are in the batches that fill it.

use std::{collections::HashSet, sync::Arc};

use tidegate_model::{Column, Name, Stream, StreamId};

use crate::ExportError;

/// The rows of one group of one device, or of some of its tags: who they are from, and the columns in their order.
#[derive(Debug, Clone)]
pub struct Table {
    gateway: Option<Name>,
    stream: Arc<Stream>,
}

/// Where each column of a table is in batches with certain columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(Box<[Option<usize>]>);

impl Table {
    /// A table of `device`'s `group` with these columns. `gateway` is stated in the files where it is known.
    ///
    /// # Errors
    ///
    /// [`ExportError::TagTwice`] when two columns have one name.
    pub fn new(
        gateway: Option<Name>,
        device: Name,
        group: Name,
        columns: impl Into<Arc<[Column]>>,
    ) -> Result<Table, ExportError> {
        let columns = columns.into();
        let mut names = HashSet::new();
        if let Some(column) = columns.iter().find(|column| !names.insert(&column.name)) {
            return Err(ExportError::TagTwice { name: column.name.clone() });
        }
        // The store's number for the stream is of no use to anybody but the store.
        let stream = Stream::new(StreamId(0), device, group, Arc::clone(&columns));
        Ok(Table { gateway, stream: Arc::new(stream) })
    }

    /// The gateway that the rows are from, where it is known.
    pub fn gateway(&self) -> Option<&Name> {
        self.gateway.as_ref()
    }

    /// The device that the rows are from.
    pub fn device(&self) -> &Name {
        self.stream.device()
    }

    /// The group of the device.
    pub fn group(&self) -> &Name {
        self.stream.group()
    }

    /// The columns, in the order of the file.
    pub fn columns(&self) -> &[Column] {
        self.stream.columns()
    }

    /// The table as a stream, for rows in the order of its columns.
    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Where the columns of this table are in batches with `columns`, by their names. A tag that the batches do not have is
    /// absent from their rows, and one that the table does not have is left out.
    pub fn places(&self, columns: &[Column]) -> Places {
        let place = |own: &Column| columns.iter().position(|column| column.name == own.name);
        Places(self.columns().iter().map(place).collect())
    }

    /// Whether a tag of this table has another type in `columns`.
    pub(crate) fn differs_from(&self, columns: &[Column]) -> bool {
        let differs =
            |own: &Column| columns.iter().any(|column| column.name == own.name && column.value_type != own.value_type);
        self.columns().iter().any(differs)
    }
}

impl Places {
    /// For each column of the table, its place in the batch.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<usize>> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::{ValueKind, ValueType};

    use super::*;

    fn column(name: &str, kind: ValueKind) -> Column {
        Column::new(name.parse().unwrap(), ValueType::single(kind))
    }

    fn table(columns: &[Column]) -> Result<Table, ExportError> {
        Table::new(None, "meter-1".parse().unwrap(), "fast".parse().unwrap(), columns)
    }

    #[test]
    fn columns_are_found_by_name_wherever_they_stand() {
        let (a, b, c) = (column("a", ValueKind::F32), column("b", ValueKind::Int), column("c", ValueKind::Bool));
        let table = table(&[a.clone(), b.clone()]).unwrap();
        assert_eq!(table.places(&[c, b.clone()]), Places(Box::new([None, Some(1)])));
        assert!(!table.differs_from(&[b]));
        assert!(table.differs_from(&[a, column("b", ValueKind::Text)]));
    }

    #[test]
    fn a_tag_stands_in_a_table_once() {
        let a = column("a", ValueKind::F32);
        assert!(matches!(table(&[a.clone(), a]), Err(ExportError::TagTwice { .. })));
    }
}
