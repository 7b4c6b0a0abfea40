//! MQTT control packets on the wire, as the server side sees them.
//!
//! What a client sends is cut into [`Frame`]s here and read by the packet readers of rumqttd; what rumqttd cannot
//! express or gets wrong (packet ids and QoS of a PUBLISH, a DISCONNECT with a reason) is read and written here. Every
//! read returns a [`Fault`] on what is not MQTT; nothing panics and nothing is allocated that has not arrived.

mod connect;
mod encode;
mod frame;
mod packet;

pub(crate) use connect::{Connect, Refusal, Will, connect, refuse};
pub(crate) use encode::{Accepted, Content, accept, acknowledge, disconnect, ping_response, publish, suback, unsuback};
pub(crate) use frame::{Frame, next_frame};
pub(crate) use packet::{Acknowledgement, Packet, Publication, packet};

/// The protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.0.
    V5,
}

/// Why what a client sent ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes are no MQTT packet.
    Malformed,
    /// The packet may not come here.
    Protocol,
    /// The packet is longer than a client may send.
    TooLarge,
    /// A topic alias that the client may not use.
    TopicAlias,
    /// A topic that nobody may publish to.
    TopicName,
}

impl Fault {
    /// The reason code of MQTT 5.0 §2.4.
    pub(crate) fn code(self) -> u8 {
        match self {
            Fault::Malformed => 0x81,
            Fault::Protocol => 0x82,
            Fault::TooLarge => 0x95,
            Fault::TopicAlias => 0x94,
            Fault::TopicName => 0x90,
        }
    }
}
