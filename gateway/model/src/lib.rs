//! The words of the gateway: values, qualities, times, names, streams and rows.
//!
//! Everything that travels from a device to a subscriber, the disk or the cloud is made of the types here.
//! This crate does no I/O, knows no clock and spawns nothing; every other crate may use it and it uses none of them.

mod calendar;
mod name;
mod quality;
mod reading;
mod row;
mod stream;
mod time;
mod value;

pub use name::{Name, NameError, TagName};
pub use quality::{Quality, Reason};
pub use reading::Reading;
pub use row::{Row, Slot};
pub use stream::{Column, Loss, Scaling, Stream, StreamId};
pub use time::{Timestamp, TimestampError};
pub use value::{Value, ValueKind, ValueType};
