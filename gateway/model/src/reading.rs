//! What a device said about one tag in one poll, before any stage has worked on it.

use crate::{Reason, Value};

/// What a device said about one tag.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Reading {
    /// Nothing yet in this poll.
    #[default]
    Missing,
    /// The device's number, before scale and offset.
    Value(Value),
    /// The same, and the device itself calls it doubtful for this reason.
    Doubtful(Value, Reason),
    /// The device has no value for it, for this reason.
    Failed(Reason),
}
