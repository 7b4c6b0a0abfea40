//! The client of other people's MQTT brokers, for all who are one: targets, ingests, bridges. MQTT 3.1.1 and 5.
//!
//! A [`Connector`] makes [`Connection`]s. A connection is thrown away when it ends, and with it everything that it knew: nothing of a
//! session is kept here and nothing is sent a second time. Whoever publishes has what is not acknowledged in a store, and sends it
//! again from there on the next connection. One task owns a connection and calls [`Connection::next`] again and again; that
//! call reads, writes and pings, and may be dropped at any time.
//!
//! The packets are read and written by the codecs of `rumqttc-next`; why its client is not used is told in
//! `docs/decisions/0008-mqtt-client.md`.
//!
//! **Invariant:** a message is reported as acknowledged when the broker has acknowledged its packet id on the connection that it was
//! sent on, and never otherwise.
//! **Invariant:** what waits in memory is bounded: messages on their way by the receive maximum, bytes not yet taken by the network by
//! [`Connection::publish`], a packet that comes in by `largest_incoming`.

mod backoff;
mod connection;
mod connector;
mod failure;
mod link;
mod message;
mod options;
mod packet;
mod tls;

pub use backoff::{Backoff, Ended};
pub use connection::Connection;
pub use connector::Connector;
pub use failure::{Failure, FailureKind};
pub use message::{Event, Filter, Message, Outcome, Properties, PublishId, QoS, Refusal, Refused, SubscribeId};
pub use options::{ConnectOptions, Granted, Login, Protocol, Session, Will, Words};
pub use tls::{Tls, TlsError};
