//! A stream: the endless sequence of rows of one group of one device, and what its columns mean.

use std::sync::Arc;

use crate::{Name, TagName, ValueType};

/// One column of a stream: a tag and what its values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The tag.
    pub name: TagName,
    /// The type of its delivered values.
    pub value_type: ValueType,
    /// The unit of its values (`V`, `kWh`), if the profile states one.
    pub unit: Option<String>,
}

/// The store's number for a stream with these columns. A change of the columns gives a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// The rows of one group of one device: who they are from and what the columns are.
///
/// Shared by every row through an `Arc`. When the columns change, a new `Stream` is made; the numbering of rows goes on.
#[derive(Debug, PartialEq, Eq)]
pub struct Stream {
    id: StreamId,
    device: Name,
    group: Name,
    columns: Arc<[Column]>,
}

impl Stream {
    /// A stream of `device`'s `group` with these columns, in the order of the row's slots. Devices of one profile can share them.
    pub fn new(id: StreamId, device: Name, group: Name, columns: impl Into<Arc<[Column]>>) -> Stream {
        Stream { id, device, group, columns: columns.into() }
    }

    /// The store's number for it.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The device the rows come from.
    pub fn device(&self) -> &Name {
        &self.device
    }

    /// The group of the device.
    pub fn group(&self) -> &Name {
        &self.group
    }

    /// The columns, in the order of the row's slots.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }
}
