//! Packets of both versions of the protocol, as far as a client needs them. The codecs' own types stay in here.

mod v311;
mod v5;

use bytes::{BufMut, BytesMut};

use crate::{
    ConnectOptions, Filter, Granted, Message, Outcome, Protocol, QoS, Refusal, Refused,
    failure::{Dismissal, LoginRefusal},
};

/// What comes from a broker.
#[derive(Debug)]
pub(crate) enum Incoming {
    LoggedIn(Granted),
    LoginRefused(LoginRefusal),
    Message(Message),
    Published(u16, Outcome),
    Subscribed(u16, Vec<Result<QoS, Refusal>>),
    Unsubscribed(u16),
    Pong,
    /// The broker takes leave.
    Dismissed(Dismissal),
    /// What a broker does not send to this client.
    Unexpected(&'static str),
}

/// Adds the request to log in.
pub(crate) fn connect(options: &ConnectOptions, out: &mut BytesMut) -> Result<(), Refused> {
    whole(out, |out| match options.protocol {
        Protocol::V311 => v311::connect(options, out),
        Protocol::V5 => v5::connect(options, out),
    })
}

/// Adds a message. Nothing is added when it is refused.
pub(crate) fn publish(
    protocol: Protocol,
    message: Message,
    packet_id: u16,
    most: u32,
    out: &mut BytesMut,
) -> Result<(), Refused> {
    if message.topic.is_empty() {
        return Err(Refused::Malformed);
    }
    whole(out, |out| match protocol {
        Protocol::V311 => v311::publish(message, packet_id, most, out),
        Protocol::V5 => v5::publish(message, packet_id, most, out),
    })
}

/// Adds a request to subscribe.
pub(crate) fn subscribe(
    protocol: Protocol,
    filters: &[Filter],
    packet_id: u16,
    out: &mut BytesMut,
) -> Result<(), Refused> {
    whole(out, |out| match protocol {
        Protocol::V311 => v311::subscribe(filters, packet_id, out),
        Protocol::V5 => v5::subscribe(filters, packet_id, out),
    })
}

/// Adds a request to unsubscribe.
pub(crate) fn unsubscribe(
    protocol: Protocol,
    topics: &[String],
    packet_id: u16,
    out: &mut BytesMut,
) -> Result<(), Refused> {
    whole(out, |out| match protocol {
        Protocol::V311 => v311::unsubscribe(topics, packet_id, out),
        Protocol::V5 => v5::unsubscribe(topics, packet_id, out),
    })
}

/// Adds the acknowledgement of a message. The same in both versions (MQTT 5.0 §3.4.2.1: without a reason, it is success).
pub(crate) fn acknowledge(packet_id: u16, out: &mut BytesMut) {
    out.put_slice(&[0x40, 2]);
    out.put_u16(packet_id);
}

/// Adds a ping. The same in both versions.
pub(crate) fn ping(out: &mut BytesMut) {
    out.put_slice(&[0xC0, 0]);
}

/// Adds the farewell. The same in both versions.
pub(crate) fn disconnect(out: &mut BytesMut) {
    out.put_slice(&[0xE0, 0]);
}

/// Takes the next packet out of what has come; `None`: more has to come. The text of an error completes "what … sent is not MQTT".
pub(crate) fn read(options: &ConnectOptions, received: &mut BytesMut) -> Result<Option<Incoming>, String> {
    match options.protocol {
        Protocol::V311 => v311::read(options, received),
        Protocol::V5 => v5::read(options, received),
    }
}

/// Takes back what was added of a packet that turned out to be none.
fn whole(out: &mut BytesMut, add: impl FnOnce(&mut BytesMut) -> Result<(), Refused>) -> Result<(), Refused> {
    let before = out.len();
    add(out).inspect_err(|_| out.truncate(before))
}

/// Whether a packet of so many bytes is too large.
fn fits(bytes: usize, most: u32) -> Result<(), Refused> {
    match u32::try_from(bytes) {
        Ok(size) if size <= most => Ok(()),
        _ => Err(Refused::TooLarge { bytes, most }),
    }
}
