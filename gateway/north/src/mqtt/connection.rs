//! How a target's connections are made.

use std::time::Duration;

use bytes::Bytes;
use tidegate_config::{MqttTarget as Options, MqttVersion};
use tidegate_mqtt::{ConnectOptions, Connection, Failure, Login, Protocol, QoS, Tls, Will, Words};

use super::message::LARGEST_PAYLOAD;
use crate::TargetError;

/// Nothing is subscribed to: acknowledgements are all that comes in.
const LARGEST_INCOMING: u32 = 16 * 1024;
/// A packet has the topic and the header too.
const BESIDE_A_PAYLOAD: usize = 128 * 1024;
/// Messages on their way, at most.
const MOST_IN_FLIGHT: u16 = 16_000;
/// Messages beside those that the window counts: what is said when the gateway stops.
const BESIDE_THE_WINDOW: u16 = 8;

/// How the keys of a target are called.
const WORDS: Words = Words {
    us: "the gateway",
    address: "`url`",
    ca: "`ca`",
    client_certificate: "`client_certificate`",
    client_id: "`client_id`",
};

/// How connections to one broker are made.
pub(crate) struct Connector {
    pub(crate) options: Options,
    pub(crate) keep_alive: Duration,
    pub(crate) in_flight: u16,
    mqtt: tidegate_mqtt::Connector,
}

impl Connector {
    /// Reads the certificate files, so that a wrong path is found now and not at the first connection.
    pub(crate) fn new(options: &Options, client_id: String, state_topic: String) -> Result<Connector, TargetError> {
        let in_flight = options.in_flight.clamp(1, MOST_IN_FLIGHT);
        // Nothing of a session is kept on either side: what is not acknowledged is in the store, and comes again from there.
        let wanted = ConnectOptions {
            tls: options.tls.as_ref().map(|tls| Tls { ca: tls.ca.clone(), client: tls.client.clone() }),
            protocol: match options.protocol {
                MqttVersion::V311 => Protocol::V311,
                MqttVersion::V5 => Protocol::V5,
            },
            login: options
                .login
                .as_ref()
                .map(|(user, password)| Login { user: user.clone(), password: password.reveal().to_owned() }),
            keep_alive: options.keep_alive,
            will: Some(Will {
                topic: state_topic,
                payload: Bytes::from_static(b"offline"),
                qos: QoS::AtLeastOnce,
                retain: true,
                delay: Duration::ZERO,
            }),
            in_flight: in_flight.saturating_add(BESIDE_THE_WINDOW),
            largest_incoming: LARGEST_INCOMING,
            largest_outgoing: u32::try_from(LARGEST_PAYLOAD + BESIDE_A_PAYLOAD).unwrap_or(u32::MAX),
            patience: options.ack_timeout,
            ..ConnectOptions::new(&options.host, options.port, client_id, WORDS)
        };
        let keep_alive = Duration::from_secs(options.keep_alive.as_secs().clamp(1, u64::from(u16::MAX)));
        Ok(Connector { options: options.clone(), keep_alive, in_flight, mqtt: tidegate_mqtt::Connector::new(wanted)? })
    }

    /// The broker: `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.mqtt.address()
    }

    /// An oldest message without an acknowledgement, or a write that does not get through, for this long ends a connection.
    pub(crate) fn patience(&self) -> Duration {
        self.options.ack_timeout
    }

    /// How often the age of the oldest message is looked at.
    pub(crate) fn watch_every(&self) -> Duration {
        (self.patience() / 8).clamp(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// Why there is no connection; nothing is left open.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        self.mqtt.connect().await
    }
}
