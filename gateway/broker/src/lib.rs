//! The local MQTT broker.
//!
//! [`Broker::start`] listens for MQTT 3.1.1 and MQTT 5 clients on one port; [`Publisher`] publishes from inside the
//! gateway, [`Inbox`] collects commands for it. Nothing of the way it is made shows outside.
//!
//! # How it is made
//!
//! ```text
//!  socket ── connection (a task) ── inbound: rights, QoS 2 ──┐
//!                 ▲                                          ▼
//!                 │ take                        Publisher ─ hub ── retained messages
//!                 │                                          │ offer      └─ inboxes
//!              session: queue, messages in flight  ◄─────────┘ by routes (filter → sessions)
//! ```
//!
//! The packets are read by rumqttd's codec behind `wire`. Its router is not used;
//! `docs/decisions/0002-broker-router.md` says why.
//!
//! # What a client can rely on
//!
//! - QoS 0, 1 and 2 both ways, retained messages, wills with delay, persistent sessions (in memory: they end with the
//!   process), and of MQTT 5 session expiry, message expiry, receive maximum, maximum packet size, topic aliases
//!   towards the broker, subscription identifiers, no local, retain handling, and user and other properties passed on
//!   unchanged. Any client id and any UTF-8 topic works.
//! - Not offered and refused as the standard says: shared subscriptions, enhanced authentication, MQTT 3.1. `$SYS/#`
//!   may be subscribed to and is silent; nobody may publish to topics that begin with `$`.
//! - A second connection with the same client id takes over from the first. With another user it gets a new session.
//! - What the gateway publishes comes with the QoS of the subscription.
//! - With users, each may publish to and subscribe to what the site says. A forbidden publish is acknowledged (3.1.1)
//!   or refused (5) and dropped; a forbidden subscription is refused in the SUBACK. Without users, everybody may do
//!   everything, also publish to the gateway's own topics; the site allows that only on loopback.
//!
//! # Invariants
//!
//! - **Invariant:** publishing never waits for a client. What waits for one is bounded ([`Limits`]); QoS 0 beyond that
//!   is dropped, QoS 1 and 2 end the connection, so no such message is skipped in silence.
//! - **Invariant:** whatever bytes a client sends, the broker does not panic, and only that client's connection ends.

#[cfg(any(test, feature = "fuzzing"))]
mod any_bytes;
mod broker;
mod connection;
mod error;
mod farewell;
mod handshake;
mod hub;
mod inbound;
mod inbox;
mod limits;
mod message;
mod publisher;
mod retained;
mod rights;
mod routes;
mod seldom;
mod session;
mod status;
mod stream;
mod topic;
mod wire;

#[cfg(feature = "fuzzing")]
pub use any_bytes::any_bytes;
pub use broker::Broker;
pub use error::BrokerError;
pub use inbox::{Inbox, Message};
pub use limits::Limits;
pub use publisher::Publisher;
pub use status::BrokerStatus;
