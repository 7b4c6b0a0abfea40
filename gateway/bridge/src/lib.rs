//! Bridges: topics of the local broker that are also topics of another one.
//!
//! A [`Bridge`] is a client of both brokers. What a route says is passed on with its QoS, its properties and, if the route wants
//! it, its retain flag, under a topic whose prefix has been exchanged. A message is acknowledged to the broker that it came from
//! when the other one has acknowledged it, so nothing is lost with either connection; it may come twice.
//!
//! # What waits
//!
//! The queue of a bridge is its session on the local broker, which gives it a limit of its own (`max_queue`) and keeps it on disk
//! with the sessions of other clients. For durable routes that session goes on while the other broker is away; for others it does not, and
//! messages of that time are not for the other broker. A bridge with routes of both kinds has two sessions there; a message that both get is that of
//! the first route that selects it. What comes in waits in the bridge's session on the other broker.
//!
//! # Loops
//!
//! Neither broker sends a bridge what it has published itself (no local). MQTT 3.1.1 has no such wish, but some brokers treat who logs in as a
//! bridge so (`remote.rs`); with others a message that comes back with the topic and payload of one just sent is taken for it. In MQTT 5 each message carries the user property `tidegate-via`
//! with the gateway and bridge that passed it on, so that longer circles end where they began.
//!
//! **Invariant:** a message is acknowledged to its broker only when it is acknowledged by the other, or dropped and counted.

mod bridge;
mod lane;
mod loops;
mod pair;
mod remote;
mod route;
mod status;

pub use bridge::{Bridge, BridgeError};
pub use status::{BridgeState, BridgeStatus};
