//! The OPC UA driver: `driver = "opcua"`, profiles with `driver = "opcua"`.
//!
//! The nodes of a profile are found anew at every connect, by the URI of their namespace or the way to them. What a group holds
//! is subscribed to, and watched: a connection that is over, a server that hangs and a subscription that says nothing are three
//! different things, and each is noticed. The library gives messages, types and cryptography; the session is our own
//! (docs/decisions/0006-opcua-client.md).
//!
//! **Invariant:** a value is found by its number, which is an index; nothing is looked up by name when values come.

mod browse;
mod channel;
mod config;
mod convert;
mod driver;
mod encode;
mod events;
mod fault;
mod feed;
mod history;
mod limit;
mod link;
mod node;
mod open;
mod plan;
mod point;
mod resolve;
mod rows;
mod security;
mod service;
mod session;
mod status;
mod subscription;
mod told;
mod transport;
mod types;
mod well_known;
mod writer;

pub use config::{Endpoint, Identity, LinkKeys, Quirks, Security};
pub use driver::OpcUa;
pub use node::{Address, Namespace, NodeName, Path, Step};
