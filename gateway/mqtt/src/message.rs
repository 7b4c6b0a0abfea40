//! What travels over a connection, and what becomes of it.

use std::fmt;

use bytes::Bytes;
use tokio::time::Instant;

/// How sure it is that a message arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QoS {
    /// At most once: not acknowledged.
    AtMostOnce,
    /// At least once: acknowledged, and sent again by whoever did not get the acknowledgement.
    AtLeastOnce,
}

/// What MQTT 5 says about a message beside its payload. MQTT 3.1.1 has none of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// Whether the payload is said to be UTF-8 text.
    pub is_text: Option<bool>,
    /// Seconds after which it need not be delivered any more.
    pub expiry: Option<u32>,
    /// What the payload is.
    pub content_type: Option<String>,
    /// Where an answer is to go.
    pub response_topic: Option<String>,
    /// What an answer is to carry.
    pub correlation_data: Option<Bytes>,
    /// Names and values, in their order.
    pub user: Vec<(String, String)>,
}

/// A message, on its way out or come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where to; UTF-8.
    pub topic: Bytes,
    /// What.
    pub payload: Bytes,
    /// With which assurance.
    pub qos: QoS,
    /// On its way out: the broker is to keep it. Come in: it had been kept.
    pub retain: bool,
    /// Come in: the broker may have sent it before.
    pub again: bool,
    /// Come in at QoS 1: what [`Connection::acknowledge`](crate::Connection::acknowledge) wants, good on this connection alone. Otherwise 0.
    pub packet_id: u16,
    /// What MQTT 5 says beside.
    pub properties: Option<Box<Properties>>,
}

impl Message {
    /// A message to be published at QoS 1, not retained.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Message {
        Message {
            topic: topic.into().into(),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            again: false,
            packet_id: 0,
            properties: None,
        }
    }

    /// The same message, to be kept by the broker.
    #[must_use]
    pub fn retained(mut self) -> Message {
        self.retain = true;
        self
    }

    /// The same message at QoS 0.
    #[must_use]
    pub fn unacknowledged(mut self) -> Message {
        self.qos = QoS::AtMostOnce;
        self
    }
}

/// What is subscribed to. A shared subscription is one whose topic begins with `$share/<name>/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// A topic, perhaps with wildcards.
    pub topic: String,
    /// The best assurance that is wanted.
    pub qos: QoS,
    /// Whether messages that this client publishes itself are left out. MQTT 5 alone.
    pub no_local: bool,
    /// Whether the mark of a retained message is kept as it was published. MQTT 5 alone.
    pub as_published: bool,
}

impl Filter {
    /// A filter for everything that is published there.
    pub fn new(topic: impl Into<String>, qos: QoS) -> Filter {
        Filter { topic: topic.into(), qos, no_local: false, as_published: false }
    }
}

/// A message that was published on a connection: 0, 1, 2 … in the order of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishId(pub u64);

/// A request to subscribe or to unsubscribe: 0, 1, 2 … in the order of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscribeId(pub u64);

/// What became of a message at QoS 1. A message without an outcome when its connection ends is lost: it may have arrived or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The broker has it.
    Acknowledged {
        /// The broker says that nobody has subscribed to its topic.
        nobody: bool,
    },
    /// The broker has answered that it does not take it. MQTT 5 alone.
    Refused(Refusal),
}

/// Why a broker refuses a message or a subscription. A lower-case fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The rights do not allow it.
    NotAuthorized,
    /// The topic is not one that it takes.
    Topic,
    /// More than it grants.
    Quota,
    /// The payload is not what it was said to be.
    Payload,
    /// It has no shared subscriptions.
    Shared,
    /// It has no wildcards.
    Wildcards,
    /// It does not say.
    Unspecified,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::NotAuthorized => "not authorised; check the broker's rights",
            Refusal::Topic => "the broker does not take this topic",
            Refusal::Quota => "the broker's quota is exceeded",
            Refusal::Payload => "the broker does not take this payload",
            Refusal::Shared => "the broker has no shared subscriptions",
            Refusal::Wildcards => "the broker has no wildcards",
            Refusal::Unspecified => "the broker refuses it and does not say why; check its rights",
        })
    }
}

/// Why something was not even sent. The connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many messages are on their way as may be, or the network takes no more at the moment. Something comes out of
    /// [`Connection::next`](crate::Connection::next) before there is room.
    #[error("as much is on its way as may be")]
    NoRoom,
    /// The packet is larger than the broker takes, or than was set.
    #[error("it has {bytes} bytes and the broker takes packets of {most} bytes at most")]
    TooLarge {
        /// Bytes of the packet.
        bytes: usize,
        /// Bytes that it may have.
        most: u32,
    },
    /// The broker does not keep retained messages.
    #[error("the broker does not keep retained messages")]
    Retain,
    /// The broker acknowledges nothing.
    #[error("the broker does not take messages at QoS 1")]
    QoS,
    /// The topic, filter or a property is against the protocol: empty, too long, with a NUL or a wildcard in it.
    #[error("its topic or a property is against the protocol")]
    Malformed,
}

/// What happens on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message has come. At QoS 1 it has to be acknowledged, in the order of coming.
    Message(Message),
    /// What became of a message.
    Published(PublishId, Outcome),
    /// What became of a subscription: for each filter the assurance that is given.
    Subscribed(SubscribeId, Vec<Result<QoS, Refusal>>),
    /// The subscription has ended.
    Unsubscribed(SubscribeId),
    /// The broker has answered a ping that was sent at this moment.
    Pong(Instant),
}
