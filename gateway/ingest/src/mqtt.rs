//! The way to the broker: MQTT 5, a session that the broker keeps, acknowledgements by hand.
//!
//! Each connection has a client of its own, which is thrown away with it: rumqttc would send acknowledgements of the last connection on
//! the next one, where their numbers mean other messages. The broker sends again what was not acknowledged.

mod connection;
mod failure;
mod session;
mod tls;

pub(crate) use connection::Connector;
pub(crate) use failure::Failure;
pub(crate) use session::{Ended, Surroundings, run};
