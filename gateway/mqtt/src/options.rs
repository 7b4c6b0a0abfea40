//! How a connection is to be made, and what the broker then granted.

use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{QoS, Tls};

/// The version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// What the broker keeps for this client between two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// Nothing; what it may have kept from before is forgotten.
    Clean,
    /// Subscriptions, and messages that were not acknowledged, for so long. MQTT 3.1.1 leaves the time to the broker.
    Kept(Duration),
}

/// User name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password; empty when there is none.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).field("password", &"***").finish()
    }
}

/// What the broker publishes when the connection ends without a farewell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where to.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// With which assurance.
    pub qos: QoS,
    /// Whether the broker keeps it for those who subscribe later.
    pub retain: bool,
    /// How long the broker waits for the client to come back before. MQTT 5 alone; zero: it does not wait.
    pub delay: Duration,
}

/// How the keys are called that a person has to look at, in the texts of a [`Failure`](crate::Failure).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// Who connects: `"the gateway"`.
    pub us: &'static str,
    /// The address: "`url`".
    pub address: &'static str,
    /// The file of the authorities: "`ca`".
    pub ca: &'static str,
    /// The file of the client's certificate: "`client_certificate`".
    pub client_certificate: &'static str,
    /// The client id: "`client_id`".
    pub client_id: &'static str,
}

/// How connections to one broker are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Name or number of the host; an IPv6 address with its brackets or without.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Present when the connection is encrypted.
    pub tls: Option<Tls>,
    /// The version of the protocol.
    pub protocol: Protocol,
    /// The client id.
    pub client_id: String,
    /// User name and password.
    pub login: Option<Login>,
    /// A ping after so much silence, in whole seconds from 1 to 65535; the connection is given up when as much time again passes without
    /// anything from the broker.
    pub keep_alive: Duration,
    /// What the broker keeps between two connections.
    pub session: Session,
    /// What the broker publishes when the connection ends without a farewell.
    pub will: Option<Will>,
    /// Messages on their way to the broker and not acknowledged, at most; the broker may allow fewer.
    pub in_flight: u16,
    /// Messages on their way from the broker and not acknowledged, at most. MQTT 5 alone.
    pub receive_maximum: u16,
    /// A larger packet from the broker ends the connection. A broker of MQTT 5 is told, and leaves it out instead.
    pub largest_incoming: u32,
    /// A larger packet to the broker is refused; the broker may allow less.
    pub largest_outgoing: u32,
    /// A connection that takes nothing for so long although something is to be sent is given up.
    pub patience: Duration,
    /// Whether to log in as a bridge: MQTT 3.1.1 with the highest bit of its level set, as brokers have agreed on beside the standard. One that
    /// does not know it refuses the login ([`FailureKind::Version`](crate::FailureKind::Version)) or just closes the connection; one that does
    /// sends nothing back to who published it, and keeps the mark of retained messages. Not for MQTT 5, which has wishes for both.
    pub as_bridge: bool,
    /// How the keys are called that a person has to look at.
    pub words: Words,
}

impl ConnectOptions {
    /// A clean session of MQTT 3.1.1 without TLS, login and will, a keep-alive of 30 s, 100 messages in flight both ways, packets up to 16 MiB.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>, words: Words) -> ConnectOptions {
        ConnectOptions {
            host: host.into(),
            port,
            tls: None,
            protocol: Protocol::V311,
            client_id: client_id.into(),
            login: None,
            keep_alive: Duration::from_secs(30),
            session: Session::Clean,
            will: None,
            in_flight: 100,
            receive_maximum: 100,
            largest_incoming: 16 << 20,
            largest_outgoing: 16 << 20,
            patience: Duration::from_secs(30),
            as_bridge: false,
            words,
        }
    }

    /// The keep-alive that the broker is told: whole seconds, so that a ping does not come later than was told.
    pub(crate) fn keep_alive_seconds(&self) -> u16 {
        u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX).max(1)
    }
}

/// What the broker granted with the login. With MQTT 3.1.1 it says nothing but whether it kept the session; the rest is what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Whether the broker has kept the session of the last connection.
    pub session_present: bool,
    /// Messages on their way to the broker, at most.
    pub in_flight: u16,
    /// Bytes of a packet to the broker, at most.
    pub largest_outgoing: u32,
    /// The best assurance that it gives.
    pub qos: QoS,
    /// Whether it keeps retained messages.
    pub retain: bool,
    /// Whether it has wildcards in subscriptions.
    pub wildcards: bool,
    /// Whether it has shared subscriptions. Unknown with MQTT 3.1.1, which has no word for them; then `true`.
    pub shared: bool,
    /// The keep-alive that it wants.
    pub keep_alive: Duration,
    /// The client id that it gave to a client without one.
    pub client_id: Option<String>,
}
