//! Why a connection ended, in words for the person who has to mend it.

use std::{error::Error, fmt, io};

use rumqttc::{
    ConnectReturnCode, ConnectionError, StateError, TlsError,
    mqttbytes::Error as PacketError,
    tokio_rustls::rustls::{self, AlertDescription, CertificateError, InvalidMessage},
};

/// Why a connection ended or was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What kind of thing it was.
    pub(crate) kind: FailureKind,
    /// What happened and what to look at; a lower-case fragment.
    pub(crate) text: String,
}

/// What kind of thing ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The network did not lead to the broker.
    Unreachable,
    /// The certificates do not fit, or cannot be read.
    Certificate,
    /// The broker answered and said no to who asked.
    Refused,
    /// The broker or the network closed the connection.
    Closed,
    /// Nothing came back in time.
    Silent,
    /// It came back that the other side is there, but not that it has a message.
    Unacknowledged,
    /// What came back was against the protocol.
    Protocol,
}

/// Whom a connection is made to; for the texts.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// `host:port`.
    pub(crate) address: String,
    /// The host alone.
    pub(crate) host: String,
    /// The client id of the gateway.
    pub(crate) client_id: String,
    /// Whether the connection is encrypted.
    pub(crate) tls: bool,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, text: impl Into<String>) -> Failure {
        Failure { kind, text: text.into() }
    }

    /// What rumqttc's error means. `connected`: the login had been accepted.
    pub(crate) fn from_rumqttc(error: &ConnectionError, peer: &Peer, connected: bool) -> Failure {
        let address = &peer.address;
        if let Some(tls) = cause::<rustls::Error>(error) {
            return from_tls(tls, peer);
        }
        match error {
            ConnectionError::ConnectionRefused(code) => refused(*code, peer),
            ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => silent(peer, connected),
            ConnectionError::MqttState(StateError::AwaitPingResp | StateError::CollisionTimeout) => {
                Failure::new(FailureKind::Silent, format!("{address} no longer answers to pings"))
            }
            ConnectionError::MqttState(StateError::ConnectionAborted) => closed(peer, connected),
            ConnectionError::MqttState(StateError::Unsolicited(id)) => Failure::new(
                FailureKind::Protocol,
                format!("{address} acknowledged message {id}, which was not sent or had been acknowledged before"),
            ),
            ConnectionError::Tls(TlsError::DNSName(_)) => Failure::new(
                FailureKind::Certificate,
                format!("{:?} is no host name that a certificate could be for; check `url`", peer.host),
            ),
            _ => match cause::<io::Error>(error) {
                Some(error) if !is_cut_packet(error) => from_io(error, peer, connected),
                _ if is_packet_error(error) => Failure::new(
                    FailureKind::Protocol,
                    format!("what {address} sent is not MQTT ({error}); is it the right port?"),
                ),
                _ => Failure::new(FailureKind::Protocol, format!("{address}: {error}")),
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a person has to act before the next try can succeed.
impl FailureKind {
    pub(crate) fn needs_a_person(self) -> bool {
        matches!(self, FailureKind::Refused | FailureKind::Certificate)
    }
}

/// The first error of type `T` in the chain of causes. `io::Error` hides its cause from [`Error::source`]: looked into.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn is_packet_error(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::NotConnAck(_)) || cause::<PacketError>(error).is_some()
}

/// Whether the connection ended in the middle of a packet. The framing says so with an error that has no kind.
fn is_cut_packet(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other
}

fn refused(code: ConnectReturnCode, peer: &Peer) -> Failure {
    let Peer { address, client_id, .. } = peer;
    let (kind, text) = match code {
        ConnectReturnCode::BadUserNamePassword => {
            (FailureKind::Refused, format!("{address} refused the login: wrong user name or password"))
        }
        ConnectReturnCode::NotAuthorized => (
            FailureKind::Refused,
            format!("{address} refused the login: not authorised; check user name, password and the broker's rights"),
        ),
        ConnectReturnCode::BadClientId => (
            FailureKind::Refused,
            format!("{address} refused the login: it does not allow the client id {client_id:?}"),
        ),
        ConnectReturnCode::RefusedProtocolVersion => {
            (FailureKind::Refused, format!("{address} refused the login: it does not speak MQTT 3.1.1"))
        }
        ConnectReturnCode::ServiceUnavailable | ConnectReturnCode::Success => {
            (FailureKind::Unreachable, format!("{address} answered that its service is not available at the moment"))
        }
    };
    Failure::new(kind, text)
}

fn silent(peer: &Peer, connected: bool) -> Failure {
    let text = if connected {
        format!("{} no longer takes what is sent", peer.address)
    } else {
        format!(
            "no answer from {}; is the address right, is there a route, does a firewall drop the port?",
            peer.address
        )
    };
    Failure::new(FailureKind::Silent, text)
}

fn closed(peer: &Peer, connected: bool) -> Failure {
    let Peer { address, client_id, tls, .. } = peer;
    let text = match (connected, tls) {
        (true, _) => format!(
            "{address} closed the connection; should this repeat: does another client use the id {client_id:?}?"
        ),
        (false, true) => {
            format!(
                "{address} closed the connection before it answered the login; check user name, password and `client_certificate`"
            )
        }
        (false, false) => format!(
            "{address} closed the connection before it answered the login; check user name and password, and whether the port wants TLS (mqtts://)"
        ),
    };
    Failure::new(FailureKind::Closed, text)
}

fn from_io(error: &io::Error, peer: &Peer, connected: bool) -> Failure {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof};
    let address = &peer.address;
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => closed(peer, connected),
        TimedOut => silent(peer, connected),
        ConnectionRefused => Failure::new(
            FailureKind::Unreachable,
            format!("{address} is there, but nothing listens on that port; is the broker running, is the port right?"),
        ),
        _ if connected => Failure::new(FailureKind::Closed, format!("the connection to {address} broke: {error}")),
        _ => Failure::new(FailureKind::Unreachable, format!("cannot reach {address}: {error}")),
    }
}

fn from_tls(error: &rustls::Error, peer: &Peer) -> Failure {
    let Peer { address, host, .. } = peer;
    let text = match error {
        rustls::Error::InvalidCertificate(why) => match why {
            // A bad signature: of an authority that has the same name as ours.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the certificate of {address} is not signed by an authority that the gateway trusts; is `ca` the right file?"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("the certificate of {address} is not for {host:?}; use the name that stands in it")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the certificate of {address} has expired, or the gateway's clock is wrong")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the certificate of {address} is not valid yet; is the gateway's clock right?")
            }
            other => format!("the certificate of {address} cannot be trusted: {other}"),
        },
        rustls::Error::AlertReceived(alert) if is_about_the_client(*alert) => {
            format!(
                "{address} does not accept the gateway's client certificate ({alert:?}); is `client_certificate` set, is it the right one?"
            )
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("{address} does not speak TLS; is it the plain port?")
        }
        other => format!("no encrypted connection to {address}: {other}"),
    };
    Failure::new(FailureKind::Certificate, text)
}

fn is_about_the_client(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer { address: "cloud:8883".into(), host: "cloud".into(), client_id: "line3-cloud".into(), tls: true }
    }

    fn tls(error: rustls::Error) -> Failure {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        Failure::from_rumqttc(&ConnectionError::Tls(TlsError::Io(error)), &peer(), false)
    }

    #[test]
    fn a_tls_error_is_found_however_deep_it_is_wrapped() {
        let failure = tls(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert_eq!(failure.kind, FailureKind::Certificate);
        assert!(failure.text.contains("is `ca` the right file?"), "{failure}");

        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, alert);
        let error = ConnectionError::MqttState(StateError::Deserialization(PacketError::Io(wrapped)));
        let failure = Failure::from_rumqttc(&error, &peer(), false);
        assert!(failure.text.contains("does not accept the gateway's client certificate"), "{failure}");
    }

    #[test]
    fn a_refused_login_needs_a_person_and_a_busy_broker_does_not() {
        let refused = |code| Failure::from_rumqttc(&ConnectionError::ConnectionRefused(code), &peer(), false).kind;
        assert!(refused(ConnectReturnCode::BadUserNamePassword).needs_a_person());
        assert!(refused(ConnectReturnCode::NotAuthorized).needs_a_person());
        assert!(refused(ConnectReturnCode::BadClientId).needs_a_person());
        assert!(!refused(ConnectReturnCode::ServiceUnavailable).needs_a_person());
    }

    #[test]
    fn a_reset_during_a_write_counts_as_closed() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let error = ConnectionError::MqttState(StateError::Deserialization(PacketError::Io(reset)));
        assert_eq!(Failure::from_rumqttc(&error, &peer(), true).kind, FailureKind::Closed);
    }

    #[test]
    fn a_web_server_is_not_taken_for_a_broker() {
        let error = ConnectionError::MqttState(StateError::Deserialization(PacketError::InvalidPacketType(0)));
        let failure = Failure::from_rumqttc(&error, &peer(), false);
        assert_eq!(failure.kind, FailureKind::Protocol);
        assert!(failure.text.contains("is it the right port?"), "{failure}");
    }
}
