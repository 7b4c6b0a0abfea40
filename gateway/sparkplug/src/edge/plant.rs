//! What an edge node has to know of the plant, and what it asks of it.

use tidegate_model::{Name, Slot, TagName, Timestamp};

use crate::DataType;

/// One metric of a device, as its birth describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricInfo {
    /// Its name.
    pub name: TagName,
    /// The type of its values.
    pub datatype: DataType,
    /// Their unit.
    pub unit: Option<String>,
    /// The lowest and the highest plausible value.
    pub range: Option<(f64, f64)>,
    /// What a person should know about it.
    pub description: Option<String>,
    /// Whether it can be written.
    pub writable: bool,
}

/// The latest sample of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// Value and quality; [`Slot::Unchanged`] for what is only written.
    pub slot: Slot,
    /// When it was taken.
    pub time: Option<Timestamp>,
}

/// A device of the plant.
pub trait Device: Send + Sync {
    /// Its name.
    fn name(&self) -> &Name;

    /// Its metrics; always the same.
    fn metrics(&self) -> &[MetricInfo];

    /// Whether it answers; `None` until it was heard of.
    fn is_there(&self) -> Option<bool>;

    /// Adds the latest sample of every metric, in the order of [`Device::metrics`].
    fn latest(&self, out: &mut Vec<Latest>);
}

/// The plant behind an edge node.
pub trait Plant: Send + Sync {
    /// A number that is another one whenever [`Plant::devices`] may give others. Costs next to nothing.
    fn version(&self) -> u64;

    /// The devices there are now.
    fn devices(&self) -> Vec<Box<dyn Device>>;
}
