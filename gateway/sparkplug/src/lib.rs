//! Sparkplug B, version 3.0 of the specification: payloads, topics, the edge node and the host application.
//!
//! Nothing here does I/O. [`EdgeNode`] says what is to be published and takes what has come; whoever owns the connection to the broker
//! publishes it, in that order. [`Host`] takes what edge nodes publish and says what it means. [`decode`] and [`encode`] turn payloads
//! into bytes and back; what a value is on the wire is in [`to_wire`] and [`from_wire`].
//!
//! `CONFORMANCE.md` beside this crate's `Cargo.toml` lists every normative statement of the specification that applies, and the test
//! that shows it.
//!
//! **Invariant:** whatever bytes come, nothing panics, and memory is bounded by [`Bounds`] before it is taken.
//! **Invariant:** time is an argument.

#[cfg(any(test, feature = "fuzzing"))]
mod any_bytes;
mod array;
mod bounds;
mod dataset;
mod datatype;
mod edge;
mod host;
mod payload;
mod quality;
mod state;
mod topic;
mod value;
pub mod wire;

#[cfg(feature = "fuzzing")]
pub use any_bytes::any_bytes;
pub use bounds::Bounds;
pub use datatype::DataType;
pub use edge::{
    Command, Device, EdgeNode, EdgeOptions, Heard, Latest, LeftOut, Message, MetricInfo, Now, Plant, REBIRTH, Refused,
    What, Written,
};
pub use host::{
    Event, Host, HostOptions, HostStatistics, Known, NodeId, Sample, Worth, rebirth_request, write_request,
};
pub use payload::{PayloadError, decode, encode};
pub use quality::{QUALITY, QualityCode, REASON};
pub use state::HostState;
pub use topic::{Id, IdError, NAMESPACE, Topic, Verb};
pub use value::{ValueError, from_wire, to_wire};
