//! Making a connection to the broker. Each has a client of its own, which is thrown away with it.

use std::{sync::Arc, time::Duration};

use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use rustls::ClientConfig;
use tidegate_config::{MqttTarget as Options, Tls};

use super::{
    failure::{Failure, FailureKind, Peer},
    message::LARGEST_PAYLOAD,
    tls,
};

/// Name look-up, TCP, TLS and login have to be done within this time.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// Nothing is subscribed to: acknowledgements are all that comes in.
const LARGEST_INCOMING: usize = 16 * 1024;
/// rumqttc counts the topic and the header too.
const LARGEST_OUTGOING: usize = LARGEST_PAYLOAD + 128 * 1024;
/// Messages on their way, at most; four times as many packet ids have to fit into 16 bits.
const MOST_IN_FLIGHT: u16 = 16_000;

/// A connection whose login was accepted.
pub(crate) struct Connection {
    pub(crate) client: AsyncClient,
    pub(crate) event_loop: EventLoop,
}

/// How connections to one broker are made.
pub(crate) struct Connector {
    pub(crate) options: Options,
    pub(crate) peer: Peer,
    pub(crate) keep_alive: Duration,
    pub(crate) in_flight: u16,
    state_topic: String,
}

impl Connector {
    pub(crate) fn new(options: &Options, client_id: String, state_topic: String) -> Connector {
        // `[::1]` is how a URL writes what a socket and a certificate call `::1`.
        let host = options.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let address = format!("{}:{}", options.host, options.port);
        // The broker is told whole seconds; a ping must not come later than it was told.
        let keep_alive = Duration::from_secs(options.keep_alive.as_secs().clamp(1, u64::from(u16::MAX)));
        Connector {
            peer: Peer { address, host, client_id, tls: options.tls.is_some() },
            keep_alive,
            in_flight: options.in_flight.clamp(1, MOST_IN_FLIGHT),
            options: options.clone(),
            state_topic,
        }
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
        let transport = match &self.options.tls {
            None => Transport::Tcp,
            Some(tls) => Transport::Tls(TlsConfiguration::Rustls(certificates(tls.clone()).await?)),
        };
        let requests = usize::from(self.in_flight) + 8;
        let (client, mut event_loop) = AsyncClient::new(self.mqtt_options(transport), requests);
        event_loop.network_options.set_tcp_nodelay(true);
        // rumqttc's limit for connecting is also the one for a write; ours for connecting is around it.
        event_loop.network_options.set_connection_timeout(self.patience().max(CONNECT_WITHIN).as_secs());
        let fail = |error| Failure::from_rumqttc(&error, &self.peer, false);
        match tokio::time::timeout(CONNECT_WITHIN, event_loop.poll()).await {
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => Ok(Connection { client, event_loop }),
            Ok(Ok(other)) => {
                Err(Failure::new(FailureKind::Protocol, format!("{other:?} in place of a login's answer")))
            }
            Ok(Err(error)) => Err(fail(error)),
            Err(_) => Err(fail(rumqttc::ConnectionError::NetworkTimeout)),
        }
    }

    fn mqtt_options(&self, transport: Transport) -> MqttOptions {
        let mut options = MqttOptions::new(&self.peer.client_id, &self.peer.host, self.options.port);
        options
            // Nothing of a session is kept on either side: what is not acknowledged is in the store, and comes again from there.
            .set_clean_session(true)
            .set_keep_alive(self.keep_alive)
            .set_max_packet_size(LARGEST_INCOMING, LARGEST_OUTGOING)
            // rumqttc gives out the packet ids 1 to this number in a circle. With some to spare, a late second
            // acknowledgement of an old message does not hit a new one.
            .set_inflight(self.in_flight.saturating_mul(4).saturating_add(16))
            .set_last_will(LastWill::new(&self.state_topic, "offline", QoS::AtLeastOnce, true))
            .set_transport(transport);
        if let Some((user, password)) = &self.options.login {
            options.set_credentials(user, password.reveal());
        }
        options
    }
}

/// Reads the certificates where blocking is allowed.
async fn certificates(tls: Tls) -> Result<Arc<ClientConfig>, Failure> {
    let fail = |why: String| Failure::new(FailureKind::Certificate, format!("failed to {why}"));
    match tokio::task::spawn_blocking(move || tls::client_config(&tls)).await {
        Ok(config) => config.map_err(|error| fail(error.to_string())),
        Err(error) => Err(fail(format!("read the certificates: {error}"))),
    }
}
