//! A row: all samples of one group taken together.

use std::sync::Arc;

use crate::{Quality, Reason, Stream, Timestamp, Value};

/// What one row says about one tag. 32 bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Slot {
    /// Nothing new: the value is within its deadband, or the group reports on change and it did not.
    Unchanged,
    /// A trusted value.
    Good(Value),
    /// A value that is doubtful for this reason.
    Uncertain(Value, Reason),
    /// No value, for this reason.
    Bad(Reason),
}

impl Slot {
    /// The value, if the slot has one.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Slot::Good(value) | Slot::Uncertain(value, _) => Some(value),
            Slot::Unchanged | Slot::Bad(_) => None,
        }
    }

    /// The quality, unless nothing is new.
    pub fn quality(&self) -> Option<Quality> {
        match self {
            Slot::Unchanged => None,
            Slot::Good(_) => Some(Quality::Good),
            Slot::Uncertain(_, reason) => Some(Quality::Uncertain(*reason)),
            Slot::Bad(reason) => Some(Quality::Bad(*reason)),
        }
    }
}

/// All samples of one group taken together: one time, one slot per column of the stream.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where the row comes from and what its slots mean.
    pub stream: Arc<Stream>,
    /// The row's number in its stream: 1, 2, 3 … without holes.
    pub seq: u64,
    /// When the gateway had the device's last answer.
    pub time: Timestamp,
    /// The device's own time, where it has one and it is plausible.
    pub device_time: Option<Timestamp>,
    /// One slot per column of [`Stream::columns`].
    pub slots: Box<[Slot]>,
}

impl Row {
    /// Bytes that the row takes in memory, about; for the bounds of queues.
    pub fn heap_bytes(&self) -> usize {
        let values = self.slots.iter().filter_map(Slot::value).map(Value::heap_bytes).sum::<usize>();
        size_of::<Row>() + self.slots.len() * size_of::<Slot>() + values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_takes_32_bytes() {
        assert_eq!(size_of::<Slot>(), 32);
    }
}
