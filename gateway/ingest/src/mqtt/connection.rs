//! Making a connection to the broker.

use std::{sync::Arc, time::Duration};

use rumqttc::{
    TlsConfiguration, Transport,
    v5::{
        AsyncClient, Event, EventLoop, MqttOptions,
        mqttbytes::v5::{ConnectProperties, Packet},
    },
};
use rustls::ClientConfig;

use super::{Failure, tls};
use crate::{Broker, IngestError};

/// Name look-up, TCP, TLS and login have to be done within this time.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// A ping after so much silence; without an answer to it by the next one, the connection is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A broker discards what is larger than this without a word (MQTT 5.0 §3.1.2.11.4), so it is more than any gateway sends.
const LARGEST_INCOMING: u32 = 32 * 1024 * 1024;
/// Packet ids for subscriptions. rumqttc sets memory aside for each.
const PACKET_IDS: u16 = 64;

/// A connection whose login was accepted.
pub(crate) struct Connection {
    pub(crate) client: AsyncClient,
    pub(crate) event_loop: EventLoop,
    /// Whether the broker has kept the session of the last connection.
    pub(crate) session_present: bool,
}

/// How connections to the broker are made.
pub(crate) struct Connector {
    broker: Broker,
    pub(crate) address: String,
}

impl Connector {
    /// Reads the certificates once, so that a wrong path is found now and not at the first connection.
    pub(crate) fn new(broker: Broker) -> Result<Connector, IngestError> {
        if broker.address.tls {
            tls::client_config(&broker)?;
        }
        let address = match broker.address.host.contains(':') {
            true => format!("[{}]:{}", broker.address.host, broker.address.port),
            false => format!("{}:{}", broker.address.host, broker.address.port),
        };
        Ok(Connector { broker, address })
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// A poll that takes longer means that nothing moves any more: pings come more often.
    pub(crate) fn patience(&self) -> Duration {
        KEEP_ALIVE * 3
    }

    /// Connects and logs in.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let transport = match self.broker.address.tls {
            false => Transport::Tcp,
            true => Transport::Tls(TlsConfiguration::Rustls(certificates(self.broker.clone()).await?)),
        };
        // Room for an acknowledgement of every message that can be here, and for subscriptions.
        let requests = usize::from(self.broker.in_flight).saturating_mul(2).saturating_add(usize::from(PACKET_IDS));
        let (client, mut event_loop) = AsyncClient::new(self.mqtt_options(transport), requests);
        match tokio::time::timeout(CONNECT_WITHIN, event_loop.poll()).await {
            Ok(Ok(Event::Incoming(Packet::ConnAck(ack)))) => {
                Ok(Connection { client, event_loop, session_present: ack.session_present })
            }
            Ok(Ok(other)) => Err(Failure::passing(format!("{}: {other:?} in place of a login's answer", self.address))),
            Ok(Err(error)) => Err(Failure::of(&error, &self.address, &self.broker, false)),
            Err(_) => Err(Failure::passing(format!(
                "no answer from {}; is the address right, is there a route, does a firewall drop the port?",
                self.address
            ))),
        }
    }

    fn mqtt_options(&self, transport: Transport) -> MqttOptions {
        let Broker { address, password, client_id, session_expiry, in_flight, .. } = &self.broker;
        let mut options = MqttOptions::new(client_id, &address.host, address.port);
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(u32::try_from(session_expiry.as_secs()).unwrap_or(u32::MAX));
        properties.receive_maximum = Some((*in_flight).max(1));
        properties.max_packet_size = Some(LARGEST_INCOMING);
        options
            .set_connect_properties(properties)
            .set_clean_start(false)
            .set_manual_acks(true)
            .set_keep_alive(KEEP_ALIVE)
            .set_outgoing_inflight_upper_limit(PACKET_IDS)
            .set_connection_timeout(CONNECT_WITHIN.as_secs())
            .set_transport(transport);
        if let Some(user) = &address.user {
            options.set_credentials(user, password.as_ref().map_or("", |password| password.reveal()));
        }
        let mut network = options.network_options();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        options
    }
}

/// Reads the certificates where blocking is allowed.
async fn certificates(broker: Broker) -> Result<Arc<ClientConfig>, Failure> {
    match tokio::task::spawn_blocking(move || tls::client_config(&broker)).await {
        Ok(config) => config.map_err(|error| Failure::lasting(format!("failed to {error}"))),
        Err(error) => Err(Failure::passing(format!("failed to read the certificates: {error}"))),
    }
}
