//! Why a connection ended, in words for the person who has to mend it.

use std::{error::Error, fmt, io};

use rumqttc::{
    tokio_rustls::rustls,
    v5::{
        ConnectionError, StateError,
        mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode},
    },
};

use crate::Broker;

/// Why a connection ended or was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What happened and what to look at; a lower-case fragment.
    pub(crate) text: String,
    /// Whether a person has to act before the next try can succeed.
    pub(crate) lasting: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failure {
    /// Something that may be over at the next try.
    pub(crate) fn passing(text: String) -> Failure {
        Failure { text, lasting: false }
    }

    /// Something that a person has to change.
    pub(crate) fn lasting(text: String) -> Failure {
        Failure { text, lasting: true }
    }

    /// What rumqttc's error means. `connected`: the login had been accepted.
    pub(crate) fn of(error: &ConnectionError, address: &str, broker: &Broker, connected: bool) -> Failure {
        if let Some(tls) = cause::<rustls::Error>(error) {
            let text = format!("no encrypted connection to {address}: {tls}; check --ca, --certificate and the clock");
            return Failure::lasting(text);
        }
        match error {
            ConnectionError::ConnectionRefused(code)
            | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => refused(*code, address, broker),
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
                dismissed(*reason_code, reason_string.as_deref(), address, broker)
            }
            ConnectionError::MqttState(StateError::AwaitPingResp) => {
                Failure::passing(format!("{address} no longer answers to pings"))
            }
            ConnectionError::Timeout(_) => Failure::passing(format!("{address} does not answer")),
            ConnectionError::MqttState(StateError::ConnectionAborted) => closed(address, broker, connected),
            _ => match cause::<io::Error>(error) {
                Some(error) => broken(error, address, broker, connected),
                None => Failure::passing(format!("{address}: {error}")),
            },
        }
    }
}

/// The first error of type `T` in the chain of causes. `io::Error` hides its cause from [`Error::source`], and rumqttc that of
/// a packet that could not be read: looked into.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let packet: Option<&(dyn Error + 'static)> = match error.downcast_ref::<StateError>() {
            Some(StateError::Deserialization(error)) => Some(error),
            _ => None,
        };
        next = packet.or_else(|| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        });
    }
    None
}

fn refused(code: ConnectReturnCode, address: &str, broker: &Broker) -> Failure {
    use ConnectReturnCode as Code;
    match code {
        Code::BadUserNamePassword => {
            Failure::lasting(format!("{address} refused the login: wrong user name or password"))
        }
        Code::NotAuthorized | Code::Banned => Failure::lasting(format!(
            "{address} refused the login: not authorised; check user name, password and the broker's rights"
        )),
        Code::BadClientId | Code::ClientIdentifierNotValid => {
            let text = format!("{address} refused the login: it does not allow the client id {:?}", broker.client_id);
            Failure::lasting(text)
        }
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => {
            Failure::lasting(format!("{address} refused the login: it does not speak MQTT 5"))
        }
        other => Failure::passing(format!("{address} refused the login: {other:?}")),
    }
}

fn dismissed(code: DisconnectReasonCode, reason: Option<&str>, address: &str, broker: &Broker) -> Failure {
    use DisconnectReasonCode as Code;
    let said = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    match code {
        Code::SessionTakenOver => Failure::lasting(format!(
            "another client has logged in at {address} with the id {:?}; give each ingest a --client-id of its own{said}",
            broker.client_id
        )),
        Code::NotAuthorized => {
            Failure::lasting(format!("{address} does not allow it; check the rights to subscribe{said}"))
        }
        other => Failure::passing(format!("{address} closed the connection: {other:?}{said}")),
    }
}

fn closed(address: &str, broker: &Broker, connected: bool) -> Failure {
    let text = match (connected, broker.address.tls) {
        (true, _) => format!(
            "{address} closed the connection; should this repeat: does another client use the id {:?}?",
            broker.client_id
        ),
        (false, true) => {
            format!(
                "{address} closed the connection before it answered the login; check user, password and --certificate"
            )
        }
        (false, false) => format!(
            "{address} closed the connection before it answered the login; check user and password, and whether the port wants mqtts://"
        ),
    };
    Failure::passing(text)
}

fn broken(error: &io::Error, address: &str, broker: &Broker, connected: bool) -> Failure {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => closed(address, broker, connected),
        ConnectionRefused => Failure::passing(format!(
            "{address} is there, but nothing listens on that port; is the broker running, is the port right?"
        )),
        _ if connected => Failure::passing(format!("the connection to {address} broke: {error}")),
        _ => Failure::passing(format!("cannot reach {address}: {error}")),
    }
}
