//! MQTT control packets on the wire, as the server side sees them.
//!
//! What a client sends is cut into packets ([`frame`]) and read; each read returns a [`Fault`] on what is not MQTT. Nothing panics
//! and nothing is allocated that has not arrived: a packet's texts and data are copied once it is whole and its lengths
//! are known to be within it. The properties of a message that go on to its subscribers stay the bytes they were
//! ([`Passed`]), checked, so that they arrive unchanged and in order.

mod answers;
mod batch;
mod connect;
mod frame;
mod packet;
mod passed;
mod properties;
mod publish;
mod reader;

pub(crate) use answers::{Accepted, Reply, accept, acknowledge, disconnect, ping_response, refuse, suback, unsuback};
pub(crate) use batch::Batch;
pub(crate) use connect::{Connect, Refusal, Will, connect};
pub(crate) use frame::{announced, frame};
pub(crate) use packet::{Acknowledgement, Filter, Packet, Publication, RetainHandling, as_text, packet};
pub(crate) use passed::Passed;
pub(crate) use publish::{Alias, Content, publish};

/// The protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// MQTT 3.1.
    V3,
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.0.
    V5,
}

/// How surely a message arrives (MQTT 5.0 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::enum_variant_names, reason = "the standard calls them so")]
pub(crate) enum Qos {
    /// At most once.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
    /// Exactly once.
    ExactlyOnce,
}

impl Qos {
    /// 0, 1 or 2.
    pub(crate) fn number(self) -> u8 {
        match self {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
            Qos::ExactlyOnce => 2,
        }
    }

    /// Whether such a message is acknowledged.
    pub(crate) fn is_acknowledged(self) -> bool {
        self != Qos::AtMostOnce
    }
}

impl TryFrom<u8> for Qos {
    type Error = Fault;

    fn try_from(number: u8) -> Result<Qos, Fault> {
        match number {
            0 => Ok(Qos::AtMostOnce),
            1 => Ok(Qos::AtLeastOnce),
            2 => Ok(Qos::ExactlyOnce),
            _ => Err(Fault::malformed("a QoS is neither 0, 1 nor 2")),
        }
    }
}

/// Why what a client sent ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The reason code of MQTT 5.0 §2.4.
    pub(crate) code: u8,
    /// What was wrong, for the person who looks for it.
    pub(crate) text: &'static str,
}

impl Fault {
    /// A packet ends before what it announces.
    pub(crate) const CUT: Fault = Fault::malformed("a packet is shorter than what it says");
    /// The packet is longer than a client may send.
    pub(crate) const TOO_LARGE: Fault = Fault { code: 0x95, text: "a packet is larger than the broker takes" };
    /// The answer to a packet is longer than the client takes (MQTT 5.0 §3.1.2.11.4).
    pub(crate) const ANSWER_TOO_LARGE: Fault =
        Fault { code: 0x95, text: "the answer to so many filters is larger than the client takes" };
    /// A topic that nobody may publish to.
    pub(crate) const TOPIC_NAME: Fault =
        Fault { code: 0x90, text: "a topic to publish to is empty, has a wildcard in it, or is too long or too deep" };
    /// More QoS 2 messages than the client may have under way.
    pub(crate) const TOO_MANY: Fault =
        Fault { code: 0x93, text: "more messages are not released than the receive maximum allows" };

    /// The bytes are no MQTT packet.
    pub(crate) const fn malformed(text: &'static str) -> Fault {
        Fault { code: 0x81, text }
    }

    /// The packet may not come here.
    pub(crate) const fn protocol(text: &'static str) -> Fault {
        Fault { code: 0x82, text }
    }

    /// A topic alias that the client may not use.
    pub(crate) const fn alias(text: &'static str) -> Fault {
        Fault { code: 0x94, text }
    }
}
