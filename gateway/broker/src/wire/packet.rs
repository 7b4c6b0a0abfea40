//! The packets that follow CONNECT (MQTT 3.1.1 §3.3 to §3.14, MQTT 5.0 §3.3 to §3.14).

use bytes::Bytes;

use super::{
    Fault, Passed, Qos, Version,
    frame::Frame,
    passed::Collected,
    properties::{self, id},
    reader::{self, Reader},
};

/// What a client sends after CONNECT.
#[derive(Debug)]
pub(crate) enum Packet {
    Publish(Publication),
    /// One of the four acknowledgements, for the packet id.
    Acknowledge(Acknowledgement, u16),
    Subscribe {
        id: u16,
        filters: Vec<Filter>,
        /// Comes back with every message of these subscriptions (MQTT 5).
        identifier: Option<u32>,
    },
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    Ping,
    Disconnect {
        /// Whether the will is published all the same.
        with_will: bool,
        /// Another session expiry than the one of CONNECT.
        expiry: Option<u32>,
    },
}

/// The acknowledgements of QoS 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledgement {
    /// PUBACK, also a refusing one.
    Received,
    /// PUBREC; `false` when the client refuses the message.
    Stored(bool),
    /// PUBREL.
    Release,
    /// PUBCOMP.
    Complete,
}

/// A PUBLISH of a client.
#[derive(Debug)]
pub(crate) struct Publication {
    /// Text; empty when the alias stands for it.
    pub(crate) topic: Bytes,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// 0 with QoS 0.
    pub(crate) id: u16,
    pub(crate) alias: Option<u16>,
    /// Seconds until nobody needs it any more.
    pub(crate) expiry: Option<u32>,
    /// The properties that go on to the subscribers.
    pub(crate) passed: Passed,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) path: String,
    pub(crate) qos: Qos,
    /// Not what the client publishes itself.
    pub(crate) no_local: bool,
    /// With the retain flag that the publisher set.
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,
}

/// When a subscription brings retained messages (MQTT 5.0 §3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetainHandling {
    Always,
    WhenNew,
    Never,
}

/// Reads a packet of a connected client.
///
/// # Errors
///
/// The [`Fault`] of a packet that cannot be read or that a client may not send now.
pub(crate) fn packet(frame: &Frame<'_>, version: Version) -> Result<Packet, Fault> {
    // MQTT 3.1 may mark PUBREL, SUBSCRIBE and UNSUBSCRIBE as duplicates.
    let flags = if version == Version::V3 && frame.kind() != 3 { frame.flags() & !8 } else { frame.flags() };
    let body = Reader::new(frame.body());
    match (frame.kind(), flags) {
        (3, flags) => publication(body, flags, version).map(Packet::Publish),
        (4, 0) => acknowledgement(body, version, |_| Acknowledgement::Received),
        (5, 0) => acknowledgement(body, version, |reason| Acknowledgement::Stored(reason < 0x80)),
        (6, 2) => acknowledgement(body, version, |_| Acknowledgement::Release),
        (7, 0) => acknowledgement(body, version, |_| Acknowledgement::Complete),
        (8, 2) => subscribe(body, version),
        (10, 2) => unsubscribe(body, version),
        (12, 0) => body.end().map(|()| Packet::Ping),
        (14, 0) => disconnect(body, version),
        (4..=8 | 10 | 12 | 14, _) => Err(Fault::malformed("the flags of a packet are wrong")),
        (1, _) => Err(Fault::protocol("CONNECT comes a second time")),
        (15, _) if version == Version::V5 => Err(Fault::protocol("AUTH comes without an authentication method")),
        _ => Err(Fault::protocol("a packet that no client may send")),
    }
}

fn publication(mut body: Reader<'_>, flags: u8, version: Version) -> Result<Publication, Fault> {
    let whole = body.rest();
    let qos = Qos::try_from((flags >> 1) & 3)?;
    if flags & 8 != 0 && !qos.is_acknowledged() {
        return Err(Fault::malformed("a PUBLISH with QoS 0 is marked as a duplicate"));
    }
    let topic = body.text()?;
    let id = if qos.is_acknowledged() { body.packet_id()? } else { 0 };
    let (mut alias, mut expiry, mut collected) = (None, None, Collected::default());
    if version == Version::V5 {
        properties::read(&mut body, &PUBLISH, |property| {
            match property.id {
                id::TOPIC_ALIAS => alias = Some(property.value.two()),
                id::MESSAGE_EXPIRY => expiry = Some(property.value.number()),
                _ => _ = collected.add(&property)?,
            }
            Ok(())
        })?;
    }
    // One copy for both, so that a small message that is kept does not keep the whole receive buffer.
    let length = topic.len();
    let payload = body.rest().len();
    let start = whole.len() - payload;
    let passed = collected.passed();
    let copy = if passed.bytes().is_empty() && start <= length + 8 {
        Bytes::copy_from_slice(whole)
    } else {
        Bytes::from([whole.get(..2 + length).unwrap_or_default(), body.rest()].concat())
    };
    let topic = copy.slice(2..2 + length);
    let payload = copy.slice(copy.len() - payload..);
    Ok(Publication { topic, payload, qos, retain: flags & 1 != 0, id, alias, expiry, passed })
}

/// The properties that a client may give a PUBLISH; a subscription identifier comes from the server alone.
const PUBLISH: [u8; 6] = [
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::TOPIC_ALIAS,
];

fn acknowledgement(
    mut body: Reader<'_>,
    version: Version,
    kind: impl Fn(u8) -> Acknowledgement,
) -> Result<Packet, Fault> {
    let id = body.packet_id()?;
    let mut reason = 0;
    if version == Version::V5 && !body.is_at_end() {
        reason = body.byte()?;
        if !body.is_at_end() {
            properties::read(&mut body, &[id::REASON_STRING], |_| Ok(()))?;
        }
    }
    body.end()?;
    Ok(Packet::Acknowledge(kind(reason), id))
}

fn subscribe(mut body: Reader<'_>, version: Version) -> Result<Packet, Fault> {
    let id = body.packet_id()?;
    let mut identifier = None;
    if version == Version::V5 {
        properties::read(&mut body, &[id::SUBSCRIPTION_IDENTIFIER], |property| {
            if property.id == id::SUBSCRIPTION_IDENTIFIER {
                identifier = Some(property.value.number());
            }
            Ok(())
        })?;
    }
    if identifier == Some(0) {
        return Err(Fault::protocol("a subscription identifier is 0"));
    }
    let mut filters = Vec::new();
    while !body.is_at_end() {
        filters.push(filter(&mut body, version)?);
    }
    if filters.is_empty() {
        return Err(Fault::protocol("a SUBSCRIBE has no filter"));
    }
    Ok(Packet::Subscribe { id, filters, identifier })
}

fn filter(body: &mut Reader<'_>, version: Version) -> Result<Filter, Fault> {
    let path = body.text()?.to_owned();
    let options = body.byte()?;
    let reserved = if version == Version::V5 { 0xC0 } else { 0xFC };
    if options & reserved != 0 {
        return Err(Fault::malformed("reserved bits of a subscription are set"));
    }
    let retain_handling = match (options >> 4) & 3 {
        0 => RetainHandling::Always,
        1 => RetainHandling::WhenNew,
        2 => RetainHandling::Never,
        _ => return Err(Fault::protocol("a retain handling is neither 0, 1 nor 2")),
    };
    let no_local = options & 4 != 0;
    if no_local && path.starts_with("$share/") {
        return Err(Fault::protocol("a shared subscription is to be without local messages"));
    }
    let retain_as_published = options & 8 != 0;
    Ok(Filter { path, qos: Qos::try_from(options & 3)?, no_local, retain_as_published, retain_handling })
}

fn unsubscribe(mut body: Reader<'_>, version: Version) -> Result<Packet, Fault> {
    let id = body.packet_id()?;
    if version == Version::V5 {
        properties::read(&mut body, &[], |_| Ok(()))?;
    }
    let mut filters = Vec::new();
    while !body.is_at_end() {
        filters.push(body.text()?.to_owned());
    }
    if filters.is_empty() {
        return Err(Fault::protocol("an UNSUBSCRIBE has no filter"));
    }
    Ok(Packet::Unsubscribe { id, filters })
}

/// DISCONNECT, whose reason and properties may be left out (MQTT 5.0 §3.14.2.1, §3.14.2.2.1).
fn disconnect(mut body: Reader<'_>, version: Version) -> Result<Packet, Fault> {
    let (mut reason, mut expiry) = (0, None);
    if version == Version::V5 && !body.is_at_end() {
        reason = body.byte()?;
        if !body.is_at_end() {
            properties::read(&mut body, &[id::SESSION_EXPIRY, id::REASON_STRING], |property| {
                if property.id == id::SESSION_EXPIRY {
                    expiry = Some(property.value.number());
                }
                Ok(())
            })?;
        }
    }
    body.end()?;
    Ok(Packet::Disconnect { with_will: reason != 0, expiry })
}

/// Text of a packet that has been read.
pub(crate) fn as_text(bytes: &[u8]) -> &str {
    reader::text(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests;
