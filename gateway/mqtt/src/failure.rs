//! Why a connection ended, in words for the person who has to mend it.

use std::{error::Error, fmt, io};

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::{ConnectOptions, Protocol, Words};

/// Why a connection ended or was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of thing it was.
    pub kind: FailureKind,
    /// What happened and what to look at; a lower-case fragment.
    pub text: String,
}

/// What kind of thing ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The network did not lead to the broker.
    Unreachable,
    /// The certificates do not fit, or cannot be read.
    Certificate,
    /// The broker answered and said no to who asked.
    Refused,
    /// The broker answered that it does not speak this version of MQTT.
    Version,
    /// Another client has logged in with the same id.
    TakenOver,
    /// The broker or the network closed the connection.
    Closed,
    /// Nothing came back in time.
    Silent,
    /// It came back that the other side is there, but not that it has a message.
    Unacknowledged,
    /// The broker does not take a message, and the one who sends it ended the connection over that.
    MessageRefused,
    /// What came back was against the protocol.
    Protocol,
}

/// Whom a connection is made to; for the texts.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// `host:port`.
    pub(crate) address: String,
    /// The host alone, without brackets.
    pub(crate) host: String,
    client_id: String,
    tls: bool,
    protocol: Protocol,
    words: Words,
}

/// Why a broker refused a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LoginRefusal {
    Password,
    NotAuthorized,
    ClientId,
    Protocol,
    Busy,
    Other(String),
}

/// Why a broker has taken leave (MQTT 5), and what it said beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dismissal {
    TakenOver,
    NotAuthorized(Option<String>),
    TooLarge(Option<String>),
    Other(String, Option<String>),
}

impl Failure {
    /// A failure of this kind; the text is a lower-case fragment.
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Failure {
        Failure { kind, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FailureKind {
    /// Whether a person has to act before the next try can succeed.
    pub fn needs_a_person(self) -> bool {
        use FailureKind::{Certificate, Refused, TakenOver, Version};
        matches!(self, Refused | Version | Certificate | TakenOver)
    }
}

impl Peer {
    pub(crate) fn new(options: &ConnectOptions) -> Peer {
        // `[::1]` is how a URL writes what a socket and a certificate call `::1`.
        let host = options.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let address = match host.contains(':') {
            true => format!("[{host}]:{}", options.port),
            false => format!("{host}:{}", options.port),
        };
        let (client_id, tls) = (options.client_id.clone(), options.tls.is_some());
        Peer { address, host, client_id, tls, protocol: options.protocol, words: options.words }
    }

    /// The login was refused.
    pub(crate) fn refused(&self, refusal: LoginRefusal) -> Failure {
        let Peer { address, client_id, .. } = self;
        let kind = if refusal == LoginRefusal::Protocol { FailureKind::Version } else { FailureKind::Refused };
        let why = match refusal {
            LoginRefusal::Password => "wrong user name or password".to_owned(),
            LoginRefusal::NotAuthorized => {
                "not authorised; check user name, password and the broker's rights".to_owned()
            }
            LoginRefusal::ClientId => format!("it does not allow the client id {client_id:?}"),
            LoginRefusal::Protocol => match self.protocol {
                Protocol::V311 => "it does not speak MQTT 3.1.1".to_owned(),
                Protocol::V5 => "it does not speak MQTT 5".to_owned(),
            },
            LoginRefusal::Busy => {
                let text = format!("{address} answered that its service is not available at the moment");
                return Failure::new(FailureKind::Unreachable, text);
            }
            LoginRefusal::Other(code) => code,
        };
        Failure::new(kind, format!("{address} refused the login: {why}"))
    }

    /// The broker has taken leave.
    pub(crate) fn dismissed(&self, dismissal: Dismissal) -> Failure {
        let Peer { address, client_id, words, .. } = self;
        let said = |said: Option<String>| said.map(|said| format!(" ({said})")).unwrap_or_default();
        match dismissal {
            Dismissal::TakenOver => Failure::new(
                FailureKind::TakenOver,
                format!(
                    "another client has logged in at {address} with the id {client_id:?}; give each a {} of its own",
                    words.client_id
                ),
            ),
            Dismissal::NotAuthorized(text) => Failure::new(
                FailureKind::Refused,
                format!("{address} does not allow it; check the broker's rights{}", said(text)),
            ),
            Dismissal::TooLarge(text) => Failure::new(
                FailureKind::Closed,
                format!("{address} closed the connection over a message that is too large for it{}", said(text)),
            ),
            Dismissal::Other(code, text) => {
                Failure::new(FailureKind::Closed, format!("{address} closed the connection: {code}{}", said(text)))
            }
        }
    }

    /// Nothing answered in time.
    pub(crate) fn silent(&self, connected: bool) -> Failure {
        let address = &self.address;
        let text = match connected {
            true => format!("{address} no longer takes what is sent"),
            false => {
                format!(
                    "no answer from {address}; is the address right, is there a route, does a firewall drop the port?"
                )
            }
        };
        Failure::new(FailureKind::Silent, text)
    }

    /// Pings are not answered.
    pub(crate) fn no_pong(&self) -> Failure {
        Failure::new(FailureKind::Silent, format!("{} no longer answers to pings", self.address))
    }

    /// The connection has ended without a word.
    pub(crate) fn closed(&self, connected: bool) -> Failure {
        let Peer { address, client_id, tls, words, .. } = self;
        let before = format!("{address} closed the connection before it answered the login; check user name");
        let text = match (connected, tls) {
            (true, _) => format!(
                "{address} closed the connection; should this repeat: does another client use the id {client_id:?}?"
            ),
            (false, true) => format!("{before}, password and {}", words.client_certificate),
            (false, false) => format!("{before} and password, and whether the port wants TLS (mqtts://)"),
        };
        Failure::new(FailureKind::Closed, text)
    }

    /// What came is not MQTT.
    pub(crate) fn not_mqtt(&self, why: &str) -> Failure {
        let text = format!("what {} sent is not MQTT ({why}); is it the right port?", self.address);
        Failure::new(FailureKind::Protocol, text)
    }

    /// It is MQTT, and against its rules.
    pub(crate) fn against_the_rules(&self, what: &str) -> Failure {
        Failure::new(FailureKind::Protocol, format!("{}: {what}", self.address))
    }

    /// What the name cannot be used for.
    pub(crate) fn no_server_name(&self) -> Failure {
        let text =
            format!("{:?} is no host name that a certificate could be for; check {}", self.host, self.words.address);
        Failure::new(FailureKind::Certificate, text)
    }

    /// What the network said. `connected`: the login had been accepted.
    pub(crate) fn broken(&self, error: &io::Error, connected: bool) -> Failure {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof,
        };
        if let Some(tls) = cause::<rustls::Error>(error) {
            return self.broken_tls(tls);
        }
        let address = &self.address;
        let (kind, text) = match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => return self.closed(connected),
            TimedOut => return self.silent(connected),
            ConnectionRefused => (
                FailureKind::Unreachable,
                format!(
                    "{address} is there, but nothing listens on that port; is the broker running, is the port right?"
                ),
            ),
            _ if connected => (FailureKind::Closed, format!("the connection to {address} broke: {error}")),
            _ => (FailureKind::Unreachable, format!("cannot reach {address}: {error}")),
        };
        Failure::new(kind, text)
    }

    fn broken_tls(&self, error: &rustls::Error) -> Failure {
        let Peer { address, host, words: Words { us, ca, client_certificate, .. }, .. } = self;
        let text = match error {
            rustls::Error::InvalidCertificate(why) => match why {
                // A bad signature: of an authority that has the same name as ours.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                    "the certificate of {address} is not signed by an authority that {us} trusts; is {ca} the right file?"
                ),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    format!("the certificate of {address} is not for {host:?}; use the name that stands in it")
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    format!("the certificate of {address} has expired, or {us}'s clock is wrong")
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    format!("the certificate of {address} is not valid yet; is {us}'s clock right?")
                }
                other => format!("the certificate of {address} cannot be trusted: {other}"),
            },
            rustls::Error::AlertReceived(alert) if is_about_the_client(*alert) => format!(
                "{address} does not accept {us}'s client certificate ({alert:?}); is {client_certificate} set, is it the right one?"
            ),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                format!("{address} does not speak TLS; is it the plain port?")
            }
            other => format!("no encrypted connection to {address}: {other}"),
        };
        Failure::new(FailureKind::Certificate, text)
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

    const WORDS: Words = Words {
        us: "the gateway",
        address: "`url`",
        ca: "`ca`",
        client_certificate: "`client_certificate`",
        client_id: "`client_id`",
    };

    fn peer() -> Peer {
        let mut options = ConnectOptions::new("cloud", 8883, "line3-cloud", WORDS);
        options.tls = Some(crate::Tls::default());
        Peer::new(&options)
    }

    #[test]
    fn a_tls_error_is_found_however_deep_it_is_wrapped() {
        let error = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let failure = peer().broken(&io::Error::new(io::ErrorKind::InvalidData, error), false);
        assert_eq!(failure.kind, FailureKind::Certificate);
        assert!(failure.text.contains("is `ca` the right file?"), "{failure}");

        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, alert));
        let failure = peer().broken(&wrapped, false);
        assert!(failure.text.contains("does not accept the gateway's client certificate"), "{failure}");
    }

    #[test]
    fn a_refused_login_needs_a_person_and_a_busy_broker_does_not() {
        let refused = |refusal| peer().refused(refusal).kind.needs_a_person();
        assert!(refused(LoginRefusal::Password) && refused(LoginRefusal::NotAuthorized));
        assert!(refused(LoginRefusal::ClientId) && refused(LoginRefusal::Protocol));
        assert!(!refused(LoginRefusal::Busy));
        assert!(peer().dismissed(Dismissal::TakenOver).kind.needs_a_person());
        assert!(!peer().dismissed(Dismissal::TooLarge(None)).kind.needs_a_person());
    }

    #[test]
    fn a_reset_counts_as_closed_and_a_missing_listener_as_unreachable() {
        let failure = peer().broken(&io::Error::from(io::ErrorKind::ConnectionReset), true);
        assert_eq!(failure.kind, FailureKind::Closed);
        let failure = peer().broken(&io::Error::from(io::ErrorKind::ConnectionRefused), false);
        assert_eq!(failure.kind, FailureKind::Unreachable);
    }

    #[test]
    fn an_address_of_version_6_stands_in_brackets_in_texts_alone() {
        for host in ["[fd00::1]", "fd00::1"] {
            let peer = Peer::new(&ConnectOptions::new(host, 1883, "x", WORDS));
            assert_eq!((peer.address.as_str(), peer.host.as_str()), ("[fd00::1]:1883", "fd00::1"));
        }
    }
}
