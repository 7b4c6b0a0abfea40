//! The gateway as an OPC UA server: devices and tags for the systems above.
//!
//! The address space is the catalog of the runtime, looked at anew for every question: a node is an index into tables that the
//! devices of a profile share, and nothing is kept for a variable that nobody asks for. Values are the runtime's latest
//! samples; history comes from the store; a write is a command of the runtime with all its checks.
//!
//! A round every 50 ms looks at the versions of those groups of which somebody monitors a tag and tells the library what has
//! changed. The library is `async-opcua`; what had to be done around it is said where it is done (`items`, `server`).
//!
//! **Invariant:** nothing is read from a device because a client asks, and nothing is written past [`Handle::write`].
//!
//! [`Handle::write`]: tidegate_runtime::Handle::write

mod access;
mod archive;
mod attributes;
mod browse;
mod door;
mod error;
mod events;
mod fetches;
mod frames;
mod guests;
mod history;
mod items;
mod manager;
mod node;
mod processed;
mod properties;
mod refresh;
mod sampling;
mod server;
mod settings;
mod space;
mod standard;
mod status;
mod stranger;
mod units;
mod values;
mod write;

pub use access::check_user_certificate;
pub use error::ServerError;
pub use server::Server;
pub use status::ServerStatus;
