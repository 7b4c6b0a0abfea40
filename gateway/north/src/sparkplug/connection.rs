//! How an edge node's connections are made: each with a will of its own.

use std::time::Duration;

use tidegate_config::MqttTarget as Options;
use tidegate_mqtt::{ConnectOptions, Connection, Connector, Failure, Login, QoS, Tls, Will, Words};
use tidegate_sparkplug::Message;

use crate::TargetError;

/// Commands and what hosts say of themselves are all that comes in.
const LARGEST_INCOMING: u32 = 2 << 20;

/// Bytes of a payload, at most; what is around it in a packet is some hundred bytes more, and fits into what the client sends.
pub(super) const LARGEST_PAYLOAD: usize = (16 << 20) - (1 << 16);

/// How the keys of a target are called.
const WORDS: Words = Words {
    us: "the gateway",
    address: "`url`",
    ca: "`ca`",
    client_certificate: "`client_certificate`",
    client_id: "`client_id`",
};

/// How connections to one broker are made.
pub(super) struct Connections {
    options: ConnectOptions,
    address: String,
}

impl Connections {
    /// Reads the certificate files, so that a wrong path is found now and not at the first connection.
    pub(super) fn new(options: &Options, client_id: String) -> Result<Connections, TargetError> {
        // A clean session: what is not known to have arrived is in the store, and comes again from there.
        let options = ConnectOptions {
            tls: options.tls.as_ref().map(|tls| Tls { ca: tls.ca.clone(), client: tls.client.clone() }),
            login: options
                .login
                .as_ref()
                .map(|(user, password)| Login { user: user.clone(), password: password.reveal().to_owned() }),
            keep_alive: options.keep_alive,
            largest_incoming: LARGEST_INCOMING,
            patience: options.ack_timeout,
            ..ConnectOptions::new(&options.host, options.port, client_id, WORDS)
        };
        let address = Connector::new(options.clone())?.address().to_owned();
        Ok(Connections { options, address })
    }

    /// The broker: `host:port`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Connects and logs in, with this will.
    ///
    /// # Errors
    ///
    /// Why there is no connection; nothing is left open.
    pub(super) async fn connect(&self, will: Message) -> Result<Connection, Failure> {
        let will = Will {
            topic: will.topic,
            payload: will.payload.into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            delay: Duration::ZERO,
        };
        let options = ConnectOptions { will: Some(will), ..self.options.clone() };
        let connector = Connector::new(options)
            .map_err(|error| Failure::new(tidegate_mqtt::FailureKind::Certificate, format!("failed to {error}")))?;
        connector.connect().await
    }
}
