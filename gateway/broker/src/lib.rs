//! The local MQTT broker.
//!
//! [`Broker::start`] listens for clients of MQTT 3.1, 3.1.1 and 5, all of them on each of its ports; [`Publisher`]
//! publishes from inside the gateway, [`Inbox`] collects commands for it. Nothing of the way it is made shows outside.
//!
//! # How it is made
//!
//! ```text
//!  stream ── connection (a task) ── inbound: rights, QoS 2 ──┐
//!                 ▲                                          ▼
//!                 │ take                        Publisher ─ hub ── retained messages
//!                 │                                          │ offer      └─ inboxes
//!              session: queue, messages in flight  ◄─────────┘ by routes (filter → sessions, groups)
//! ```
//!
//! `wire` reads and writes the packets. `docs/decisions/0002-broker-router.md` says why neither it nor the rest is a
//! library.
//!
//! # What a client can rely on
//!
//! - QoS 0, 1 and 2 both ways, over reconnects too; retained messages, wills with delay, persistent sessions, and of
//!   MQTT 5 session expiry, message expiry counted down, receive maximum and maximum packet size both ways, topic
//!   aliases both ways, subscription identifiers, no local, retain handling, server keep alive, and user and other
//!   properties passed on unchanged and in order. Any client id and any UTF-8 topic works.
//! - A client with several subscriptions that select a message gets one copy, with the highest QoS and all identifiers.
//! - Shared subscriptions (`$share/<group>/<filter>`) in every version: members get messages in turn; who cannot take one
//!   at once is passed over. What a member has not got, or not acknowledged (QoS 1), goes to another when its connection
//!   ends. What was sent to it with QoS 2 stays with it.
//! - `$SYS/broker/…` tells about the broker, with mosquitto's names. Nobody may publish there.
//! - Who breaks the protocol is disconnected; MQTT 5 clients are told the reason code and, unless they ask not to be, the
//!   reason in words. Enhanced authentication is not offered.
//! - A second connection with the same client id takes over from the first. With another user it gets a new session, and also when
//!   the session was to end with the first (MQTT 5.0 §3.1.4).
//! - What the gateway publishes comes with the QoS of the subscription.
//! - With users, each may publish to and subscribe to what the site says. A forbidden publish is acknowledged (before 5)
//!   or refused (5) and dropped; a forbidden subscription is refused in the SUBACK.
//! - A bridge of mosquitto (highest bit of the protocol level) gets messages with the retain flag they were published
//!   with, and none of its own.
//!
//! # What a client costs
//!
//! [`Limits`] has a limit for each thing, with a default. A client that sends faster than it may is read more slowly. One
//! that takes its messages too slowly loses those with QoS 0 beyond its limit, and with QoS 1 or 2 its session ends, so
//! that nothing is missing without its knowledge. All clients together may hold as much as `queue_bytes_total`; beyond that the
//! slowest gives way (`hub::relief`).
//!
//! Payloads from 2 KiB on are shared between subscribers and sent from where they are. Messages that come densely, more
//! than 8,000 a second to one client, wait up to a millisecond for each other (`pace`), because each piece that is sent
//! costs as much as many messages in it.
//!
//! # Invariants
//!
//! - **Invariant:** publishing never waits for a client, and neither does one client for another. What waits for one is
//!   bounded.
//! - **Invariant:** whatever bytes a client sends, the broker does not panic, only that client's connection ends, and
//!   nothing is allocated that has not arrived.

#[cfg(any(test, feature = "fuzzing"))]
mod any_bytes;
mod apart;
mod attempts;
mod broker;
mod configured;
mod connection;
mod disk;
mod error;
mod farewell;
mod handshake;
mod hub;
mod inbound;
mod inbox;
mod inside;
mod limits;
mod listener;
mod message;
mod pace;
mod passwords;
mod publisher;
mod rate;
mod retained;
mod rights;
mod routes;
mod seldom;
mod session;
mod status;
mod stream;
mod sys;
mod tls;
mod topic;
mod total;
mod users;
mod websocket;
mod wire;

#[cfg(feature = "fuzzing")]
pub use any_bytes::{any_bytes, any_message};
pub use broker::Broker;
pub use disk::DiskStatus;
pub use error::BrokerError;
pub use inbox::{Inbox, Message};
pub use inside::{Insider, Waiting};
pub use limits::Limits;
pub use passwords::password_hash;
pub use publisher::Publisher;
pub use status::{BrokerStatus, ListenerStatus};
pub use tls::{ShownCertificate, TlsError};
