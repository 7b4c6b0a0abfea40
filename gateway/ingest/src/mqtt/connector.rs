//! How connections to the broker are made.

use std::time::Duration;

use tidegate_mqtt::{ConnectOptions, Connector, Login, Protocol, QoS, Session, Tls, TlsError, Will, Words};
use tidegate_sparkplug::Message;

use crate::Broker;

/// A ping after so much silence; without an answer to it as long again, the connection is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A write that takes longer means that nothing moves any more.
const PATIENCE: Duration = Duration::from_secs(45);
/// A broker discards what is larger than this without a word (MQTT 5.0 §3.1.2.11.4), so it is more than any gateway sends.
const LARGEST_INCOMING: u32 = 32 * 1024 * 1024;

/// How the options of an ingest are called.
const WORDS: Words = Words {
    us: "the ingest",
    address: "--from",
    ca: "--ca",
    client_certificate: "--certificate",
    client_id: "--client-id",
};

/// What makes connections to this broker. Reads the certificates once, so that a wrong path is found now and not at the first
/// connection.
pub(crate) fn connector(broker: &Broker) -> Result<Connector, TlsError> {
    let Broker { session_expiry, in_flight, .. } = broker;
    Connector::new(ConnectOptions {
        protocol: Protocol::V5,
        session: Session::Kept(*session_expiry),
        receive_maximum: (*in_flight).max(1),
        largest_incoming: LARGEST_INCOMING,
        ..options(broker)
    })
}

/// What makes connections of a host application of Sparkplug B: a clean session of MQTT 3.1.1, which every broker has, with the
/// word that the host is offline as its will.
pub(crate) fn host_connector(broker: &Broker, death: Option<Message>) -> Result<Connector, TlsError> {
    let will = death.map(|death| Will {
        topic: death.topic,
        payload: death.payload.into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        delay: Duration::ZERO,
    });
    Connector::new(ConnectOptions { protocol: Protocol::V311, session: Session::Clean, will, ..options(broker) })
}

/// What both have.
fn options(broker: &Broker) -> ConnectOptions {
    let Broker { address, password, client_id, .. } = broker;
    ConnectOptions {
        tls: address.tls.then(|| Tls { ca: broker.ca.clone(), client: broker.certificate.clone() }),
        login: address.user.clone().map(|user| Login {
            user,
            password: password.as_ref().map_or_else(String::new, |password| password.reveal().to_owned()),
        }),
        keep_alive: KEEP_ALIVE,
        patience: PATIENCE,
        ..ConnectOptions::new(&address.host, address.port, client_id, WORDS)
    }
}
