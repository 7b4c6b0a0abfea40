//! What a site says about the local MQTT broker.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::{ByteRate, ByteSize, Secret};

/// `[broker]`: the local MQTT broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Broker {
    /// Plain MQTT.
    pub listen: SocketAddr,
    /// Clients of `listen` at a time, at most.
    pub max_connections: u32,
    /// What all topics begin with: one or more levels, without wildcards, without a slash at either end.
    pub topic_root: String,
    /// Whether each tag has a retained topic of its own.
    pub tag_topics: bool,
    /// How often the broker tells about itself below `$SYS`; absent when it does not.
    pub sys_interval: Option<Duration>,
    /// Who may connect.
    pub users: Vec<BrokerUser>,
    /// What clients may do that do not say who they are.
    pub anonymous: Anonymous,
    /// `[broker.tls]`.
    pub tls: Option<BrokerTls>,
    /// `[broker.websocket]`.
    pub websocket: Option<BrokerWebSocket>,
    /// `[broker.limits]`.
    pub limits: BrokerLimits,
    /// `[broker.persistence]`; absent when nothing is kept over a restart.
    pub persistence: Option<BrokerPersistence>,
}

/// What clients may do that give neither a user name nor a certificate.
#[derive(Debug, Clone, PartialEq)]
pub enum Anonymous {
    /// They are refused.
    Refused,
    /// Everything: only on loopback, and without users.
    Everything,
    /// What these rights say.
    Rights(TopicRights),
}

/// What somebody may publish and subscribe to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicRights {
    /// Topic filters, with `%u` for the user's name and `%c` for the client id, that may be published to.
    pub publish: Vec<String>,
    /// The same for what may be subscribed to (also with narrower filters).
    pub subscribe: Vec<String>,
}

/// `[[broker.user]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerUser {
    /// The user name of the CONNECT packet, or the name in the client's certificate.
    pub name: String,
    /// How the user shows who it is.
    pub login: BrokerLogin,
    /// What the user may do.
    pub rights: TopicRights,
}

/// How a user shows who it is.
#[derive(Debug, Clone, PartialEq)]
pub enum BrokerLogin {
    /// By a password.
    Password(Secret),
    /// By a password of which there is only the hash: argon2 in PHC form.
    Hash(Secret),
    /// By a client certificate alone.
    Certificate,
}

/// `[broker.tls]`: MQTT over TLS.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerTls {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Clients of this listener at a time, at most.
    pub max_connections: u32,
    /// The certificate and how clients show theirs.
    pub identity: BrokerIdentity,
}

/// The broker's certificate, and those it wants from clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerIdentity {
    /// PEM file of the certificate chain.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
    /// Which client certificates there have to be; none are asked for when absent.
    pub clients: Option<ClientCertificates>,
}

/// Which certificates clients have to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM file of the authorities that issue them.
    pub ca: PathBuf,
    /// Whether a client without one is refused.
    pub required: bool,
    /// Where the user's name is in it.
    pub name: CertificateName,
}

/// `client_name`: where in a client's certificate the user's name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of the subject.
    CommonName,
    /// The first DNS name, mail address or URI of the alternative names.
    AlternativeName,
}

/// `[broker.websocket]`: MQTT over WebSocket.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerWebSocket {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Clients of this listener at a time, at most.
    pub max_connections: u32,
    /// Path of the URL that clients use.
    pub path: String,
    /// Origins of the pages that may connect from a browser (`https://panel.example.com`), `*` for all. When empty: all if clients have
    /// to log in, else pages of this machine and of the host that is connected to.
    pub origins: Vec<String>,
    /// TLS below it, with the certificate of `[broker.tls]`.
    pub tls: Option<BrokerIdentity>,
}

/// `[broker.persistence]`: what the broker keeps over a restart, in `broker.db` of the data folder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BrokerPersistence {
    /// A change waits at most this long for its fsync.
    pub commit: Duration,
    /// Bytes of messages on disk, at most; what finds no room is kept in memory only.
    pub max_size: ByteSize,
}

impl Default for BrokerPersistence {
    fn default() -> BrokerPersistence {
        BrokerPersistence { commit: Duration::from_millis(250), max_size: ByteSize(64 << 20) }
    }
}

/// `[broker.limits]`: what one client, and all together, may cost.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerLimits {
    /// Connections at a time over all listeners; one more is closed at once.
    pub connections: u32,
    /// New connections a second; more wait for their turn. 0: no limit.
    pub connect_rate: u32,
    /// How long a connection may take for TLS, WebSocket and its CONNECT packet.
    pub connect_timeout: Duration,
    /// Bytes of one packet from a client.
    pub packet_bytes: ByteSize,
    /// Subscriptions of one client.
    pub subscriptions: u32,
    /// Bytes that wait for a connected client with subscriptions of QoS 1 or 2 before its connection is closed.
    pub queue_bytes: ByteSize,
    /// Bytes that wait for a connected client before QoS 0 messages to it are dropped.
    pub queue_bytes_qos0: ByteSize,
    /// Bytes of QoS 1 and 2 messages kept for a client that is away.
    pub queue_bytes_offline: ByteSize,
    /// Bytes that wait for all clients together; beyond that the slowest gives way.
    pub queue_bytes_total: ByteSize,
    /// Sessions kept for clients that are away.
    pub sessions_offline: u32,
    /// How long a session outlives its connection, at most. Zero: no limit.
    pub session_expiry: Duration,
    /// Messages with QoS 1 or 2 on their way to one client.
    pub in_flight: u16,
    /// Messages with QoS 1 or 2 on their way from one client.
    pub receive_maximum: u16,
    /// Bytes of retained messages of clients.
    pub retained_bytes: ByteSize,
    /// Number of retained messages of clients.
    pub retained_messages: u32,
    /// Levels of a topic or filter.
    pub topic_levels: u32,
    /// Bytes of a topic or filter.
    pub topic_bytes: ByteSize,
    /// Messages a second from one client, which is read more slowly beyond that. 0: no limit.
    pub rate_messages: u32,
    /// Bytes a second from one client, with the same effect. 0: no limit.
    pub rate_bytes: ByteRate,
    /// The longest keep-alive; an MQTT 5 client that asks for more, or for none, gets this. Zero: no limit.
    pub longest_keep_alive: Duration,
}

impl Default for BrokerLimits {
    fn default() -> BrokerLimits {
        BrokerLimits {
            connections: 256,
            connect_rate: 200,
            connect_timeout: Duration::from_secs(10),
            packet_bytes: ByteSize(1 << 20),
            subscriptions: 1_000,
            // Two seconds of 1,000 messages of 20 KB each.
            queue_bytes: ByteSize(40 << 20),
            queue_bytes_qos0: ByteSize(4 << 20),
            queue_bytes_offline: ByteSize(1 << 20),
            queue_bytes_total: ByteSize(256 << 20),
            sessions_offline: 100,
            session_expiry: Duration::ZERO,
            in_flight: 256,
            receive_maximum: 256,
            retained_bytes: ByteSize(4 << 20),
            retained_messages: 20_000,
            topic_levels: 200,
            topic_bytes: ByteSize(65_535),
            rate_messages: 50_000,
            rate_bytes: ByteRate(64 << 20),
            longest_keep_alive: Duration::ZERO,
        }
    }
}

impl Broker {
    /// How many clients a listener takes unless somebody says otherwise.
    pub const MAX_CONNECTIONS: u32 = 256;

    /// A broker at that address with the default of every other key: on loopback everybody may do everything.
    pub fn on(listen: SocketAddr) -> Broker {
        Broker {
            listen,
            max_connections: Broker::MAX_CONNECTIONS,
            topic_root: "tidegate".to_owned(),
            tag_topics: false,
            sys_interval: Some(Duration::from_secs(10)),
            users: Vec::new(),
            anonymous: if listen.ip().is_loopback() { Anonymous::Everything } else { Anonymous::Refused },
            tls: None,
            websocket: None,
            limits: BrokerLimits::default(),
            persistence: Some(BrokerPersistence::default()),
        }
    }

    /// A broker on loopback at any free port.
    pub fn on_loopback() -> Broker {
        Broker::on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// The broker with these users, who alone may connect.
    pub fn with_users(self, users: Vec<BrokerUser>) -> Broker {
        let anonymous = if users.is_empty() { self.anonymous } else { Anonymous::Refused };
        Broker { users, anonymous, ..self }
    }

    /// Whether this is the same broker, whoever its users are.
    pub fn is_but_for_users(&self, other: &Broker) -> bool {
        let (users, anonymous) = (self.users.clone(), self.anonymous.clone());
        *self == Broker { users, anonymous, ..other.clone() }
    }

    /// Every address that it listens on, with its name in the file.
    pub fn listeners(&self) -> impl Iterator<Item = (SocketAddr, &'static str)> {
        let tls = self.tls.iter().map(|tls| (tls.listen, "broker.tls"));
        let websocket = self.websocket.iter().map(|websocket| (websocket.listen, "broker.websocket"));
        std::iter::once((self.listen, "broker")).chain(tls).chain(websocket)
    }
}

impl BrokerUser {
    /// A user with a password, for tests and the demo.
    pub fn literal(name: &str, password: &str, publish: &[&str], subscribe: &[&str]) -> BrokerUser {
        let owned = |filters: &[&str]| filters.iter().map(|filter| (*filter).to_owned()).collect();
        BrokerUser {
            name: name.to_owned(),
            login: BrokerLogin::Password(Secret::literal(password)),
            rights: TopicRights { publish: owned(publish), subscribe: owned(subscribe) },
        }
    }
}
