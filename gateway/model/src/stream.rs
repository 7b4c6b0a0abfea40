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
    /// How its values follow from the device's numbers, where they do; an encoder finds the numbers again by it.
    pub scaling: Option<Scaling>,
    /// What the user allowed to be lost of its values on the way to the store; nothing unless stated.
    pub loss: Option<Loss>,
}

impl Column {
    /// A column of values that are as the device gives them, in no unit.
    pub fn new(name: TagName, value_type: ValueType) -> Column {
        Column { name, value_type, unit: None, scaling: None, loss: None }
    }
}

/// Delivered = raw * scale + offset. Decimal text, as exact as the profile has it (`0.1`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaling {
    /// The factor.
    pub scale: String,
    /// The summand.
    pub offset: String,
}

/// How exact the values of a column are, where the user asked for less than all of it.
///
/// The error is decimal text in the unit of the tag (`0.05`); no value that is reconstructed as described is off by more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// Every value is there, rounded.
    Rounding {
        /// The largest difference between a value and what it was before.
        error: String,
    },
    /// Values that lie close to the straight line between the good values before and after are left out (they are
    /// [`Slot::Unchanged`](crate::Slot)).
    SwingingDoor {
        /// The largest difference between the line and a value that was left out.
        error: String,
        /// The longest time between two values, in milliseconds.
        max_silence: u64,
    },
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
